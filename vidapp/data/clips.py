"""Somebody's clips, read: .npy, .gif, .mp4/.m4v/.mov/.mkv/.webm/.avi, a folder of numbered pictures, a folder or .zip of any of these.

`first_clip` and `read_clips` answer with frames in memory, `find_clips` and `decoded` with a stream for those who cannot
hold them. All raise ClipError (a ValueError) of one sentence. No torch here.
"""

import contextlib
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from .archive import extracted, held_open, shown, zip_entries
from .decoders import (
    IMAGE_SUFFIXES,
    VIDEO_SUFFIXES,
    ClipError,
    Frames,
    fitted,
    gif_frames,
    image_frame,
    npy_frames,
    npy_layout,
    video_frames,
)

CLIP_SUFFIXES = (".npy", ".gif", *VIDEO_SUFFIXES)
KINDS = ".npy, .gif, .mp4, .m4v, .mov, .mkv, .webm, .avi, a folder of numbered pictures, or a folder or .zip of these"
UNKNOWN = "it is of an unknown type"
MAX_FILES = 100_000  # looked at in a folder
MAX_DEPTH = 8  # folders inside folders
MOST_UNREADABLE = 100  # clips of one file or folder: one that is all damaged is not gone through to its end
MAX_READ_BYTES = 1 << 30  # of frames held by read_clips

Skipped = tuple[str, str]  # (name, reason)


@dataclass(frozen=True)
class ClipFile:
    """One file, or one folder's pictures, that hold a clip (a .npy may hold several).

    `name` is relative to what was given. With `entries`, `path` is the zip that they are in; with `images`, their folder.
    """

    name: str
    path: Path
    images: tuple[Path, ...] = ()
    entries: tuple[str, ...] = ()


@dataclass(frozen=True)
class Decoded:
    """`count` clips; `frames` in each, None where only reading to the end tells; `read(i)` streams uint8 (C, size, size)."""

    count: int
    frames: int | None
    read: Callable[[int], Iterator[np.ndarray]]


@dataclass(frozen=True)
class Clip:
    """A clip in memory: `frames` uint8 (T, C, H, W)."""

    name: str
    frames: np.ndarray


def first_clip(path: str | Path, size: int, channels: int, max_frames: int, step: int = 1) -> tuple[Clip, str]:
    """The clip in a file, or the first of several that can be read, as `read_clips` has it; of several also which one it is, in a
    sentence."""
    files, left_out = find_clips(path)
    (clip,), skipped = read_found(Path(path), files, left_out, size, channels, max_frames, 1, step)
    damaged = [PurePosixPath(name).name for name, reason in skipped if reason != UNKNOWN]
    first = f"This is {clip.name}, the first clip in {Path(path).name}"
    if damaged:
        others = f" and {len(damaged) - 1} more" if len(damaged) > 1 else ""
        return clip, f"{first} that can be read: {damaged[0]}{others} cannot."
    return clip, "" if [clip.name] == [file.name for file in files] else f"{first}."


def read_clips(
    path: str | Path, size: int, channels: int, max_frames: int, max_clips: int, step: int = 1
) -> tuple[list[Clip], list[Skipped]]:
    """The first `max_clips` clips in a file, folder or zip, uint8 (T, C, size, size) each, and (name, reason) of what was skipped.

    Every `step`-th frame, at most `max_frames` from the start, cut to its central square and resized with antialiasing; `channels` is 1
    (grey) or 3 (colour).

    Raises ClipError where nothing can be looked through or where not one clip could be read. At most 1 GiB is read in all, and no more is
    looked at once MOST_UNREADABLE could not be read.
    """
    return read_found(Path(path), *find_clips(path), size, channels, max_frames, max_clips, step)


def read_found(
    path: Path, files: list[ClipFile], left_out: list[Skipped], size: int, channels: int, max_frames: int, max_clips: int, step: int
) -> tuple[list[Clip], list[Skipped]]:
    """The same of what `find_clips` has found there."""
    clips: list[Clip] = []
    skipped = list(left_out)
    room, failed = MAX_READ_BYTES, 0
    with held_open():
        for file in files:
            try:
                with decoded(file, size, channels, step) as source:
                    for index in range(min(source.count, max_clips - len(clips))):
                        frames = gathered(file.name, source.read(index), frame_limit(size, channels, max_frames, room))
                        clips.append(Clip(clip_name(file, source.count, index), frames))
                        room -= frames.nbytes
            except ClipError as error:
                skipped.append((file.name, str(error)))
                failed += 1
            if len(clips) >= max_clips or failed >= MOST_UNREADABLE:
                break
    if failed >= MOST_UNREADABLE:
        skipped.append((path.name, f"no more of it was looked at: {failed} of its clips cannot be read"))
    if not clips:
        raise nothing_in(path, skipped)
    return clips, skipped


