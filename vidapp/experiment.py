"""Planned trainings: ordinary runs under settled names, found again in the runs folder, and what their metrics say of them.

What is known of an experiment is a function of the runs folder alone: it can be left and taken up again at any moment.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from .config import Config
from .metric_lines import is_number, of_transformer, stepped
from .run_reader import RunReader

Lines = Sequence[Mapping[str, Any]]
"""Metric lines of a run, oldest first."""

LOSSES = {"validation_loss_full": "all masked", "validation_loss_half": "half masked"}
"""What a change is judged by, in words: nats per masked token, of the future."""

NEW = "not started"
ELSEWHERE = ("run.device", "run.threads", "run.tracker")  # where a training is done makes it no other experiment


@dataclass(frozen=True, kw_only=True)
class Change:
    """One change to the settings of a baseline. name: in run names and on the command line."""

    name: str
    title: str
    settings: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A training that an experiment needs: the name of its run, what it is for, and its settings."""

    name: str
    title: str
    config: Config


@dataclass(frozen=True, kw_only=True)
class Training:
    """A planned training as it stands. state: that of its run, or `not started`. lines: the metrics of its transformer phase.

    differs: dotted key -> (planned, the run's own), where the run of that name was begun with other settings.
    """

    planned: Planned
    state: str = NEW
    step: int = 0
    total: int = 0
    lines: Lines = ()
    differs: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.planned.name

    @property
    def finished(self) -> bool:
        return self.state == "finished" and self.step >= self.total

    @property
    def begun(self) -> bool:
        return self.state != NEW


def quarters(frames: int) -> str:
    """A curriculum of four lengths that grows to clips of so many frames, as a setting."""
    return ",".join(str(max(min(2, frames), round(frames * part / 4))) for part in (1, 2, 3, 4))


def look_up(planned: Planned, runs: Mapping[str, RunReader]) -> Training:
    """How a planned training stands, its run looked up by name. One without a readable config counts as not started."""
    run = runs.get(planned.name)
    if run is None:
        return Training(planned=planned, total=planned.config.run.steps)
    try:
        found = run.config()
    except ValueError:
        return Training(planned=planned, total=planned.config.run.steps)
    differs = {key: pair for key, pair in planned.config.differences(found).items() if key not in ELSEWHERE}
    status = run.status()
    lines = of_transformer(run.metrics()[0])
    return Training(planned=planned, state=status.state, step=status.step, total=found.run.steps, lines=lines, differs=differs)


def newest_mean(lines: Lines, key: str, count: int) -> float | None:
    """The mean of a figure's `count` newest finite values; None where there are fewer."""
    found = [float(line[key]) for line in lines if is_number(line.get(key))][-count:]
    return sum(found) / count if len(found) == count else None


def seconds_per_step(lines: Lines) -> float | None:
    """The median of what a step took, so that what else the machine did meanwhile counts little; None where nothing was measured."""
    found = [float(line["seconds_per_step"]) for line in lines if is_number(line.get("seconds_per_step"))]
    return median(found) if found else None


def elapsed(lines: Lines) -> list[tuple[int, float]]:
    """(step, seconds of training until then) at each line of one phase that says what a step took, ascending.

    Steps alone count; validation, samples, checkpoints, the start of the process, pauses and the time between two attempts do not: each
    step counts with the measured time of its stretch, or of the next one where there is none.
    """
    found: list[tuple[int, float]] = []
    done, seconds = 0, 0.0
    for line in lines:
        step = line.get("step")
        if is_number(line.get("seconds_per_step")) and isinstance(step, int) and step > done:
            seconds += (step - done) * float(line["seconds_per_step"])
            done = step
            found.append((done, seconds))
    return found


def seconds_until(lines: Lines, step: int) -> float | None:
    """Seconds of training of one phase until `step` was done, as `elapsed` counts them; None where the lines do not reach it."""
    before = (0, 0.0)
    for at, seconds in elapsed(lines):
        if at >= step:
            share = (step - before[0]) / (at - before[0])
            return before[1] + share * (seconds - before[1])
        before = (at, seconds)
    rate = seconds_per_step(lines)
    reached = max((line["step"] for line in stepped(lines)), default=0)
    return before[1] + (step - before[0]) * rate if rate is not None and step <= reached else None
