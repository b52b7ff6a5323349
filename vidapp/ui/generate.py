"""The Generate tab: a checkpoint continues a clip."""

import dataclasses
import html
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from ..plots import error_curve
from . import form, session
from .choices import Chosen, chosen_from
from .downloads import download_files
from .generation import LONGEST_FUTURE, TEST, TEST_CLIPS, UPLOAD, Errors, Verdict, errors_of, predicted, sampling_of, verdict
from .kept import GENERATIONS, Generation
from .messages import guarded, message_box, said, told
from .player import Reel, player
from .plot import chart, figure_value
from .wiring import AGAIN, COMPUTE, PRIVATE, QUICK, in_turn
from .wishes import WISHES
from .words import count, short

CLIP_FILES = [".npy", ".gif", ".mp4", ".mov", ".webm", ".avi", ".zip"]
GENERATE, PREVIEW, FIT = "generate", "preview", "fit"  # kinds of wishes
Updates = dict[Any, Any]


@dataclass(frozen=True)
class Controls:
    """What decides a generation, in the order of `Chosen`."""

    checkpoint: gr.Dropdown
    dropped: gr.File
    source: gr.Radio
    number: gr.Slider
    upload: gr.File
    given: gr.Slider
    frames: gr.Slider
    temperature: gr.Slider
    top_k: gr.Slider
    steps: gr.Slider
    order: gr.components.Component
    anneal: gr.components.Component
    seed: gr.Number

    @property
    def inputs(self) -> list[Any]:
        return [getattr(self, field.name) for field in dataclasses.fields(self)]