def frame_limit(size: int, channels: int, max_frames: int, room: int) -> int:
    """How many frames fit in `room` bytes, at most `max_frames`."""
    if channels not in (1, 3) or not 1 <= size <= 4096 or max_frames < 1:
        raise ValueError(
            f"size {size}, channels {channels} and {max_frames} frames: use 1 to 4096 pixels, 1 or 3 channels, 1 or more frames"
        )
    limit = min(max_frames, room // (size * size * channels))
    if limit < 1:
        raise ClipError(f"the clips before it already fill {MAX_READ_BYTES >> 20} MiB: ask for fewer or shorter clips")
    return limit


def gathered(name: str, frames: Iterable[np.ndarray], limit: int) -> np.ndarray:
    """At most `limit` frames, stacked."""
    kept = list(itertools.islice(frames, limit))
    if not kept:
        raise ClipError(f"{PurePosixPath(name).name} has no frames: save it again or leave it out")
    return np.stack(kept)


def clip_name(file: ClipFile, count: int, index: int) -> str:
    return file.name if count == 1 else f"{file.name}[{index}]"


def nothing_in(path: Path, skipped: list[Skipped]) -> ClipError:
    if not skipped:
        return ClipError(f"{path.name} holds no clips: give {KINDS}")
    name, reason = by_weight(skipped)[0]
    others = f" (and {len(skipped) - 1} more)" if len(skipped) > 1 else ""
    detail = reason if PurePosixPath(name).name in reason else f"{name}: {reason}"
    if name == path.name:
        return ClipError(detail)
    return ClipError(f"{path.name} holds no readable clip: {detail}{others}")


def by_weight(skipped: list[Skipped]) -> list[Skipped]:
    """What was skipped, clips that cannot be used before files that may never have been meant as any."""
    return sorted(skipped, key=lambda one: one[1] == UNKNOWN)


def find_clips(path: str | Path) -> tuple[list[ClipFile], list[Skipped]]:
    """The clips at `path` in natural order of their names, and (name, reason) of files that are none. Nothing is decoded."""
    path = Path(path)
    try:
        if path.is_dir():
            return folder_clips(path)
        if not path.is_file():
            raise ClipError(f"there is no clip at {path.name or path}: check the path, or give {KINDS}")
    except (OSError, ValueError) as error:
        if isinstance(error, ClipError):
            raise
        raise ClipError(f"{path.name[-120:]!r} cannot be opened: check the path and whether it may be read") from error
    suffix = path.suffix.lower()
    if suffix == ".zip":
        return zip_clips(path)
    if suffix in IMAGE_SUFFIXES:
        raise ClipError(f"{path.name} is a single picture, not a clip: give {KINDS}")
    if suffix not in CLIP_SUFFIXES:
        name = path.name if path.suffix else repr(path.name)
        raise ClipError(f"{name} is of an unknown type: give {KINDS}")
    return [ClipFile(path.name, path)], []


def folder_clips(root: Path) -> tuple[list[ClipFile], list[Skipped]]:
    """Every clip file below a folder, and the pictures of each folder as one clip."""
    files: list[ClipFile] = []
    skipped: list[Skipped] = []
    looked_at = 0
    for folder, folders, names in os.walk(root):
        here = Path(folder)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        looked_at += len(names) + len(folders)
        if looked_at > MAX_FILES:
            raise ClipError(f"{root.name} has more than {MAX_FILES} files in it: give a smaller folder")
        left_out = {name: reason for name in folders if (reason := unentered(here / name, root))}
        skipped += [((here / name).relative_to(root).as_posix(), reason) for name, reason in left_out.items()]
        folders[:] = [name for name in folders if name not in left_out]
        images: list[Path] = []
        for name in sorted(name for name in names if not name.startswith(".")):
            path = here / name
            shown_name = path.relative_to(root).as_posix()
            if reason := unusable(path, root):
                skipped.append((shown_name, reason))
            elif path.suffix.lower() == ".zip":
                inner, refused = zip_in_folder(path, shown_name)
                files += inner
                skipped += refused
            elif path.suffix.lower() in IMAGE_SUFFIXES:
                images.append(path)
            else:
                files.append(ClipFile(shown_name, path))
        if images:
            name = root.name if here == root else here.relative_to(root).as_posix()
            files.append(ClipFile(name, here, images=tuple(sorted(images, key=lambda image: natural(image.name)))))
    return sorted(files, key=lambda file: natural(file.name)), skipped


def unusable(path: Path, root: Path) -> str:
    """Why a file in a folder is left alone, or nothing."""
    suffix = path.suffix.lower()
    if suffix not in (".zip", *CLIP_SUFFIXES, *IMAGE_SUFFIXES):
        return UNKNOWN
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):  # of a loop of links `resolve` would make an error
        return "it is a link that leads out of the folder"
    return "" if path.is_file() else "it is no ordinary file, or a link to nothing"


