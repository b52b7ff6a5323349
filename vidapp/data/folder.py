"""Training on somebody's own clips: decoded once to disk, split so that no frame is in two splits, cut into windows."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..config import SPLITS, DataConfig
from ..files import expanded
from ..randomness import numpy_generator
from .archive import held_open
from .cache import cached_clip, in_use
from .clips import ClipFile, clip_name, find_clips, nothing_in
from .decoders import ClipError
from .fixed import room_for

HELD_OUT = 0.1  # share of the clips (or, of one or two clips, of the frames) in each of validation and test

Progress = Callable[[int, int, str], None]  # (clip files done, clip files in all, name of the next)


@dataclass(frozen=True)
class Segment:
    """Frames [start, stop) of clip `index` in the cached file `path`."""

    name: str
    path: Path
    index: int
    start: int
    stop: int

    def windows(self, frames: int) -> int:
        """How many windows of so many frames lie in it."""
        return max(0, self.stop - self.start - frames + 1)

    def window(self, offset: int, frames: int) -> np.ndarray:
        """A copy of the window uint8 (T, C, H, W) that begins `offset` frames after the segment does."""
        clip = in_use(self.path)[self.index]
        return np.array(clip[self.start + offset : self.start + offset + frames])

    def part(self, start: int, stop: int) -> "Segment":
        return Segment(self.name, self.path, self.index, start, stop)


class TooShortError(ValueError):
    """Clips have fewer frames in a row than are needed; `fits` is how many would do."""

    def __init__(self, sentence: str, fits: int) -> None:
        super().__init__(sentence)
        self.fits = fits


class FolderSource:
    """Clips from `config.source`: a file, a folder or a .zip, resized and cropped to the model's size, every `config.frame_step`-th frame
    of them, which is what all numbers of frames count.

    Every clip goes whole into one of train, validation and test, by a hash of its name, so that adding clips moves none
    (except that an empty split takes one). One or two clips are split by time instead. `skipped` holds (name, reason) of
    what could not be used. Memory: the windows that are asked for; decoded frames stay in memory-mapped files below
    VIDAPP_DATA, and decoding holds one frame at a time. `progress` hears of each file before it is decoded.
    Raises ValueError where nothing is left to train on.
    """

    def __init__(self, config: DataConfig, *, progress: Progress | None = None) -> None:
        self.config = config
        self._found: dict[tuple[str, int], Windows] = {}
        path = expanded(config.source)
        self.name = path.name or str(path)
        files, self.skipped = find_clips(path)
        if not files:
            raise nothing_in(path, self.skipped)
        with held_open():
            found = self._decode(files, progress)
        if not found:
            raise nothing_in(path, self.skipped)
        usable = [segment for segment in found if segment.windows(config.clip_frames)]
        short = [segment for segment in found if not segment.windows(config.clip_frames)]
        self.skipped += [(segment.name, f"it has {segment.stop} of the {config.clip_frames} frames needed") for segment in short]
        if not usable:
            raise too_short(self.name, found, config.clip_frames)
        self.segments = split_by_time(self.name, usable, config.clip_frames) if len(usable) <= 2 else split_by_name(usable)

    def _decode(self, files: list[ClipFile], progress: Progress | None) -> list[Segment]:
        segments: list[Segment] = []
        for done, file in enumerate(files):
            if progress:
                progress(done, len(files), file.name)
            try:
                path = cached_clip(file, self.config.size, self.config.channels, self.config.frame_step)
            except ClipError as error:
                self.skipped.append((file.name, str(error)))
                continue
            count, frames = in_use(path).shape[:2]
            segments += [Segment(clip_name(file, count, index), path, index, 0, frames) for index in range(count)]
        return segments

    def training_clip(self, seed: int, step: int, sample: int, frames: int) -> np.ndarray:
        """A window uint8 (T, C, H, W) of the training split, a function of (seed, step, sample); every window is as likely."""
        windows = self._windows("train", frames)
        return windows[int(numpy_generator(seed, "clip", step, sample).integers(len(windows)))]

    def fixed_clips(self, split: str, count: int, frames: int, first: int = 0) -> np.ndarray:
        """Windows uint8 (N, T, C, H, W) of a split from number `first` on, in a fixed shuffled order, so fewer are a prefix of more.

        They do not overlap as long as such windows last; then the others follow. Fewer than `count` where no more exist.
        """
        windows = self._windows(split, frames)
        count = max(0, min(count, len(windows) - first))
        clips = room_for(count, frames, self.config)
        for clip, number in zip(clips, windows.fixed_order(split, first + count)[first:], strict=True):
            clip[:] = windows[int(number)]
        return clips

    def numbered_clip(self, split: str, number: int, frames: int) -> np.ndarray:
        """The window of `config.clip_frames` frames of that number in the order of `fixed_clips`, and what follows it in its segment: its
        first `frames` frames (T, C, H, W), fewer where the segment ends. ValueError where there is none of that number."""
        windows = self._windows(split, self.config.clip_frames)
        if number >= len(windows):
            raise ValueError(f"there is no {split} clip {number}: {self.name} has {len(windows)}, counted from 0")
        return windows.onwards(int(windows.fixed_order(split, number + 1)[number]), frames)

    def fixed_recordings(self, split: str, count: int, frames: int) -> np.ndarray:
        """Of the `count` windows that `fixed_clips` gave, int (count,): which clip each is cut from."""
        windows = self._windows(split, frames)
        return windows.places(windows.fixed_order(split, count))

    def _windows(self, split: str, frames: int) -> "Windows":
        if split not in SPLITS:
            raise ValueError(f"unknown split {split!r}: use one of {', '.join(SPLITS)}")
        if (split, frames) not in self._found:
            long_enough = [segment for segment in self.segments[split] if segment.windows(frames)]
            if not long_enough:
                longest = max(segment.stop - segment.start for segment in self.segments[split])
                sentence = f"{self.name} has at most {longest} frames in a row for {split}, but {frames} are needed"
                raise TooShortError(f"{sentence}: use at most {longest}, or give longer clips", longest)
            self._found[split, frames] = Windows(long_enough, frames)
        return self._found[split, frames]


class Windows:
    """Every window of `frames` frames in some segments, numbered through all of them."""

    def __init__(self, segments: list[Segment], frames: int) -> None:
        self.segments = segments
        self.frames = frames
        self.numbers = np.array([segment.windows(frames) for segment in segments])
        self.ends = np.cumsum(self.numbers)

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, number: int) -> np.ndarray:
        """The window uint8 (T, C, H, W) of that number."""
        return self.onwards(number, self.frames)

    def onwards(self, number: int, frames: int) -> np.ndarray:
        """At most so many frames (T, C, H, W) from where the window of that number begins: its segment may end before."""
        place = int(self.places(np.array(number)))
        segment, offset = self.segments[place], number - int(self.ends[place] - self.numbers[place])
        return segment.window(offset, min(frames, segment.stop - segment.start - offset))

    def places(self, numbers: np.ndarray) -> np.ndarray:
        """Which segment each of these windows lies in."""
        return np.searchsorted(self.ends, numbers, side="right")

    def fixed_order(self, split: str, count: int) -> np.ndarray:
        """Numbers of at most `count` windows: first those that do not overlap, shuffled, then the others, shuffled."""
        firsts = self.ends - self.numbers
        apart = np.concatenate([first + np.arange(0, number, self.frames) for first, number in zip(firsts, self.numbers, strict=True)])
        chosen: np.ndarray = numpy_generator(0, "fixed", split).permutation(apart)[:count]
        if len(chosen) < count:
            others = np.setdiff1d(np.arange(len(self)), apart)
            shuffled = numpy_generator(0, "fixed", split, "overlapping").permutation(others)
            chosen = np.concatenate([chosen, shuffled[: count - len(chosen)]])
        return chosen


def split_by_name(clips: list[Segment]) -> dict[str, list[Segment]]:
    """Whole clips into splits by a hash of their names; an empty split takes a clip from the fullest one."""
    splits: dict[str, list[Segment]] = {split: [] for split in SPLITS}
    for clip in sorted(clips, key=lambda clip: share_of(clip.name)):
        share = share_of(clip.name)
        splits["test" if share < HELD_OUT else "validation" if share < 2 * HELD_OUT else "train"].append(clip)
    for split in SPLITS:
        if not splits[split]:
            splits[split].append(max(splits.values(), key=len).pop(0))
    return splits


def share_of(name: str) -> float:
    """A number in [0, 1) that depends on the name alone, the same on every machine."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:6], "big") / (1 << 48)


