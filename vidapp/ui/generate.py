"""The Generate tab: a checkpoint continues a clip."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from . import controls as control_panel
from . import links, opening, session, variants_panel
from .cards import card_html, card_text, error_chart, verdict_html
from .controls import Controls
from .generation import DRAWN, TEST, UPLOAD
from .kept import GENERATIONS
from .making import FITTED, GENERATE, MORE_FRAMES, PREVIEW, Stage, claim_again, claim_fit, claim_fresh, claim_more, claim_source, claiming
from .messages import guarded, message_box, said, told
from .player import Reel, player
from .plot import chart
from .variants_panel import VariantsPanel
from .wiring import AGAIN, COMPUTE, PRIVATE, QUICK, beside, in_turn
from .wishes import Wishes

Updates = dict[Any, Any]
MARKED = "(chosen, thumbs) => ({ ...thumbs, chosen })"  # the picture of the clip that is chosen
DROPS = 2  # files that are checked at once: each is read to its end
DROPPED = Wishes()  # what each page's box for checkpoints holds
PREVIEWS = 4  # that are made at once: one of a large upload takes seconds


@dataclass(frozen=True)
class GenerateTab:
    """The tab's components and what happens when they are used. Handlers take values and return {component: update}.

    `screen` triggers `frame` with {"frame": index} when a frame of the film strip is pressed; `made` holds the key of the generation that
    is shown, under which `kept.GENERATIONS` has it.
    """

    stage: Stage
    card: gr.HTML
    go: gr.Button
    another: gr.Button
    more: gr.Button
    fresh: gr.Button
    link: gr.Button
    below: gr.HTML
    decoded: gr.Button
    variants: VariantsPanel

    @property
    def controls(self) -> Controls:
        return self.stage.controls

    @property
    def message(self) -> gr.HTML:
        return self.stage.message

    @property
    def screen(self) -> gr.HTML:
        return self.stage.screen

    @property
    def made(self) -> gr.Textbox:
        return self.stage.made

    def describe(self, choice: str | None, dropped: str | None) -> Iterator[Updates]:
        """The card of the chosen checkpoint, and then the test clips that it can be tried on."""
        if not choice:
            yield {self.card: card_html(session.NONE_YET)}
            return
        yield {self.card: card_html(card_text(session.find_checkpoint(choice, dropped)))}
        yield self.stage.examples(choice, dropped)

    def describe_first(self, choice: str | None, dropped: str | None) -> Iterator[Updates]:
        """The same for a page that was opened just now: that of the bundled one is there already."""
        if choice != session.BUNDLED_CHOICE or not opening.opening():
            yield from self.describe(choice, dropped)

    def take_dropped(self, request: gr.Request, dropped: str | None) -> Iterator[Updates]:
        """A file was dropped: choose it where it is a checkpoint, say what is wrong with it where it is none. Nothing where the box holds
        another one by then."""
        wish = DROPPED.of(request.session_hash)
        if not dropped or wish is None or wish.values != (dropped,):
            return
        yield {self.message: said(f"Checking {Path(dropped).name}…")}  # what was said of the file before goes at once
        wrong: ValueError | None = None
        try:
            session.check(Path(dropped))
        except ValueError as error:
            wrong = error
        if not DROPPED.holds(request.session_hash, wish.number):
            return
        if wrong is not None:
            yield {self.message: told(wrong), self.controls.dropped: None}
            return
        choices = session.checkpoint_choices(dropped)
        yield {self.controls.checkpoint: gr.Dropdown(choices=choices, value=session.DROPPED_CHOICE)}

    def forget_dropped(self, choice: str | None) -> Updates:
        value = session.first_choice() if choice == session.DROPPED_CHOICE else choice
        return {self.controls.checkpoint: gr.Dropdown(choices=session.checkpoint_choices(), value=value)}

    def refresh(self, choice: str | None, dropped: str | None) -> Updates:
        return control_panel.offer(self.controls.checkpoint, self.message, choice, dropped)

    def show_source(self, source: str) -> Updates:
        return {
            self.stage.thumbs: gr.HTML(visible=source == TEST),
            self.controls.number: gr.Slider(visible=source == TEST),
            self.controls.drawing: gr.HTML(visible=source == DRAWN),
            self.controls.upload: gr.File(visible=source == UPLOAD),
        }


def build() -> GenerateTab:
    """Lay the tab out (inside a gr.Tab). What it opens with is in the page itself: it moves before anything is asked of the server."""
    first = opening.opening()
    GENERATIONS.offer(opening.KEY, opening.generation)
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=340):
            screen = player(reel_of(first) if first else None, elem_id="player")
            with gr.Row(elem_classes=["actions"]):
                go = gr.Button("Generate 10 future frames", variant="primary", elem_id="generate", scale=2, min_width=220)
                another = gr.Button("Another future", elem_id="another", scale=1, min_width=145)
                more = gr.Button(f"{MORE_FRAMES} more frames", elem_id="more-frames", scale=1, min_width=145)
                fresh = gr.Button("New clip", elem_id="new-clip", scale=1, min_width=110)
            message = message_box(elem_id="generate-message")
            judged = verdict_html(first.verdict) if first else ""
            result = gr.HTML(judged, elem_id="verdict", apply_default_css=False, padding=False)
            about = "Squared error of each future frame, beside predictions that need no model"
            errors = chart(error_chart(first.errors) if first else None, label=about, elem_id="error-chart")
            with gr.Row(elem_classes=["actions"]):
                files = {kind: download_button(kind) for kind in ("gif", "mp4", "npy")}
                link = gr.Button("Copy link", size="sm", min_width=100, elem_id="copy-link")
                decoded = gr.Button("How was this decoded?", size="sm", min_width=180, elem_id="how-decoded")
            below = message_box(elem_id="message-below")  # of what generates nothing: that would clear the other with its next frame
            variants = variants_panel.build()
        with gr.Column(scale=2, min_width=300):
            controls, card, thumbs = control_panel.build()
    made = gr.Textbox(opening.KEY if first else "", visible=False)
    recipe = gr.Textbox(links.recipe(first.chosen) if first else "", visible=False)
    stage = Stage(controls, thumbs, screen, message, result, errors, files, made, recipe)
    return GenerateTab(stage, card, go, another, more, fresh, link, below, decoded, variants)


def claim_dropped(request: gr.Request, dropped: str | None) -> None:
    DROPPED.claim(request.session_hash, "check", (dropped,))


def reel_of(first: opening.Opening) -> dict[str, Any]:
    reel = Reel(first.clip.given_u8, first.clip.truth_u8, len(first.prediction_u8), opening.KEY)
    reel.add(first.prediction_u8)
    return reel.value()


def download_button(kind: str) -> gr.DownloadButton:
    return gr.DownloadButton(f"Download {kind.upper()}", interactive=False, size="sm", min_width=100, elem_id=f"download-{kind}")


def wire(page: gr.Blocks, place: gr.Tab, tab: GenerateTab) -> None:
    """The tab's events. What shows a clip or generates is a wish: of those that cross, the newest counts."""
    stage, controls, guard, quiet = tab.stage, tab.controls, guarded(tab.message), guarded(tab.message, clears=False)
    pair = [controls.checkpoint, controls.dropped]
    quick = {**QUICK, **PRIVATE, **AGAIN}
    card = {"inputs": pair, "outputs": [tab.message, tab.card, stage.thumbs, controls.number], **in_turn("card"), **PRIVATE, **AGAIN}

    arrived = page.load(quiet(stage.arrive), controls.inputs, [tab.message, *controls.inputs], queue=False, **quick)
    wire_making(tab, [arrived, *wire_clips(tab, arrived)])
    described = [page.load(quiet(tab.describe_first), **card), controls.checkpoint.change(quiet(tab.describe), **card)]
    another_clip: list[Any] = [controls.number.change, *(one.then for one in described)]
    for event in another_clip:
        event(None, [controls.number, stage.thumbs], stage.thumbs, js=MARKED, **PRIVATE, **AGAIN)
    arrived.then(quiet(stage.offer_opening), None, [tab.message, *stage.files.values()], **in_turn("files"), **PRIVATE, **AGAIN)
    for visit in (page.load, place.select):
        visit(quiet(tab.refresh), pair, [tab.message, controls.checkpoint], **quick)
    place.select(None, [stage.recipe, stage.made, controls.checkpoint], None, js=links.keep_script(opening.KEY), **PRIVATE, **AGAIN)

    controls.checkpoint.input(None, controls.checkpoint, None, js=links.choose_script(), **PRIVATE, **AGAIN)

    controls.source.change(tab.show_source, controls.source, [stage.thumbs, controls.number, controls.drawing, controls.upload], **quick)
    held = {"queue": False, **quick}
    box = gr.on([controls.dropped.upload, controls.dropped.clear], claim_dropped, controls.dropped, None, **held)
    box.then(guard(tab.take_dropped), controls.dropped, [tab.message, *pair], **beside("dropped", DROPS), **PRIVATE, **AGAIN)
    controls.dropped.clear(guard(tab.forget_dropped), controls.checkpoint, [tab.message, controls.checkpoint], **quick)
    tab.link.click(None, [stage.recipe, *controls.inputs], tab.below, js=links.copy_script(Controls.names()), **PRIVATE)
    label = "(n) => `Generate ${n} future frame${n == 1 ? '' : 's'}`"
    controls.frames.change(None, controls.frames, tab.go, js=label, **PRIVATE)


