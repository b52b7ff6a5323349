"""A glance at somebody's clips before any is decoded whole: is there one at all, and would training lose its colours?"""

import contextlib
import itertools

import numpy as np

from ..config import MOVING_MNIST, DataConfig
from ..files import expanded
from .clips import decoded, find_clips, nothing_in
from .decoders import ClipError
from .token_ids import is_token_data

LOOKED_AT = 5  # clips
COLOUR, SHARE = 24, 0.005  # how far a pixel's channels are apart where it is no grey, and how many pixels of a frame in colour are that
IN_GREY = "These clips are in colour, and data.channels=1 trains them in grey: set data.channels=3 to keep it."


def glance(config: DataConfig) -> str:
    """A notice where clips in colour would be trained in grey, else nothing; ValueError where nothing there can be a clip."""
    if config.source in MOVING_MNIST or is_token_data(config.source):
        return ""
    path = expanded(config.source)
    files, skipped = find_clips(path)
    if not files:
        raise nothing_in(path, skipped)
    if config.channels == 3:
        return ""
    for file in files[:LOOKED_AT]:
        with contextlib.suppress(ClipError), decoded(file, config.size, 3) as source:
            frames = itertools.islice(source.read(0), config.clip_frames)  # more than the first: many films begin in black
            if any(in_colour(frame_CHW) for frame_CHW in frames):
                return IN_GREY
    return ""


def in_colour(frame_CHW: np.ndarray) -> bool:
    """Whether a frame uint8 (3, H, W) has colours."""
    spread_HW = frame_CHW.max(axis=0).astype(int) - frame_CHW.min(axis=0)
    return bool((spread_HW > COLOUR).mean() > SHARE)