def zip_in_folder(path: Path, name: str) -> tuple[list[ClipFile], list[Skipped]]:
    """The clips of a zip that lies in a folder under this name, which is part of theirs."""
    try:
        files, skipped = zip_clips(path)
    except ClipError as error:
        return [], [(name, str(error))]
    return [replace(file, name=f"{name}/{file.name}") for file in files], [(f"{name}/{inner}", reason) for inner, reason in skipped]


def unentered(folder: Path, root: Path) -> str:
    """Why a folder in a folder is left alone, or nothing."""
    if folder.is_symlink():
        return "it is a link to a folder: copy the folder here, or give it by itself"
    if len(folder.relative_to(root).parts) > MAX_DEPTH:
        return f"it lies more than {MAX_DEPTH} folders deep: move it up, or give it by itself"
    return ""


def zip_clips(path: Path) -> tuple[list[ClipFile], list[Skipped]]:
    """The same for a zip, without unpacking it."""
    entries, skipped = zip_entries(path)
    files: list[ClipFile] = []
    images: dict[str, list[str]] = {}
    for entry in entries:
        suffix = PurePosixPath(entry).suffix.lower()
        if suffix in CLIP_SUFFIXES:
            files.append(ClipFile(shown(entry), path, entries=(entry,)))
        elif suffix in IMAGE_SUFFIXES:
            images.setdefault(str(PurePosixPath(entry).parent), []).append(entry)
        else:
            skipped.append((shown(entry), UNKNOWN))
    for folder, members in images.items():
        name = path.stem if folder == "." else shown(folder)
        files.append(ClipFile(name, path, entries=tuple(sorted(members, key=natural))))
    return sorted(files, key=lambda file: natural(file.name)), skipped


def natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key in which frame2 comes before frame10."""
    parts = re.split(r"([0-9]{1,18})", name)
    return [(0, int(part), "") if part.isdigit() and part.isascii() else (1, 0, part) for part in parts] + [(1, 0, name)]


@contextlib.contextmanager
def decoded(file: ClipFile, size: int, channels: int, step: int = 1) -> Iterator[Decoded]:
    """The clip or clips of a file as streams of uint8 frames (C, size, size), every `step`-th one, good until the block is left."""
    if file.entries:
        with extracted(file.path, file.entries) as paths, renamed(file, paths):
            yield decoded_paths(paths, size, channels, step)
    else:
        yield decoded_paths(list(file.images) or [file.path], size, channels, step)


@contextlib.contextmanager
def renamed(file: ClipFile, paths: list[Path]) -> Iterator[None]:
    """Unpacked files have numbers for names: in errors they get their own names back."""
    try:
        yield
    except ClipError as error:
        text = str(error)
        for path, entry in zip(paths, file.entries, strict=True):
            text = text.replace(path.name, PurePosixPath(shown(entry)).name)
        raise ClipError(text) from error


def decoded_paths(paths: list[Path], size: int, channels: int, step: int) -> Decoded:
    first = paths[0]
    suffix = first.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        kept = paths[::step]
        return Decoded(1, len(kept), lambda _: (fitted(path.name, image_frame(path), size, channels) for path in kept))
    fit = partial(all_fitted, first.name, size=size, channels=channels, step=step)
    if suffix == ".npy":
        layout = npy_layout(first)
        return Decoded(layout.clips, len(range(0, layout.frames, step)), lambda index: fit(npy_frames(first, layout, index)))
    open_frames = partial(gif_frames if suffix == ".gif" else video_frames, first)
    return Decoded(1, None, lambda _: fit(open_frames()))


def all_fitted(name: str, images: Frames, *, size: int, channels: int, step: int) -> Iterator[np.ndarray]:
    """Every `step`-th frame, resized; a stream that is left early closes its decoder at once."""
    with contextlib.closing(images):
        for image in itertools.islice(images, 0, None, step):
            yield fitted(name, image, size, channels)
