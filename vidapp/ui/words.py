"""Numbers and states in plain words."""

import math
from collections.abc import Sequence


def duration(seconds: float) -> str:
    """`about 14 min`, `about 2 h 5 min`, `a few seconds`."""
    if not math.isfinite(seconds) or seconds < 0:
        return "an unknown time"
    if seconds < 10:
        return "a few seconds"
    if seconds < 90:
        return f"about {round(seconds / 5) * 5} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"about {minutes} min"
    if minutes < 48 * 60:
        return f"about {minutes // 60} h {minutes % 60} min" if minutes % 60 else f"about {minutes // 60} h"
    return f"about {round(minutes / (24 * 60))} days"


def count(number: int, noun: str) -> str:
    """`1 frame`, `2 frames`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def short(value: float) -> str:
    """Three or four significant digits, without an exponent where one can be avoided."""
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    if size >= 100_000:
        return f"{value:.2e}"
    if size >= 100:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    if size >= 0.01 or size == 0:
        return f"{value:.3g}"
    return f"{value:.1e}"


def leading(flags: Sequence[bool]) -> int:
    """How many of the first flags are true before one is not."""
    for index, flag in enumerate(flags):
        if not flag:
            return index
    return len(flags)
