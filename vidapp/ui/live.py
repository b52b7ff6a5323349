"""The live view of a run: state in words, progress, curves and the newest sample, all read from the run folder.

The component asks `watch` for what it lacks, about once a second and only while it can be seen. `watch` is a public
function of the server that bypasses the queue, so it trusts nothing: names are resolved inside the runs folder, and what
one call reads and returns is bounded.
"""

import html
import time
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from ..alarms import Alarm
from ..config import Config
from ..run_folder import moment_of
from ..run_reader import RunReader, RunStatus, list_runs, whole_or_zero
from ..sick_runs import PREFIX, SICK_RUNS, example_of, is_example, open_any
from . import words
from .history import HISTORIES, TOKENIZER, TRANSFORMER, History
from .learning import Learning, learning
from .pace import Pace
from .pictures import image_uri
from .plot import PLOTLY, serve_plotly, with_plotly
from .theme import static

LIVE_MS, IDLE_MS, CATCH_UP_MS = 1000, 4000, 50
PACE = Pace(250)
NOTICES = 3
STRIPS = 400  # that the slider reaches back
SAMPLE_BYTES = 3 << 20
RUNS_SECONDS = 2.0
EMPTY = "No run yet. Choose a preset on this page and press Start training, or start one in a shell: python -m vidapp train --preset debug"
EMPTY_READONLY = "No run yet. This page is read-only: runs that are started in a shell appear here."


def live_view(value: dict[str, Any] | None = None, *, readonly: bool = False, **settings: Any) -> gr.HTML:
    """The component. Its value is {"run": name}, its `runs` the signature of the runs that the page knows.

    Events: `state_changed` of the run shown, `runs_changed` of the list of runs, `find_cause` of an alarm (its data holds `run` and `symptom`).
    """
    watcher = Watcher(empty=EMPTY_READONLY if readonly else EMPTY)

    def watch(request: dict[str, Any]) -> dict[str, Any]:
        return watcher.answer(request)

    def strip(request: dict[str, Any]) -> dict[str, str]:
        return strip_named(request)

    def layers(request: dict[str, Any]) -> dict[str, Any]:
        return layers_of(request)

    def sick(request: dict[str, Any]) -> dict[str, Any]:
        return sick_curves(request)

    return gr.HTML(
        value=value or {"run": ""},
        html_template=static("live.html").replace("SICK_OPTIONS", sick_options(), 1),
        css_template=static("live.css"),
        js_on_load=static("say.js") + with_plotly("live.js") + static("layers.js"),
        server_functions=[watch, strip, layers, sick],
        plotly=serve_plotly(),
        runs="",
        apply_default_css=False,
        **settings,
    )


def live_update(run: str | None = None) -> gr.HTML:
    """What makes the view know the runs that there are now and, with `run` (empty for none), show that one."""
    props: dict[str, Any] = {
        "runs": SIGNATURE(afresh=True),
        "plotly": PLOTLY.as_posix(),
    }  # all of them: the page forgets those that an update leaves out
    return gr.HTML(**props) if run is None else gr.HTML(value={"run": run}, **props)


class Watcher:
    """Answers what pages ask about runs. Shared by all pages: a run is read once, however many watch it."""

    def __init__(self, empty: str = EMPTY) -> None:
        self.empty = empty

    def answer(self, request: Any) -> dict[str, Any]:
        """State, figures and the points after (epoch, serial) of the run named in `request`; never raises for bad input."""
        asked = request if isinstance(request, dict) else {}
        name = asked.get("run")
        shared = {"runs": SIGNATURE(), "run": ""}
        if not name:
            return {**shared, "words": self.empty, "every_ms": PACE(IDLE_MS)}
        try:
            reader = open_any(str(name))
        except ValueError as error:
            return {**shared, "words": f"{error}", "every_ms": PACE(IDLE_MS)}
        if not is_example(name):
            return {**shared, "run": reader.name, **self.view(reader, asked)}
        example = example_of(name)
        banner = f"Bundled example: {example.title}. {example.see}" + ("" if list_runs() else f" {self.empty}")
        return {**shared, "run": name, **self.view(reader, asked, example=True), "banner": banner}

    def view(self, reader: RunReader, asked: dict[str, Any], *, example: bool = False) -> dict[str, Any]:
        history = HISTORIES.follow(reader)
        status = reader.status()
        config = config_of(reader)
        checkpoints, phase = reader.checkpoints(), phase_of(status)
        strips = strips_of(reader)
        with history.lock:
            points = history.since(whole_or_zero(asked.get("epoch")), whole_or_zero(asked.get("serial")), more=asked.get("more") is True)
            shown = figures(history, phase)
            eta = remaining_seconds(history, status)
            first = min(config.run.validate_every, config.run.steps) if config else 0  # the last step is followed by a validation, too
            found = history.alarms(status.error or "", config)
            looks = len(history.heat.steps)
            said = learning(history, phase, validate_every=first, live=status.live or status.state == "queued")
        return {
            **points,
            "state": status.state,
            "live": status.live,
            "attempt": status.attempt,
            "words": state_words(status, eta, can_sample=example or bool(checkpoints)),
            "notices": status.notices[-NOTICES:],
            "verdict": list(with_alarms(said, found)),
            "alarms": [alarm.to_dict() for alarm in found],
            "looks": looks,
            "phase": phase,
            "progress": min(1.0, status.step / status.total) if status.total else 0.0,
            "figures": shown,
            "checkpoints": len(checkpoints),
            "clip": config.recipe.gradient_clip if config else 0.0,
            "sample": newest_sample(reader, str(asked.get("sample", "")), shared_name(reader, example)),
            "strips": strips if asked.get("strips") != [len(strips), *strips[-1:]] else None,
            "every_ms": CATCH_UP_MS if history.behind else PACE(LIVE_MS if status.live else IDLE_MS),
        }


