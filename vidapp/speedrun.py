"""How long a run took to reach an error: the free-running MSE of its kept checkpoints beside the time it had trained by then."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .experiment import elapsed, seconds_until
from .files import read_json
from .markdown import table
from .metric_lines import of_transformer
from .run_folder import TOKENIZER, resume_paths
from .run_reader import RunReader

TARGETS = (100.0, 60.0, 40.0, 30.0)


@dataclass(frozen=True)
class Mark:
    """A checkpoint: its step, seconds of training until then (both phases), and what it scored."""

    step: int
    seconds: float
    score: Mapping[str, Any]

    @property
    def mse(self) -> float:
        return float(self.score["mse"])


@dataclass(frozen=True)
class Speedrun:
    """marks: by step. tokenizer_given: a trained tokenizer was taken, whose training is not in the time."""

    run: str
    marks: tuple[Mark, ...]
    tokenizer_given: bool
    hardware: str

    def reached(self, target: float) -> Mark | None:
        """The first checkpoint with an error of at most `target`."""
        return next((mark for mark in self.marks if mark.mse <= target), None)


def training_seconds(run: RunReader, steps: Iterable[int]) -> dict[int, float]:
    """Step -> seconds of training until then, the tokenizer phase included; steps that the metrics do not reach are left out."""
    lines = run.metrics()[0]
    first = [line for line in lines if line.get("phase") == "tokenizer"]
    main = of_transformer(lines)
    before = elapsed(first)[-1][1] if elapsed(first) else 0.0
    found = {step: seconds_until(main, step) for step in steps}
    return {step: before + seconds for step, seconds in found.items() if seconds is not None}


def speedrun(run: RunReader, scores: Mapping[int, Mapping[str, Any]], hardware: str = "") -> Speedrun:
    """A run's marks, from the scores of its checkpoints by step. hardware: what it was trained on, where one knows."""
    seconds = training_seconds(run, scores)
    marks = tuple(Mark(step, seconds[step], scores[step]) for step in sorted(seconds))
    given = bool((read_json(run.path / TOKENIZER) or {}).get("checkpoint"))
    return Speedrun(run.name, marks, given, hardware or known_hardware(run))


def known_hardware(run: RunReader) -> str:
    """Device and threads as the run's newest checkpoint recorded them."""
    for step, _ in run.checkpoints():
        state = read_json(resume_paths(run.path, step)[1])
        if state and state.get("device"):
            threads = f", {state['threads']} threads" if state["device"] == "cpu" and state.get("threads") else ""
            return f"{state['device']}{threads}"
    return "unknown"


def row(found: Speedrun) -> list[str]:
    """Hardware, the time to each target, what the tokenizer cost, and the best that was reached."""
    times = [minutes(mark.seconds) if (mark := found.reached(target)) else "not reached" for target in TARGETS]
    best = min(found.marks, key=lambda mark: mark.mse, default=None)
    end = f"{best.mse:.1f} after {minutes(best.seconds)}" if best else "nothing measured"
    return [found.hardware, *times, end, "given" if found.tokenizer_given else "in the time"]


def render(rows: Sequence[Sequence[str]]) -> str:
    """The speedrun table in Markdown."""
    return table(["hardware", *(f"to MSE {target:g}" for target in TARGETS), "best", "tokenizer"], rows)


def minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 120 * 60 else f"{seconds / 3600:.1f} h"
