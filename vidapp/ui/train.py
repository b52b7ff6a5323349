"""The Train tab: start a run, watch any run, steer it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from .. import jobs
from ..config import PHASES, Config
from ..run_folder import checkpoint_steps
from ..run_queue import processes_of
from ..runs import RunReader, list_runs, open_run
from ..sick_runs import choices as example_choices
from ..sick_runs import is_example, open_any, refuse_example
from . import new_run
from .estimates import devices
from .live import live_update, live_view
from .messages import guarded, message_box, said
from .new_run import NewRun
from .theme import heading
from .wiring import AGAIN, PRIVATE, QUICK

NO_RUN = "there is no run yet: start one"
READONLY_NOTE = "This page is read-only: training is off here. Run the app yourself (`python app.py`) to train, or start a run in a shell; it shows up here, live."
TO_NEW = "<a href=\"#start\" onclick=\"document.querySelector('#preset').scrollIntoView({block: 'center'}); return false;\">New run ↓</a>"
PAUSE, CONTINUE, LONGER = "Pause", "Continue", "Train twice as long"
STOP, LEAVE = "Stop and keep checkpoint", "Take out of the queue"
Updates = dict[Any, Any]


@dataclass(frozen=True)
class Steering:
    """The buttons that change a run."""

    pause: gr.Button
    stop: gr.Button
    save: gr.Button
    draw: gr.Button

    @property
    def buttons(self) -> list[gr.Button]:
        return [self.pause, self.stop, self.save, self.draw]


@dataclass(frozen=True)
class TrainTab:
    """The tab's components and what happens when they are used; without `new` and `steering` it only shows."""

    picker: gr.Dropdown
    live: gr.HTML
    sample: gr.Button
    message: gr.HTML
    new: NewRun | None
    steering: Steering | None

    def start(self, run: str, held: Any, name: str, source: str, steps: int | None) -> Iterator[Updates]:
        """Start the run that the page's draft and the controls describe, or put it into the queue, and show it."""
        yield from self.started(run, held, name, source, steps, on_all=False)

    def start_on_all(self, run: str, held: Any, name: str, source: str, steps: int | None) -> Iterator[Updates]:
        """The same by a process for each GPU."""
        yield from self.started(run, held, name, source, steps, on_all=True)

    def started(self, run: str, held: Any, name: str, source: str, steps: int | None, *, on_all: bool) -> Iterator[Updates]:
        assert self.new is not None
        yield {self.new.message: said("Getting ready…")}
        run, waits = self.new.go(run, held, name, source, steps, on_all=on_all)
        yield {**new_run.started(self.new, run, waits=waits), **self.shown(run)}

    def pause_or_continue(self, run: str | None) -> Updates:
        reader = chosen_run(run)
        status = reader.status()
        if status.state == "paused":
            reader.send("resume")
            return {self.message: said("Going on.")}
        if status.live:
            reader.send("pause")
            return {self.message: said("It pauses after the step it is at.")}
        longer = longer_of(reader) if status.state == "finished" else None
        kept = any(checkpoint_steps(reader.path, phase) for phase in PHASES)
        if take_up(reader, longer):
            text = "waits in the queue and goes on by itself"
        else:
            text = "goes on from its newest checkpoint" if kept else "begins anew: it has no checkpoint yet"
        text += f", to step {longer.run.steps:,}" if longer else ""
        return {self.message: said(f"Run {reader.name} {text}.", "good"), **self.buttons(reader.name)}

    def stop(self, run: str | None) -> Updates:
        reader = chosen_run(run)
        waits = reader.status().state == "queued"
        reader.send("stop")
        if waits:
            return {self.message: said(f"Run {reader.name} is out of the queue."), **self.buttons(reader.name)}
        return {self.message: said("It stops after the step it is at, and keeps a checkpoint.")}

    def save(self, run: str | None) -> Updates:
        chosen_run(run).send("save")
        return {self.message: said("A checkpoint is saved after the step it is at.")}

    def draw(self, run: str | None) -> Updates:
        chosen_run(run).send("sample")
        return {self.message: said("A sample is drawn after the step it is at; it appears below.")}

    def shown(self, run: str | None) -> Updates:
        """Show that run in the picker, the live view and the buttons."""
        return {self.picker: gr.Dropdown(choices=run_choices(), value=run or None), self.live: live_update(run or ""), **self.buttons(run)}

    def open(self, run: str | None, request: gr.Request) -> Updates:
        """The page was opened: the run that its address names, where there is one, else the one that trains or the newest.

        `run`, which the picker holds, was chosen when the app started: nobody has picked it on this page.
        """
        asked = request.query_params.get("run") if request else None
        if not asked:
            return self.shown(first_shown())
        if find_run(asked) is None:
            told = said(f"There is no run {asked[:100]!r} (any more): another one is shown.", "bad")
            return {**self.shown(first_shown()), self.message: told}
        return self.shown(asked)

    def refresh(self, run: str | None, told: str | None = None) -> Updates:
        """The runs that there are now. The one shown is left alone where it still exists, else the first one is shown.

        `told`: what is said beside the start button; it goes with the run that it is about.
        """
        choices = run_choices()
        names = [name for _, name in choices]
        dropped: Updates = {self.new.message: ""} if self.new and new_run.outlived(told or "") else {}
        if run not in names:
            return {self.message: "", **dropped, **self.shown(first_shown())}
        if outgrown(run):
            return {**dropped, **self.shown(first_shown())}
        return {self.picker: gr.Dropdown(choices=choices), self.live: live_update(), **dropped, **self.buttons(run)}

    def buttons(self, run: str | None) -> Updates:
        """What can be done with a run in its state."""
        reader = find_run(run)
        status = reader.status() if reader else None
        state = status.state if status else ""
        if is_example(run):
            state, status = "", None  # there to be looked at
        live, waits = bool(status and status.live), state == "queued"
        updates: Updates = {self.sample: gr.Button(interactive=bool(reader and reader.checkpoints()))}
        if self.steering:
            going = state in ("starting", "running")
            label = PAUSE if going or waits or not state else LONGER if state == "finished" else CONTINUE
            updates |= {
                self.steering.pause: gr.Button(label, interactive=bool(state) and not waits),
                self.steering.stop: gr.Button(LEAVE if waits else STOP, interactive=live or waits),
                self.steering.save: gr.Button(interactive=live),
                self.steering.draw: gr.Button(interactive=live),
            }
        return updates

    @property
    def outputs(self) -> list[Any]:
        buttons = self.steering.buttons if self.steering else []
        return [self.message, self.picker, self.live, self.sample, *buttons]


