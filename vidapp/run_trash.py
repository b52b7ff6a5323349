"""Runs that a person has done away with: moved into a folder of their own inside the runs folder, from which they can come back."""

import contextlib
import os
import secrets
import time
from pathlib import Path

from .failures import reason
from .files import FileLock, resolve_inside, safe_name
from .run_folder import LOCK, QUEUED, runs_folder
from .run_reader import open_run

TRASH = ".trash"  # no name of a run begins with a dot: nothing in it is listed


def discard(name: str, folder: Path | None = None) -> str:
    """Move a run into the trash; returns its place there, `moment/name`. Nothing is deleted.

    ValueError: there is no such run, it is live or waits in the queue, or it cannot be moved.
    """
    root = (folder or runs_folder()).absolute()
    run = open_run(name, root)
    status = run.status()
    if status.live:
        raise ValueError(f"run {run.name!r} is {status.state}: stop it first")
    if status.state == QUEUED:
        raise ValueError(f"run {run.name!r} waits in the queue: stop it first, which takes it out")
    lock = FileLock(run.path / LOCK)
    if not lock.acquire():
        raise ValueError(f"run {run.name!r} is being written by another process: stop that one first")
    place = root / TRASH / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    try:
        place.mkdir(parents=True)
        os.rename(run.path, place / run.name)
    except OSError as error:
        raise ValueError(f"cannot move run {run.name!r} to {place}: {reason(error)}") from error
    finally:
        lock.release()
    return f"{place.name}/{run.name}"


def trashed(folder: Path | None = None) -> list[str]:
    """The places, `moment/name`, of the runs in the trash, those moved last first."""
    root = (folder or runs_folder()).absolute() / TRASH
    places: list[str] = []
    with contextlib.suppress(OSError):
        for moment in sorted(root.iterdir(), key=lambda path: path.name, reverse=True):
            if moment.is_dir() and not moment.is_symlink():
                places += [f"{moment.name}/{run.name}" for run in sorted(moment.iterdir()) if run.is_dir() and not run.is_symlink()]
    return places


def newest_of(name: str, folder: Path | None = None) -> str:
    """The place of a run in the trash by its name, or by its place; the one moved last where there are several. ValueError for none."""
    found = [place for place in trashed(folder) if name in (place, place.partition("/")[2])]
    if not found:
        raise ValueError(f"there is no run {name[:100]!r} in the trash: see `python -m vidapp runs trash`")
    return found[0]


def restore(place: str, folder: Path | None = None) -> str:
    """Bring a run back from its place in the trash; returns its name. ValueError where it is not there, or its name is taken by now."""
    root = (folder or runs_folder()).absolute()
    moment, _, name = place.partition("/")
    path = resolve_inside(root / TRASH, Path(safe_name(moment, "place")) / safe_name(name))
    if not path.is_dir():
        raise ValueError(f"there is no run {name!r} in {path.parent}: it was taken out already")
    if (root / name).exists():
        raise ValueError(f"there is another run {name!r} by now: move {path} back by hand, under another name")
    try:
        os.rename(path, root / name)
    except OSError as error:
        raise ValueError(f"cannot move {path} back to {root}: {reason(error)}") from error
    with contextlib.suppress(OSError):
        path.parent.rmdir()
    return name
