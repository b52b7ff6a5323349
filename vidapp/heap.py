"""Keeps freed memory for the next step where there is plenty: on a CPU, taking it anew costs up to two fifths of a training step.

The C library gives large blocks back to the system when they are freed, and takes them anew in every step; each time the system clears
them page by page. Blocks that are kept lie less densely: up to 1.9 times the memory was seen to be held, and it may be more.
"""

import ctypes
import sys
from types import TracebackType

from .memory import free_memory
from .peak import peak_mib_of

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h
PLENTY = 2  # times the memory that a step takes
NEVER, DEFAULT_TRIM, DEFAULT_MMAPS = -1, 128 * 1024, 65536


class FreedMemory:
    """A context that gives everything back to the system when it is left. Does nothing where it is not allowed, and without glibc."""

    def __init__(self, may_keep: bool) -> None:
        self.libc = ctypes.CDLL(None) if may_keep and sys.platform == "linux" else None
        self.may_keep = hasattr(self.libc, "mallopt")
        self.kept = False
        self.peak = float("inf")  # bytes that were taken before anything was kept

    def __enter__(self) -> "FreedMemory":
        return self

    def look(self, grown: bool = True) -> None:
        """After each step: keep what is freed from the first `grown` one on, where twice as much as it took is free; give all back when
        less than that once is left. grown: no later step is larger."""
        if not self.may_keep or not (self.kept or grown):
            return
        if not self.kept:
            self.peak = (peak_mib_of() or float("inf")) * 2**20
            self.may_keep = free_memory() >= PLENTY * self.peak
            if self.may_keep:
                self.keep()
        elif free_memory() < self.peak:
            self.may_keep = False
            self.give_back()

    def keep(self) -> None:
        assert self.libc is not None
        self.kept = bool(self.libc.mallopt(M_MMAP_MAX, 0) and self.libc.mallopt(M_TRIM_THRESHOLD, NEVER))

    def give_back(self) -> None:
        if self.kept and self.libc is not None:
            self.libc.mallopt(M_MMAP_MAX, DEFAULT_MMAPS)
            self.libc.mallopt(M_TRIM_THRESHOLD, DEFAULT_TRIM)
            self.libc.malloc_trim(0)
            self.kept = False

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.give_back()


def freed_memory(device: str, *, checkpointing: bool) -> FreedMemory:
    """For a training: allowed on a CPU, but not with gradient checkpointing, which is chosen where memory is short."""
    return FreedMemory(device == "cpu" and not checkpointing)
