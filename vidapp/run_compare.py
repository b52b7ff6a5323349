"""Runs beside one another: how each stands, its newest and best figures, and the settings in which they differ."""

import math
from dataclasses import dataclass, field
from typing import Any

from .config import Config
from .run_folder import BEST_BY
from .run_reader import RunReader

NOT_A_FIGURE = ("step", "phase", "attempt", "time_s")


@dataclass
class Figures:
    """Newest figures of each phase (validation figures stand on other lines than the loss), and the lowest validation loss.

    best: (step, nats per token) with the whole future masked; None before the first validation. Reads on where it stopped: read is
    how many bytes that took, behind whether more are left.
    """

    newest: dict[str, dict[str, float]] = field(default_factory=dict)
    best: tuple[int, float] | None = None
    cursor: str = ""
    read: int = 0
    behind: bool = True

    def follow(self, run: RunReader, most_bytes: int | None = None) -> "Figures":
        """Take in what the run has logged since the last time, at most so much of it; everything anew where its file was cut."""
        part = run.read_metrics(self.cursor, most_bytes=most_bytes)
        if part.restarted:
            self.newest, self.best = {}, None
        for line in part.lines:
            self.take(line)
        self.cursor, self.read, self.behind = part.cursor, part.size, part.more
        return self

    def take(self, line: dict[str, Any]) -> None:
        found = {key: value for key, value in line.items() if key not in NOT_A_FIGURE and isinstance(value, (int, float))}
        if found:
            self.newest.setdefault(str(line.get("phase", "transformer")), {}).update(found)
        loss, step = found.get(BEST_BY), line.get("step")
        if loss is not None and math.isfinite(loss) and isinstance(step, int) and (self.best is None or loss < self.best[1]):
            self.best = (step, loss)


def newest_figures(run: RunReader) -> dict[str, dict[str, float]]:
    """Phase -> figure -> its newest value."""
    return Figures().follow(run).newest


def standing(run: RunReader) -> dict[str, Any]:
    """Name, state, step, total and when it was created (unix seconds)."""
    status = run.status()
    return {"name": run.name, "state": status.state, "step": status.step, "total": status.total, "created": status.created}


def known_config(run: RunReader) -> Config | None:
    """The run's config; None where a training loop of another kind wrote the run without one, or it is damaged."""
    try:
        return run.config()
    except ValueError:
        return None


def differing_settings(runs: list[RunReader]) -> dict[str, list[Any]]:
    """Dotted key -> a value for each run, for every setting that is not the same in all of them; None where a run has no
    config that can be read."""
    configs = [known_config(run) for run in runs]
    known = [config for config in configs if config]
    keys = {key: None for other in known[1:] for key in known[0].differences(other)}
    return {key: [config.value(key) if config else None for config in configs] for key in keys}