def wire_clips(tab: GenerateTab, arrived: Any) -> list[Any]:
    """Whatever chooses a clip shows it. Returns the events that may have wished for its generation: what chooses a test clip with one press."""
    stage, controls = tab.stage, tab.controls
    claim = {"inputs": controls.inputs, "outputs": None, "queue": False, **QUICK, **PRIVATE, **AGAIN}
    outputs = [*stage.outputs, controls.given, controls.number]
    looked = {"inputs": None, "outputs": outputs, **beside("screen", PREVIEWS), **PRIVATE, **AGAIN}
    preview = guarded(tab.message, clears=False)(stage.preview)

    next_clip = f"(number, source, thumbs) => source === '{TEST}' ? (Number(number) + 1) % thumbs.clips : number"
    fresh = tab.fresh.click(None, [controls.number, controls.source, stage.thumbs], controls.number, js=next_clip, **PRIVATE)
    pictured = stage.thumbs.input(None, stage.thumbs, controls.number, js="(thumbs) => thumbs.chosen", **PRIVATE)
    changes = [controls.number.input, controls.drawing.input, controls.given.input, controls.given.release, controls.frames.release]
    changed = gr.on([*changes, controls.upload.change], claiming(PREVIEW, joins=FITTED), **claim)
    pressed = [fresh.then(claim_fresh, **{**claim, "outputs": tab.message}), pictured.then(claiming(GENERATE, joins=FITTED), **claim)]
    pressed.append(controls.source.input(claim_source, **claim))
    fit = controls.checkpoint.change(claim_fit, **claim)
    for wish in (arrived, changed, *pressed, fit):
        wish.then(preview, **looked)
    named = [controls.number.change, controls.source.change, controls.upload.change, controls.checkpoint.change]
    events = [*named, controls.drawing.input, controls.given.release, controls.frames.release]
    forget = guarded(tab.variants.message)(tab.variants.forget)
    outdated = [tab.variants.message, tab.variants.grid]
    gr.on(events, forget, None, outdated, queue=False, **QUICK, **PRIVATE, **AGAIN)
    return pressed


