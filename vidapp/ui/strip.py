"""The status strip above the tabs: what trains now, how far it is, whether it learns, and Stop, whichever tab is looked at.

It asks for itself, only while the page can be seen; an answer is a few hundred bytes and costs a look at one run's folder.
"""

import threading
import time
from typing import Any

import gradio as gr

from .. import jobs
from ..config import Config
from ..run_reader import RunReader, RunStatus, list_runs, open_run
from . import words
from .history import HISTORIES, TOKENIZER, History
from .live import config_of, phase_of, remaining_seconds
from .messages import sentence
from .pace import Pace
from .theme import static

LIVE_MS, IDLE_MS = 2000, 5000
PACE = Pace(500)
LOOKED_SECONDS = 2.0  # all runs are looked through at most this often, whoever asks


def strip(*, readonly: bool = False, **settings: Any) -> gr.HTML:
    """The component. Event: `open` of the run that is named (its data holds `run`). Without Stop on a read-only page."""

    def glance(request: Any = None) -> dict[str, Any]:
        return LIVE.glance()

    def stop(request: dict[str, Any]) -> dict[str, Any]:
        return stop_run(request)

    return gr.HTML(
        html_template=static("strip.html"),
        css_template=static("strip.css"),
        js_on_load=static("say.js") + static("strip.js"),
        server_functions=[glance] if readonly else [glance, stop],
        can_stop=not readonly,
        apply_default_css=False,
        **settings,
    )


class Live:
    """Which run trains, looked up now and then for all pages together, and how many wait."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.looked_at = -LOOKED_SECONDS
        self.name, self.waiting = "", 0

    def glance(self) -> dict[str, Any]:
        """What the strip shows; `run` is empty where nothing trains."""
        name, waiting = self.look()
        try:
            reader = open_run(name) if name else None
            status = reader.status() if reader else None
        except ValueError:
            reader = status = None
        if reader is None or status is None or not status.live:
            waits = f"{words.count(waiting, 'run')} in the queue" if waiting else ""
            return {"run": "", "text": " · ".join(part for part in ("nothing trains now", waits) if part), "every_ms": PACE(IDLE_MS)}
        return {"run": reader.name, **facts(reader, status, waiting), "every_ms": PACE(LIVE_MS)}

    def look(self) -> tuple[str, int]:
        with self.lock:
            if time.monotonic() - self.looked_at >= LOOKED_SECONDS:
                states = [run.status() for run in list_runs()]
                self.name = jobs.training(states) or ""
                self.waiting = sum(status.state == "queued" for status in states)
                self.looked_at = time.monotonic()
            return self.name, self.waiting


LIVE = Live()


def facts(reader: RunReader, status: RunStatus, waiting: int) -> dict[str, Any]:
    """State, progress, place and score of a run that trains."""
    history, config = HISTORIES.follow(reader), config_of(reader)
    with history.lock:
        left = remaining_seconds(history, status)
        score = score_of(history, phase_of(status))
    of_phase = " in this phase" if phase_of(status) == TOKENIZER else ""
    return {
        "state": status.state,
        "step": f"{status.step:,} of {status.total:,}" if status.total else f"{status.step:,}",
        "phase": phase_of(status),
        "share": round(min(1.0, status.step / status.total), 4) if status.total else 0.0,
        "where": place_of(status, config),
        "score": score,
        "left": f"{words.duration(left)} left{of_phase}" if left is not None and status.state == "running" else "",
        "waiting": waiting,
    }


def score_of(history: History, phase: str) -> str:
    """`loss 2.31 (3.6 knows nothing)`: the newest validation loss, else the training loss, beside the unigram entropy."""
    newest = history.newest.get(phase, {})
    if phase == TOKENIZER:
        error = newest.get("validation_reconstruction_mse", newest.get("reconstruction_mse"))
        return f"error a frame {words.short(error)}" if error is not None else ""
    loss, baseline = newest.get("validation_loss_full"), newest.get("unigram_entropy")
    name = "validation loss"
    if loss is None:
        name, loss = "training loss", newest.get("loss")
    if loss is None:
        return ""
    return f"{name} {words.short(loss)}" + (f", baseline {words.short(baseline)}" if baseline is not None else "")


def place_of(status: RunStatus, config: Config | None) -> str:
    """`cpu, float32`: as the trainer says, else as far as the settings do."""
    asked = (config.run.device, config.recipe.precision) if config else ("", "")
    found = (str(status.extra.get("device") or asked[0]), str(status.extra.get("precision") or asked[1]))
    return ", ".join(name for name in found if name not in ("", "auto"))


def stop_run(request: Any) -> dict[str, Any]:
    """Ask the named run to stop; whether it will, and what to say about it. Never raises for what a page sends."""
    name = request.get("run") if isinstance(request, dict) else None
    try:
        open_run(str(name)).send("stop")
    except ValueError as error:
        return {"stops": False, "said": sentence(error)}
    return {"stops": True, "said": f"{name} stops after the step it is at, and keeps a checkpoint."}
