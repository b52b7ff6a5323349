"""The left of the Train tab: the run that is yet to be started, what it will do and take, and the button that starts it."""

import html
import re
from dataclasses import dataclass
from typing import Any

import gradio as gr

from .. import jobs
from ..config import Config, field_of
from ..launching import refuse_processes
from ..runs import open_run
from . import form, sources
from .chips import chips, chips_value
from .drafts import FIRST, Draft, Looks, choose_preset, preset_control, preset_help
from .estimates import ESTIMATES, Estimate, devices, notices_html
from .messages import guarded, message_box, said, sentence
from .plot import chart, figure_value
from .schedule_preview import schedule_figure
from .theme import heading
from .wiring import AGAIN, PRIVATE, QUICK, in_turn, text_of

WAITS = "waits in the queue"
STARTED = re.compile(rf"Run (\S+) ({WAITS}|has started)")  # what `started` says
START, ENQUEUE, ESTIMATING = "Start training", "Add to the queue", "(estimating the time)"
LOOKS = Looks()
AHEAD: dict[str, Any] = {**in_turn("estimate"), **PRIVATE, **AGAIN}
Updates = dict[Any, Any]


@dataclass(frozen=True)
class NewRun:
    """The controls of a run that is yet to be started; `draft` is shared with other tabs."""

    draft: gr.BrowserState
    preset: gr.Dropdown
    chips: gr.HTML
    source: gr.Dropdown
    steps: Any  # the control of run.steps
    name: gr.Textbox
    start: gr.Button
    start_all: gr.Button  # on all GPUs; shown where there are several
    message: gr.HTML
    notices: gr.HTML
    schedule: gr.HTML
    launch: gr.HTML
    configure: gr.Button

    @property
    def form(self) -> list[Any]:
        return [self.preset, self.source, self.steps]

    @property
    def outputs(self) -> list[Any]:
        return [self.message, self.draft, self.start, self.start_all, *self.form]

    def edited(self, held: Any, name: str, source: str, steps: float | None) -> Updates:
        """A control was left with a value."""
        draft = self.shown_draft(held, name, source, steps)
        return {self.draft: draft.value, **(self.pending(draft) if draft != Draft.held(held) else {})}

    def with_controls(self, held: Any, source: str, steps: float | None) -> Draft:
        """The draft with the controls' values; ValueError where those cannot be."""
        draft, values = Draft.held(held), {"data.source": source, "run.steps": steps}
        form.changed(draft.config, list(values), values.values())
        return draft.edited(values)

    def shown_draft(self, held: Any, name: str, source: str, steps: float | None) -> Draft:
        """The same on the preset that is shown (`name`), which the page's draft may not be on yet; ValueError where it does not go with it."""
        return self.with_controls(held, source, steps).on(name)

    def chosen(self, held: Any, name: str, source: str, steps: float | None) -> Draft:
        """What is shown, to be trained; ValueError where the controls' values or another one in Configure cannot be."""
        return self.shown_draft(held, name, source, steps).sound()

    def choose(self, name: str, held: Any) -> Updates:
        return choose_preset(self, name, held)

    def reset(self, event: gr.EventData, held: Any, name: str, source: str, steps: float | None) -> Updates:
        """A chip was pressed: that setting goes back to the value of the preset that is shown, the others stay as the controls have them."""
        draft, _ = self.with_controls(held, source, steps).moved(name)
        return self.show(draft.without(text_of(event, "key")))

    def reset_all(self, name: str) -> Updates:
        return self.show(Draft.of(name, {}))

    def show(self, draft: Draft) -> Updates:
        """That draft in the controls, and as the page's."""
        return {self.draft: draft.value, **self.follow(draft.value), **self.pending(draft)}

    def open(self, held: Any) -> Updates:
        """What the page remembers of an earlier visit. Where that is what it was built with nothing is written: somebody may have typed already."""
        return self.offered() if Draft.held(held) == FIRST else self.follow(held)

    def offered(self) -> Updates:
        """The data that there is now; what is chosen is left alone."""
        return {self.source: gr.Dropdown(choices=sources.choices())}

    def follow(self, held: Any) -> Updates:
        """The page's draft in the controls."""
        draft = Draft.held(held)
        config, refused = draft.config, draft.refused
        return {
            self.preset: gr.Dropdown(value=draft.preset, info=preset_help(draft.preset)),
            self.source: gr.Dropdown(choices=sources.choices(), value=refused.get("data.source", config.data.source)),
            self.steps: refused.get("run.steps", config.run.steps),
        }

    def describe(self, held: Any) -> Updates:
        """The draft in short, and what its recipe does over the run."""
        draft = Draft.of_value(held)
        return {self.chips: chips_value(draft), self.schedule: figure_value(schedule_figure(draft.config))}

    def pending(self, draft: Draft) -> Updates:
        """No time of another draft on the start button until that of this one is known."""
        if draft.refused or ESTIMATES.known(draft.config):
            return {}
        return {self.start: gr.Button(f"{ENQUEUE if jobs.running() else START} {ESTIMATING}"), self.start_all: gr.Button(visible=False)}

    def look(self, held: Any, request: gr.Request) -> Updates:
        """`pending`, until `newest` has been measured."""
        draft = Draft.of_value(held)
        LOOKS.claim(request, draft)
        return self.pending(draft)

    def newest(self, request: gr.Request) -> Updates:
        """`measure` of the page's newest draft."""
        begun = LOOKS.begin(request)
        if begun is None:
            return {}
        number, draft = begun
        updates = self.measure(draft.value)
        return updates if LOOKS.hold(request, number) else {}

    def measure(self, held: Any) -> Updates:
        """What the run will take, on the button that starts it; why it cannot start, where it cannot."""
        draft = Draft.of_value(held)
        if draft.refused:
            return self.off(draft.trouble)
        from ..data.glance import glance

        try:
            estimate = ESTIMATES.of(draft.config)
            seen = glance(sources.resolved(draft.config).data)
        except ValueError as error:
            return self.off(sentence(error))
        waits = jobs.running() is not None
        launch = estimate.launch(draft.command())
        label = f"{'Add to the queue for' if waits else 'Start on'} all {estimate.devices} GPUs"
        return {
            self.start_all: gr.Button(label, visible=estimate.devices > 1),
            self.start: gr.Button(label_of(estimate, waits=waits), interactive=waits or not estimate.problem),
            self.notices: notices_html(estimate, seen),
            self.launch: launch_html(launch) if launch else "",
        }

    def off(self, trouble: str) -> Updates:
        """No start, and why: while Configure shows what cannot be, something else would be trained."""
        off = gr.Button(START, interactive=False)
        return {self.start: off, self.start_all: gr.Button(visible=False), self.notices: said(trouble, "bad"), self.launch: ""}

    @property
    def measured(self) -> list[Any]:
        """The outputs of `measure`."""
        return [self.message, self.start, self.start_all, self.notices, self.launch]

    def go(self, run: str, held: Any, name: str, source: str, steps: int | None, *, on_all: bool = False) -> tuple[str, bool]:
        """Start a run, on one device or on all GPUs, or put it into the queue while another one trains; (its name, whether it waits).

        run: what it is to be called, "" for a name that is chosen. ValueError for what cannot start.
        """
        chosen = self.chosen(held, name, source, steps).config
        config = sources.resolved(chosen)
        from ..data.glance import glance
        from ..run_tokenizers import tokenizer_for

        processes = devices() if on_all else 1
        if on_all:
            refuse_processes(config, processes)
        glance(config.data)  # nothing there that could be trained on is said here, and leaves no run
        waits = jobs.running() is not None
        if not waits:
            refuse(chosen, processes)  # as the page names its data: estimates know no paths
        started = jobs.start_or_enqueue(config, "-".join(run.split()) or None, tokenizer=tokenizer_for(config), processes=processes)
        return started, started in jobs.queue()