@dataclass(frozen=True)
class GenerateTab:
    """The tab's components and what happens when they are used. Handlers take values and return {component: update}."""

    controls: Controls
    card: gr.HTML
    screen: gr.HTML
    go: gr.Button
    another: gr.Button
    fresh: gr.Button
    message: gr.HTML
    result: gr.HTML
    errors: gr.HTML
    files: dict[str, gr.DownloadButton]
    made: gr.Textbox  # the key of the last generation; never shown

    @property
    def outputs(self) -> list[Any]:
        return [self.message, self.screen, self.result, self.errors, self.made, *self.files.values()]

    def nothing_made(self) -> Updates:
        closed = {button: gr.DownloadButton(value=None, interactive=False) for button in self.files.values()}
        return {self.result: "", self.errors: None, self.made: "", **closed}

    def generate(self, request: gr.Request) -> Iterator[Updates]:
        """Frames appear as they are decoded, then the verdict. Ends as soon as the page wishes for something else."""
        page = request.session_hash
        wish = WISHES.begin(page, GENERATE)
        if wish is None:
            return
        chosen = chosen_from(*wish.values)
        path = session.find_checkpoint(chosen.checkpoint, chosen.dropped)
        yield {self.message: said("Loading the checkpoint…")}
        checkpoint = session.CHECKPOINTS.load(path)
        clip = chosen.clip(checkpoint.config)
        sampling = sampling_of(checkpoint.config, chosen.settings())
        reel = Reel(clip.given_u8, clip.truth_u8, chosen.frames)
        yield {self.screen: reel.value(making=True), **self.nothing_made()}
        from ..media import to_u8
        from ..replay import Recorder

        recorder = Recorder(checkpoint.transformer.mask_id)
        try:
            for frames in predicted(checkpoint, clip.given_u8, chosen.frames, sampling, chosen.seed, recorder):
                if not WISHES.holds(page, wish.number):
                    if WISHES.kind(page) == GENERATE:  # it waits behind this one; whatever else was wished for is shown by now
                        yield {self.screen: reel.value()}
                    return
                reel.add(to_u8(frames))
                yield {self.screen: reel.value(making=len(frames) < chosen.frames)}
        except Exception:
            yield {self.screen: reel.value()}  # whatever was made stays, and nothing is said to be on its way
            raise
        scores = errors_of(checkpoint, clip, frames)
        made = GENERATIONS.put(Generation(clip, to_u8(frames), wish.number, recorder.replay(), path))
        yield {self.result: verdict_html(verdict(scores, chosen.frames)), self.errors: error_chart(scores), self.made: made}

    def write_files(self, request: gr.Request, made: str) -> Iterator[Updates]:
        """The last generation as files to take away, unless the page wishes for something else by now."""
        generation = GENERATIONS.get(made)
        if generation is None or not WISHES.holds(request.session_hash, generation.wish):
            return
        with download_files(generation.clip, generation.prediction_u8) as paths:
            yield {self.files[kind]: gr.DownloadButton(value=path, interactive=True) for kind, path in paths.items()}

    def preview(self, request: gr.Request) -> Updates:
        """The clip that was chosen, before anything is generated. Needs no checkpoint to be loaded.

        Where another checkpoint was chosen, as many given and future frames as it was trained with.
        """
        wish = WISHES.begin(request.session_hash, PREVIEW, FIT)
        if wish is None:
            return {}
        try:
            chosen = chosen_from(*wish.values)
            data = session.config_of(chosen.checkpoint, chosen.dropped).data
            if wish.kind == FIT and data.clip_frames > data.context_frames:
                chosen = dataclasses.replace(chosen, given=data.context_frames, frames=data.clip_frames - data.context_frames)
            updates = {self.controls.given: chosen.given, self.controls.frames: chosen.frames} if wish.kind == FIT else {}
            return {self.message: "", **updates, **self.shown(chosen)}
        except Exception as error:  # what is on the screen is not what was chosen, and a generation may have ended there
            return {**self.nothing_made(), self.screen: None, self.message: told(error)}

    def shown(self, chosen: Chosen) -> Updates:
        if chosen.source == UPLOAD and not chosen.upload:
            return {self.screen: None, **self.nothing_made()}
        clip = chosen.clip(session.config_of(chosen.checkpoint, chosen.dropped))
        return {self.screen: Reel(clip.given_u8, clip.truth_u8, chosen.frames).value(), **self.nothing_made()}

    def describe(self, choice: str | None, dropped: str | None) -> Updates:
        """The card of the chosen checkpoint."""
        if not choice:
            return {self.card: card_html(session.NONE_YET)}
        return {self.card: card_html(card_text(session.find_checkpoint(choice, dropped)))}

    def take_dropped(self, dropped: str | None) -> Updates:
        """A file was dropped: choose it where it is a checkpoint, say what is wrong with it where it is none."""
        if not dropped:
            return {}
        try:
            session.check(Path(dropped))
        except ValueError as error:
            return {self.message: told(error), self.controls.dropped: None}
        choices = session.checkpoint_choices(dropped)
        return {self.controls.checkpoint: gr.Dropdown(choices=choices, value=session.DROPPED_CHOICE)}

    def forget_dropped(self, choice: str | None) -> Updates:
        value = session.first_choice() if choice == session.DROPPED_CHOICE else choice
        return {self.controls.checkpoint: gr.Dropdown(choices=session.checkpoint_choices(), value=value)}

    def refresh(self, choice: str | None, dropped: str | None) -> Updates:
        """The checkpoints that there are now. What is chosen is left alone where it still exists: by now it may be another."""
        choices = session.checkpoint_choices(dropped)
        if choice in [value for _, value in choices]:
            return {self.controls.checkpoint: gr.Dropdown(choices=choices)}
        return {self.controls.checkpoint: gr.Dropdown(choices=choices, value=session.first_choice())}

    def show_source(self, source: str) -> Updates:
        return {self.controls.number: gr.Slider(visible=source == TEST), self.controls.upload: gr.File(visible=source == UPLOAD)}


