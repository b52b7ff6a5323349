"""The folded part of the Generate tab: temperature against top-k, and many futures of one context."""

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from . import session, variants
from .choices import Chosen, chosen_from
from .controls import Controls
from .messages import guarded, message_box, said
from .theme import static
from .wiring import AGAIN, COMPUTE, PRIVATE, QUICK
from .wishes import Wish, Wishes

SHEET, SEEDS, NONE = "sheet", "seeds", "none"  # kinds of wishes
TELL_S = 0.25  # between two words about how far it is
WISHES = Wishes()
Updates = dict[Any, Any]


@dataclass(frozen=True)
class VariantsPanel:
    """The panel's components and what happens when they are used."""

    count: gr.Radio
    futures: gr.Button
    sheet: gr.Button
    message: gr.HTML
    grid: gr.HTML

    def work(self, request: gr.Request) -> Iterator[Updates]:
        """The grid wished for, once all of its futures are made; ends as soon as another one is wished for, or its page is closed: Gradio
        ends work whose page is gone, where that says something."""
        page = request.session_hash
        wish = WISHES.begin(page, SHEET, SEEDS)
        if wish is None:
            return
        chosen, asked = asked_by(wish)
        yield {self.message: said("Loading the checkpoint…")}
        path = session.find_checkpoint(chosen.checkpoint, chosen.dropped)
        session.refuse_too_large(path, len(asked))
        checkpoint = session.CHECKPOINTS.load(path)
        told = -math.inf
        for made in variants.futures_of(checkpoint, chosen, asked):
            if not WISHES.holds(page, wish.number):
                return
            if isinstance(made, variants.Grid):
                yield {self.message: "", self.grid: variants.sheet_html(made) if wish.kind == SHEET else variants.seeds_html(made)}
            elif time.monotonic() - told >= TELL_S:
                told = time.monotonic()
                yield {self.message: said(f"Decoding {len(asked)} futures together: {100 * made:.0f} % done.")}

    def forget(self, request: gr.Request) -> Updates:
        """Another clip or checkpoint was chosen: a grid of the one before, or one that is on its way, says nothing of it."""
        WISHES.claim(request.session_hash, NONE)
        return {self.message: "", self.grid: ""}


def asked_by(wish: Wish) -> tuple[Chosen, list[variants.Variant]]:
    count, *values = wish.values
    chosen = chosen_from(*values)
    return chosen, variants.sheet() if wish.kind == SHEET else variants.seeds(chosen.seed, int(count or 0))


def build() -> VariantsPanel:
    with gr.Accordion("Many futures at once", open=False, elem_id="variants"):
        with gr.Row(elem_classes=["actions"], equal_height=False):
            count = gr.Radio(
                list(variants.COUNTS),
                value=variants.COUNTS[0],
                label="Futures",
                info="Seeds of one context.",
                min_width=150,
                elem_id="futures-count",
            )
            futures = gr.Button("Where do they disagree?", min_width=190, elem_id="futures")
            sheet = gr.Button("Temperature × top-k", min_width=170, elem_id="sheet")
        message = message_box(elem_id="variants-message")
        grid = gr.HTML("", css_template=static("grid.css"), js_on_load=static("grid.js"), apply_default_css=False, elem_id="variants-grid")
    return VariantsPanel(count, futures, sheet, message, grid)


def wire(panel: VariantsPanel, controls: Controls) -> Any:
    """The panel's events. Returns the one that follows a film that was pressed: its settings are in the controls by then."""
    quick = {**QUICK, **PRIVATE, **AGAIN}
    for button, kind in ((panel.futures, SEEDS), (panel.sheet, SHEET)):
        claimed = button.click(claiming(kind), [panel.count, *controls.inputs], panel.message, queue=False, **quick)
        working = {"show_progress": "hidden", **COMPUTE, **PRIVATE, **AGAIN}
        claimed.then(guarded(panel.message)(panel.work), None, [panel.message, panel.grid], **working)

    named = [getattr(controls, name) for name in variants.NAMED]
    mark = static("stale.js").replace("NAMES", json.dumps(variants.NAMED))
    gr.on([panel.grid.change, *(control.change for control in named)], None, named, None, js=mark, **PRIVATE, **AGAIN)

    def pick(event: gr.EventData) -> Updates:
        return {getattr(controls, name): value for name, value in variants.picked(event._data).items()}

    settings = [controls.choice, controls.temperature, controls.top_k, controls.seed]
    return panel.grid.pick(guarded(panel.message)(pick), None, [panel.message, *settings], queue=False, **quick)


def claiming(kind: str) -> Callable[..., str]:
    """A handler that claims a wish with the controls' values and says at once that it was heard; the event's work follows it."""

    def claim(request: gr.Request, *values: Any) -> str:
        WISHES.claim(request.session_hash, kind, values)
        return said("Waiting for its turn…")

    return claim
