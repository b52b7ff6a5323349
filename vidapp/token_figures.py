"""What token grids look like from outside: how the codebook is used, which ids flicker, what each code draws.

ids are int (T, h, w) in [0, codebook_size); frames (T, C, H, W) with H and W multiples of h and w. No torch here.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

STILL = 2 / 255
"""Largest change of a pixel, in [0, 1], that still counts as none: noise of a video codec stays below it."""


@dataclass(frozen=True)
class CodeUse:
    """How often each code was used: counts_V int64, one for each id of the codebook."""

    counts_V: Array

    @property
    def used(self) -> int:
        return int((self.counts_V > 0).sum())

    @property
    def dead(self) -> int:
        """Codes that were never used."""
        return len(self.counts_V) - self.used

    @property
    def perplexity(self) -> float:
        """exp(entropy): how many codes are used as if evenly; from 1 to the size of the codebook."""
        share = self.counts_V[self.counts_V > 0] / self.counts_V.sum()
        return float(np.exp(-(share * np.log(share)).sum()))

    @property
    def most_used(self) -> tuple[int, float]:
        """(id, its share of the tokens)."""
        first = int(self.counts_V.argmax())
        return first, float(self.counts_V[first] / self.counts_V.sum())


def code_use(tokens: Array, codebook_size: int) -> CodeUse:
    """Counts of the ids in `tokens` (any shape); ValueError where there are none, or ids outside the codebook."""
    if tokens.size == 0:
        raise ValueError("there are no tokens to count: give at least one frame")
    if tokens.min() < 0 or tokens.max() >= codebook_size:
        raise ValueError(
            f"ids from {tokens.min()} to {tokens.max()} do not fit a codebook of {codebook_size}: encode with its own tokenizer"
        )
    return CodeUse(np.bincount(tokens.ravel(), minlength=codebook_size))


def patches(frames_TCHW: Array, rows: int, columns: int) -> Array:
    """The patch of every token: (T, h, w, C, H/h, W/w), a view where possible."""
    T, C, H, W = frames_TCHW.shape
    if H % rows or W % columns:
        raise ValueError(f"frames of {H} x {W} pixels have no {rows} x {columns} patches of one size")
    cut = frames_TCHW.reshape(T, C, rows, H // rows, columns, W // columns)
    return cut.transpose(0, 2, 4, 1, 3, 5)


def flicker(tokens_THW: Array, frames_TCHW: Array) -> Array:
    """bool (T, h, w): the id differs from the frame before though no pixel of the patch has changed. Frames are uint8 or in [0, 1]."""
    result = np.zeros(tokens_THW.shape, bool)
    scale = 255.0 if frames_TCHW.dtype == np.uint8 else 1.0
    cut = patches(frames_TCHW, *tokens_THW.shape[1:]).astype(np.float32) / scale
    unchanged = np.abs(cut[1:] - cut[:-1]).max(axis=(3, 4, 5), initial=0.0) <= STILL
    result[1:] = unchanged & (tokens_THW[1:] != tokens_THW[:-1])
    return result


@dataclass(frozen=True)
class AtlasEntry:
    """A code as it is used: how often, and the mean of what it was drawn as, float (C, p, p)."""

    id: int
    count: int
    patch: Array


def atlas(tokens_THW: Array, frames_TCHW: Array) -> list[AtlasEntry]:
    """Every used code with the mean of its patches in `frames_TCHW`, the frames that were decoded from the ids; most used first."""
    cut = patches(frames_TCHW, *tokens_THW.shape[1:])
    flat = cut.reshape(-1, *cut.shape[3:]).astype(np.float64)
    ids, place, counts = np.unique(tokens_THW.ravel(), return_inverse=True, return_counts=True)
    sums = np.zeros((len(ids), *flat.shape[1:]))
    np.add.at(sums, place.ravel(), flat)
    order = np.argsort(-counts, kind="stable")
    return [AtlasEntry(int(ids[one]), int(counts[one]), (sums[one] / counts[one]).astype(np.float32)) for one in order]
