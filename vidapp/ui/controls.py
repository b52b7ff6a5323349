"""The controls of the Generate tab: which checkpoint continues which clip, and how."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np

from . import form, session
from .cards import card_html
from .choices import FIRST, SLIDERS
from .drawing import pad
from .generation import DRAWN, TEST, TEST_CLIPS, UPLOAD
from .messages import noted
from .opening import opening
from .own_clips import CLIP_FILES
from .player import frame_uris
from .theme import static


@dataclass(frozen=True)
class Controls:
    """What decides a generation, in the order of `Chosen`."""

    checkpoint: gr.Dropdown
    dropped: gr.File
    source: gr.Radio
    number: gr.Slider
    upload: gr.File
    drawing: gr.HTML
    given: gr.Slider
    frames: gr.Slider
    temperature: gr.Slider
    top_k: gr.Slider
    steps: gr.Slider
    choice: Any  # dropdowns and a box to tick, whose events the tab waits for
    order: Any
    anneal: Any
    seed: gr.Number

    @property
    def inputs(self) -> list[Any]:
        return [getattr(self, name) for name in self.names()]

    @classmethod
    def names(cls) -> list[str]:
        return [field.name for field in dataclasses.fields(cls)]


def offer(box: gr.Dropdown, message: gr.HTML, choice: str | None, dropped: str | None) -> dict[Any, Any]:
    """The checkpoints that there are now. What is chosen is left alone where it still exists: by now it may be another."""
    choices, kept, gone = session.offered(choice, dropped)
    if kept == choice:
        return {box: gr.Dropdown(choices=choices)}
    return {box: gr.Dropdown(choices=choices, value=kept), **({message: noted(gone)} if gone else {})}


def build() -> tuple[Controls, gr.HTML, gr.HTML]:
    """Lay them out; with the card of the checkpoint and the pictures of the first test clips."""
    default = session.BUNDLED_CONFIG
    first = opening()
    checkpoint = gr.Dropdown(
        session.checkpoint_choices(), value=session.first_choice(), label="Checkpoint", allow_custom_value=True, elem_id="checkpoint",
        info="The model that continues the clip. Those of runs appear by themselves.",
    )  # fmt: skip
    card = gr.HTML(card_html(first.card if first else ""), elem_id="checkpoint-card", apply_default_css=False, padding=False)
    dropped = gr.File(
        label="or drop a .safetensors file", height=104, elem_classes=["drop-box"], elem_id="checkpoint-file"
    )  # of any type: what is no checkpoint is refused in the tab's own words, where the person looks
    source = gr.Radio(
        [("Test clip", TEST), ("Draw one", DRAWN), ("Your own", UPLOAD)], value=FIRST.source, label="Clip", elem_id="source",
        info="Where the given frames come from.",
    )  # fmt: skip
    thumbs = thumbnails(first.examples if first else None)
    number = form.Slider(
        *SLIDERS["number"], value=FIRST.number, step=1, label="Clip number", elem_id="clip-number",
        info="Which of the test clips, which no training has seen.",
    )  # fmt: skip
    drawing = pad(visible=False, elem_id="drawing")
    upload = gr.File(
        label="Video, GIF, .npy or .zip of pictures",
        file_types=CLIP_FILES,
        visible=False,
        height=104,
        elem_classes=["drop-box"],
        elem_id="clip-file",
    )
    temperature = form.slider("sampling.temperature", default, *SLIDERS["temperature"], 0.05)
    top_k = form.slider("sampling.top_k", default, *SLIDERS["top_k"], 1)
    frames = form.Slider(
        *SLIDERS["frames"], value=FIRST.frames, step=1, label="Future frames", elem_id="frames",
        info="How far to look ahead; more than the model was trained for is allowed.",
    )  # fmt: skip
    seed = gr.Number(FIRST.seed, precision=None, step=1, label="Seed", info="Same seed and settings, same frames.", elem_id="seed")
    with gr.Accordion("More settings", open=False, elem_id="more"):
        given = form.Slider(
            *SLIDERS["given"],
            value=FIRST.given,
            step=1,
            label="Given frames",
            info="What the model sees before it goes on alone.",
            elem_id="given",
        )
        steps = form.slider("sampling.steps", default, *SLIDERS["steps"], 1)
        choice = form.control("sampling.choice", default)
        order = form.control("sampling.order", default)
        anneal = form.control("sampling.anneal", default)
    controls = Controls(
        checkpoint, dropped, source, number, upload, drawing, given, frames, temperature, top_k, steps, choice, order, anneal, seed
    )
    return controls, card, thumbs


def thumbnails(pictures: np.ndarray | None) -> gr.HTML:
    """Pictures of test clips to choose from; its `input` event says that one was chosen."""
    return gr.HTML(
        value={**thumbnails_value(pictures, TEST_CLIPS), "chosen": FIRST.number},
        html_template=static("thumbs.html"),
        css_template=static("thumbs.css"),
        js_on_load=static("thumbs.js"),
        apply_default_css=False,
        elem_id="thumbs",
    )


def thumbnails_value(pictures: np.ndarray | None, clips: int) -> dict[str, Any]:
    """Of so many clips that can be chosen; which one is (`chosen`) the page adds."""
    return {"pictures": frame_uris(pictures), "clips": clips}
