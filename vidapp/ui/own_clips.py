"""Clips that a person brings: read to be looked at, and kept in the folder that training from the page may use.

Nothing that is there is ever overwritten. What is kept is a copy under a name of ours, so no name of a person's leads anywhere.
"""

import contextlib
import dataclasses
import filecmp
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..config import DataConfig
from ..files import resolve_inside, safe_name
from . import sources

MOST_FILES = 500
MOST_BYTES = 4 << 30  # kept at once
SPARE_BYTES = 1 << 30  # of disk that is left free
SHOWN = 12
GLANCES = 3  # files that are looked at for colours
CLIP_FILES = [".npy", ".gif", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".zip"]  # offered by every box for clips


@dataclass
class Brought:
    """What became of uploaded files. clips: (name, frames uint8 (T, C, H, W)), the first few; usable: paths that hold a clip that is
    long enough; skipped: (name, reason); partly: files of so many clips that only the first SHOWN were looked at."""

    clips: list[tuple[str, np.ndarray]] = field(default_factory=list)
    usable: list[Path] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    partly: list[str] = field(default_factory=list)


def read_brought(paths: list[str], data: DataConfig, wanted: Callable[[], None] = lambda: None) -> Iterator[tuple[int, Brought]]:
    """Read uploaded files one after the other: yields (files done, what became of them so far). Nobody's bad file ends it. wanted: is called
    for every frame, and raises where no more of them is."""
    from ..data.clips import read_clips
    from ..data.decoders import looking_up

    if not paths:
        raise ValueError("no file was uploaded yet: drop videos, GIFs, .npy or .zip files into the box")
    if len(paths) > MOST_FILES:
        raise ValueError(f"{len(paths)} files are more than the {MOST_FILES} that can be brought at once: put them into a .zip")
    brought = Brought()
    for done, path in enumerate(map(Path, paths)):
        yield done, brought
        try:
            with looking_up(wanted):
                found, skipped = read_clips(path, data.size, data.channels, data.clip_frames, SHOWN, data.frame_step)
        except (ValueError, OSError) as error:
            brought.skipped.append((path.name, str(error)))
            continue
        brought.skipped += [(f"{path.name}: {name}" if name != path.name else name, reason) for name, reason in skipped]
        if len(found) == SHOWN:
            brought.partly.append(path.name)
        long_enough = [clip for clip in found if len(clip.frames) == data.clip_frames]
        brought.skipped += [
            (clip.name, too_short(len(clip.frames), data.clip_frames)) for clip in found if len(clip.frames) < data.clip_frames
        ]
        if long_enough:
            brought.usable.append(path)
            brought.clips += [(clip.name, clip.frames) for clip in long_enough][: SHOWN - len(brought.clips)]
    yield len(paths), brought


def lose_colours(paths: list[Path], data: DataConfig) -> bool:
    """Whether the first of these files that shows any has colours, and `data` keeps none."""
    from ..data.glance import glance

    for path in paths[:GLANCES]:
        with contextlib.suppress(ValueError, OSError):
            if glance(dataclasses.replace(data, source=str(path))):
                return True
    return False


def too_short(frames: int, wanted: int) -> str:
    fix = f": leave it out, or set Clip length to {frames}, for all clips" if frames >= 2 else ""
    return f"it has {frames} of the {wanted} frames asked for{fix}"


def keep(paths: list[Path], name: str) -> str:
    """Copy files into a new folder of own clips; returns the choice that training offers for it. Asked twice, as by a double click, it
    keeps them once. ValueError where that cannot be."""
    if not paths:
        raise ValueError("there is no usable clip to keep: upload some that can be read and are long enough")
    if not name.strip():
        raise ValueError("the clips have no name yet: give them one, under which they can be chosen")
    safe = safe_name("-".join(name.split()), "the name of the clips")
    folder = sources.own_folder()
    folder.mkdir(parents=True, exist_ok=True)
    target = resolve_inside(folder, safe)
    if target.exists():
        if holds(target, paths):
            return f"{sources.PREFIX}{safe}"
        raise ValueError(f"there are clips named {safe!r} already, and nothing is overwritten: choose another name")
    needed = sum(path.stat().st_size for path in paths)
    free = shutil.disk_usage(folder).free
    if needed > MOST_BYTES or needed + SPARE_BYTES > free:
        raise ValueError(
            f"these clips take {needed >> 20} MiB: at most {MOST_BYTES >> 20} MiB are kept at once, and {SPARE_BYTES >> 20} MiB of the disk "
            f"stay free ({free >> 20} MiB are free): bring fewer, or put them into {folder} by hand"
        )
    growing = folder / f".{secrets.token_hex(8)}"  # not offered: its name begins with a dot
    growing.mkdir()
    try:
        for number, path in enumerate(paths):
            shutil.copyfile(path, growing / kept_name(number, path))
        growing.rename(target)
    except OSError as error:
        shutil.rmtree(growing, ignore_errors=True)
        raise ValueError(f"the clips could not be kept in {folder} ({error.strerror}): choose another name or free some space") from error
    return f"{sources.PREFIX}{safe}"


def holds(folder: Path, paths: list[Path]) -> bool:
    """Whether these files, and no others, were copied there."""
    names = [kept_name(number, path) for number, path in enumerate(paths)]
    if sorted(path.name for path in folder.iterdir()) != names:
        return False
    return all(filecmp.cmp(folder / name, path, shallow=False) for name, path in zip(names, paths, strict=True))


def kept_name(number: int, path: Path) -> str:
    """`003-my-clip.mp4`: letters, digits, dashes, and the suffix by which it is read."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", path.stem)[:60].strip("-") or "clip"
    suffix = re.sub(r"[^.a-z0-9]", "", path.suffix.lower())
    return f"{number:03d}-{stem}{suffix}"
