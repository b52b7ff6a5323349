"""Moving MNIST, made on the fly: digits that drift and bounce in a square frame.

Srivastava et al., "Unsupervised Learning of Video Representations using LSTMs" (2015): start and direction uniform,
speed 0.1 of the free span a frame, reflection at the borders, overlaps by the per-pixel maximum.
"""

from functools import cache
from pathlib import Path

import numpy as np

from ..config import DataConfig
from ..randomness import numpy_generator
from .fixed import room_for

ASSET = Path(__file__).resolve().parents[2] / "assets" / "mnist_5k.npz"
SPEED = 0.1  # of the free span, a frame
SPLITS = {"train": (0.0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1.0)}  # shares of the digits of each class


@cache
def bundled_digits() -> dict[str, np.ndarray]:
    """The bundled digits by split: uint8 (n, 28, 28). No digit is in two splits, every class is in each."""
    with np.load(ASSET, allow_pickle=False) as file:
        images, labels = file["images"], file["labels"]
    members: dict[str, list[np.ndarray]] = {name: [] for name in SPLITS}
    for label in np.unique(labels):
        indices = np.flatnonzero(labels == label)
        for name, (start, end) in SPLITS.items():
            members[name].append(indices[round(start * len(indices)) : round(end * len(indices))])
    return {name: images[np.concatenate(parts)] for name, parts in members.items()}


def trajectory(rng: np.random.Generator, frames: int, span: int) -> np.ndarray:
    """Top-left corners (frames, 2) in whole pixels of one digit that bounces within [0, span]."""
    angle = rng.uniform(0.0, 2 * np.pi)
    start = rng.uniform(0.0, 1.0, size=2)
    return bounced(start, SPEED * np.array([np.sin(angle), np.cos(angle)]), frames, span)


def bounced(start: np.ndarray, step: np.ndarray, frames: int, span: int) -> np.ndarray:
    """Top-left corners (frames, 2) in whole pixels from `start` (2,) in [0, 1] with `step` (2,) a frame, both in shares of the span."""
    unfolded = start + step * np.arange(frames)[:, None]
    folded = np.abs((unfolded + 1.0) % 2.0 - 1.0)  # a straight line, reflected at 0 and 1
    return (folded * span).astype(np.int64)


def draw_clip(digits: np.ndarray, corners: np.ndarray, size: int) -> np.ndarray:
    """Clip uint8 (T, size, size) of `digits` (D, h, w) with top-left `corners` (D, T, 2)."""
    height, width = digits.shape[1:]
    clip = np.zeros((corners.shape[1], size, size), np.uint8)
    for digit, path in zip(digits, corners, strict=True):
        for frame, (top, left) in zip(clip, path, strict=True):
            window = frame[top : top + height, left : left + width]
            np.maximum(window, digit, out=window)
    return clip


class MovingMnist:
    """Clips of moving digits; `digits_by_split` defaults to the bundled ones."""

    name = "moving-mnist"

    def __init__(self, config: DataConfig, digits_by_split: dict[str, np.ndarray] | None = None) -> None:
        self.config = config
        self.digits_by_split = digits_by_split or bundled_digits()

    def training_clip(self, seed: int, step: int, sample: int, frames: int) -> np.ndarray:
        """Clip uint8 (T, C, H, W) of training digits, a function of (seed, step, sample)."""
        return self.make_clip("train", numpy_generator(seed, "clip", step, sample), frames)

    def fixed_clips(self, split: str, count: int, frames: int, first: int = 0) -> np.ndarray:
        """`count` clips uint8 (N, T, C, H, W) of a split from number `first` on; the same ones on every call and every machine."""
        clips = room_for(count, frames, self.config)
        for number, clip in enumerate(clips, start=first):
            clip[:] = self.make_clip(split, numpy_generator(0, "fixed", split, number), frames)
        return clips

    def numbered_clip(self, split: str, number: int, frames: int) -> np.ndarray:
        """So many frames (T, C, H, W) of the clip of that number: it goes on as long as is asked for."""
        (clip,) = self.fixed_clips(split, 1, frames, first=number)
        return clip

    def fixed_recordings(self, split: str, count: int, frames: int) -> np.ndarray:
        """Of the `count` clips that `fixed_clips` gave, int (count,): each is a recording of its own."""
        return np.arange(count)

    def make_clip(self, split: str, rng: np.random.Generator, frames: int) -> np.ndarray:
        if split not in SPLITS:
            raise ValueError(f"unknown split {split!r}: use one of {', '.join(SPLITS)}")
        pool = self.digits_by_split[split]
        size = self.config.size
        digits = pool[rng.integers(len(pool), size=self.config.digits)]
        corners = np.stack([trajectory(rng, frames, size - digits.shape[1]) for _ in digits])
        clip_THW = draw_clip(digits, corners, size)
        return np.repeat(clip_THW[:, None], self.config.channels, axis=1)