def split_by_time(name: str, clips: list[Segment], needed: int) -> dict[str, list[Segment]]:
    """One or two clips: the end of the longest is held out, and no frame is in two splits; ValueError where they are too short."""
    longest, *others = sorted(clips, key=lambda clip: (-clip.stop, clip.name))
    end = longest.stop
    held_out = max(needed, round(HELD_OUT * end))
    if end >= 3 * needed:
        return {
            "train": [longest.part(0, end - 2 * held_out), *others],
            "validation": [longest.part(end - 2 * held_out, end - held_out)],
            "test": [longest.part(end - held_out, end)],
        }
    if others and end >= 2 * needed:
        return {"train": [longest.part(0, end - held_out)], "validation": [longest.part(end - held_out, end)], "test": others}
    fix = max(1, end // 3)
    raise TooShortError(
        f"{name} has {end} frames in its longest clip, but training, validation and test need {3 * needed} of their own "
        f"({needed} each): give a longer clip, three clips or more, or set data.clip_frames to at most {fix}",
        fix,
    )


def too_short(name: str, found: list[Segment], needed: int) -> TooShortError:
    longest = max(segment.stop for segment in found)
    return TooShortError(
        f"no clip in {name} has the {needed} frames that data.clip_frames asks for (the longest has {longest}): "
        f"give longer clips or set data.clip_frames to at most {longest}",
        longest,
    )
