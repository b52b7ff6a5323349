"""The Debug tab: from what a person sees to its cause, the checklist, and where it is lost. All of it runs in the examiner's process."""

import html
from dataclasses import dataclass
from typing import Any

import gradio as gr

from .. import jobs
from ..run_reader import RunReader
from ..symptoms import SYMPTOMS
from . import cases, sick_compare
from .address import kept
from .cases import Case
from .choices import whole_number
from .drafts import Draft
from .examiner import DONE, EXAMINER, RUNNING, STOPPED, STRIP, Order, Report
from .form import Slider
from .history import HISTORIES
from .live import config_of
from .messages import guarded, message_box, said
from .report_view import key_of, report_view
from .sick_compare import SickCompare
from .wiring import AGAIN, PRIVATE, QUICK, in_turn

PUBLIC = ("sampler", "masks", "data")  # groups that a read-only page offers: seconds, and no model
BRIEF = (*PUBLIC, "tokens", "hidden", "causality", "frames_alone", "agreement", "loss", "gradient")
SCOPES = {"brief": "Without training (about half a minute)", "all": "Everything (some minutes)"}
MOST_CLIPS = 100
FIRST_SYMPTOM = "blurry"
READONLY_NOTE = (
    "This page is read-only: of the checklist only what takes seconds and trains nothing is offered here. Run the app yourself (`python app.py`) "
    "to find causes in your own runs."
)
REMEMBERED = """(subject, symptom) => {
  const [kind, run] = [String(subject).slice(0, 4), String(subject).slice(4)];
  return { run: kind === 'run:' ? run : null, symptom };
}"""
Updates = dict[Any, Any]


@dataclass(frozen=True)
class Asking:
    """The controls that a read-only page lacks."""

    symptom: gr.Radio
    find: gr.Button
    scope: gr.Radio
    clips: gr.Slider
    locate: gr.Button
    stop: gr.Button


