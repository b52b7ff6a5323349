"""The Train tab: start a run, watch any run, steer it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from .. import jobs
from ..config import field_of
from ..presets import PRESETS, preset
from ..runs import RunReader, list_runs, open_run
from . import form, sources
from .live import SIGNATURE, live_view
from .messages import guarded, message_box, said
from .wiring import AGAIN, PRIVATE, QUICK

FIRST_PRESET = "debug"
SECTIONS = ("model", "data", "recipe", "run")
KEYS = form.first_order_keys(*SECTIONS)
SHORT_HELP = 50  # characters that fit into half a column
NO_RUN = "there is no run yet: start one"
READONLY_NOTE = "This page is read-only: training is off here. Run the app yourself (`python app.py`) to train, or start a run in a shell; it shows up here, live."
Updates = dict[Any, Any]


@dataclass(frozen=True)
class NewRun:
    """The controls of a run that is yet to be started."""

    preset: gr.Dropdown
    name: gr.Textbox
    fields: list[Any]
    start: gr.Button
    message: gr.HTML

    def show_preset(self, name: str) -> Updates:
        """The preset's values in the controls."""
        config = preset(name)
        values = {field: form.shown(config, key) for key, field in zip(KEYS, self.fields, strict=True)}
        return {self.preset: gr.Dropdown(info=preset_help(name)), **values}


@dataclass(frozen=True)
class Steering:
    """The buttons that change a run."""

    pause: gr.Button
    stop: gr.Button
    save: gr.Button


@dataclass(frozen=True)
class TrainTab:
    """The tab's components and what happens when they are used; without `new` and `steering` it only shows."""

    picker: gr.Dropdown
    live: gr.HTML
    sample: gr.Button
    message: gr.HTML
    new: NewRun | None
    steering: Steering | None

    def start(self, name: str, values: list[Any], chosen: str) -> Iterator[Updates]:
        """Start a run from the preset `chosen` with the controls' values, and show it."""
        assert self.new is not None
        config = sources.resolved(form.changed(preset(chosen), KEYS, values))
        yield {self.new.message: said("Getting ready…")}
        from ..tokenizer_choice import choose_tokenizer

        run = jobs.start_training(config, name.strip() or None, tokenizer=choose_tokenizer(config))
        yield {self.new.message: said(f"Run {run} has started. It goes on when this page is closed.", "good"), **self.shown(run)}

    def pause_or_continue(self, run: str | None) -> Updates:
        reader = chosen_run(run)
        status = reader.status()
        if status.state == "paused":
            reader.send("resume")
            return {self.message: said("Going on.")}
        if status.live:
            reader.send("pause")
            return {self.message: said("It pauses after the step it is at.")}
        jobs.start_training(None, reader.name, resume=True)
        return {self.message: said(f"Run {reader.name} goes on from its newest checkpoint.", "good"), **self.buttons(reader.name)}

    def stop(self, run: str | None) -> Updates:
        chosen_run(run).send("stop")
        return {self.message: said("It stops after the step it is at, and keeps a checkpoint.")}

    def save(self, run: str | None) -> Updates:
        chosen_run(run).send("save")
        return {self.message: said("A checkpoint is saved after the step it is at.")}

    def shown(self, run: str | None) -> Updates:
        """Show that run in the picker, the live view and the buttons."""
        live = gr.HTML(value={"run": run or ""}, runs=SIGNATURE(afresh=True))
        return {self.picker: gr.Dropdown(choices=run_choices(), value=run or None), self.live: live, **self.buttons(run)}

    def refresh(self, run: str | None) -> Updates:
        """The runs that there are now. The one shown is left alone where it still exists, else the first one is shown."""
        choices = run_choices()
        if run not in [name for _, name in choices]:
            return self.shown(first_run())
        return {self.picker: gr.Dropdown(choices=choices), self.live: gr.HTML(runs=SIGNATURE(afresh=True)), **self.buttons(run)}

    def buttons(self, run: str | None) -> Updates:
        """What can be done with a run in its state."""
        reader = find_run(run)
        state = reader.status().state if reader else ""
        live = state in ("starting", "running", "paused")
        updates: Updates = {self.sample: gr.Button(interactive=bool(reader and reader.checkpoints()))}
        if self.steering:
            going = state in ("starting", "running")
            updates |= {
                self.steering.pause: gr.Button(
                    "Pause" if going or not state else "Continue", interactive=bool(state) and state != "finished"
                ),
                self.steering.stop: gr.Button(interactive=live),
                self.steering.save: gr.Button(interactive=live),
            }
        return updates

    @property
    def outputs(self) -> list[Any]:
        buttons = [self.steering.pause, self.steering.stop, self.steering.save] if self.steering else []
        return [self.message, self.picker, self.live, self.sample, *buttons]


