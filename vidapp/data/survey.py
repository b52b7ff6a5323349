"""What lies in the splits of a source, counted rather than promised: how much, and whether anything is in two of them."""

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from ..config import SPLITS
from .folder import FolderSource, Segment
from .moving_mnist import MovingMnist
from .source import ClipSource
from .token_ids import TokenFile, TokenSource


@dataclass(frozen=True)
class Survey:
    """How a source is split. counts: for each split, {what: how many}. shared: digits or frames that are in two splits, 0 where all
    is well, None where that was not counted. skipped: (name, reason)."""

    words: str
    counts: dict[str, dict[str, int]]
    shared: int | None
    skipped: tuple[tuple[str, str], ...] = ()


def survey(source: ClipSource) -> Survey:
    """Count the splits of a source. Reads no clip."""
    if isinstance(source, FolderSource):
        return survey_of_clips(source)
    moving = source if isinstance(source, MovingMnist) else getattr(source, "moving", None)
    if isinstance(moving, MovingMnist):
        return survey_of_digits(moving, standard=source is not moving)
    return Survey(f"{source.name}: how it is split is not known here.", {}, None)


def survey_of_digits(source: MovingMnist, *, standard: bool) -> Survey:
    digits = source.digits_by_split
    words = (
        f"Split by digit: every handwritten digit belongs to one split alone, and clips are made of the digits of their split. "
        f"A clip shows {source.config.digits} of them; motion is drawn anew, so training never sees the same clip twice, "
        "while the clips of validation and test are always the same ones."
    )
    if standard:
        words += " For the test the standard 10,000 clips of the benchmark take the place of made ones."
    prints = {split: {image.tobytes() for image in images} for split, images in digits.items()}
    shared = sum(len(prints[one] & prints[other]) for one, other in combinations(prints, 2))
    return Survey(words, {split: {"digits": len(digits[split])} for split in SPLITS if split in digits}, shared)


def survey_of_clips(source: FolderSource) -> Survey:
    by_time = len({segment.name for parts in source.segments.values() for segment in parts}) <= 2
    words = (
        "Split by time: there are so few clips that the end of the longest is held out."
        if by_time
        else "Split by clip: every clip belongs whole to one split, by a hash of its name, so that adding clips moves none."
    )
    words += f" A training example is any window of {source.config.clip_frames} frames in a row."
    if isinstance(source, TokenSource):
        words = f"{in_words(source.file)} {words}"
    counts = {
        split: {
            "clips": len(parts),
            "frames": sum(part.stop - part.start for part in parts),
            "windows": sum(part.windows(source.config.clip_frames) for part in parts),
        }
        for split, parts in source.segments.items()
    }
    return Survey(words, counts, shared_frames(source), tuple(source.skipped))


def shared_frames(source: FolderSource) -> int:
    """Frames that are in two splits."""
    by_clip: dict[tuple[Path, int], list[tuple[str, Segment]]] = {}
    for split in SPLITS:
        for segment in source.segments[split]:
            by_clip.setdefault((segment.path, segment.index), []).append((split, segment))
    pairs = (pair for parts in by_clip.values() for pair in combinations(parts, 2))
    return sum(overlap(one, other) for (split, one), (another, other) in pairs if split != another)


def in_words(file: TokenFile) -> str:
    return (
        f"Token ids that were made elsewhere: grids of {file.grid} × {file.grid}, {file.codebook_size:,} codes, an id drawn as a colour of "
        "its own. The file decides the size, and ids are not augmented."
    )


def overlap(one: Segment, other: Segment) -> int:
    """Frames that two segments of one clip share."""
    return max(0, int(np.minimum(one.stop, other.stop) - np.maximum(one.start, other.start)))