@dataclass(frozen=True)
class DebugTab:
    """The tab's components and what happens when they are used. `draft` is the page's new run, which other tabs show. `seen`: the run that
    was chosen in Train when the one here was; where another is chosen there since, that one is looked at."""

    draft: Any
    subject: gr.Dropdown
    seen: gr.Textbox
    alarms: gr.HTML
    check: gr.Button
    message: gr.HTML
    report: gr.HTML
    compare: SickCompare
    asking: Asking | None

    @property
    def outputs(self) -> list[Any]:
        own = [self.message, self.subject, self.seen, self.alarms, self.report, *self.compare.outputs]
        return [*own, self.asking.symptom, self.asking.stop] if self.asking else own

    def find(self, choice: str | None, draft: Any, symptom: str) -> Updates:
        """Find the cause of a symptom."""
        case = cases.case_of(choice, draft)
        if symptom not in SYMPTOMS:
            raise ValueError(f"unknown symptom {symptom!r}: choose one of the list")
        command = ("check", *case.check, "--symptom", symptom, "--strip", f"{{folder}}/{STRIP}", "--json-lines")
        return self.ordered(
            Order(case.key("symptom", symptom, *newest_line(case)), f"{SYMPTOMS[symptom].title}: {case.title}", case.config, command)
        )

    def run_checks(self, choice: str | None, draft: Any, scope: str) -> Updates:
        """Go through the checklist, all of it or what trains nothing."""
        case = cases.case_of(choice, draft)
        only = () if scope == "all" else ("--only", *BRIEF)
        return self.ordered(
            Order(case.key("checks", scope), f"Checklist: {case.title}", case.config, ("check", *case.check, "--json-lines", *only))
        )

    def run_public(self, choice: str | None) -> Updates:
        """The part of the checklist that a read-only page offers: made once, then shown to everybody."""
        case = cases.case_of(choice if choice != cases.DRAFT else None, None)
        order = Order(
            case.key("public"), f"Quick checks: {case.title}", case.config, ("check", *case.check, "--json-lines", "--only", *PUBLIC)
        )
        known = EXAMINER.look(order.key)
        report = EXAMINER.start(order, again=False)
        told: Updates = {self.message: said(shared(report))} if report is known else {}
        return {**self.begun(report), **told}

    def locate(self, choice: str | None, draft: Any, clips: float) -> Updates:
        """Where a checkpoint loses most."""
        case = cases.case_of(choice, draft)
        count = whole_number("number of test clips", clips, 1, MOST_CLIPS)
        command = ("evaluate", str(case.trained), "--clips", str(count), "--stages", "--strip", f"{{folder}}/{STRIP}", "--json-lines")
        return self.ordered(Order(case.key("lost", count), f"Where is it lost: {case.title}, {count} clips", case.config, command))

    def ordered(self, order: Order) -> Updates:
        """Begin that examination; one that it ends is named, since its report is no longer shown."""
        before = EXAMINER.look()
        ended = before if before and before.state == RUNNING else None
        report = EXAMINER.start(order)
        if ended is None or ended.state != STOPPED:
            return self.begun(report)
        told = f"One examination runs at a time; the one before was ended after {ago(ended.seconds)}: {ended.order.title}."
        return {**self.begun(report), self.message: said(told)}

    def begun(self, report: Report) -> Updates:
        # Its moment, not True: where the same is asked once more the page hears of nothing but a value that is another one.
        return {self.report: {"key": report.order.key, "begun": report.begun}, **self.stoppable(report)}

    def stop(self) -> Updates:
        stopped = said("Stopped." if EXAMINER.stop() else "Nothing is running.")
        return {self.message: stopped, **self.stoppable(None)}

    def stoppable(self, report: Report | None) -> Updates:
        """Stop looking is there to be pressed only while something is looked at."""
        return {self.asking.stop: gr.Button(interactive=bool(report and report.state == RUNNING))} if self.asking else {}

    def settled(self, value: Any, choice: str | None) -> Updates:
        """A report has come to its end. A run that trains may have raised alarms since it was begun."""
        report = EXAMINER.look(key_of(value)) if key_of(value) else None
        return {**self.stoppable(report), **self.alarmed(choice)}

    def advised(self, key: str) -> Draft:
        """The new run that the report of that key suggests; ValueError where it suggests none."""
        report = EXAMINER.look(key) if key else None
        if report is None or not report.change:
            raise ValueError("no setting is suggested here: find the cause of what you see first")
        return Draft.of_config(report.order.config.replace(report.change))

    def choose(self, choice: str | None, sick: str | None) -> Updates:
        """What the metrics of a run say by themselves, and how they look beside those of an example."""
        return {**self.alarmed(choice), **self.compare.show(cases.run_of(choice), sick)}

    def alarmed(self, choice: str | None) -> Updates:
        run = cases.run_of(choice)
        return {self.alarms: alarms_html(run) if run else ""}

    def refresh(self, choice: str | None, seen: str, picked: str | None) -> Updates:
        """What there is to look at now. The run that was `picked` in Train since something was chosen here takes its place; else what is
        chosen stays where it still exists."""
        found = cases.choices(readonly=self.asking is None)
        known = [value for _, value in found]
        if picked and picked != seen and cases.run_of(f"run:{picked}"):
            return {self.subject: gr.Dropdown(choices=found, value=f"run:{picked}"), self.seen: picked}
        return {self.subject: gr.Dropdown(choices=found) if choice in known else gr.Dropdown(choices=found, value=first_of(known))}

    def chosen(self, picked: str | None) -> Updates:
        """Somebody has chosen what to look at: it stays until another run than `picked`, the present one, is chosen in Train."""
        return {self.seen: picked or ""}

    def look_at(self, run: str, symptom: str = "", *, picked: str | None = None) -> Updates:
        """Choose that run, and the symptom where one is given, as a person does while `picked` is chosen in Train."""
        return {**self.pick(f"run:{run}", symptom), **self.chosen(picked)}

    def pick(self, choice: str | None, symptom: str = "") -> Updates:
        updates: Updates = {self.subject: gr.Dropdown(choices=cases.choices(readonly=self.asking is None), value=choice)}
        if self.asking and symptom in SYMPTOMS:
            updates[self.asking.symptom] = gr.Radio(value=symptom)
        return updates

    def open(self, request: gr.Request) -> Updates:
        """The page was opened: the run that its address names (`?tab=debug&run=NAME&symptom=flicker`), the one that trains or the newest is
        chosen, and the newest report shown, which may still be on its way; on a read-only page that would be a stranger's."""
        newest = EXAMINER.look() if self.asking else None
        shown = {**({self.report: {"key": newest.order.key}} if newest else {}), **self.stoppable(newest)}
        asked = dict(request.query_params) if request else {}
        name, symptom = str(asked.get("run", "")), str(asked.get("symptom", ""))
        trains = jobs.training()
        first = f"run:{trains}" if trains else first_of([value for _, value in cases.choices(readonly=self.asking is None)])
        if asked.get("tab") != "debug":
            return {**self.pick(first), **shown}
        if name and cases.run_of(f"run:{name}") is None:
            told = said(f"There is no run {name[:100]!r} (any more): another one is shown.", "bad")
            return {**self.pick(first, symptom), self.message: told, **shown}
        if symptom and symptom not in SYMPTOMS:
            told = said(f"There is no symptom {symptom[:60]!r}: choose one of the list.", "bad")
            return {**self.pick(f"run:{name}" if name else first), self.message: told, **shown}
        return {**self.pick(f"run:{name}" if name else first, symptom), **shown}


