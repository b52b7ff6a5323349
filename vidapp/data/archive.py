"""Zip files from strangers: what is inside, without unpacking it, and one clip at a time under names of our own."""

import contextlib
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path, PurePosixPath

from ..failures import told_to_strangers
from ..files import printable
from .decoders import NPY_HEAD, ClipError, clip_layout, explained, npy_header

MAX_ENTRIES = 50_000
MAX_DIRECTORY_BYTES = 16 << 20  # of the zip's own list of entries, which is read whole
MAX_UNPACKED_BYTES = 16 << 30
MAX_STRANGERS_BYTES = 1 << 30  # where everybody may bring one
MAX_RATIO = 200  # unpacked / packed; sparse uint8 clips stay below 100
RATIO_FREE_BYTES = 64 << 20  # archives that unpack to less may have any ratio
SPARE_DISK_BYTES = 256 << 20
Held = tuple[contextlib.ExitStack, dict[Path, zipfile.ZipFile]]  # one at most is open
HELD: ContextVar[Held | None] = ContextVar("HELD", default=None)  # of `held_open`


def zip_entries(path: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """Names of the usable files in a zip and (name, reason) of those left out; ClipError where the zip cannot be trusted."""
    with opened(path) as archive:
        infos = [info for info in archive.infolist() if not info.is_dir() and not is_litter(info.filename)]
        total = sum(info.file_size for info in infos)
        if total > most_unpacked():
            raise ClipError(f"{path.name} unpacks to {total >> 20} MiB, above the limit of {most_unpacked() >> 20}: split it")
        if total > RATIO_FREE_BYTES and total > MAX_RATIO * path.stat().st_size:
            raise ClipError(f"{path.name} unpacks to more than {MAX_RATIO} times its size: give the clips as a folder instead")
        refused = [(shown(info.filename), reason) for info in infos if (reason := refusal(info))]
        return [info.filename for info in infos if not refusal(info)], refused


def most_unpacked() -> int:
    """Bytes."""
    return MAX_STRANGERS_BYTES if told_to_strangers() else MAX_UNPACKED_BYTES


@contextlib.contextmanager
def held_open() -> Iterator[None]:
    """While inside, a zip is opened once for all of its entries that follow one another: its list is read whole each time, which for many
    entries takes longer than they do."""
    with contextlib.ExitStack() as stack:
        token = HELD.set((stack, {}))
        try:
            yield
        finally:
            HELD.reset(token)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The zip at a path; ClipError where it cannot be trusted."""
    held = HELD.get()
    if held is None:
        with opened_anew(path) as archive:
            yield archive
        return
    stack, archives = held
    with explained(path.name):
        if path not in archives:
            stack.close()
            archives.clear()
            archives[path] = stack.enter_context(opened_anew(path))
        yield archives[path]


@contextlib.contextmanager
def opened_anew(path: Path) -> Iterator[zipfile.ZipFile]:
    with explained(path.name), open(path, "rb") as file:
        # The list of entries becomes Python objects twenty times its size: look at its length before that happens.
        record = zipfile._EndRecData(file)  # type: ignore[attr-defined]
        if not record:
            raise ClipError(f"{path.name} is no whole zip file: copy or save it again")
        if record[zipfile._ECD_SIZE] > MAX_DIRECTORY_BYTES or record[zipfile._ECD_ENTRIES_TOTAL] > MAX_ENTRIES:  # type: ignore[attr-defined]
            raise ClipError(f"{path.name} has more than {MAX_ENTRIES} files in it: split it")
        with zipfile.ZipFile(file) as archive:
            if len(archive.infolist()) > MAX_ENTRIES:
                raise ClipError(f"{path.name} has more than {MAX_ENTRIES} files in it: split it")
            yield archive


def is_litter(name: str) -> bool:
    """Files that operating systems leave behind, such as __MACOSX/ and .DS_Store."""
    return any(part.startswith(("__MACOSX", ".")) and part != ".." for part in PurePosixPath(name).parts)


def refusal(info: zipfile.ZipInfo) -> str:
    """Why an entry is not touched, or nothing."""
    name = PurePosixPath(info.filename)
    if name.is_absolute() or ".." in name.parts or "\\" in info.filename or "\0" in info.filename:
        return "its name leads out of the zip"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "it is a link"
    if info.flag_bits & 1:
        return "it is encrypted: zip it without a password"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # lzma takes what memory its header asks for
        return "it is packed in an unusual way: zip it again as usual (deflate)"
    if name.suffix.lower() == ".zip":
        return "it is a zip inside a zip: unpack it first"
    return ""


def shown(name: str) -> str:
    """A name that is safe to print, its end where it is long."""
    return printable(name[-120:])


@contextlib.contextmanager
def extracted(path: Path, names: tuple[str, ...]) -> Iterator[list[Path]]:
    """Yields the entries as files in a temporary folder, under numbers for names, and removes them afterwards."""
    with tempfile.TemporaryDirectory(prefix="vidapp-") as folder:
        yield extract(path, names, Path(folder))


def extract(path: Path, names: tuple[str, ...], folder: Path) -> list[Path]:
    targets = []
    with opened(path) as archive:
        infos = [archive.getinfo(name) for name in names]
        needed = sum(info.file_size for info in infos)
        if needed > most_unpacked() or needed + SPARE_DISK_BYTES > shutil.disk_usage(folder).free:
            raise ClipError(f"{path.name} needs {needed >> 20} MiB to unpack, more than {folder.parent} has free: free some space")
        for number, info in enumerate(infos):
            name = PurePosixPath(info.filename)
            target = folder / f"{number:06d}{name.suffix.lower()}"
            with explained(shown(name.name)), archive.open(info) as entry, open(target, "wb") as file:
                if target.suffix == ".npy":  # what is no clip is not unpacked, however small it is packed
                    file.write(entry.read(NPY_HEAD))
                    file.flush()
                    shape, dtype, _ = npy_header(target, shown(name.name))
                    clip_layout(shown(name.name), shape, dtype)
                shutil.copyfileobj(entry, file, 1 << 20)  # never more than info.file_size: zipfile stops there
            targets.append(target)
    return targets
