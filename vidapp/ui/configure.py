"""The Configure tab: every setting of the run that is yet to be started, what differs from its preset, and what it will take."""

import html
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from ..config import SECTIONS, Config
from . import form, sources
from .chips import chips, chips_value
from .drafts import FIRST, Draft, Looks, choose_preset, preset_control, preset_help
from .estimates import ESTIMATES, at_once, figures_html, notices_html
from .messages import guarded, message_box, said, told
from .takeaway import takeaway, takeaway_value
from .theme import heading, static
from .wiring import AGAIN, PRIVATE, QUICK, in_turn, text_of
from .words import count

KEYS = form.all_keys()
FIRST_KEYS = form.first_order_keys()
LARGEST_FILE = 1 << 20
LOOKS = Looks()
UNKNOWN = figures_html({}, missing="–")  # of a form that holds what cannot be
READONLY_NOTE = (
    '<p class="hint">This page is read-only: nothing is trained here. Take the command below, or the file, to where you train.</p>'
)
ABOUT = {
    "model": "the transformer",
    "tokenizer": "frames to ids and back",
    "data": "clips",
    "recipe": "how it is trained",
    "sampling": "how its checkpoints are sampled",
    "run": "how long, and what is kept",
}
Updates = dict[Any, Any]


@dataclass(frozen=True)
class ConfigureTab:
    """The tab's components and what happens when they are used. `draft` is shared with other tabs; `fields` are in the order of KEYS."""

    draft: gr.BrowserState
    preset: gr.Dropdown
    chips: gr.HTML
    message: gr.HTML
    fields: list[Any]
    figures: gr.HTML
    notices: gr.HTML
    takeaway: gr.HTML
    upload: gr.UploadButton
    go: gr.Button | None  # not there on a read-only page, which starts nothing

    @property
    def form(self) -> list[Any]:
        """What decides a draft: the preset, then every setting."""
        return [self.preset, *self.fields]

    @property
    def source(self) -> Any:
        return self.fields[KEYS.index("data.source")]

    @property
    def outputs(self) -> list[Any]:
        """Whatever `show` sets."""
        return [self.message, self.draft, *self.form]

    def edited(self, name: str, *values: Any) -> Updates:
        """A control was left with a value: the draft is what the form says, what cannot be of it included."""
        draft = form_draft(name, values)
        return {self.draft: draft.value, **self.refusing(draft)}

    def refuse(self, name: str, *values: Any) -> None:
        """ValueError where the form shows what cannot be trained: in the words of an edit, as that may still be on its way and be said last."""
        draft = form_draft(name, values)
        if draft.refused:
            raise ValueError(draft.refusal)

    def refusing(self, draft: Draft) -> Updates:
        """Why some of what the form shows cannot be, where that is so."""
        return {self.message: told(ValueError(draft.refusal))} if draft.refused else {}

    def choose(self, name: str, held: Any) -> Updates:
        return choose_preset(self, name, held)

    def reset(self, event: gr.EventData, name: str, *values: Any) -> Updates:
        """A chip was pressed: that setting goes back to the preset's value, the others stay as the form has them."""
        key = text_of(event, "key")
        return self.show(form_draft(name, values, leave_out=key))

    def reset_all(self, name: str) -> Updates:
        return self.show(Draft.of(name, {}))

    def take_file(self, path: str | None) -> Updates:
        """The config in a JSON file, beside the preset that it is closest to."""
        if not path:
            return {}
        draft = Draft.of_config(read_config(path))
        sources.resolved(draft.config)  # a file is taken whole or not at all
        differs = f"{draft.preset} with {count(len(draft.changes), 'change')}" if draft.changes else f"exactly {draft.preset}"
        return {**self.show(draft), self.message: said(f"Taken from {Path(path).name}: {differs}.", "good")}

    def show(self, draft: Draft) -> Updates:
        """That draft in the form, and as the page's."""
        return {self.draft: draft.value, **self.refusing(draft), **self.follow(draft.value)}

    def follow(self, held: Any) -> Updates:
        """The page's draft in the form, what is refused of it included."""
        draft = Draft.held(held)
        config, refused = draft.config, draft.refused
        values = {key: form.in_control(refused[key]) if key in refused else form.shown(config, key) for key in KEYS}
        fields = {field: values[key] for key, field in zip(KEYS, self.fields, strict=True)}
        fields[self.source] = gr.Dropdown(choices=sources.choices(), value=values["data.source"])
        return {self.preset: gr.Dropdown(value=draft.preset, info=preset_help(draft.preset)), **fields}

    def open(self, held: Any) -> Updates:
        """What the page remembers of an earlier visit. What it cannot mean any more is said, and the first preset shown.
        Where it is what the page was built with nothing is written: somebody may have typed already."""
        try:
            draft = Draft.of_value(held)
        except ValueError as error:
            return {**self.show(FIRST), self.message: told(error)}
        return self.offered() if draft == FIRST else self.show(draft)

    def offered(self) -> Updates:
        """The data that there is now; what is chosen is left alone."""
        return {self.source: gr.Dropdown(choices=sources.choices())}

    def describe(self, held: Any) -> Updates:
        """The draft in short, as a command and as a file."""
        draft = Draft.of_value(held)
        return {self.chips: chips_value(draft), self.takeaway: takeaway_value(draft)}

    def look(self, held: Any, request: gr.Request) -> Updates:
        """What is known at once of what the draft will take; the rest is on its way, and nothing old is left standing."""
        draft = Draft.of_value(held)
        LOOKS.claim(request, draft)
        if draft.refused:
            return {self.figures: UNKNOWN}
        known = ESTIMATES.known(draft.config)
        return {self.figures: figures_html(known.values if known else at_once(draft.config))}

    def measure(self, request: gr.Request) -> Updates:
        """What the page's newest draft will take."""
        begun = LOOKS.begin(request)
        if begun is None:
            return {}
        number, draft = begun
        if draft.refused:
            return {self.figures: UNKNOWN, self.notices: ""}
        from ..data.glance import glance

        config = draft.config
        try:
            estimate = ESTIMATES.of(config)
            seen = glance(sources.resolved(config).data)
        except ValueError as error:
            return {self.message: told(error), self.figures: figures_html(at_once(config), missing="–"), self.notices: ""}
        if not LOOKS.hold(request, number):
            return {}
        return {self.figures: figures_html(estimate.values), self.notices: notices_html(estimate, seen)}


