"""The Runs tab: every run with its scores, two or more beside one another, and what can be done with them."""

import html
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from .. import run_trash
from ..plots import loss_figure
from ..run_compare import differing_settings
from ..runs import RunReader
from ..sick_runs import is_example, open_any
from .history import HISTORIES
from .messages import guarded, message_box, said
from .plot import chart, figure_value
from .run_table import ROWS, chosen_of, run_table
from .wiring import AGAIN, PRIVATE, QUICK, in_turn
from .words import count

CURVES = {
    "validation": ("Validation loss", "transformer/validation_loss_full", "nats per token,<br>whole future masked"),
    "training": ("Training loss", "transformer/loss", "nats per masked token"),
    "gradient": ("Gradient norm", "transformer/grad_norm", "norm before clipping"),
    "tokenizer": ("Tokenizer error", "tokenizer/reconstruction_mse", "squared error a frame"),
}
OF_OTHER_TOKENS = ("data.", "tokenizer.", "recipe.tokenizer_", "run.validation_clips")
MOST_LISTED = 200  # runs in the trash
Updates = dict[Any, Any]


@dataclass(frozen=True)
class Discarding:
    """The way to the trash and back; not there on a read-only page. `asked` and `gone` are never shown: what a click is about."""

    discard: gr.Button
    question: gr.Group
    words: gr.HTML
    yes: gr.Button
    no: gr.Button
    restore: gr.Button
    asked: gr.JSON
    gone: gr.JSON
    trash: "Trash"

    @property
    def outputs(self) -> list[Any]:
        return [self.discard, self.question, self.words, self.restore, self.asked, self.gone, *self.trash.outputs]


@dataclass(frozen=True)
class Trash:
    """What was moved there at any time, folded away; not to be seen while it is empty."""

    fold: gr.Accordion
    places: gr.CheckboxGroup
    back: gr.Button

    @property
    def outputs(self) -> list[Any]:
        return [self.fold, self.places, self.back]

    def show(self) -> Updates:
        """What the trash holds now, the runs moved last; nothing of it is ticked."""
        places = run_trash.trashed()
        label = f"Trash ({count(len(places), 'run')})"
        return {
            self.fold: gr.Accordion(label=label, visible=bool(places)),
            self.places: gr.CheckboxGroup(choices=trash_choices(places), value=[]),
        }


def trash_choices(places: list[str]) -> list[tuple[str, str]]:
    """(label, place), the runs moved last."""
    return [
        (f"{name}, moved {moment_words(moment)}", place) for place in places[:MOST_LISTED] for moment, _, name in [place.partition("/")]
    ]


@dataclass(frozen=True)
class RunsTab:
    """The tab's components and what happens when they are used. `open`, `sample` and `debug` lead to other tabs: see app.py."""

    table: gr.HTML
    open: gr.Button
    sample: gr.Button
    debug: gr.Button
    hint: gr.HTML  # why some of the buttons are grey
    message: gr.HTML
    curve: gr.Radio
    log: gr.Checkbox  # not to be seen beside a curve whose axis is logarithmic in any case
    plot: gr.HTML
    settings: gr.HTML
    discarding: Discarding | None

    @property
    def outputs(self) -> list[Any]:
        own = [self.message, self.table, self.open, self.sample, self.debug, self.hint, self.log, self.plot, self.settings]
        return [*own, *self.discarding.outputs] if self.discarding else own

    def show(self, value: Any, curve: str, log: bool) -> Updates:
        """What is chosen: curves over one another, settings that differ, and the buttons that go with it."""
        names = chosen_of(value)
        runs = [open_any(name) for name in names]
        one = runs[0] if len(runs) == 1 else None
        updates: Updates = {
            self.open: gr.Button(interactive=one is not None),
            self.sample: gr.Button(interactive=bool(one and one.checkpoints())),
            self.debug: gr.Button(interactive=one is not None),
            self.hint: hint_html(runs),
            **self.draw(runs, curve, log=log),
        }
        if self.discarding:
            updates |= {
                self.discarding.question: gr.Group(visible=False),
                self.discarding.discard: gr.Button(interactive=bool(runs) and not any(map(is_example, names))),
            }
        return updates

    def redraw(self, value: Any, curve: str, log: bool) -> Updates:
        """The curves again, of runs that have moved on."""
        return self.draw([open_any(name) for name in chosen_of(value)], curve, log=log)

    def draw(self, runs: list[RunReader], curve: str, *, log: bool) -> Updates:
        """The curves over one another; `log`: on a logarithmic axis, as those of the gradient norm always are."""
        label, key, title = CURVES.get(curve, CURVES["validation"])
        always = curve == "gradient"
        updates: Updates = {self.log: gr.Checkbox(visible=not always)}
        found = {run.name: points for run in runs if (points := curve_of(run, key))}
        if not found:
            return {**updates, self.plot: None, self.settings: none_html(label) * bool(runs) + settings_html(runs)}
        figure = loss_figure(found, log=log or always, y_title=title)
        without = [run.name for run in runs if run.name not in found]
        note = f'<p class="hint">No {label.lower()} of {html.escape(", ".join(without))} (yet).</p>' if without else ""
        return {**updates, self.plot: figure_value(figure), self.settings: note + settings_html(runs)}

    def ask(self, value: Any) -> Updates:
        """Name what would be moved, and ask."""
        assert self.discarding
        names = chosen_of(value)
        if not names:
            raise ValueError("no run is chosen: choose one in the table first")
        question = f"Move {', '.join(names)} to the trash inside the runs folder? Nothing is deleted, and it can be put back."
        words = said(question)
        return {self.discarding.words: words, self.discarding.asked: names, self.discarding.question: gr.Group(visible=True)}

    def discard(self, asked: Any) -> Updates:
        """Move the runs that the question named, as many as can be; say which cannot."""
        assert self.discarding
        gone, refused = each(run_trash.discard, chosen_of({"chosen": asked}))
        kept = f" Not moved: {'; '.join(refused.values())}." if refused else ""
        text = f"Moved {count(len(gone), 'run')} to the trash ({run_trash.TRASH} in the runs folder).{kept}" if gone else kept.strip()
        return {
            self.message: said(text, "bad" if refused else "good"),
            self.table: {"chosen": []},
            self.discarding.question: gr.Group(visible=False),
            self.discarding.gone: gone,
            self.discarding.restore: gr.Button(visible=bool(gone)),
            **self.discarding.trash.show(),
        }

    def restore(self, gone: Any) -> Updates:
        """Put back what was moved last, or what is ticked in the trash."""
        assert self.discarding
        places = [place for place in gone if isinstance(place, str)] if isinstance(gone, list) else []
        if not places:
            raise ValueError("nothing is ticked: tick in the trash what is to come back")
        names, refused = each(run_trash.restore, places)
        back = f"{', '.join(names)} back in the list." if names else ""
        kept = f"Not put back: {'; '.join(refused.values())}." if refused else ""
        return {
            self.message: said(" ".join(filter(None, [back, kept])), "bad" if refused else "good"),
            **({self.table: {"chosen": names}} if names else {}),
            self.discarding.gone: list(refused),
            self.discarding.restore: gr.Button(visible=bool(refused)),
            **self.discarding.trash.show(),
        }


