"""What a tick of the live view costs: the server function that a page asks every second, while a training goes on; and what ten pages
cost that training."""

import json
import os
import tempfile
import time
from typing import Any

from ..bench.effort import Effort, typical
from ..presets import preset
from ..run_writer import RunWriter
from . import audience

TICKS = 30
LINES = 10  # logged between two ticks of a quick training
LINE_BYTES = 500  # no line is longer
RUN = "bench"


def measure(effort: Effort) -> dict[str, object]:
    """The figures of the scope: a page watches a run of many lines that grows by LINES a tick; then many watch one that is trained."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["VIDAPP_RUNS"] = folder  # of this process alone
        with RunWriter.create(RUN, preset("debug")) as run:
            log(run, 0, effort.lines)
            ticks = watch(run, effort.lines)
        return {**ticks, **audience.measure(effort)}


def log(run: RunWriter, first: int, count: int) -> None:
    """Lines as the trainer writes them."""
    for step in range(first, first + count):
        figures = {"loss": 5.0 + 1 / (step + 1), "grad_norm": 1.0 + step % 7 / 10, "learning_rate": 1e-3, "tokens_per_second": 12345.6}
        run.log({"step": step, "phase": "transformer", **figures, "masked_accuracy": 0.5, "memory_mib": 1234.5})
    run.status("running", first + count, 10 * (first + count), phase="transformer", loss=5.0, grad_norm=1.0)


def watch(run: RunWriter, lines: int) -> dict[str, object]:
    """Bytes and milliseconds of a page's first answer and of its ticks; beside them, the figure sent whole."""
    from ..plots import loss_figure
    from . import live

    watcher, began = live.Watcher(), time.perf_counter()
    answer = watcher.answer({"run": RUN})
    while answer["every_ms"] == live.CATCH_UP_MS:
        read_again(live)
        answer |= watcher.answer({"run": RUN})
    first_ms, first_bytes = 1000 * (time.perf_counter() - began), size(answer)
    bytes_, milliseconds, limits = [], [], []
    for tick in range(TICKS):
        log(run, lines + tick * LINES, LINES)
        read_again(live)
        began = time.perf_counter()
        answer = watcher.answer({"run": RUN, "epoch": answer["epoch"], "serial": answer["serial"], "sample": ""})
        milliseconds.append(1000 * (time.perf_counter() - began))
        bytes_.append(size(answer))
        limits.append(least_milliseconds(run, answer))
    steps = list(range(lines))
    figure = loss_figure({"loss": (steps, [5.0 + 1 / (step + 1) for step in steps])})
    return {
        "tick_bytes": typical(bytes_),
        "tick_milliseconds": typical(milliseconds),
        "points_bytes": size(answer["curves"]),
        "milliseconds_to_read_and_write": typical(limits),
        "first_bytes": first_bytes,
        "first_milliseconds": first_ms,
        "whole_figure_bytes": len(figure.to_json()),
        "lines": lines,
        "lines_per_tick": LINES,
    }


def read_again(live: Any) -> None:
    """A second has passed: the run's file and the list of runs are read afresh."""
    from ..run_reader import open_run

    live.HISTORIES.follow(open_run(RUN)).read_at = 0.0
    live.SIGNATURE.found = (0.0, "")


def least_milliseconds(run: RunWriter, answer: dict[str, Any]) -> float:
    """Reading what has changed on disk and writing the answer, and no more: status and the new lines in, the answer out."""
    began = time.perf_counter()
    json.loads((run.path / "status.json").read_bytes())
    with (run.path / "metrics.jsonl").open("rb") as file:
        file.seek(-min(LINES * LINE_BYTES, os.fstat(file.fileno()).st_size), os.SEEK_END)
        for line in file.read().splitlines()[-LINES:]:
            json.loads(line)
    size(answer)
    return 1000 * (time.perf_counter() - began)


def size(answer: Any) -> int:
    """Bytes of an answer as it goes over the wire."""
    return len(json.dumps(answer, separators=(",", ":")).encode())