def newest_line(case: Case) -> tuple[object, ...]:
    """What tells one state of a run from the next: its metrics are evidence, too."""
    return (case.run.status().step,) if case.run else ()


def shared(report: Report) -> str:
    """What is said of a report that somebody has asked for before."""
    if report.state == DONE:
        return f"The same settings were checked {ago(report.seconds_ago)} ago: here is that result."
    return f"The same settings have been under examination for {ago(report.seconds_so_far)}: here is what was found so far."


def ago(seconds: float) -> str:
    """To the second at first: whoever asks again sees that it was heard."""
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole // 60 % 60} min"


def first_of(known: list[str]) -> str | None:
    """A run is looked at first, where there is one: that is what a person comes with."""
    return next((value for value in known if value.startswith("run:")), known[0] if known else None)


def alarms_html(run: RunReader) -> str:
    """The alarms of a run, one line each; a calm line where there is none."""
    history, error, config = HISTORIES.follow(run, to_end=True), run.status().error or "", config_of(run)
    with history.lock:
        found, logged = history.alarms(error, config), bool(history.lines)
    if not found:
        text = f"The metrics of {run.name} raise no alarm." if logged else f"{run.name} has not logged anything yet."
        return f'<div class="message info" role="status">{html.escape(text)}</div>'
    return "".join(
        f'<div class="message {"bad" if alarm.serious else "info"} alarm" data-alarm="{alarm.name}" role="status">'
        f"<b>{html.escape(alarm.title)}.</b> {html.escape(alarm.advice)}</div>"
        for alarm in found
    )


def build(draft: Any, picker: gr.Dropdown, *, readonly: bool = False) -> DebugTab:
    """Lay the tab out (inside a gr.Tab). `draft`: the page's new run (drafts.build); `picker`: the run that is chosen in Train."""
    found = cases.choices(readonly=readonly)
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            subject = gr.Dropdown(
                found, value=first_of([value for _, value in found]), label="Look at", allow_custom_value=True, elem_id="debug-subject",
                info="A run with its metrics and checkpoint, or settings alone.",
            )  # fmt: skip
            if readonly:
                gr.Markdown(READONLY_NOTE)
                check, asking = gr.Button("Run the quick checks", variant="primary", elem_id="run-checks"), None
            else:
                asking, check = build_asking()
        with gr.Column(scale=5, min_width=340):
            message = message_box(elem_id="debug-message")
            alarms = gr.HTML("", elem_id="debug-alarms", apply_default_css=False, padding=False)
            compare = sick_compare.build()
            report = report_view(readonly=readonly, elem_id="report")
    seen = gr.Textbox(str(picker.value or ""), visible=False)
    return DebugTab(draft, subject, seen, alarms, check, message, report, compare, asking)