def build(draft: gr.BrowserState, *, readonly: bool = False) -> TrainTab:
    """Lay the tab out (inside a gr.Tab). With `readonly`, whatever changes a run is not there at all."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            new = None if readonly else new_run.build(draft)
            if readonly:
                gr.Markdown(READONLY_NOTE)
        with gr.Column(scale=5, min_width=340, elem_classes=["first-on-a-phone"]):
            heading("Runs")
            if new:
                gr.HTML(TO_NEW, elem_id="to-new", apply_default_css=False, padding=False)
            picker = gr.Dropdown(
                run_choices(), value=first_shown(), label="Run", allow_custom_value=True, elem_id="run-picker",
                info="Every run in the runs folder, also those that were started in a shell.",
            )  # fmt: skip
            with gr.Row(elem_classes=["actions"]):
                steering = None if readonly else build_steering()
                sample = gr.Button("Sample this checkpoint", interactive=False, size="sm", min_width=150, elem_id="sample-run")
            message = message_box(elem_id="train-message")
            live = live_view({"run": first_shown() or ""}, readonly=readonly, elem_id="live")
    return TrainTab(picker, live, sample, message, new, steering)


def build_steering() -> Steering:
    pause = gr.Button(PAUSE, interactive=False, size="sm", min_width=90, elem_id="pause")
    stop = gr.Button(STOP, variant="stop", interactive=False, size="sm", min_width=170, elem_id="stop")
    save = gr.Button("Save now", interactive=False, size="sm", min_width=100, elem_id="save")
    draw = gr.Button("Sample now", interactive=False, size="sm", min_width=110, elem_id="draw")
    return Steering(pause, stop, save, draw)


def wire(page: gr.Blocks, place: gr.Tab, tab: TrainTab) -> list[Any]:
    """The tab's events; returns those after which the draft may be another one. Opening the page shows what the runs folder
    holds, whatever was shown before."""
    guard, quiet = guarded(tab.message), guarded(tab.message, clears=False)
    quick = {**QUICK, **PRIVATE}
    looking = {**quick, **AGAIN}  # showing what there is may be asked for again at any time
    page.load(quiet(tab.open), tab.picker, tab.outputs, **looking)
    tab.picker.input(guard(tab.shown), tab.picker, tab.outputs, **looking)
    told = [tab.new.message] if tab.new else []
    now = [tab.picker, *told], [*tab.outputs, *told]
    tab.live.state_changed(guard(tab.refresh), *now, **looking)
    tab.live.runs_changed(quiet(tab.refresh), *now, **looking)
    if tab.steering:
        for button, handler in zip(tab.steering.buttons, (tab.pause_or_continue, tab.stop, tab.save, tab.draw), strict=True):
            button.click(guard(handler), tab.picker, tab.outputs, **quick)
    if not tab.new:
        return []
    new = tab.new
    for button, begin in ((new.start, tab.start), (new.start_all, tab.start_on_all)):
        button.click(guarded(new.message)(begin), [new.name, new.draft, *new.form],
                     [new.message, new.name, *tab.outputs], **quick)  # fmt: skip
    for changed in (tab.live.state_changed, tab.live.runs_changed):  # whether the button starts a run or queues it
        changed(guarded(new.message, clears=False)(new.measure), new.draft, new.measured, **new_run.AHEAD)
    return new_run.wire(page, place, new)


def longer_of(reader: RunReader) -> Config:
    """The settings of a finished run for twice as many steps. What is a part of a run (a schedule, a curriculum) then is another part."""
    config = reader.config()
    return config.replace({"run.steps": 2 * config.run.steps})


def take_up(reader: RunReader, longer: Config | None = None) -> bool:
    """Go on with a run that nobody trains, from its newest checkpoint, a finished one as `longer`; whether it has to wait in the queue for
    that."""
    tokenizer = None
    if not (
        reader.checkpoints() or checkpoint_steps(reader.path, "tokenizer")
    ):  # it begins anew: with the tokenizer that a new run would take
        from ..run_tokenizers import tokenizer_for

        tokenizer = tokenizer_for(reader.config())
    processes = processes_of(reader.path)
    if processes > 1 and devices() < processes:
        processes = 1  # GPUs have gone since: one trains the same, and the run says so
    if jobs.running():
        jobs.start_or_enqueue(longer, reader.name, resume=True, tokenizer=tokenizer, processes=processes)
        return reader.name in jobs.queue()
    jobs.start_training(longer, reader.name, resume=True, tokenizer=tokenizer, processes=processes)
    return False


def run_choices() -> list[tuple[str, str]]:
    """(label, name) of one's own runs, newest first, then of the bundled examples."""
    return [(f"{run.name} ({run.status().state})", run.name) for run in list_runs()] + example_choices()


def first_run() -> str | None:
    """The run that trains, or the newest."""
    return jobs.training() or next((run.name for run in list_runs()), None)


def first_shown() -> str | None:
    """What the page opens with: the first run, and where there is none of one's own the healthy example."""
    return first_run() or next((name for _, name in example_choices()), None)


def outgrown(run: str | None) -> bool:
    """Whether an example was shown for want of a run, and the first one trains now: it takes the example's place."""
    return is_example(run) and [reader.status().live for reader in list_runs()] == [True]


def chosen_run(name: str | None) -> RunReader:
    """The run of one's own of that name; ValueError where none is chosen, it is gone, or it is an example, which nobody steers."""
    if not name:
        raise ValueError(NO_RUN)
    refuse_example(name)
    return open_run(name)


def known_name(name: str | None) -> str:
    """The name of a run or an example that can be shown; ValueError where there is none."""
    if not name:
        raise ValueError(NO_RUN)
    open_any(name)
    return name


def find_run(name: str | None) -> RunReader | None:
    """The run or example of that name, to look at."""
    try:
        return open_any(name) if name else None
    except ValueError:
        return None