def wire_making(tab: GenerateTab, before: list[Any]) -> None:
    """Whatever generates, and the events before that may have wished for it; it waits in one line with all else that computes."""
    stage, controls = tab.stage, tab.controls
    quick = {"outputs": None, "queue": False, **QUICK, **PRIVATE, **AGAIN}
    lines = {**quick, "outputs": [tab.message, tab.below]}
    computing = {"show_progress": "minimal", "show_progress_on": tab.screen, **COMPUTE, **PRIVATE, **AGAIN}
    files = [tab.message, *stage.files.values()]

    reseed = "(seed) => (Number(seed) || 0) + 1"
    another = tab.another.click(None, controls.seed, controls.seed, js=reseed, **PRIVATE)
    picked = variants_panel.wire(tab.variants, controls)
    wanted = [tab.go.click, another.then, picked.then, controls.drawing.release]
    wishes = [*before, *(wished(claiming(GENERATE), controls.inputs, **quick) for wished in wanted)]
    wishes.append(tab.more.click(claim_more, stage.made, **lines))
    moved = [controls.temperature.release, controls.top_k.release, controls.steps.release, controls.seed.submit, controls.seed.blur]
    moved += [control.input for control in (controls.choice, controls.order, controls.anneal)]
    wishes.append(gr.on(moved, claim_again, [stage.made, *controls.inputs], **lines))
    for wish in wishes:
        done = wish.then(guarded(tab.message)(stage.work), None, stage.outputs, **computing)
        done.then(guarded(tab.message, clears=False)(stage.write_files), stage.made, files, **in_turn("files"), **PRIVATE, **AGAIN)
        done.then(None, [stage.recipe, stage.made, controls.checkpoint], None, js=links.keep_script(opening.KEY), **PRIVATE, **AGAIN)