def form_draft(name: str, values: tuple[Any, ...], leave_out: str = "") -> Draft:
    """The draft of the form's values."""
    return Draft.of_form(name, {key: value for key, value in zip(KEYS, values, strict=True) if key != leave_out})


def read_config(path: str) -> Config:
    """The config in an uploaded file; ValueError where it is none, naming what is unknown in it."""
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise ValueError(f"{Path(path).name} cannot be read ({error.strerror or error}): choose it again") from error
    if len(content) > LARGEST_FILE:
        raise ValueError(f"{Path(path).name} is larger than {LARGEST_FILE >> 20} MiB: that is no config")
    try:
        return Config.from_json(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{Path(path).name} is not a text file: give a config in JSON") from error
    except ValueError as error:
        raise ValueError(f"{Path(path).name} was not taken: {error}") from error


def build(draft: gr.BrowserState, *, readonly: bool = False) -> ConfigureTab:
    """Lay the tab out (inside a gr.Tab). With `readonly` it leads to a command and a file, not to a training."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=340, elem_id="configure-form"):
            heading("What to train")
            chosen = preset_control("configure-preset")
            shown = chips(FIRST, elem_id="configure-chips", elem_classes=["snug"])
            message = message_box(elem_id="configure-message")
            search_box()
            fields = build_fields()
        with gr.Column(scale=3, min_width=320):
            heading("What it takes")
            figures = gr.HTML('<div class="card">Looking ahead…</div>', elem_id="configure-figures", apply_default_css=False, padding=False)
            notices = gr.HTML("", elem_id="configure-notices", apply_default_css=False, padding=False)
            go = None if readonly else gr.Button("Go on to Train", variant="primary", elem_id="configure-go")
            if readonly:
                gr.HTML(READONLY_NOTE, elem_id="configure-readonly", apply_default_css=False, padding=False)
            heading("The same elsewhere")
            away = takeaway(FIRST, elem_id="configure-takeaway", elem_classes=["snug"])
            upload = gr.UploadButton(
                "Import a config (.json)", size="sm", elem_id="configure-import"
            )  # of any type: what is no config is refused in the tab's own words, in place of what was said before
    return ConfigureTab(draft, chosen, shown, message, fields, figures, notices, away, upload, go)


def build_fields() -> list[Any]:
    """The first-order settings in the open, the rest folded by section; returned in the order of KEYS."""
    made: dict[str, Any] = {}
    with folder(""):
        made |= {key: control(key) for key in FIRST_KEYS}
    for section in SECTIONS:
        keys = [key for key in form.all_keys(section) if key not in FIRST_KEYS]
        summary = f"<b>{section.capitalize()}</b> {html.escape(ABOUT.get(section, ''))} <i>{len(keys)} more</i>"
        with folder(f'<details class="section"><summary>{summary}</summary></details>'):
            made |= {key: control(key) for key in keys}
    return [made[key] for key in KEYS]


def search_box() -> gr.HTML:
    """A box that finds settings by name, key or help, wherever they are folded away."""
    parts: dict[str, Any] = {
        "html_template": static("search.html"),
        "css_template": static("search.css"),
        "js_on_load": static("search.js"),
    }
    return gr.HTML(**parts, apply_default_css=False, elem_classes=["snug"])


def folder(head: str) -> gr.HTML:
    """A place for settings below its head; a closed <details> there hides them (see forms.css), and a search still finds them."""
    return gr.HTML(
        html_template=f"{head}@children", js_on_load=None, apply_default_css=False, padding=False, elem_classes=["snug", "settings"]
    )


def control(key: str) -> Any:
    given: dict[str, Any] = {"elem_id": "set-" + key.replace(".", "-"), "elem_classes": ["setting"]}
    if key == "data.source":
        # It may be a path from another machine: said when looked at. The setting's own help is for the command line, which takes paths.
        given |= {"choices": sources.choices(), "allow_custom_value": True, "info": f"What it trains on. {sources.own_help()}".strip()}
    return form.control(key, FIRST.config, **given)


def wire(page: gr.Blocks, place: gr.Tab, tab: ConfigureTab) -> list[Any]:
    """The tab's events; returns those after which the draft may be another one. Edits have their turns one after the other, each with the whole form as it was then: none is lost."""
    guard, quiet = guarded(tab.message), guarded(tab.message, clears=False)
    edits: dict[str, Any] = {**in_turn("draft"), **PRIVATE, **AGAIN}
    looks: dict[str, Any] = {**in_turn("draft looks"), **PRIVATE, **AGAIN}
    ahead: dict[str, Any] = {**in_turn("estimate"), **PRIVATE, **AGAIN}

    edited = [
        gr.on(leaving(tab.fields), guard(tab.edited), tab.form, [tab.message, tab.draft], **edits),
        tab.preset.input(guard(tab.choose), [tab.preset, tab.draft], tab.outputs, **edits),
        tab.chips.reset(guard(tab.reset), tab.form, tab.outputs, **edits),
        tab.chips.reset_all(guard(tab.reset_all), tab.preset, tab.outputs, **edits),
        tab.upload.upload(guard(tab.take_file), tab.upload, tab.outputs, **edits),
    ]

    described, measured = [tab.message, tab.chips, tab.takeaway], [tab.message, tab.figures, tab.notices]
    page.load(quiet(tab.open), tab.draft, tab.outputs, **edits).then(quiet(tab.describe), tab.draft, described, **looks)
    tab.draft.change(quiet(tab.describe), tab.draft, described, **looks)
    quick = {**QUICK, **PRIVATE, **AGAIN}
    place.select(quiet(tab.offered), None, [tab.message, tab.source], **quick)
    looked = gr.on([tab.draft.change, place.select], quiet(tab.look), tab.draft, [tab.message, tab.figures], queue=False, **quick)
    looked.then(quiet(tab.measure), None, measured, **ahead)
    return edited


def leaving(fields: list[Any]) -> list[Callable[..., Any]]:
    """The events that tell that a setting has its value: typing has ended, or something was chosen."""
    events: list[Callable[..., Any]] = []
    for field in fields:
        events += [field.blur, field.submit] if isinstance(field, (gr.Number, gr.Textbox)) else [field.input]
    return events
