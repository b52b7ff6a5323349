"""A run's curves as the page draws them: bounded in points, read once however many pages watch, and never twice.

The metrics file of a run only grows, apart from a resume that cuts it. Each run's file is followed from where it was
left; what a page has not seen yet is found by serial number, so a poll costs a few bytes whatever the length of the run.
"""

import bisect
import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..alarms import Alarm, alarms
from ..config import Config
from ..metric_lines import LOOKS, layer_figures
from ..run_reader import RunReader

POINTS = 3000  # of one curve at most: more cannot be told apart on a screen
READ_BYTES = 4 << 20  # of a run's file in one poll; a longer file comes in parts
REFRESH_SECONDS = 0.5  # a run's file is read at most this often, whoever asks
RUNS_HELD = 12
COLUMNS = 160  # of a heatmap: more are narrower than can be seen
ALARM_LINES = 4000  # kept for the alarms; of older ones every other is left out
RECENT_LINES = 40  # training lines that the speed is measured over

TRANSFORMER = "transformer"
TOKENIZER = "tokenizer"
HEADLINE = {  # the curves that every page gets
    TRANSFORMER: ("loss", "grad_norm", "validation_loss_half", "validation_loss_full", "unigram_entropy", "copy_entropy"),
    TOKENIZER: ("loss", "grad_norm", "reconstruction_mse", "validation_reconstruction_mse"),
}
FOLDED = {  # and those that it gets when it asks for more
    TRANSFORMER: (
        "validation_accuracy",
        "validation_changed_accuracy",
        "validation_copy_accuracy",
        "most_frequent_accuracy",
        "loss_future",
        "loss_joint",
        "loss_individual",
        "learning_rate",
        "tokens_per_second",
    ),
    TOKENIZER: ("perplexity", "learning_rate", "frames_per_second"),
}
CURVES = {phase: (*HEADLINE[phase], *FOLDED[phase]) for phase in HEADLINE}
ALARM_KEYS = (  # what the alarms look at
    *("step", "phase", "loss", "loss_future", "grad_norm", "learning_rate", "unigram_entropy", "skipped_steps", "layers"),
    *("validation_loss_full", "validation_loss_half", "validation_accuracy", "validation_copy_accuracy"),
    "sample_sharpness",
    *("codebook_use", "perplexity", "validation_codebook_use", "validation_perplexity"),
    *("validation_reconstruction_mse", "validation_mean_image_mse"),
)
FIRST_CURVES = {f"{phase}/{name}" for phase, names in HEADLINE.items() for name in names}


@dataclass
class Curve:
    """Points of one curve in the order in which they were logged, each with the serial number of its line."""

    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    serials: list[int] = field(default_factory=list)

    def add(self, step: int, value: float, serial: int) -> None:
        self.steps.append(step)
        self.values.append(value)
        self.serials.append(serial)

    def thin(self) -> None:
        """Keep the lowest and the highest of every four neighbours, so that no spike and no dip is lost."""
        kept: list[int] = []
        for start in range(0, len(self.values), 4):
            group = range(start, min(start + 4, len(self.values)))
            low, high = min(group, key=self.values.__getitem__), max(group, key=self.values.__getitem__)
            kept.extend(sorted({low, high}))
        self.steps = [self.steps[i] for i in kept]
        self.values = [self.values[i] for i in kept]
        self.serials = [self.serials[i] for i in kept]

    def after(self, serial: int) -> list[list[float]]:
        """[steps, values] of the points whose line came after that serial number."""
        start = bisect.bisect_right(self.serials, serial)
        return [list(self.steps[start:]), [rounded(value, 5) for value in self.values[start:]]]


def rounded(value: float, digits: int) -> float:
    """To significant digits: finer than a pixel, and half the bytes."""
    return float(f"{value:.{digits}g}")


