"""Randomness that a seed decides, and that disturbs no one else's."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Inside, torch draws from ``seed`` and cuDNN is deterministic; afterwards both are as they were.

    Global generators, because neither ``nn.Dropout`` nor the initial weights of a layer accept one of ours.
    Only those of the CPU and of ``device`` are touched: to ask another GPU for its state claims memory there.
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
    """One seed from several numbers, such as (seed, member): close numbers give unrelated streams.

    Raises:
        ValueError: a number is negative.
    """
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint32)[0])
