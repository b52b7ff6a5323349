"""What a check says: a figure against a threshold, and what to do about it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

STATUSES = ("pass", "fail", "not_applicable")

Progress = Callable[[float], None]
"""Called with the share of a check that is done, in [0, 1]. It may raise, to end the check."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One answer of the checklist.

    figure is compared with threshold: it passes at or below it where `direction` is `at most`, at or above it where `at least`.
    curve: points (x, y) of a small plot, with `axes` naming both. overrides: settings that the check changed, as `key=value`. details: other
    figures worth seeing. names: what is to blame, where it has a name (layers, clips).
    """

    name: str
    title: str
    status: str
    figure: float | None = None
    threshold: float | None = None
    direction: str = ""
    unit: str = ""
    advice: str = ""
    curve: tuple[tuple[float, float], ...] = ()
    axes: tuple[str, str] = ("", "")
    names: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    details: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        assert self.status in STATUSES, self.status

    @property
    def failed(self) -> bool:
        return self.status == "fail"

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; a figure that is not finite becomes null."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        figures = {name: finite(value) for name, value in self.details.items()}
        curve = [[finite(x), finite(y)] for x, y in self.curve]
        return values | {"figure": finite(self.figure), "threshold": finite(self.threshold), "details": figures, "curve": curve}


def finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def rounded(value: float) -> float:
    """A setting as it is suggested: two significant digits."""
    return float(f"{value:.2g}")


def judge(
    name: str,
    title: str,
    figure: float,
    *,
    at_most: float | None = None,
    at_least: float | None = None,
    good: str = "",
    bad: str = "",
    **facts: Any,
) -> Check:
    """A verdict by one bound; a figure that is not a number fails. `good` and `bad` are the advice in either case."""
    assert (at_most is None) != (at_least is None), name
    within = figure <= at_most if at_most is not None else figure >= (at_least or 0.0)
    return Check(
        name=name,
        title=title,
        status="pass" if within else "fail",
        figure=figure,
        threshold=at_most if at_most is not None else at_least,
        direction="at most" if at_most is not None else "at least",
        advice=good if within else bad,
        **facts,
    )


def not_applicable(name: str, title: str, why: str, **facts: Any) -> Check:
    return Check(name=name, title=title, status="not_applicable", advice=why, **facts)


def failure(name: str, title: str, why: str, **facts: Any) -> Check:
    """A check that could not come to a figure."""
    return Check(name=name, title=title, status="fail", advice=why, **facts)


def points(values: Sequence[float], start: int = 1) -> tuple[tuple[float, float], ...]:
    """A curve over 1, 2, 3, ..."""
    return tuple((float(start + place), float(value)) for place, value in enumerate(values))
