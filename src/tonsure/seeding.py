"""Random numbers from a seed, without side effects on global generators."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """A context in which torch draws from ``seed`` and cuDNN is deterministic; both are restored at its end.

    It seeds the global generators, because neither ``nn.Dropout`` nor the initial weights of a layer accept another
    one. Only those of the CPU and of ``device``: reading the state of another GPU allocates memory there.
    """
    gpus = []
    if device.type == "cuda":
        gpus = [torch.cuda.current_device() if device.index is None else device.index]
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    with torch.random.fork_rng(devices=gpus):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every GPU too
        for gpu in gpus:
            torch.cuda.default_generators[gpu].manual_seed(seed)
        try:
            cudnn.deterministic, cudnn.benchmark = True, False
            yield
        finally:
            cudnn.deterministic, cudnn.benchmark = before


def derive_seed(*numbers: int) -> int:
    """One seed from several numbers, for example (seed, member). Similar numbers give independent streams.

    Raises:
        ValueError: a number is negative.
    """
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint32)[0])
