"""What each page wants last. Events that cross are decided here, on the server: the newest wish counts.

An event first claims its wish (a handler outside the queue, so claims arrive at once and in order), then its work takes its
place in the line and asks for what is wanted now. Work that finds its wish gone, or begun by another event, does nothing; long
work looks again and again whether its wish still is the newest. Nothing is cancelled in the browser, so none is lost that finds room
in the line.
"""

import dataclasses
import itertools
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

HELD = 1000  # pages; the one that has not wished for longest is forgotten
LONGEST_TEXT = 16_384
NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Wish:
    """What a page wants: which kind of work, with which values. `number` grows with every wish of any page, from 1."""

    number: int
    kind: str
    values: tuple[Any, ...]
    begun: bool = False


class Wishes:
    """The newest wish of each page, by the page's session hash; bounded in number. Safe to use from several threads."""

    def __init__(self, held: int = HELD) -> None:
        self.held = held
        self.lock = threading.Lock()
        self.numbers = itertools.count(1)
        self.newest: OrderedDict[str, Wish] = OrderedDict()

    def claim(self, page: str | None, kind: str, values: tuple[Any, ...] = (), *, joins: Mapping[str, str] = NOTHING) -> Wish:
        """Make this the page's newest wish. joins: waiting kind -> the kind that a wish which comes while one of that still waits to
        begin is instead. ValueError for values that no control gives."""
        for value in values:
            if not (value is None or isinstance(value, (bool, int, float)) or (isinstance(value, str) and len(value) <= LONGEST_TEXT)):
                raise ValueError(f"a control holds {str(value)[:60]!r}: give a number or a short text")
        with self.lock:
            before = self.newest.pop(page or "", None)
            if before and not before.begun:
                kind = joins.get(before.kind, kind)
            wish = self.newest[page or ""] = Wish(next(self.numbers), kind, values)
            while len(self.newest) > self.held:
                self.newest.popitem(last=False)
        return wish

    def begin(self, page: str | None, *kinds: str) -> Wish | None:
        """The page's newest wish, where it is of one of these kinds and nobody has begun it; it is then begun."""
        with self.lock:
            wish = self.newest.get(page or "")
            if wish is None or wish.begun or wish.kind not in kinds:
                return None
            self.newest[page or ""] = dataclasses.replace(wish, begun=True)
        return wish

    def of(self, page: str | None) -> Wish | None:
        """The page's newest wish, begun or not."""
        return self.newest.get(page or "")

    def holds(self, page: str | None, number: int) -> bool:
        """Whether the wish of that number is the page's newest; a page that has not wished yet holds number 0."""
        wish = self.of(page)
        return (wish.number if wish else 0) == number
