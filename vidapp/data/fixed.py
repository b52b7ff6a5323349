"""Room for fixed clips of a split, which are all held at once."""

import numpy as np

from ..config import DataConfig

MAX_FIXED_BYTES = 2 << 30


def room_for(count: int, frames: int, data: DataConfig) -> np.ndarray:
    """An empty array uint8 (count, frames, C, H, W); ValueError where it would take more than 2 GiB."""
    if count * frames * data.channels * data.size**2 > MAX_FIXED_BYTES:
        raise ValueError(f"{count} clips of {frames} frames take more than {MAX_FIXED_BYTES >> 30} GiB at once: ask for fewer clips")
    return np.empty((count, frames, data.channels, data.size, data.size), np.uint8)