def build() -> GenerateTab:
    """Lay the tab out (inside a gr.Tab)."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=340):
            screen = player(elem_id="player")
            with gr.Row(elem_classes=["actions"]):
                go = gr.Button("Generate 10 future frames", variant="primary", elem_id="generate", scale=3, min_width=200)
                another = gr.Button("Another future", elem_id="another", scale=1, min_width=130)
                fresh = gr.Button("New clip", elem_id="new-clip", scale=1, min_width=110)
            message = message_box(elem_id="generate-message")
            result = gr.HTML("", elem_id="verdict", apply_default_css=False, padding=False)
            errors = chart(label="Squared error of each future frame, beside predictions that need no model", elem_id="error-chart")
            with gr.Row(elem_classes=["actions"]):
                files = {kind: download_button(kind) for kind in ("gif", "mp4", "npy")}
        with gr.Column(scale=2, min_width=300):
            controls, card = build_controls()
    made = gr.Textbox("", visible=False)
    return GenerateTab(controls, card, screen, go, another, fresh, message, result, errors, files, made)


def download_button(kind: str) -> gr.DownloadButton:
    return gr.DownloadButton(f"Download {kind.upper()}", interactive=False, size="sm", min_width=100, elem_id=f"download-{kind}")


def build_controls() -> tuple[Controls, gr.HTML]:
    default = session.BUNDLED_CONFIG
    checkpoint = gr.Dropdown(
        session.checkpoint_choices(), value=session.first_choice(), label="Checkpoint", allow_custom_value=True, elem_id="checkpoint",
        info="The model that continues the clip. Those of runs appear by themselves.",
    )  # fmt: skip
    card = gr.HTML("", elem_id="checkpoint-card", apply_default_css=False, padding=False)
    dropped = gr.File(
        label="or drop a .safetensors file", file_types=[".safetensors"], height=104, elem_classes=["drop-box"], elem_id="checkpoint-file"
    )
    source = gr.Radio(
        [("Test clip", TEST), ("Your own", UPLOAD)], value=TEST, label="Clip", elem_id="source",
        info="Test clips are made of digits that no training has seen.",
    )  # fmt: skip
    number = gr.Slider(0, TEST_CLIPS - 1, value=0, step=1, label="Clip number", info="Which of the test clips.", elem_id="clip-number")
    upload = gr.File(
        label="Video, GIF, .npy or .zip of pictures",
        file_types=CLIP_FILES,
        visible=False,
        height=104,
        elem_classes=["drop-box"],
        elem_id="clip-file",
    )
    temperature = form.slider("sampling.temperature", default, 0, 2, 0.05)
    top_k = form.slider("sampling.top_k", default, 0, 100, 1)
    frames = gr.Slider(
        1, LONGEST_FUTURE, value=10, step=1, label="Future frames", elem_id="frames",
        info="How far to look ahead; more than the model was trained for is allowed.",
    )  # fmt: skip
    seed = gr.Number(0, precision=0, label="Seed", info="Same seed and settings, same frames.", elem_id="seed")
    with gr.Accordion("More settings", open=False, elem_id="more"):
        given = gr.Slider(
            1, 64, value=10, step=1, label="Given frames", info="What the model sees before it goes on alone.", elem_id="given"
        )
        steps = form.slider("sampling.steps", default, 1, 32, 1)
        order = form.control("sampling.order", default)
        anneal = form.control("sampling.anneal", default)
    return Controls(checkpoint, dropped, source, number, upload, given, frames, temperature, top_k, steps, order, anneal, seed), card


def claiming(kind: str, *, joins: str = "") -> Any:
    """A handler that claims a wish with the controls' values; the event's work follows it."""

    def claim(request: gr.Request, *values: Any) -> None:
        WISHES.claim(request.session_hash, kind, values, joins=joins)

    return claim


def wire(page: gr.Blocks, place: gr.Tab, tab: GenerateTab) -> None:
    """The tab's events. What shows a clip or generates is a wish: of those that cross, the newest counts."""
    controls, guard, quiet = tab.controls, guarded(tab.message), guarded(tab.message, clears=False)
    pair = [controls.checkpoint, controls.dropped]
    quick = {**QUICK, **PRIVATE, **AGAIN}
    claim = {"inputs": controls.inputs, "outputs": None, "queue": False, **quick}
    looked = {"inputs": None, "outputs": [*tab.outputs, controls.given, controls.frames], **in_turn("screen"), **PRIVATE, **AGAIN}
    card = {"fn": quiet(tab.describe), "inputs": pair, "outputs": [tab.message, tab.card], **in_turn("card"), **PRIVATE, **AGAIN}

    page.load(claiming(PREVIEW), **claim).then(quiet(tab.preview), **looked).then(**card)
    for visit in (page.load, place.select):
        visit(quiet(tab.refresh), pair, [tab.message, controls.checkpoint], **quick)

    changes = [controls.source.change, controls.number.change, controls.upload.change, controls.given.release, controls.frames.release]
    gr.on(changes, claiming(PREVIEW, joins=FIT), **claim).then(quiet(tab.preview), **looked)
    controls.checkpoint.change(claiming(FIT), **claim).then(quiet(tab.preview), **looked).then(**card)

    seed, reseed = controls.seed, "(seed) => (Number(seed) || 0) + 1"
    compute = {"show_progress": "minimal", "show_progress_on": tab.screen, **COMPUTE, **PRIVATE, **AGAIN}
    files = [tab.message, *tab.files.values()]
    for wished in (tab.go.click, tab.another.click(None, seed, seed, js=reseed, **PRIVATE).then):
        made = wished(claiming(GENERATE), **claim).then(guard(tab.generate), None, tab.outputs, **compute)
        made.then(quiet(tab.write_files), tab.made, files, **in_turn("files"), **PRIVATE, **AGAIN)

    controls.source.change(tab.show_source, controls.source, [controls.number, controls.upload], **quick)
    controls.dropped.upload(guard(tab.take_dropped), controls.dropped, [tab.message, *pair], **quick)
    controls.dropped.clear(guard(tab.forget_dropped), controls.checkpoint, [tab.message, controls.checkpoint], **quick)
    next_clip = f"(number) => (Number(number) + 1) % {TEST_CLIPS}"
    tab.fresh.click(None, controls.number, controls.number, js=next_clip, **PRIVATE)
    label = "(n) => `Generate ${n} future frame${n == 1 ? '' : 's'}`"
    controls.frames.change(None, controls.frames, tab.go, js=label, **PRIVATE)


