"""A source of clips, and which one a config asks for."""

from pathlib import Path
from typing import Protocol

import numpy as np

from ..config import Config, DataConfig
from .clips import Clip, first_clip
from .moving_mnist import MovingMnist


class ClipSource(Protocol):
    """Clips as uint8 (T, C, H, W), every one a function of its keys: a source holds no position to save."""

    name: str

    def training_clip(self, seed: int, step: int, sample: int, frames: int) -> np.ndarray:
        """The training clip uint8 (T, C, H, W) of (seed, step, sample)."""
        ...

    def fixed_clips(self, split: str, count: int, frames: int, first: int = 0) -> np.ndarray:
        """Clips uint8 (N, T, C, H, W) of a split from number `first` on: always the same, fewer than `count` only where no more exist."""
        ...

    def numbered_clip(self, split: str, number: int, frames: int) -> np.ndarray:
        """The clip uint8 (T, C, H, W) of that number among `fixed_clips` of `config.clip_frames` frames, and what follows it in its
        recording: the first `frames` frames, or fewer where it ends. It is the same clip however many are asked for. ValueError where
        there is none of that number."""
        ...

    def fixed_recordings(self, split: str, count: int, frames: int) -> np.ndarray:
        """Of the `count` clips that `fixed_clips` gave, int (count,): those with the same number were cut from one recording, and are not
        independent of each other."""
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


def person_clip(path: Path, config: Config, frames: int) -> tuple[Clip, str]:
    """A clip that a person gives to a model of that config, at most so many frames uint8 (T, C, H, W): fitted to the model's, as far apart
    as those that it was trained on, or, where it knows ids alone, a .npy of these. And which clip of the file it is, in a sentence, where
    it is not all of it. ValueError where the file is neither."""
    if config.tokenizer.quantizer == "ids":
        from .token_ids import read_id_clip

        return Clip(path.name, read_id_clip(path, config, frames)), ""
    return first_clip(path, config.data.size, config.data.channels, frames, config.data.frame_step)
