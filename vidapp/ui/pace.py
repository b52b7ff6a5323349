"""How often pages may ask, all together: each is told when to come again, later the more there are, so that many cost no more than few."""

import threading
import time

MOST_MS = 15_000  # nobody is sent away for longer, however many ask


class Pace:
    """Hands out times to come again that lie at least `apart_ms` from one another."""

    def __init__(self, apart_ms: float) -> None:
        self.apart_ms = apart_ms
        self.lock = threading.Lock()
        self.free_ms = 0.0  # when the next time can be handed out

    def __call__(self, least_ms: float, now_ms: float | None = None) -> int:
        """Milliseconds until whoever asks now may ask again: `least_ms`, more where others have those times."""
        now_ms = 1000 * time.monotonic() if now_ms is None else now_ms
        with self.lock:
            turn_ms = max(now_ms + least_ms, min(self.free_ms, now_ms + MOST_MS))
            self.free_ms = turn_ms + self.apart_ms
        return round(turn_ms - now_ms)
