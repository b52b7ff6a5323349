"""The newest generations, kept for a while so that other events can use what one has made: files to download, tokens to look at.

A page holds only the key of its own generation, which cannot be guessed. What was dropped is simply gone: generate again.
"""

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import numpy as np

from .choices import Chosen
from .generation import Clip

if TYPE_CHECKING:
    from ..replay import Replay

HELD = 64
HELD_BYTES = 256 << 20


@dataclass(frozen=True)
class Generation:
    """A clip and how it was continued: prediction_u8 (n, C, H, W); `wish` is the number of the wish that it fulfilled.

    replay and checkpoint: its tokens with every decode step, and the file that made it, where these are to be looked into. chosen: the
    settings that it was made with, where it can be gone on with. reel: the key of what the player shows.
    """

    clip: Clip
    prediction_u8: np.ndarray
    wish: int = 0
    replay: "Replay | None" = None
    checkpoint: Path | None = None
    chosen: Chosen | None = None
    reel: str = ""

    @property
    def size(self) -> int:
        """Bytes held."""
        truth = self.clip.truth_u8
        known = 0 if truth is None else truth.nbytes
        return self.clip.given_u8.nbytes + self.prediction_u8.nbytes + known + (self.replay.size if self.replay else 0)


class Sized(Protocol):
    """What can be kept: it knows how many bytes it holds."""

    @property
    def size(self) -> int: ...


Thing = TypeVar("Thing", bound=Sized)


class Kept(Generic[Thing]):
    """The newest things by key, bounded in number and bytes; the newest itself always stays."""

    def __init__(self, held: int = HELD, held_bytes: int = HELD_BYTES) -> None:
        self.held, self.held_bytes = held, held_bytes
        self.lock = threading.Lock()
        self.kept: OrderedDict[str, Thing] = OrderedDict()
        self.offered: dict[str, Callable[[], Thing | None]] = {}

    def put(self, thing: Thing) -> str:
        """Keep a thing; returns its key, which cannot be guessed."""
        key = secrets.token_urlsafe(16)
        with self.lock:
            self.kept[key] = thing
            while len(self.kept) > 1 and (len(self.kept) > self.held or self.bytes > self.held_bytes):
                self.kept.popitem(last=False)
        return key

    @property
    def bytes(self) -> int:
        """Of all that is kept."""
        return sum(one.size for one in self.kept.values())

    def offer(self, key: str, make: Callable[[], Thing | None]) -> None:
        """Have a thing under a key that everybody knows, for good; it is made when it is asked for."""
        self.offered[key] = make

    def get(self, key: str) -> Thing | None:
        if key in self.offered:
            return self.offered[key]()
        with self.lock:
            return self.kept.get(key)


GENERATIONS: Kept[Generation] = Kept()
