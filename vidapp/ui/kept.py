"""The newest generations, kept for a while so that other events can use what one has made: files to download, tokens to look at.

A page holds only the key of its own generation, which cannot be guessed. What was dropped is simply gone: generate again.
"""

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from .generation import Clip

HELD = 64
HELD_BYTES = 256 << 20


@dataclass(frozen=True)
class Generation:
    """A clip and how it was continued: prediction_u8 (n, C, H, W); `wish` is the number of the wish that it fulfilled."""

    clip: Clip
    prediction_u8: np.ndarray
    wish: int = 0

    @property
    def size(self) -> int:
        """Bytes held."""
        truth = self.clip.truth_u8
        return self.clip.given_u8.nbytes + self.prediction_u8.nbytes + (0 if truth is None else truth.nbytes)


class Generations:
    """The newest generations by key, bounded in number and bytes; the newest itself always stays."""

    def __init__(self, held: int = HELD, held_bytes: int = HELD_BYTES) -> None:
        self.held, self.held_bytes = held, held_bytes
        self.lock = threading.Lock()
        self.kept: OrderedDict[str, Generation] = OrderedDict()

    def put(self, generation: Generation) -> str:
        """Keep a generation; returns its key."""
        key = secrets.token_urlsafe(16)
        with self.lock:
            self.kept[key] = generation
            while len(self.kept) > 1 and (len(self.kept) > self.held or sum(one.size for one in self.kept.values()) > self.held_bytes):
                self.kept.popitem(last=False)
        return key

    def get(self, key: str) -> Generation | None:
        with self.lock:
            return self.kept.get(key)


GENERATIONS = Generations()