def each(move: Callable[[str], str], names: list[str]) -> tuple[list[str], dict[str, str]]:
    """Move runs, as many as can be, of which the table knows at once: what came of those, and why not of the others."""
    moved, refused = [], dict[str, str]()
    for name in names:
        try:
            moved.append(move(name))
        except ValueError as error:
            refused[name] = f"{error}"
    ROWS.forget()
    return moved, refused


def moment_words(moment: str) -> str:
    """`2026-11-23 09:08` of `20261123-090833-6fba`; anything else as it is."""
    digits = moment.replace("-", "")[:12]
    if len(digits) < 12 or not digits.isdecimal():
        return moment[:40]
    return f"{digits[:4]}-{digits[4:6]}-{digits[6:8]} {digits[8:10]}:{digits[10:12]}"


def curve_of(run: RunReader, key: str) -> tuple[list[int], list[float]] | None:
    history = HISTORIES.follow(run, to_end=True)
    with history.lock:
        found = history.curves.get(key)
        return (list(found.steps), list(found.values)) if found and found.steps else None


def none_html(label: str) -> str:
    """In the place of a curve that none of the chosen runs has."""
    return f'<p class="hint">No {label.lower()} was measured in what is chosen, or not yet: choose another curve.</p>'


def hint_html(runs: list[RunReader]) -> str:
    """Why some of the buttons are grey; nothing where none is."""
    if not runs:
        text = "Choose a run in the table to see its curve and to use these buttons, two or more to compare them."
    elif len(runs) > 1:
        text = f"The grey buttons take one run; {len(runs)} are chosen, and compared below."
    else:
        text = "" if runs[0].checkpoints() else f"{runs[0].name} has no checkpoint to sample from."
    return f'<p class="hint">{html.escape(text)}</p>' if text else ""


def settings_html(runs: list[RunReader]) -> str:
    """The settings in which the runs differ, as a table; nothing with one run or none."""
    if len(runs) < 2:
        return ""
    differing = differing_settings(runs)
    if not differing:
        return '<p class="hint">These runs have the same settings throughout.</p>'
    head = "".join(f'<th scope="col">{html.escape(run.name)}</th>' for run in runs)
    rows = "".join(
        f'<tr><th scope="row">{breakable(key)}</th>' + "".join(f"<td>{breakable(as_text(value))}</td>" for value in values) + "</tr>"
        for key, values in differing.items()
    )
    table = f'<table class="settings"><thead><tr><th scope="col">Settings that differ</th>{head}</tr></thead><tbody>{rows}</tbody></table>'
    apart = [key for key in differing if key.startswith(OF_OTHER_TOKENS)]
    warning = f"The losses of these runs are of other clips or tokens, and cannot be compared: {', '.join(apart)} differ{'s' * (len(apart) == 1)}."
    return said(warning) * bool(apart) + f'<div class="wide" tabindex="0" role="region" aria-label="Settings that differ">{table}</div>'