def with_alarms(said: Learning, found: list[Alarm]) -> tuple[str, str]:
    """(tone, text): beside a serious alarm nothing is called learning."""
    if said.tone != "good" or not any(alarm.serious for alarm in found):
        return said.tone, said.text
    return "info", said.text.replace("It learns:", "Something is wrong, see below, though the figures look like learning:", 1)


def shared_name(reader: RunReader, example: bool) -> str:
    """What a page calls the run."""
    return f"{PREFIX}{reader.name}" if example else reader.name


class Signature:
    """A text that changes when a run appears, goes, starts or ends; looked up at most every RUNS_SECONDS unless asked afresh."""

    def __init__(self) -> None:
        self.found = (0.0, "")

    def __call__(self, *, afresh: bool = False) -> str:
        read_at, known = self.found
        if afresh or time.monotonic() - read_at > RUNS_SECONDS:
            states = ";".join(f"{run.name}={run.status().state}" for run in list_runs())
            known = f"{zlib.crc32(states.encode()):08x}"
            self.found = (time.monotonic(), known)
        return known


SIGNATURE = Signature()


def phase_of(status: RunStatus) -> str:
    phase = status.extra.get("phase")
    return phase if phase in (TOKENIZER, TRANSFORMER) else TRANSFORMER


def config_of(reader: RunReader) -> Config | None:
    """The run's config, read again only when its file changes; None where there is no readable one."""
    path = reader.path / "config.json"
    try:
        return _config(reader.path, path.stat().st_mtime_ns)
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=256)  # more than the table of runs has rows
def _config(folder: Path, changed_ns: int) -> Config:
    return RunReader(folder).config()


def remaining_seconds(history: History, status: RunStatus) -> float | None:
    speed = history.speed(phase_of(status))
    return (status.total - status.step) / speed if speed and status.total else None


def state_words(status: RunStatus, eta_seconds: float | None, *, can_sample: bool = True) -> str:
    """One sentence about where a run stands and what can be done about it."""
    step = f"step {status.step:,} of {status.total:,}" if status.total else f"step {status.step:,}"
    what = "the tokenizer" if phase_of(status) == TOKENIZER else "the transformer"
    left = f", {words.duration(eta_seconds)} left in this phase" if eta_seconds is not None else ""
    sentences = {
        "queued": "Waits in the queue: it starts by itself when the runs before it have ended; one that is paused has to be continued or stopped.",
        "starting": "Getting ready: loading the data and building the model.",
        "running": f"Training {what}: {step}{left}.",
        "paused": f"Paused at {step}. Continue goes on from here.",
        "finished": f"Finished all {status.total:,} steps.",
        "stopped": f"Stopped at {step}; the checkpoint is kept. Continue goes on from it.",
        "interrupted": f"The process that trained it is gone since {step}, without a word. Continue goes on from the newest checkpoint.",
        "failed": f"Failed at {step}: {status.error or 'no reason was recorded'}",
    }
    said = sentences.get(status.state, status.sentence)
    return (
        said
        if can_sample or status.live or status.state == "queued"
        else f"{said.removesuffix('.')}. There is nothing to sample from: the transformer had not begun."
    )


def figures(history: History, phase: str) -> list[tuple[str, str, str]]:
    """(name, value, help) of the newest figures of a phase, as far as they are known."""
    newest = history.newest.get(phase, {})
    wanted = TOKENIZER_FIGURES if phase == TOKENIZER else TRANSFORMER_FIGURES
    found = [(name, f"{words.short(newest[key] * scale)}{unit}", help) for name, key, scale, unit, help in wanted if key in newest]
    speed = history.speed(phase)
    return [*found, ("Steps a second", words.short(speed), "Optimiser steps a second, lately.")] if speed else found


