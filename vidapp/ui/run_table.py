"""The table of runs: one row each, with a box to choose it. The component asks for its rows while it can be seen.

`rows` is a public function of the server that bypasses the queue: it heeds nothing that is asked, and what it reads is bounded and kept.
"""

import threading
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import gradio as gr

from ..run_compare import Figures, size_of
from ..run_reader import RunReader, RunStatus, list_runs
from ..sick_runs import choices as example_choices
from ..sick_runs import open_any
from . import words
from .pace import Pace
from .theme import static

MOST_ROWS = 200
POLL_MS = 3000
PACE = Pace(200)
FRESH_S = 1.5  # rows are read at most this often, whoever asks
MOST_CHOSEN = 6
EMPTY = "No run yet. Press Start training in the Train tab, or start one in a shell: python -m vidapp train --preset debug"
EMPTY_READONLY = "No run yet. This page is read-only: runs that are started in a shell appear here."


def run_table(*, readonly: bool = False, **settings: Any) -> gr.HTML:
    """The component. Its value is {"chosen": [names]}. Events: `chosen` when that changes by hand, `grown` when a chosen run has moved on."""

    def rows(asked: Any) -> dict[str, Any]:
        return {**ROWS.answer(EMPTY_READONLY if readonly else EMPTY), "every_ms": PACE(POLL_MS)}

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
    """The rows, for all pages; each run's file is followed from where it was left."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.read_at = -FRESH_S
        self.found: list[dict[str, Any]] = []
        self.count = 0
        self.followed: OrderedDict[Path, Figures] = OrderedDict()

    def answer(self, empty: str) -> dict[str, Any]:
        with self.lock:
            if time.monotonic() - self.read_at >= FRESH_S:
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
        self.count = len(runs)
        self.found = [self.row(run) for run in runs[:MOST_ROWS]] or [
            {**self.row(open_any(name)), "name": name, "label": label} for label, name in example_choices()
        ]
        while len(self.followed) > MOST_ROWS:
            self.followed.popitem(last=False)

    def row(self, run: RunReader) -> dict[str, Any]:
        figures = self.followed.setdefault(run.path, Figures()).follow(run)
        self.followed.move_to_end(run.path)
        status = run.status()
        newest = figures.newest.get("transformer", {})
        return {
            "name": run.name,
            "state": status.state,
            "live": status.live,
            "words": status.sentence,
            "steps": steps_of(status),
            "best": words.short(figures.best[1]) if figures.best else "",
            "best_at": f"step {figures.best[0]:,}" if figures.best else "",
            "loss": words.short(newest["loss"]) if "loss" in newest else "",
            "changed": f"{100 * newest['validation_changed_accuracy']:.0f} %" if "validation_changed_accuracy" in newest else "",
            "size": size_of(run),
            "when": time.strftime("%Y-%m-%d %H:%M", time.localtime(status.created)) if status.created else "",
        }


def steps_of(status: RunStatus) -> str:
    phase = " tokenizer" if status.extra.get("phase") == "tokenizer" and status.live else ""
    return (f"{status.step:,} of {status.total:,}" if status.total and status.total != status.step else f"{status.step:,}") + phase


ROWS = Rows()
