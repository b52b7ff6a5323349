"""How long one request may hold what all visitors of a public page share: its processor, and the lines in which they wait for it."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from ..failures import TookTooLongError, told_to_strangers

T = TypeVar("T")

STRANGERS_S = 120.0


def patience() -> Callable[[], None]:
    """A check that raises once the request that begins now has had its time; on a page of one's own it never does."""
    ends = time.monotonic() + STRANGERS_S if told_to_strangers() else math.inf

    def look_up() -> None:
        if time.monotonic() > ends:
            raise TookTooLongError(
                f"this took longer than the {STRANGERS_S:.0f} s that each request has on this page: ask for less, or run the app yourself"
            )

    return look_up


def in_time(steps: Iterable[T]) -> Iterator[T]:
    """The steps of a request, as long as it has time for them."""
    look_up = patience()
    for step in steps:
        look_up()
        yield step
