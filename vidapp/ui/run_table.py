"""The table of runs: one row each, with a box to choose it. The component asks for its rows while it can be seen.

`rows` is a public function of the server that bypasses the queue: it heeds nothing that is asked, and what it reads is bounded and kept.
"""

import threading
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import gradio as gr

from ..run_compare import Figures
from ..run_names import size_name
from ..run_reader import RunReader, RunStatus, list_runs
from ..sick_runs import choices as example_choices
from ..sick_runs import open_any
from . import words
from .live import EMPTY_READONLY, config_of
from .pace import Pace
from .theme import static

MOST_ROWS = 200
POLL_MS, CATCH_UP_MS = 3000, 300
PACE = Pace(200)
READ_BYTES = 2 << 20  # of all metrics in one look: it takes some tenths of a second, and other pages wait for it
PART_BYTES = 1 << 20  # of one run's
READING = "…"  # in the place of a figure until the run's metrics are read to their end
FRESH_S = 1.5  # rows are read at most this often, whoever asks
MOST_CHOSEN = 6
EMPTY = "No run yet. Press Start training in the Train tab, or start one in a shell: python -m vidapp train --preset debug"


def run_table(*, readonly: bool = False, **settings: Any) -> gr.HTML:
    """The component. Its value is {"chosen": [names]}. Events: `chosen` when that changes by hand, `grown` when a chosen run has moved on."""

    def rows(asked: Any) -> dict[str, Any]:
        return {**ROWS.answer(EMPTY_READONLY if readonly else EMPTY), "every_ms": PACE(CATCH_UP_MS if ROWS.behind else POLL_MS)}

    return gr.HTML(
        value={"chosen": []},
        html_template=static("runs.html"),
        css_template=static("runs.css"),
        js_on_load=static("runs.js"),
        server_functions=[rows],
        most=MOST_CHOSEN,
        apply_default_css=False,
        **settings,
    )


def chosen_of(value: Any) -> list[str]:
    """The names in the component's value, which may be anything: it comes from a browser. ValueError for more than can be compared."""
    names = value.get("chosen") if isinstance(value, dict) else None
    names = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
    if len(names) > MOST_CHOSEN:
        raise ValueError(f"{len(names)} runs are chosen: choose at most {MOST_CHOSEN}")
    return names


class Rows:
    """The rows, for all pages; each run's file is followed from where it was left, the newest run's first. `behind`: not all are read yet."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.read_at = -FRESH_S
        self.found: list[dict[str, Any]] = []
        self.count = self.left = 0
        self.behind = False
        self.followed: OrderedDict[Path, Figures] = OrderedDict()

    def answer(self, empty: str) -> dict[str, Any]:
        with self.lock:
            if self.behind or time.monotonic() - self.read_at >= FRESH_S:
                self.read()
                self.read_at = time.monotonic()
            more = f"The newest {MOST_ROWS} of {self.count} runs are shown." if self.count > MOST_ROWS else ""
            return {
                "rows": self.found,
                "words": more if self.count else f"{empty} · These are bundled examples to learn reading curves by.",
            }

    def forget(self) -> None:
        """Runs have come or gone: the rows are read anew for whoever asks next."""
        with self.lock:
            self.read_at = -FRESH_S

    def read(self) -> None:
        runs = list_runs()
        self.count, self.left, self.behind = len(runs), READ_BYTES, False
        self.found = [self.row(run) for run in runs[:MOST_ROWS]] or [
            {**self.row(open_any(name)), "name": name, "label": label} for label, name in example_choices()
        ]
        while len(self.followed) > MOST_ROWS:
            self.followed.popitem(last=False)

    def follow(self, run: RunReader) -> Figures:
        """Its figures, read on as far as what is left for this look allows."""
        figures = self.followed.setdefault(run.path, Figures())
        self.followed.move_to_end(run.path)
        if self.left > 0:
            self.left -= figures.follow(run, PART_BYTES).read
        self.behind |= figures.behind
        return figures

    def row(self, run: RunReader) -> dict[str, Any]:
        status, config = run.status(), config_of(run)
        return {
            "name": run.name,
            "state": status.state,
            "live": status.live,
            "words": status.sentence,
            "steps": steps_of(status),
            **scores_of(self.follow(run)),
            "size": size_name(config) if config else "",
            "when": time.strftime("%Y-%m-%d %H:%M", time.localtime(status.created)) if status.created else "",
        }


def scores_of(figures: Figures) -> dict[str, str]:
    """Its newest and best figures for the table; of a run that is read half none is right."""
    if figures.behind:
        return {"best": READING, "best_at": "", "loss": READING, "changed": READING, "sample": READING}
    newest, best = figures.newest.get("transformer", {}), figures.best
    return {
        "best": words.short(best[1]) if best else "",
        "best_at": f"step {best[0]:,}" if best else "",
        "loss": words.short(newest["loss"]) if "loss" in newest else "",
        "changed": f"{100 * newest['validation_changed_accuracy']:.0f} %" if "validation_changed_accuracy" in newest else "",
        "sample": words.short(newest["sample_mse"]) if "sample_mse" in newest else "",
    }


def steps_of(status: RunStatus) -> str:
    phase = " tokenizer" if status.extra.get("phase") == "tokenizer" and status.live else ""
    return (f"{status.step:,} of {status.total:,}" if status.total and status.total != status.step else f"{status.step:,}") + phase


ROWS = Rows()