def card_text(path: Path) -> str:
    """One line about a checkpoint: data, size, step, score."""
    header = session.read_header(path)
    config = header.config
    data = config.data
    parameters = sum(tensor_size(shape) for name, (_, shape) in header.tensors.items() if name.startswith("transformer."))
    parts = [
        f"{'Moving MNIST' if data.source.startswith('moving-mnist') else 'own clips'}, {data.size}×{data.size}",
        f"{config.model.attention} attention, {parameters / 1e6:.1f} M parameters",
        f"step {header.step:,}",
        f"trained on {data.context_frames} given + {count(data.clip_frames - data.context_frames, 'future frame')}",
    ]
    if header.phase == "tokenizer":
        parts.append("its transformer is untrained: only its tokenizer is of use")
    loss = header.metrics.get("validation_loss_full")
    return " · ".join([*parts, f"validation loss {short(loss)}"] if isinstance(loss, (int, float)) else parts)


def tensor_size(shape: tuple[int, ...]) -> int:
    size = 1
    for extent in shape:
        size *= extent
    return size


def card_html(text: str) -> str:
    return f'<div class="card">{html.escape(text)}</div>'


def error_chart(errors: Errors | None) -> dict[str, Any] | None:
    return figure_value(error_curve(errors.rows, metric="squared error", unit="a frame")) if errors else None


def verdict_html(found: Verdict) -> str:
    tone = "good" if found.good else "bad"
    return f'<div class="verdict {tone}"><b>{html.escape(found.headline)}</b><span>{html.escape(found.figures)}</span></div>'