def refuse(config: Config, processes: int = 1) -> None:
    """ValueError where the run does not fit into what is free now."""
    if processes > 1:
        from ..preflight import of_a_rank

        config = of_a_rank(config, processes)
    problem = ESTIMATES.of(config).problem
    if problem:
        raise ValueError(problem)


def label_of(estimate: Estimate, *, waits: bool) -> str:
    """`Start training (about 14 min on this CPU)`."""
    return f"{ENQUEUE if waits else START} ({estimate.time})"


def launch_html(command: str) -> str:
    return (
        '<div class="card">This machine has several GPUs; Start training uses one. All of them train by the button above, whose processes go on '
        "when this app ends (what they print is in launch.log in the run's folder), or by this command in a shell:</div>"
        f'<pre class="command-line" tabindex="0">{html.escape(command)}</pre>'
    )


def build(draft: gr.BrowserState) -> NewRun:
    """Lay the left side out."""
    heading("New run")
    preset = preset_control("preset")
    shown = chips(FIRST, elem_id="train-chips", elem_classes=["snug"])
    configure = gr.Button("Change any setting in Configure", size="sm", elem_id="to-configure")
    source = gr.Dropdown(
        sources.choices(), value=FIRST.config.data.source, label="Data", allow_custom_value=True, elem_id="new-data-source",
        info=sources.own_help(),
    )  # fmt: skip
    with gr.Row():
        steps = form.control("run.steps", FIRST.config, elem_id="new-run-steps", info=field_of("run.steps").metadata["help"])
        name = gr.Textbox(
            "", label="Name", placeholder="chosen for you", min_width=150, elem_id="run-name",
            info="Of the run's folder; letters, digits, dots and dashes.",
        )  # fmt: skip
    start = gr.Button(START, variant="primary", elem_id="start")
    start_all = gr.Button("Start on all GPUs", visible=False, elem_id="start-all")
    message = message_box(elem_id="start-message")
    notices = gr.HTML("", elem_id="start-notices", apply_default_css=False, elem_classes=["snug"])
    launch = gr.HTML("", elem_id="launch", apply_default_css=False, elem_classes=["snug"])
    schedule = chart(label="Learning rate, objectives, mask ratio and clip length against the step of the new run", elem_id="schedule")
    return NewRun(draft, preset, shown, source, steps, name, start, start_all, message, notices, schedule, launch, configure)