def build(*, readonly: bool = False) -> TrainTab:
    """Lay the tab out (inside a gr.Tab). With `readonly`, whatever changes a run is not there at all."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            new = None if readonly else build_new_run()
            if readonly:
                gr.Markdown(READONLY_NOTE)
        with gr.Column(scale=5, min_width=340, elem_classes=["first-on-a-phone"]):
            heading("Runs")
            picker = gr.Dropdown(
                run_choices(), value=first_run(), label="Run", allow_custom_value=True, elem_id="run-picker",
                info="Every run in the runs folder, also those that were started in a shell.",
            )  # fmt: skip
            with gr.Row(elem_classes=["actions"]):
                steering = None if readonly else build_steering()
                sample = gr.Button("Sample this checkpoint", interactive=False, size="md", min_width=170, elem_id="sample-run")
            message = message_box(elem_id="train-message")
            live = live_view({"run": first_run() or ""}, readonly=readonly, elem_id="live")
    return TrainTab(picker, live, sample, message, new, steering)


def heading(text: str) -> None:
    gr.HTML(f'<h2 class="heading">{text}</h2>', apply_default_css=False, padding=False)


def build_new_run() -> NewRun:
    config = preset(FIRST_PRESET)
    heading("New run")
    chosen = gr.Dropdown(
        list(PRESETS), value=FIRST_PRESET, label="Preset", info=preset_help(FIRST_PRESET), filterable=False, elem_id="preset"
    )
    fields = []
    for row in rows_of(KEYS):
        with gr.Row():
            fields += [field(key, config) for key in row]
    name = gr.Textbox(
        "", label="Name", placeholder="chosen for you", info="Of the run's folder; letters, digits, dots and dashes.", elem_id="run-name"
    )
    start = gr.Button("Start training", variant="primary", elem_id="start")
    return NewRun(chosen, name, fields, start, message_box(elem_id="start-message"))


def rows_of(keys: list[str]) -> list[list[str]]:
    """Numbers with a short help go in pairs, everything else has a row of its own; the order stays."""
    rows: list[list[str]] = []
    for key in keys:
        if is_small(key) and rows and len(rows[-1]) == 1 and is_small(rows[-1][0]):
            rows[-1].append(key)
        else:
            rows.append([key])
    return rows


def is_small(key: str) -> bool:
    return form.kind_of(key) in (int, float) and len(field_of(key).metadata["help"]) < SHORT_HELP


def field(key: str, config: Any) -> Any:
    if key == "data.source":
        help = f"Your own clips are offered when they lie in {sources.own_folder()}."
        return form.control(key, config, choices=sources.choices(), label="Data", info=help)
    return form.control(key, config)


def build_steering() -> Steering:
    pause = gr.Button("Pause", interactive=False, size="md", min_width=100, elem_id="pause")
    stop = gr.Button("Stop and keep checkpoint", variant="stop", interactive=False, size="md", min_width=190, elem_id="stop")
    save = gr.Button("Save now", interactive=False, size="md", min_width=100, elem_id="save")
    return Steering(pause, stop, save)


def wire(page: gr.Blocks, tab: TrainTab) -> None:
    """The tab's events. Opening the page shows what the runs folder holds, whatever was shown before."""
    guard, quiet = guarded(tab.message), guarded(tab.message, clears=False)
    quick = {**QUICK, **PRIVATE}
    looking = {**quick, **AGAIN}
    page.load(quiet(tab.refresh), tab.picker, tab.outputs, **looking)
    tab.picker.input(guard(tab.shown), tab.picker, tab.outputs, **looking)
    tab.live.state_changed(guard(tab.refresh), tab.picker, tab.outputs, **looking)
    tab.live.runs_changed(quiet(tab.refresh), tab.picker, tab.outputs, **looking)
    if tab.steering:
        tab.steering.pause.click(guard(tab.pause_or_continue), tab.picker, tab.outputs, **quick)
        tab.steering.stop.click(guard(tab.stop), tab.picker, tab.outputs, **quick)
        tab.steering.save.click(guard(tab.save), tab.picker, tab.outputs, **quick)
    if tab.new:
        new = tab.new
        inputs = [new.preset, new.name, *new.fields]

        def start(chosen: str, name: str, *values: Any) -> Iterator[Updates]:
            yield from tab.start(name, list(values), chosen)

        new.preset.input(guarded(new.message)(new.show_preset), new.preset, [new.message, new.preset, *new.fields], **looking)
        new.start.click(guarded(new.message)(start), inputs, [new.message, *tab.outputs], **quick)


def run_choices() -> list[tuple[str, str]]:
    return [(f"{run.name} ({run.status().state})", run.name) for run in list_runs()]


def first_run() -> str | None:
    """The run that trains in this app, or one that trains elsewhere, or the newest."""
    runs = list_runs()
    live = [run.name for run in runs if run.status().live]
    return jobs.running() or next(iter(live + [run.name for run in runs]), None)


def chosen_run(name: str | None) -> RunReader:
    """The run of that name; ValueError where none is chosen or it is gone."""
    if not name:
        raise ValueError(NO_RUN)
    return open_run(name)


def find_run(name: str | None) -> RunReader | None:
    try:
        return chosen_run(name)
    except ValueError:
        return None


def preset_help(name: str) -> str:
    """What a preset is for, in its own words."""
    return " ".join((PRESETS[name].__doc__ or "").split())
