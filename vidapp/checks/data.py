"""(i) The data: clips differ, move, are in range, and no clip is in two splits."""

import hashlib

import numpy as np

from ..config import SPLITS
from .subject import Subject
from .verdict import Check, Progress, judge, not_applicable

CLIPS = 32
DISTINCT = 0.9  # share of the clips drawn
VARIED = 2.0  # grey values (of 255): standard deviation within a clip
MOVING = 0.5  # share of the clips in which something moves


def data(subject: Subject, progress: Progress) -> list[Check]:
    """Fresh training clips and the fixed clips of every split."""
    config, frames = subject.config, subject.config.data.clip_frames
    drawn = np.stack([subject.source.training_clip(config.run.seed, 0, sample, frames) for sample in range(CLIPS)])
    progress(0.4)
    fixed = {split: subject.source.fixed_clips(split, CLIPS, frames) for split in SPLITS}
    progress(0.9)
    checks = [in_range(subject, drawn), distinct(drawn), varied(drawn), moving(drawn), disjoint(fixed | {"drawn for training": drawn})]
    progress(1.0)
    return checks


def in_range(subject: Subject, clips: np.ndarray) -> Check:
    data = subject.config.data
    expected = (data.channels, data.size, data.size)
    wrong = int(clips.dtype != np.uint8) + int(clips.shape[2:] != expected)
    span = int(clips.max()) - int(clips.min()) if clips.size else 0
    return judge(
        "data_in_range",
        "Frames use the range of grey values",
        0 if wrong else span,
        at_least=32,
        unit="grey values from darkest to brightest",
        good=f"uint8 (T, C, H, W) with C, H, W {expected}",
        bad=f"clips are {clips.dtype} {clips.shape[2:]} from {clips.min()} to {clips.max()}: uint8 {expected} from 0 to 255 is expected; "
        "frames in [0, 1] must be multiplied by 255",
    )


def distinct(clips: np.ndarray) -> Check:
    share = len({digest(clip) for clip in clips}) / len(clips)
    return judge(
        "data_distinct",
        "Training clips differ",
        share,
        at_least=DISTINCT,
        unit=f"share of {len(clips)} clips",
        good="nearly every clip drawn is a new one",
        bad="the same clips come again and again: give more or longer clips, or lower data.clip_frames so that more windows fit",
    )


def varied(clips: np.ndarray) -> Check:
    deviation = clips.reshape(len(clips), -1).std(axis=1)
    worst = float(np.median(deviation))
    return judge(
        "data_not_constant",
        "Frames hold something",
        worst,
        at_least=VARIED,
        unit="grey values, median deviation within a clip",
        good="clips are not of one colour",
        bad="clips are of one colour: the files are empty, wrongly decoded or scaled twice; look at them in the Data preview",
        curve=tuple((float(place + 1), float(value)) for place, value in enumerate(np.sort(deviation))),
        axes=("clip, flattest first", "standard deviation"),
    )


def moving(clips: np.ndarray) -> Check:
    name, title = "data_moves", "Something moves"
    if clips.shape[1] < 2:
        return not_applicable(name, title, "clips have one frame only")
    change = np.abs(np.diff(clips.astype(np.int16), axis=1)).reshape(len(clips), -1).max(axis=1)
    share = float((change > 8).mean())
    return judge(
        name,
        title,
        share,
        at_least=MOVING,
        unit="share of clips",
        good="frames differ from those before them",
        bad="most clips stand still: copying the last frame is then the best prediction; use clips with motion, or skip frames",
    )


def disjoint(clips: dict[str, np.ndarray]) -> Check:
    """No frame of one split in another; frames of one colour are not counted."""
    digests = {split: {digest(frame) for clip in found for frame in clip if frame.std() >= VARIED} for split, found in clips.items()}
    digests["train"] |= digests.pop("drawn for training")
    shared = {
        f"{one} and {other}": len(digests[one] & digests[other])
        for one, other in (("train", "validation"), ("train", "test"), ("validation", "test"))
    }
    worst = max(shared, key=lambda pair: shared[pair])
    return judge(
        "splits_disjoint",
        "No frame is in two splits",
        sum(shared.values()),
        at_most=0,
        unit="frames",
        good="train, validation and test share no frame among those drawn",
        bad=f"{worst} share {shared[worst]} frames: scores on them measure memory; remove copies of the same clip",
        names=tuple(pair for pair, count in shared.items() if count),
    )


def digest(frames: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(frames).tobytes(), digest_size=12).digest()