def wire(page: gr.Blocks, place: gr.Tab, new: NewRun) -> list[Any]:
    """The events of the left side but for the start; returns those after which the draft may be another one."""
    guard, quiet = guarded(new.message), guarded(new.message, clears=False)
    edits: dict[str, Any] = {**in_turn("draft"), **PRIVATE, **AGAIN}
    looks: dict[str, Any] = {**in_turn("draft looks"), **PRIVATE, **AGAIN}
    leaving = [new.source.input, new.steps.blur, new.steps.submit]
    edited = [
        gr.on(leaving, guard(new.edited), [new.draft, *new.form], new.outputs, **edits),
        new.preset.input(guard(new.choose), [new.preset, new.draft], new.outputs, **edits),
        new.chips.reset(guard(new.reset), [new.draft, *new.form], new.outputs, **edits),
        new.chips.reset_all(guard(new.reset_all), new.preset, new.outputs, **edits),
    ]
    page.load(quiet(new.open), new.draft, [new.message, *new.form], **QUICK, **PRIVATE)
    place.select(quiet(new.offered), None, [new.message, new.source], **QUICK, **PRIVATE, **AGAIN)
    looking = [new.draft.change, place.select]
    gr.on(looking, quiet(new.describe), new.draft, [new.message, new.chips, new.schedule], **looks)
    looked = gr.on(looking, quiet(new.look), new.draft, [new.message, new.start, new.start_all], queue=False, **QUICK, **PRIVATE, **AGAIN)
    looked.then(quiet(new.newest), None, new.measured, **AHEAD)
    return edited


def started(new: NewRun, run: str, *, waits: bool) -> Updates:
    """What is said of a run that has just been asked for."""
    text = f"Run {run} {WAITS} and starts by itself." if waits else f"Run {run} has started. It goes on when this page is closed."
    return {new.message: said(text, "good"), new.name: ""}


def outlived(told: str) -> bool:
    """Whether it is said there that a run has been asked for which is gone, or that one waits which does not wait any more."""
    about = STARTED.search(told)
    if about is None:
        return False
    try:
        state = open_run(about[1]).status().state
    except ValueError:
        return True
    return about[2] == WAITS and state != "queued"