class Heat:
    """What each layer did at evenly spaced logged steps: a column for each. Where they become too many every other is dropped."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.columns: list[dict[str, dict[str, float]]] = []
        self.every, self.passed = 1, 0

    def add(self, step: int, figures: dict[str, dict[str, float]]) -> None:
        self.passed += 1
        if not figures or (self.passed - 1) % self.every:
            return
        self.steps.append(step)
        self.columns.append(figures)
        if len(self.steps) > COLUMNS:
            self.steps, self.columns, self.every = self.steps[::2], self.columns[::2], 2 * self.every

    def to_dict(self) -> dict[str, Any]:
        """steps, and by figure the layers in order with a row of values each; null where a step has none."""
        found: dict[str, Any] = {}
        for figure in dict.fromkeys(name for column in self.columns for name in column):
            layers = dict.fromkeys(layer for column in self.columns for layer in column.get(figure, {}))
            rows = {layer: [column.get(figure, {}).get(layer) for column in self.columns] for layer in layers}
            found[figure] = {layer: [None if value is None else rounded(value, 3) for value in row] for layer, row in rows.items()}
        return {"steps": self.steps, "figures": found}


class History:
    """The curves and the newest figures of one run. `epoch` changes when points that a page may hold are gone."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.cursor = ""
        self.behind = False  # whether the file holds more than was read
        self.read_at = 0.0
        self.epoch = time.time_ns() // 1000  # unlike that of an earlier process or of a history that was dropped
        self.clear()

    def clear(self) -> None:
        self.epoch += 1
        self.serial = 0
        self.curves: dict[str, Curve] = {}
        self.newest: dict[str, dict[str, float]] = {}
        self.recent: deque[tuple[str, int, float]] = deque(maxlen=RECENT_LINES)
        self.stretch: tuple[Any, bool] = (None, False)  # attempt of the newest training line, and whether it knew its pace
        self.heat = Heat()
        self.lines: list[dict[str, Any]] = []
        self.looks: deque[dict[str, Any]] = deque()
        self.told: tuple[tuple[int, str, Config | None], list[Alarm]] = ((-1, "", None), [])

    def take(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Add logged lines. What is no finite number is left out; where a curve grows too long it is thinned."""
        for line in lines:
            step = line.get("step")
            phase = line.get("phase", TRANSFORMER)
            if not isinstance(phase, str) or phase not in CURVES or not isinstance(step, int):
                continue
            self.serial += 1
            self.remember(phase, step, line)
        if any(len(curve.steps) > POINTS for curve in self.curves.values()):
            for curve in self.curves.values():
                while len(curve.steps) > POINTS:
                    curve.thin()
            self.epoch += 1

    def remember(self, phase: str, step: int, line: Mapping[str, Any]) -> None:
        self.keep(line)
        if phase == TRANSFORMER and "layers" in line:
            self.heat.add(step, layer_figures(line))
        figures = self.newest.setdefault(phase, {})
        for name, value in line.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
                figures[name] = value
                if name in CURVES[phase]:
                    self.curves.setdefault(f"{phase}/{name}", Curve()).add(step, value, self.serial)
        if "loss" in line and isinstance(line.get("time_s"), (int, float)):
            attempt, paced = line.get("attempt"), "seconds_per_step" in line
            if attempt != self.stretch[0] or (self.stretch[1] and not paced):  # resumed, or went on after a pause
                self.recent.clear()
            self.stretch = (attempt, paced)
            self.recent.append((phase, step, float(line["time_s"])))

    def keep(self, line: Mapping[str, Any]) -> None:
        """Keep what the alarms look at: of layers only the newest looks, and of lines a bounded number."""
        kept = {key: line[key] for key in ALARM_KEYS if key in line}
        self.lines.append(kept)
        if "layers" in kept:
            self.looks.append(kept)
            if len(self.looks) > 2 * LOOKS:
                self.looks.popleft().pop("layers")
        if len(self.lines) > ALARM_LINES:
            half = ALARM_LINES // 2
            self.lines = self.lines[:half:2] + self.lines[half:]

    def alarms(self, error: str = "", config: Config | None = None) -> list[Alarm]:
        """What is wrong by the lines so far; worked out anew only when there are new ones, or other settings."""
        about = (self.serial, error, config)
        if self.told[0] != about:
            self.told = (about, alarms(self.lines, error, config))
        return self.told[1]

    def speed(self, phase: str) -> float | None:
        """Steps a second over the newest training lines of a phase; None before there are two."""
        lines = [(step, time_s) for name, step, time_s in self.recent if name == phase]
        if len(lines) < 2:
            return None
        steps, seconds = lines[-1][0] - lines[0][0], lines[-1][1] - lines[0][1]
        return steps / seconds if steps > 0 and seconds > 0 else None

    def since(self, epoch: int, serial: int, *, more: bool = False) -> dict[str, Any]:
        """What a page that holds (epoch, serial) lacks: every point where its epoch is over, else only newer ones.

        Of all curves with `more`, else of the first ones.
        """
        reset = epoch != self.epoch
        start = 0 if reset else serial
        found = {name: curve.after(start) for name, curve in self.curves.items() if more or name in FIRST_CURVES}
        return {
            "reset": reset,
            "epoch": self.epoch,
            "serial": self.serial,
            "curves": {name: points for name, points in found.items() if points[0]},
        }


class Histories:
    """Histories of the runs that were watched last, by path."""

    def __init__(self, held: int = RUNS_HELD) -> None:
        self.held = held
        self.lock = threading.Lock()
        self.kept: OrderedDict[Path, History] = OrderedDict()

    def follow(self, reader: RunReader, *, to_end: bool = False) -> History:
        """The history of a run, read on from where it was left (at most every REFRESH_SECONDS, a bounded part at a time, or `to_end`)."""
        with self.lock:
            history = self.kept.setdefault(reader.path, History())
            self.kept.move_to_end(reader.path)
            while len(self.kept) > self.held:
                self.kept.popitem(last=False)
        with history.lock:
            if history.behind or time.monotonic() - history.read_at >= REFRESH_SECONDS:
                read_on(history, reader)
            while to_end and history.behind:
                read_on(history, reader)
        return history


HISTORIES = Histories()


def read_on(history: History, reader: RunReader, most_bytes: int = READ_BYTES) -> None:
    """Take in the next part of a run's metrics; where the file was cut, everything starts over."""
    part = reader.read_metrics(history.cursor, most_bytes=most_bytes)
    if part.restarted and history.serial:
        history.clear()
    history.cursor, history.behind = part.cursor, part.more
    history.take(part.lines)
    history.read_at = time.monotonic()
