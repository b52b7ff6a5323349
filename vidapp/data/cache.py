"""Decoded clips at the model's size, kept on disk as memory-mapped .npy so that training need not decode or hold them.

The folder is bounded: what was not opened for the longest time is deleted when new clips make it too large.
"""

import contextlib
import hashlib
import itertools
import json
import math
import os
import shutil
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy_format

from ..files import FileLock, replacing
from .clips import ClipFile, Decoded, decoded
from .decoders import ClipError

VERSION = 2  # part of every key: raise it when decoding changes what comes out
MAX_FRAMES = 2_000_000  # of one file; later frames are not used
SPARE_DISK_BYTES = 512 << 20
OPEN_MAPS = 64
LARGEST_CACHE_BYTES = 64 << 30  # of all decoded clips; those in use may be more
IN_USE_S = 24 * 3600  # what was opened within this time is left alone: a training may read it
TOUCH_EVERY_S = 3600.0
TOUCHED: dict[Path, float] = {}  # when `prune` was last told that a file is in use
LOCKS = 16  # files to wait at while another process decodes; each is shared by many clips


def data_folder() -> Path:
    """Where downloads and caches live: VIDAPP_DATA, else `vidapp` in the user's cache folder. It is made when missing."""
    given = os.environ.get("VIDAPP_DATA")
    folder = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vidapp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"the data folder {folder} cannot be made ({error.strerror}): set VIDAPP_DATA to one that can be written"
        ) from error
    return folder.resolve()


def cached_clip(file: ClipFile, size: int, channels: int, step: int = 1) -> Path:
    """Path of the .npy of a clip file's every `step`-th frame, decoded now if it is not there yet: uint8 (N, T, C, size, size).

    The key is the files' paths, times of change and sizes. Of several processes that want it, one decodes. Raises ClipError for
    a file that cannot be decoded and ValueError where the disk is full.
    """
    folder = data_folder() / "clips"
    folder.mkdir(exist_ok=True)
    key = cache_key(file, size, channels, step)
    path = folder / f"{key}.npy"
    if is_whole(path, size, channels):
        return path
    with only_one(folder / f".lock-{int(key[:8], 16) % LOCKS:02d}"):
        if not is_whole(path, size, channels):  # nobody else has decoded it meanwhile
            decode_to(path, file, size, channels, step)
            prune(folder, LARGEST_CACHE_BYTES)
    return path


@contextlib.contextmanager
def only_one(path: Path) -> Iterator[None]:
    """One process at a time, where the file system knows locks."""
    lock = FileLock(path)
    lock.acquire(wait=True)
    try:
        yield
    finally:
        lock.release()


def decode_to(path: Path, file: ClipFile, size: int, channels: int, step: int) -> None:
    open_cached.cache_clear()  # a damaged one may be mapped already
    try:
        with decoded(file, size, channels, step) as source, replacing(path) as temporary, open(temporary, "wb") as output:
            write_clips(output, source, file.name, size, channels)
    except OSError as error:
        raise ValueError(
            f"decoded clips cannot be written to {path.parent} ({error.strerror}): free some space or set VIDAPP_DATA"
        ) from error


def prune(folder: Path, limit: int) -> list[Path]:
    """Delete decoded clips, those first that were not opened for longest, until `limit` bytes are left; returns what was deleted.

    What is in use, or was lately, is spared.
    """
    found: list[tuple[float, int, Path]] = []
    for path in folder.glob("*.npy"):
        with contextlib.suppress(OSError):  # another process prunes, too
            facts = path.stat()
            found.append((facts.st_mtime, facts.st_size, path))
    total, gone = sum(size for _, size, _ in found), []
    for opened, size, path in sorted(found):
        if total <= limit or opened > time.time() - IN_USE_S:
            break
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
            gone.append(path)
        total -= size
    return gone


def in_use(path: Path) -> np.ndarray:
    """The memory map of a cached file, uint8 (N, T, C, H, W), of which `prune` knows for hours that it is in use."""
    if time.monotonic() - TOUCHED.get(path, -math.inf) > TOUCH_EVERY_S:
        TOUCHED[path] = time.monotonic()
        with contextlib.suppress(OSError):
            os.utime(path)
    return open_cached(path)


@lru_cache(maxsize=OPEN_MAPS)
def open_cached(path: Path) -> np.ndarray:
    """The memory map of a cached file. Only so many stay open, since each holds a file handle."""
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"the decoded clips in {path.parent} were changed or deleted while in use: start again") from error
    return array


def cache_key(file: ClipFile, size: int, channels: int, step: int) -> str:
    stats = []
    for path in file.images or (file.path,):
        try:
            stat = path.stat()
        except OSError as error:
            raise ClipError(f"{path.name} cannot be read: check that it still exists") from error
        stats.append([str(path.resolve()), stat.st_mtime_ns, stat.st_size])
    facts = [VERSION, size, channels, stats, file.entries, *([step] if step > 1 else [])]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:40]


def is_whole(path: Path, size: int, channels: int) -> bool:
    """Whether a cached file is there with the size that its header says."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return False
    return array.dtype == np.uint8 and array.ndim == 5 and array.shape[2:] == (channels, size, size)


def write_clips(output: BinaryIO, source: Decoded, name: str, size: int, channels: int) -> None:
    """Stream every clip of `source` into a .npy; its length is often known at the end only, so the header comes twice."""
    known, frame_bytes = source.count * (source.frames or 0), channels * size**2
    if source.count > 1 and known > MAX_FRAMES:
        raise ClipError(f"{name} has {known} frames, above the limit of {MAX_FRAMES}: split it")
    if known * frame_bytes > LARGEST_CACHE_BYTES:
        raise ClipError(f"{name} takes {known * frame_bytes >> 30} GiB once decoded to {size} pixels, above the limit: split it")
    header = write_header(output, (source.count, source.frames or 0, channels, size, size))
    frames = 0
    for index in range(source.count):
        for frame in itertools.islice(source.read(index), min(MAX_FRAMES, LARGEST_CACHE_BYTES // frame_bytes) - frames):
            if frames % 1000 == 0:
                check_disk(output, 1000 * frame.nbytes)
            output.write(frame.tobytes())
            frames += 1
    if not frames:
        raise ClipError(f"{name} has no frames: save it again or leave it out")
    output.seek(0)
    rewritten = write_header(output, (source.count, frames // source.count, channels, size, size))
    assert rewritten == header


def write_header(output: BinaryIO, shape: tuple[int, ...]) -> int:
    """Write a .npy header with the shape's digits padded, so that a second one over it has the same length, and tell that."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({', '.join(f'{number:12d}' for number in shape)}), }}"
    content = text.ljust(192 - 11) + "\n"
    return output.write(npy_format.magic(1, 0) + len(content).to_bytes(2, "little") + content.encode("latin1"))


def check_disk(output: BinaryIO, needed: int) -> None:
    if shutil.disk_usage(Path(output.name).parent).free < needed + SPARE_DISK_BYTES:
        raise ValueError(f"the disk of {Path(output.name).parent} is nearly full: free some space or set VIDAPP_DATA to another folder")