def build_asking() -> tuple[Asking, gr.Button]:
    symptom = gr.Radio(
        [(one.title, one.name) for one in SYMPTOMS.values()], value=FIRST_SYMPTOM, label="What do you see?", elem_id="symptom",
        info="The checks that can explain it are made, cheapest first, until one cause is certain.",
    )  # fmt: skip
    find = gr.Button("Find the cause", variant="primary", elem_id="find-cause")
    scope = gr.Radio(
        [(label, name) for name, label in SCOPES.items()], value="brief", label="Or look at everything", elem_id="scope",
        info="Every check with its figure, its bound and what to do.",
    )  # fmt: skip
    check = gr.Button("Run the checklist", elem_id="run-checks")
    clips = Slider(
        1, MOST_CLIPS, value=8, step=1, label="Or see where it is lost", elem_id="lost-clips",
        info="Test clips from truth to free running, stage by stage; needs a checkpoint.",
    )  # fmt: skip
    locate = gr.Button("Where is it lost?", elem_id="locate")
    stop = gr.Button("Stop looking", variant="stop", interactive=False, elem_id="stop-checks")
    return Asking(symptom, find, scope, clips, locate, stop), check


def wire(page: gr.Blocks, place: gr.Tab, tab: DebugTab, picker: gr.Dropdown) -> None:
    """The tab's events; `picker`: the run that is chosen in Train. What computes does so in the examiner's process: every handler answers at once, in the order of the clicks."""
    guard, quiet = guarded(tab.message), guarded(tab.message, clears=False)
    quick = {**QUICK, **PRIVATE, **AGAIN}
    ordered = {**in_turn("examiner"), **PRIVATE}  # the second click of a double one would end what the first began
    chosen = [tab.subject, tab.compare.choice]
    page.load(quiet(tab.open), None, tab.outputs, **quick).then(quiet(tab.choose), chosen, tab.outputs, **quick)
    place.select(quiet(tab.refresh), [tab.subject, tab.seen, picker], tab.outputs, **quick)
    tab.subject.input(quiet(tab.chosen), picker, tab.outputs, **quick)
    tab.report.settled(quiet(tab.settled), [tab.report, tab.subject], tab.outputs, **quick)
    changes = [tab.subject.change, place.select, tab.compare.choice.input]
    gr.on(changes, guard(tab.choose), chosen, tab.outputs, **in_turn("alarms"), **PRIVATE, **AGAIN)
    if tab.asking is None:
        tab.check.click(guard(tab.run_public), tab.subject, tab.outputs, **ordered)
        return
    asking, about = tab.asking, [tab.subject, tab.draft]
    gr.on(
        [tab.subject.change, asking.symptom.change, place.select],
        None,
        [tab.subject, asking.symptom],
        js=kept("debug", REMEMBERED),
        **PRIVATE,
        **AGAIN,
    )
    asking.find.click(guard(tab.find), [*about, asking.symptom], tab.outputs, **ordered)
    tab.check.click(guard(tab.run_checks), [*about, asking.scope], tab.outputs, **ordered)
    asking.locate.click(guard(tab.locate), [*about, asking.clips], tab.outputs, **ordered)
    stopped = asking.stop.click(guard(tab.stop), None, tab.outputs, **ordered)
    stopped.then(
        None, js="() => { document.querySelector('#find-cause').focus(); return []; }", **PRIVATE
    )  # a button greyed out holds no focus
