"""A source of clips, and which one a config asks for."""

from typing import Protocol

import numpy as np

from ..config import DataConfig
from .moving_mnist import MovingMnist


class ClipSource(Protocol):
    """Clips as uint8 (T, C, H, W), every one a function of its keys: a source holds no position to save."""

    name: str

    def training_clip(self, seed: int, step: int, sample: int, frames: int) -> np.ndarray:
        """The training clip uint8 (T, C, H, W) of (seed, step, sample)."""
        ...

    def fixed_clips(self, split: str, count: int, frames: int) -> np.ndarray:
        """Clips uint8 (N, T, C, H, W) of a split: always the same, fewer than `count` only where no more exist."""
        ...


def open_source(config: DataConfig) -> ClipSource:
    """The source that `config.source` names; ValueError where it is no known name and no readable path."""
    if config.source == "moving-mnist":
        return MovingMnist(config)
    if config.source == "moving-mnist-full":
        from .torchvision_mnist import FullMnistSource

        return FullMnistSource(config)
    from .token_ids import TokenSource, is_token_data

    if is_token_data(config.source):
        return TokenSource(config)
    from .folder import FolderSource

    return FolderSource(config)
