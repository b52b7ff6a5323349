"""Keeps freed memory for the next step where there is plenty: on a CPU, taking it anew costs up to two fifths of a training step.

The C library gives large blocks back to the system when they are freed, and takes them anew in every step; each time the system clears
them page by page. Blocks that are kept lie less densely: up to 1.3 times the memory was seen to be held.
"""

import ctypes
from types import TracebackType

from .memory import free_memory
from .peak import peak_mib_of

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h
NEVER, DEFAULT_TRIM, DEFAULT_MMAPS = -1, 128 * 1024, 65536


class FreedMemory:
    """A context that gives everything back to the system when it is left. Does nothing where it is not allowed, and without glibc."""

    def __init__(self, may_keep: bool) -> None:
        self.libc = ctypes.CDLL(None) if may_keep else None
        self.may_keep = hasattr(self.libc, "mallopt")
        self.kept = False

    def __enter__(self) -> "FreedMemory":
        return self

    def keep_where_plenty(self) -> None:
        """After a step, when the largest amount is known: from now on keep what is freed, if that much is free once more."""
        if self.kept or not self.may_keep or free_memory() < (peak_mib_of() or float("inf")) * 2**20:
            return
        assert self.libc is not None
        self.kept = bool(self.libc.mallopt(M_MMAP_MAX, 0) and self.libc.mallopt(M_TRIM_THRESHOLD, NEVER))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.kept and self.libc is not None:
            self.libc.mallopt(M_MMAP_MAX, DEFAULT_MMAPS)
            self.libc.mallopt(M_TRIM_THRESHOLD, DEFAULT_TRIM)
            self.libc.malloc_trim(0)
            self.kept = False


def freed_memory(device: str, *, checkpointing: bool, grows: bool) -> FreedMemory:
    """For a training: allowed on a CPU, but not with gradient checkpointing, which is chosen where memory is short, nor where later
    steps will be larger than the first."""
    return FreedMemory(device == "cpu" and not checkpointing and not grows)