TRANSFORMER_FIGURES = (
    ("Loss", "loss", 1, "", "Cross-entropy in nats per masked token; masks and clip lengths may change while training."),
    (
        "Validation",
        "validation_loss_full",
        1,
        "",
        "Nats per token on fixed clips with the whole future masked: comparable from step to step.",
    ),
    ("Gradient norm", "grad_norm", 1, "", "Before clipping."),
    (
        "Changed, training",
        "changed_accuracy",
        100,
        " %",
        "Masked tokens of training clips guessed right among those that differ from the frame before: more is seen of their frames than in validation.",
    ),
    ("Learning rate", "learning_rate", 1, "", "Of this step."),
    ("Tokens a second", "tokens_per_second", 1, "", "Training throughput."),
    (
        "Memory",
        "memory_mib",
        1,
        " MiB",
        "The most at once since the training began or went on. On a GPU: what tensors took there. On a CPU: all of the process that "
        "trains; where the app trains, that is the app with its page.",
    ),
)
TOKENIZER_FIGURES = (
    ("Loss", "loss", 1, "", "Of the tokenizer phase."),
    ("Error a frame", "reconstruction_mse", 1, "", "Squared error summed over the pixels of a reconstructed frame."),
    ("PSNR", "psnr_db", 1, " dB", "Of reconstructed frames."),
    ("Gradient norm", "grad_norm", 1, "", "Before clipping."),
    ("Codebook used", "codebook_use", 100, " %", "Share of the codes in use."),
    ("Perplexity", "perplexity", 1, "", "How many codes are used as if evenly."),
)


def strips_of(reader: RunReader) -> list[str]:
    """The names of a run's sample strips in the order in which they were drawn, the newest STRIPS of them.

    Those of the transformer are later: the tokenizer's phase ended before theirs began, whatever its step numbers.
    """
    found = sorted((TOKENIZER not in path.name, step, path.name) for step, path in reader.samples() if path.suffix == ".png")
    return [name for _, _, name in found[-STRIPS:]]


def newest_sample(reader: RunReader, shown: str, called: str) -> dict[str, str] | None:
    """The newest sample strip as a data URI with its caption; None where there is none or the page shows it already. `called`: the
    name that the page knows the run by."""
    name = next(reversed(strips_of(reader)), None)
    return None if name is None or shown == f"{called}/{name}" else strip_of(reader, name)


def strip_named(request: Any) -> dict[str, str]:
    """The strip that a page's slider asks for by run and file; {} where there is none of that name (any more)."""
    asked = request if isinstance(request, dict) else {}
    try:
        reader = open_any(str(asked.get("run")))
    except ValueError:
        return {}
    name = str(asked.get("name"))
    return (strip_of(reader, name) if name in strips_of(reader) else None) or {}


def strip_of(reader: RunReader, name: str) -> dict[str, str] | None:
    """A strip of those that the run has, with its caption; None where it cannot be shown."""
    moment = moment_of(name)
    uri = picture_uri(reader.path / "samples" / name)
    if uri is None or moment is None:
        return None
    what, drawn = ("Reconstruction by the tokenizer", "redrawn") if TOKENIZER in name else ("Sample", "predicted")
    caption = f"{what} at step {moment[1]:,}: of each clip the truth above, {drawn} below"
    return {"name": name, "uri": uri, "caption": caption, "given": "" if TOKENIZER in name else given_share(reader)}


def given_share(reader: RunReader) -> str:
    """How far across a sample strip the given frames reach, in percent; empty where that is not known or nothing is predicted."""
    config = config_of(reader)
    if config is None or not 0 < config.data.context_frames < config.data.clip_frames:
        return ""
    return f"{100 * config.data.context_frames / config.data.clip_frames:.3f}%"


def picture_uri(path: Path) -> str | None:
    """A PNG file as a data URI; None where it is no picture or too large for a page. Re-encoded: what is sent is an image."""
    try:
        facts = path.stat(follow_symlinks=False)
        return _picture_uri(path, facts.st_mtime_ns, facts.st_size) if facts.st_size <= SAMPLE_BYTES and not path.is_symlink() else None
    except (OSError, ValueError, Image.DecompressionBombError):
        return None


@lru_cache(maxsize=8)  # every page asks for the newest one
def _picture_uri(path: Path, changed_ns: int, size: int) -> str:
    with Image.open(path, formats=["PNG"]) as image:
        return image_uri(image)


def layers_of(request: Any) -> dict[str, Any]:
    """The heatmaps of a run's layers; {} where the page has them already (`looks` as it got them), or there is no such run."""
    asked = request if isinstance(request, dict) else {}
    try:
        history = HISTORIES.follow(open_any(str(asked.get("run"))))
    except ValueError:
        return {}
    with history.lock:
        looks = f"{history.epoch}/{len(history.heat.steps)}/{history.heat.every}"
        return {} if asked.get("looks") == looks else {"looks": looks, **history.heat.to_dict()}


def sick_options() -> str:
    """The choices of what to compare with, as HTML."""
    return "".join(f'<option value="{name}">{html.escape(example.title)}</option>' for name, example in SICK_RUNS.items())


def sick_curves(request: Any) -> dict[str, Any]:
    """The headline curves of a bundled example with what there is to see in them; {} where there is none of that name."""
    name = str(request.get("name")) if isinstance(request, dict) else ""
    try:
        reader = open_any(f"{PREFIX}{name}")
    except ValueError:
        return {}
    history = HISTORIES.follow(reader)
    with history.lock:
        curves = history.since(0, 0)["curves"]
    return {"name": name, "title": SICK_RUNS[name].title, "see": SICK_RUNS[name].see, "curves": curves}