def breakable(text: str) -> str:
    """Escaped, with places at which a narrow window may break it."""
    return re.sub(r"([._/,])", r"\1<wbr>", html.escape(text, quote=False))


def as_text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) or "none" if isinstance(value, (list, tuple)) else str(value)


def build(*, readonly: bool = False) -> RunsTab:
    """Lay the tab out (inside a gr.Tab). With `readonly` nothing can be moved to the trash."""
    table = run_table(readonly=readonly, elem_id="run-table")
    with gr.Row(elem_classes=["actions"]):
        leading = [("Open in Train", "open-run"), ("Sample in Generate", "sample-chosen"), ("Find what is wrong", "debug-run")]
        opened, sample, debug = (gr.Button(text, interactive=False, size="md", min_width=150, elem_id=name) for text, name in leading)
        discarding = None if readonly else build_discarding()
    hint = gr.HTML(hint_html([]), elem_id="runs-hint", apply_default_css=False, padding=False)
    message = message_box(elem_id="runs-message")
    if discarding:
        discarding.question.render()
    curve = gr.Radio(
        [(label, key) for key, (label, _, _) in CURVES.items()], value="validation", label="Curve", elem_id="run-curve",
        info="Validation loss is of the same clips and masks all along: runs of the same data and tokenizer can be compared by it.",
    )  # fmt: skip
    log = gr.Checkbox(False, label="log scale", info="Logarithmic loss axis, for runs whose losses lie far apart.", elem_id="run-log")
    plot = chart(label="Curves of the chosen runs over one another", elem_id="run-chart")
    settings = gr.HTML("", elem_id="run-settings", apply_default_css=False, padding=False)
    if discarding:
        discarding.trash.fold.render()
    return RunsTab(table, opened, sample, debug, hint, message, curve, log, plot, settings, discarding)


def build_discarding() -> Discarding:
    discard = gr.Button("Move to trash", variant="stop", interactive=False, size="md", min_width=130, elem_id="discard")
    restore = gr.Button("Put back", visible=False, size="md", min_width=100, elem_id="restore")
    with gr.Group(visible=False, render=False) as question:
        words = gr.HTML("", apply_default_css=False, padding=False)
        with gr.Row(elem_classes=["actions"]):
            yes = gr.Button("Yes, move", variant="stop", size="md", min_width=110, elem_id="discard-yes")
            no = gr.Button("Keep", size="md", min_width=90, elem_id="discard-no")
    asked, gone = gr.JSON(visible=False), gr.JSON(visible=False)
    return Discarding(discard, question, words, yes, no, restore, asked, gone, build_trash())


def build_trash() -> Trash:
    with gr.Accordion("Trash", open=False, visible=False, render=False, elem_id="trash") as fold:
        places = gr.CheckboxGroup(
            trash_choices(run_trash.trashed()),  # those that a page may have ticked before the app was started again
            label="Runs in the trash", elem_id="trashed", info=f"They lie in {run_trash.TRASH} in the runs folder; delete them there.",
        )  # fmt: skip
        back = gr.Button("Put back what is ticked", size="md", elem_id="put-back")
    return Trash(fold, places, back)


def wire(page: gr.Blocks, place: gr.Tab, tab: RunsTab) -> None:
    """The tab's events. The table fetches its rows itself."""
    guard, quiet = guarded(tab.message), guarded(tab.message, clears=False)
    quick = {**QUICK, **PRIVATE, **AGAIN}
    ordered = {**in_turn("runs"), **PRIVATE, **AGAIN}
    once = {**QUICK, **PRIVATE}  # the second click of a double one would find done what it asks for, and call it an error
    chosen = [tab.table, tab.curve, tab.log]
    tab.table.chosen(quiet(tab.show), chosen, tab.outputs, **ordered)
    tab.table.grown(quiet(tab.redraw), chosen, tab.outputs, **ordered)
    gr.on([tab.curve.input, tab.log.input], quiet(tab.redraw), chosen, tab.outputs, **ordered)
    if tab.discarding:
        ways = tab.discarding
        ways.discard.click(guard(tab.ask), tab.table, tab.outputs, **quick)
        ways.no.click(guard(lambda: {ways.question: gr.Group(visible=False)}), None, tab.outputs, **quick)
        moved = ways.yes.click(guard(tab.discard), ways.asked, tab.outputs, **once)
        back = ways.restore.click(guard(tab.restore), ways.gone, tab.outputs, **once)
        gr.on([page.load, place.select], quiet(ways.trash.show), None, [tab.message, *ways.trash.outputs], **quick)
        ticked = ways.trash.back.click(guard(tab.restore), ways.trash.places, tab.outputs, **once)
        for event in (moved, back, ticked):
            event.then(quiet(tab.show), chosen, tab.outputs, **ordered)
