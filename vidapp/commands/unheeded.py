"""Where a command says things, when whoever read them may have left."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any, TextIO


class Unheeded:
    """A stream on which things are said by the way. Whoever read it may leave (`2>&1 | head`, a terminal that is closed): from then on
    nothing is said there, and what was at work goes on."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        with self.unheard():
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self.unheard():
            self.stream.flush()

    @contextlib.contextmanager
    def unheard(self) -> Iterator[None]:
        try:
            yield
        except OSError:  # what is still to be written must not fail again at the end of the process
            with contextlib.suppress(OSError):
                silence(self.stream)


def silence(stream: TextIO) -> None:
    """What is written there goes nowhere from now on."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
