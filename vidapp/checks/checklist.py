"""The checklist: groups of checks, cheapest first, run one after the other."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from ..failures import describe_failure
from .data import data
from .gradient import gradient_flow
from .loss import masked_only
from .masks import masks_as_scheduled
from .overfit import learns_single_frames, overfits
from .rate import rate_range
from .sampler import sampler
from .sight import causality, frames_alone, hidden_stays_hidden, training_matches_sampling
from .subject import Subject
from .tokens import tokenization
from .verdict import Check, Progress, failure


@dataclass(frozen=True)
class Group:
    """Checks that are made together. cost: about how long they take, against the other groups."""

    name: str
    title: str
    cost: float
    run: Callable[[Subject, Progress], list[Check]]


GROUPS: dict[str, Group] = {
    group.name: group
    for group in (
        Group("sampler", "temperature, top-k, order", 1, lambda subject, progress: sampler(progress)),
        Group("masks", "mask ratio and pattern", 2, masks_as_scheduled),
        Group("data", "the data", 1, data),
        Group("tokens", "tokenization", 3, tokenization),
        Group("hidden", "what hides behind masks", 1, hidden_stays_hidden),
        Group("causality", "causality", 2, causality),
        Group("frames_alone", "frames on their own", 2, frames_alone),
        Group("agreement", "training against sampling", 2, training_matches_sampling),
        Group("loss", "loss on masked tokens", 2, masked_only),
        Group("gradient", "gradient flow", 1, gradient_flow),
        Group("rate", "learning-rate range", 20, rate_range),
        Group("frames", "learning single frames", 30, learns_single_frames),
        Group("overfit", "overfitting one batch", 100, overfits),
    )
}

Report = Callable[[str, float], None]
"""Called with (what is being checked, share of the whole checklist that is done). It may raise, to end the checklist."""


def checklist(subject: Subject, only: Iterable[str] | None = None, report: Report | None = None) -> Iterator[Check]:
    """Make the checks, yielding each as it is known. `only`: names of GROUPS; all of them by default.

    A check that breaks is a check that fails, with what went wrong as its advice. ValueError for an unknown group.
    """
    wanted = [group for group in GROUPS.values() if only is None or group.name in set(only)]
    unknown = set(only or ()) - set(GROUPS)
    if unknown:
        raise ValueError(f"unknown checks {', '.join(sorted(unknown))}: use {', '.join(GROUPS)}")
    whole, done = sum(group.cost for group in wanted), 0.0
    for group in wanted:
        yield from run_group(subject, group, report, done / whole, group.cost / whole)
        done += group.cost
    if report is not None:
        report("done", 1.0)


def run_group(subject: Subject, group: Group, report: Report | None, before: float, share: float) -> list[Check]:
    raised: list[BaseException] = []

    def progress(part: float) -> None:
        if report is None:
            return
        try:
            report(group.title, before + share * min(1.0, part))
        except BaseException as error:
            raised.append(error)
            raise

    progress(0.0)
    started = time.perf_counter()
    try:
        checks = group.run(subject, progress)
    except Exception as error:
        if raised:  # not the check's own mistake: whoever watches wants it to end
            raise
        checks = [failure(group.name, f"Could not check {group.title}", describe_failure(error))]
    return [replace(check, seconds=round((time.perf_counter() - started) / len(checks), 3)) for check in checks]


def summary(checks: Iterable[Check]) -> dict[str, object]:
    """The JSON contract: `{"ok": bool, "checks": [...]}`."""
    found = list(checks)
    return {"ok": not any(check.failed for check in found), "checks": [check.to_dict() for check in found]}
