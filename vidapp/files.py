"""Files that are whole or not there: atomic writes, safe names, paths held inside a known folder, locks."""

import contextlib
import errno
import json
import math
import os
import re
import secrets
import stat
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

fcntl: Any
try:
    import fcntl
except ImportError:  # not on Windows: there the locks below are never refused
    fcntl = None

NAME_LENGTH = 64
LONGEST_WHOLE = 18  # digits
JSON_LIMIT = 1 << 20  # bytes; no status, control or config file comes near it
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", re.ASCII)
_TEMPORARY = ".tmp-"


def safe_name(name: str, what: str = "run name") -> str:
    """`name` itself where it is a safe name for one file or folder; ValueError says what is allowed."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > NAME_LENGTH:
        shown = repr(name) if len(str(name)) <= 2 * NAME_LENGTH else f"{str(name)[:NAME_LENGTH]!r}..."
        raise ValueError(f"{what} {shown} is not usable: use 1 to {NAME_LENGTH} letters, digits, '.', '_' or '-', not starting with '.'")
    return name


def expanded(path: str) -> Path:
    """A path with `~` and `~name` as the home folder that it stands for; ValueError where nobody of that name is known."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{path!r} begins with a home folder that is not known here: give the whole path") from error


def resolve_inside(folder: str | Path, path: str | Path) -> Path:
    """The absolute path of `path` taken relative to `folder`, links followed; ValueError where that leads out of it."""
    root = Path(folder).resolve()
    try:
        resolved = (root / path).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a zero byte, a name too long for the system
        raise ValueError(f"{str(path)!r} is no usable path: {error}") from error
    if not resolved.is_relative_to(root):
        raise ValueError(f"{str(path)!r} lies outside of {root}: give a path inside it")
    return resolved


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path` to write to; on leaving it is flushed to disk and takes `path`'s place.

    An exception (or a crash) leaves `path` as it was; OSError is passed on.
    """
    path = Path(path)
    temporary = path.with_name(f"{_TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}{path.suffix}")  # no longer than the name may be
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a whole file atomically: readers see the old content or the new, never a part."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | Path, text: str) -> None:
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | Path, value: Any, *, even_full: bool = False) -> None:
    """Write a value as JSON, atomically; with `even_full`, on a full disk, over the old file in the room that this has."""
    text = json.dumps(plain(value), indent=2, allow_nan=False) + "\n"
    try:
        write_text(path, text)
    except OSError as error:
        if not even_full:
            raise
        try:
            write_without_room(path, value)
        except OSError:
            raise error from None


def write_without_room(path: str | Path, value: Any) -> None:
    """Write JSON over a file in the room that it has already: the last resort on a full disk. OSError where it does not fit.

    Not atomic: a reader may meet a part of it, and must take damaged JSON for no news.
    """
    content = json.dumps(plain(value), allow_nan=False).encode()
    with open(path, "rb+") as file:
        facts = os.fstat(file.fileno())
        if len(content) > max(facts.st_size, getattr(facts, "st_blocks", 0) * 512):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        file.write(content.ljust(facts.st_size))
        file.flush()
        os.fsync(file.fileno())


def open_ordinary(path: str | Path) -> IO[bytes]:
    """Open an ordinary file to be read; OSError where it is none. A pipe would wait for a writer, a device may have no end."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(number, os.strerror(number) if stat.S_ISDIR(mode) else "it is no ordinary file", str(path))
    return open(handle, "rb")


def read_json(path: str | Path) -> dict[str, Any] | None:
    """The object in a small JSON file; None where the file is missing, unreadable, over 1 MiB, damaged or no object."""
    try:
        with open_ordinary(path) as file:
            content = file.read(JSON_LIMIT + 1)
        return parse_object(content) if len(content) <= JSON_LIMIT else None
    except OSError:
        return None


def parse_object(text: str | bytes) -> dict[str, Any] | None:
    """The object in JSON; None where it is damaged or none. Whole numbers that no integer of 64 bits holds become floats."""
    try:
        value = json.loads(text, parse_int=whole_or_float)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def whole_or_float(digits: str) -> int | float:
    return int(digits) if len(digits) <= LONGEST_WHOLE else float(digits)


def finite(value: Any) -> float | None:
    """A finite number as it is, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def printable(text: str, most: int = 2000) -> str:
    """Text that is safe to print: no control characters, by which a name could steer a terminal, and no endless length."""
    cut = text if len(text) <= most else f"{text[:most]}..."
    return "".join(character if character.isprintable() else "?" for character in cut)


def plain(value: Any) -> Any:
    """`value` in JSON's own types: tensors and numpy scalars of one element become numbers, NaN and infinities null."""
    if value is None or isinstance(value, (bool, str, int)):
        return value
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item"):
        return plain(value.item())
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def remove_temporaries(folder: str | Path) -> None:
    """Delete what writers that were killed left half-written in `folder` and below it. Only safe while nobody writes there."""
    for leftover in Path(folder).rglob(f"{_TEMPORARY}*"):
        with contextlib.suppress(OSError):
            leftover.unlink()


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut, on systems that can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class FileLock:
    """A lock that the system drops when its holder dies. Where a file system knows no locks it is always granted:
    it guards against two writers at once but is never the proof that there is one."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file: IO[bytes] | None = None

    def acquire(self, *, wait: bool = False) -> bool:
        """Take the lock; False where someone else holds it (only without `wait`)."""
        if fcntl is None:
            return True
        try:
            file = open(self.path, "ab")  # noqa: SIM115  it stays open as long as the lock is held
        except OSError:
            return True
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            file.close()
            return False
        except OSError:
            file.close()
            return True
        self._file = file
        _HELD.add(self)
        return True

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


_HELD: weakref.WeakSet[FileLock] = weakref.WeakSet()


def _drop_inherited_locks() -> None:
    """A forked child must not keep its parent's locks alive after the parent has died."""
    for lock in list(_HELD):
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_drop_inherited_locks)
