"""The Tokens tab: a clip as the transformer sees it, and one token under the microscope."""

import html
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from ..plots import code_use_figure
from ..token_figures import CodeUse, code_use, flicker
from . import session
from .address import Address
from .choices import last_of, whole_number
from .controls import offer
from .form import Slider
from .generation import TEST, TEST_CLIPS, UPLOAD, data_clip, known_clips, source_of, uploaded_clip
from .kept import GENERATIONS, Generation
from .messages import guarded, message_box, said
from .own_clips import CLIP_FILES
from .patience import in_time
from .plot import chart, figure_value
from .theme import static
from .token_files import token_files
from .token_view import GONE, LOCK, NOTHING, VIEWS, TokenView, token_view, value_of
from .wiring import AGAIN, COMPUTE, PRIVATE, QUICK, in_turn, text_of
from .wishes import Wishes
from .words import count, short

if TYPE_CHECKING:
    from ..checkpoint import Checkpoint

LAST = "last"
OPEN, SHOW, PICK = "open", "show", "pick"  # kinds of wishes: OPEN is content with what is shown already, PICK wants a frame
LONGEST = 64  # frames
COUNTED_CLIPS = 64
HERE = "in this clip"
BATCH = 4  # clips encoded at once while counting
WISHES = Wishes()
Updates = dict[Any, Any]


@dataclass(frozen=True)
class Chosen:
    """What is to be looked at: made is the key of the last generation, shown says what the page shows already."""

    source: str
    number: int
    upload: str | None
    checkpoint: str | None
    frames: int
    made: str
    shown: str
    at: str = ""  # the frame to begin with, where one was asked for
    dropped: str | None = None  # the file in the Generate tab's box for checkpoints

    @property
    def signature(self) -> str:
        """The same where the same would be shown."""
        if self.source == LAST:
            return f"{LAST} {self.made}"
        weights = self.dropped if self.checkpoint == session.DROPPED_CHOICE else self.checkpoint
        return f"{self.source} {self.upload if self.source == UPLOAD else self.number} {weights} {self.frames}"


def chosen_from(*values: Any) -> Chosen:
    """ValueError where a number is missing or impossible."""
    source, number, upload, checkpoint, frames, made, shown, at, dropped = values
    if source not in (TEST, UPLOAD, LAST):
        raise ValueError(f"unknown clip source {str(source)[:40]!r}: choose one of those offered")
    whole = whole_number("frames", frames, 1, LONGEST)
    clip = whole_number("clip number", number, 0, TEST_CLIPS - 1)
    if checkpoint == session.DROPPED_CHOICE and not dropped:  # taken out of the box since: the list falls back to the first, too
        checkpoint = session.first_choice()
    return Chosen(source, clip, upload, checkpoint, whole, str(made or ""), str(shown or ""), str(at or ""), dropped)


@dataclass(frozen=True)
class TokensTab:
    """The tab's components and what happens when they are used. Handlers take values and return {component: update}."""

    source: gr.Radio
    number: gr.Slider
    upload: gr.File
    checkpoint: gr.Dropdown
    frames: gr.Slider
    go: gr.Button
    message: gr.HTML
    view: gr.HTML
    figures: gr.HTML
    use: gr.HTML
    counting: gr.Button
    files: dict[str, gr.DownloadButton]
    shown: gr.Textbox  # what is shown, as Chosen.signature; never seen
    key: gr.Textbox  # of the view that is shown; never seen
    at: gr.Textbox  # the frame to begin with, from 0; empty for the first that is worth it; never seen
    linked: gr.Textbox  # the address that the page was opened with, where it names something to see; never seen

    @property
    def address(self) -> Address:
        """Of a test clip: files of one's own and generations are this page's alone."""
        controls = {"clip": self.number, "checkpoint": self.checkpoint, "frames": self.frames}
        return Address("tokens", controls, self.linked, {"checkpoint": session.checkpoint_choices}, own=(session.DROPPED_CHOICE,))

    @property
    def outputs(self) -> list[Any]:
        return [self.message, self.view, self.figures, self.use, self.shown, self.key, self.at, *self.files.values()]

    def show(self, request: gr.Request) -> Iterator[Updates]:
        """What the page wants to see, encoded and decoded again."""
        wish = WISHES.begin(request.session_hash, OPEN, SHOW, PICK)
        if wish is None:
            return
        chosen = chosen_from(*wish.values)
        if (wish.kind == OPEN and chosen.shown == chosen.signature) or (wish.kind == PICK and not chosen.at):
            return
        if chosen.source == UPLOAD and not chosen.upload:
            yield {self.message: said("Drop a video, a GIF, an .npy or a .zip of pictures into the box.")}
            return
        yield {self.message: said("Loading the checkpoint…")}
        try:
            view = view_of(chosen)
        except Exception:
            if not chosen.shown:
                yield {self.view: NOTHING}
            raise
        closed = {button: gr.DownloadButton(value=None, interactive=False) for button in self.files.values()}
        value = value_of(view, start=int(chosen.at) if chosen.at.isdecimal() and len(chosen.at) < 6 else view.given or 0)
        yield {
            self.view: value,
            self.figures: figures_html(figures_of(view)),
            self.use: figure_value(code_use_figure({"this clip": view.use.counts_V})),
            self.shown: chosen.signature,
            self.key: value["key"],
            self.at: "",
            **closed,
        }
        with LOCK:
            view.microscope.warm()

    def count_codes(self, key: str) -> Iterator[Updates]:
        """The use of the codebook over many test clips, beside that of the clip that is shown."""
        view = kept_view(key)
        counts = np.zeros(view.codebook_size, np.int64)
        config = view.microscope.checkpoint.config
        data = source_of(config, trusted=view.trusted)
        clips = clips_of_test(data, config.data.clip_frames)
        for start in in_time(range(0, len(clips), BATCH)):
            counts += code_use(view.microscope.checkpoint.encode(clips[start : start + BATCH]).cpu().numpy(), view.codebook_size).counts_V
            yield {self.message: said(f"Counting codes: {min(start + BATCH, len(clips))} of {len(clips)} test clips…")}
        use = CodeUse(counts)
        name = count(len(clips), "test clip")
        yield {
            self.use: figure_value(code_use_figure({"this clip": view.use.counts_V, name: counts})),
            self.figures: figures_html([*figures_of(view), *use_figures(use, f"over {name}")]),
        }

    def write_files(self, key: str) -> Iterator[Updates]:
        """What is shown, as files to take away."""
        view = VIEWS.get(key)
        if view is None:
            return
        with token_files(view) as paths:
            yield {self.files[kind]: gr.DownloadButton(value=path, interactive=True) for kind, path in paths.items()}

    def show_source(self, source: str) -> Updates:
        return {
            self.number: gr.Slider(visible=source == TEST),
            self.upload: gr.File(visible=source == UPLOAD),
            self.checkpoint: gr.Dropdown(visible=source != LAST),
            self.frames: gr.Slider(visible=source != LAST),
        }

    def fit(self, choice: str | None, dropped: str | None, number: float | None) -> Updates:
        """As many test clips to choose from, and to count over, as the checkpoint's data has."""
        clips = TEST_CLIPS
        with suppress(ValueError, OSError):
            clips = known_clips(source_of(session.config_of(choice, dropped), trusted=session.trusted(choice)))
        last = last_of(clips)
        return {
            self.number: gr.Slider(maximum=last, value=last) if number and number > last else gr.Slider(maximum=last),
            self.counting: gr.Button(counting_label(clips)),
        }

    def refresh(self, choice: str | None, dropped: str | None) -> Updates:
        return offer(self.checkpoint, self.message, choice, dropped)


def view_of(chosen: Chosen) -> TokenView:
    """Whatever was chosen, as a view; ValueError where it is not there."""
    if chosen.source == LAST:
        generation = GENERATIONS.get(chosen.made)
        if generation is None or generation.replay is None or generation.checkpoint is None:
            raise ValueError("there is no generation to look into: press Generate in the Generate tab, then come back")
        return view_of_generation(generation)
    path, trusted = session.find_checkpoint(chosen.checkpoint, chosen.dropped), session.trusted(chosen.checkpoint)
    checkpoint = session.CHECKPOINTS.load(path)
    if chosen.source == UPLOAD:
        clip = uploaded_clip(chosen.upload, checkpoint.config, 1, chosen.frames - 1)
    else:
        clip = data_clip(source_of(checkpoint.config, trusted=trusted), chosen.number, 1, chosen.frames - 1)
    return view_of_clip(checkpoint, clip.known_u8, clip.name, can_guess=can_guess(path), trusted=trusted)


def view_of_clip(checkpoint: "Checkpoint", frames_u8: np.ndarray, name: str, *, can_guess: bool, trusted: bool = False) -> TokenView:
    from ..media import to_u8
    from ..microscope import Microscope

    tokens = checkpoint.encode(frames_u8[None])
    drawn = to_u8(checkpoint.decode(tokens)[0])
    return TokenView(
        name, Microscope(checkpoint, tokens[0]), tokens[0].cpu().numpy(), frames_u8, drawn, can_guess=can_guess, trusted=trusted
    )


def view_of_generation(generation: Generation) -> TokenView:
    from ..media import to_u8
    from ..microscope import Microscope

    assert generation.replay is not None
    assert generation.checkpoint is not None
    checkpoint = session.CHECKPOINTS.load(generation.checkpoint)
    tokens = generation.replay.tokens_THW[:LONGEST]
    microscope = Microscope(checkpoint, tokens)
    truth = generation.clip.known_u8[: len(tokens)]
    return TokenView(
        f"generation from {generation.clip.name}",
        microscope,
        tokens,
        truth,
        to_u8(checkpoint.decode(microscope.tokens_THW[None])[0]),
        true_tokens_THW=checkpoint.encode(truth[None])[0].cpu().numpy(),
        given=generation.replay.given,
        can_guess=can_guess(generation.checkpoint),
        trusted=generation.chosen is not None and session.trusted(generation.chosen.checkpoint),
        replay=generation.replay,
    )


def can_guess(path: Path) -> bool:
    return session.read_header(path).phase != "tokenizer"


def kept_view(key: str) -> TokenView:
    view = VIEWS.get(key)
    if view is None:
        raise ValueError(GONE if key else "there is nothing to count yet: press Show")
    return view


def counting_label(clips: int) -> str:
    return f"Count codes over {count(min(clips, COUNTED_CLIPS), 'test clip')}"


def clips_of_test(data: Any, frames: int) -> np.ndarray:
    from ..data.source import open_source

    return open_source(data).fixed_clips("test", COUNTED_CLIPS, frames)


Figure = tuple[str, str, str]  # name, value, help


def figures_of(view: TokenView) -> list[Figure]:
    """The clip in figures."""
    of, judged = judged_frames(view)
    errors, psnr = (each[judged] for each in view.errors())
    still = view.drawn_u8 if view.given is not None else view.truth_u8
    share = float(flicker(view.tokens_THW, still)[1:].mean()) if len(view.tokens_THW) > 1 else 0.0
    drawn = [
        (f"Error a {of}", short(float(errors.mean())), "Squared error of the decoded frames, summed over a frame's pixels: no prediction gets below the tokenizer's own."),
        ("PSNR", f"{psnr.mean():.1f} dB", f"Of each decoded {of}; more is better, 30 looks nearly the same."),
    ]  # fmt: skip
    found = [
        *([] if view.microscope.checkpoint.config.tokenizer.quantizer == "ids" else drawn),  # an id's colour says not how far off it is
        *use_figures(view.use, HERE),
        ("Flicker", f"{100 * share:.1f} %", "Tokens whose id changed from the frame before though no pixel of their patch did: noise to a transformer."),
    ]  # fmt: skip
    if view.true_tokens_THW is not None and view.given is not None and len(view.true_tokens_THW) > view.given:
        known = slice(view.given, len(view.true_tokens_THW))
        agree = float((view.tokens_THW[known] == view.true_tokens_THW[known]).mean())
        found.append(("Same as truth", f"{100 * agree:.0f} %", "Predicted ids of the future that are those of the true frames."))
    return found


def judged_frames(view: TokenView) -> tuple[str, slice]:
    """What the errors of a clip are of, in words, and where these frames are: of a generation the future alone, as its verdict is, where
    the truth of it is known."""
    if view.given is None:
        return "frame", slice(None)
    return ("future frame", slice(view.given, None)) if len(view.truth_u8) > view.given else ("given frame", slice(view.given))


def use_figures(use: CodeUse, where: str) -> list[Figure]:
    first, share = use.most_used
    if where == HERE:  # one clip cannot show them all
        dead = (
            "Not used here",
            f"{use.dead:,}",
            "Ids that do not occur in this clip. One clip cannot show them all: count over many to find dead ones.",
        )
    else:
        dead = (f"Dead codes {where}", f"{use.dead:,}", "Ids that never occur, though so many clips should show them all.")
    return [
        (f"Codes used {where}", f"{use.used:,} of {len(use.counts_V):,}", "Different ids that occur."),
        dead,
        (f"Perplexity {where}", short(use.perplexity), "How many codes are used as if evenly; 1 means that all tokens are the same."),
        (f"Most used {where}", f"id {first}: {100 * share:.0f} %", "Usually the empty background."),
    ]


def figures_html(figures: list[Figure]) -> str:
    tiles = "".join(
        f'<div title="{html.escape(help)}"><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd></div>' for name, value, help in figures
    )
    return f'<dl class="figures">{tiles}</dl>'


def build() -> TokensTab:
    """Lay the tab out (inside a gr.Tab)."""
    with gr.Row(equal_height=False):
        source = gr.Radio(
            [("Test clip", TEST), ("Your own", UPLOAD), ("Last generation", LAST)], value=TEST, label="Clip", elem_id="tokens-source",
            info="What to look at; the last generation is that of the Generate tab.", scale=2, min_width=300,
        )  # fmt: skip
        number = Slider(
            0, TEST_CLIPS - 1, value=0, step=1, label="Clip number", info="Which of the test clips.", elem_id="tokens-number", min_width=200
        )
        upload = gr.File(
            label="Video, GIF, .npy or .zip of pictures", file_types=CLIP_FILES, visible=False, height=104, elem_classes=["drop-box"], min_width=260,
            elem_id="tokens-file",
        )  # fmt: skip
        checkpoint = gr.Dropdown(
            session.checkpoint_choices(), value=session.first_choice(), label="Checkpoint", allow_custom_value=True, min_width=270,
            elem_id="tokens-checkpoint",
            info="Its tokenizer encodes, its transformer guesses. One dropped into Generate is offered too.",
        )  # fmt: skip
        frames = Slider(
            1, LONGEST, value=session.BUNDLED_CONFIG.data.clip_frames, step=1, label="Frames", info="From the clip's start.", elem_id="tokens-frames",
            min_width=200,
        )  # fmt: skip
        go = gr.Button("Show", variant="primary", elem_id="tokens-show", scale=0, min_width=90)
    message = message_box(elem_id="tokens-message")
    view = token_view(elem_id="token-view")
    figures = gr.HTML("", css_template=static("figures.css"), elem_id="token-figures", apply_default_css=False, padding=False)
    use = chart(label="Share of the tokens that each code has, most used first", elem_id="code-use")
    with gr.Row(elem_classes=["actions"]):
        counting = gr.Button(counting_label(TEST_CLIPS), elem_id="count-codes", size="sm", min_width=200)
        labels = {"png": "Download grid PNG", "npy": "Download ids NPY", "json": "Download ids JSON"}
        files = {
            kind: gr.DownloadButton(label, interactive=False, size="sm", min_width=100, elem_id=f"tokens-{kind}")
            for kind, label in labels.items()
        }
    shown, key, at, linked = (gr.Textbox("", visible=False) for _ in range(4))
    return TokensTab(source, number, upload, checkpoint, frames, go, message, view, figures, use, counting, files, shown, key, at, linked)


def claiming(kind: str, *, left: bool = False) -> Any:
    """Claims a wish; with `left` only where it is another one than the last: a list that is merely passed through tells of a choice, too."""

    def claim(request: gr.Request, *values: Any) -> None:
        before = WISHES.of(request.session_hash)
        if left and before and Chosen(*before.values).signature == Chosen(*values).signature:
            return
        WISHES.claim(
            request.session_hash, kind, values, joins={PICK: PICK} if kind == OPEN else {}
        )  # picking a frame opens the tab as well

    return claim


def wire(
    page: gr.Blocks, place: gr.Tab, tab: TokensTab, made: gr.Textbox, dropped: gr.File, tabs: gr.Tabs, screen: gr.HTML, decoded: gr.Button
) -> None:
    """The tab's events; `made` holds the key of the page's last generation, `dropped` a checkpoint. The newest wish to see something counts.

    A frame that is picked on the player `screen` is looked at here, where it belongs to a generation; `decoded` asks for
    the replay of the generation's first frame.
    """
    guard, quiet = guarded(tab.message), guarded(tab.message, clears=False)
    quick = {**QUICK, **PRIVATE, **AGAIN}
    inputs = [tab.source, tab.number, tab.upload, tab.checkpoint, tab.frames, made, tab.shown, tab.at, dropped]
    claim = {"inputs": inputs, "outputs": None, "queue": False, **quick}
    looking = {"show_progress": "minimal", "show_progress_on": tab.view, **COMPUTE, **PRIVATE, **AGAIN}
    files = [tab.message, *tab.files.values()]

    place.select(quiet(tab.refresh), [tab.checkpoint, dropped], [tab.message, tab.checkpoint], **quick)
    known = [tab.checkpoint, dropped, tab.number]
    fitted = [tab.message, tab.number, tab.counting]
    gr.on([tab.checkpoint.change, place.select], quiet(tab.fit), known, fitted, **in_turn("token clips"), **PRIVATE, **AGAIN)
    tab.source.change(tab.show_source, tab.source, [tab.number, tab.upload, tab.checkpoint, tab.frames], **quick)
    linked = [tab.number, tab.checkpoint, tab.frames, tab.linked]
    page.load(quiet(tab.address.arrive), None, [tab.message, *linked], queue=False, **quick)
    changes = [tab.source.input, tab.number.release, tab.upload.upload, tab.checkpoint.change, tab.frames.release, tab.linked.change]
    gr.on([place.select, *changes], None, list(tab.address.controls.values()), js=tab.address.script(), **PRIVATE, **AGAIN)

    def look_at(made: str, event: gr.EventData) -> Updates:
        if not made:
            return {}
        return {tabs: gr.Tabs(selected="tokens"), tab.source: LAST, tab.at: text_of(event, "frame")}

    def look_at_replay(made: str) -> Updates:
        generation = GENERATIONS.get(made)
        if generation is None or generation.replay is None:
            raise ValueError("there is no generation to look into: press Generate first")
        return {tabs: gr.Tabs(selected="tokens"), tab.source: LAST, tab.at: str(generation.replay.given)}

    picked = screen.frame(quiet(look_at), made, [tab.message, tabs, tab.source, tab.at], **quick)
    asked = decoded.click(quiet(look_at_replay), made, [tab.message, tabs, tab.source, tab.at], **quick)
    asked.then(None, None, None, js=static("to-replay.js"), **PRIVATE)
    picks = (claimed.success(claiming(PICK), **claim) for claimed in (picked, asked))
    wishes = (
        place.select(claiming(OPEN), **claim),
        gr.on(changes, claiming(SHOW, left=True), **claim),
        tab.go.click(claiming(SHOW), **claim),
        *picks,
    )
    for wished in wishes:
        seen = wished.then(guard(tab.show), None, tab.outputs, **looking)
        seen.then(quiet(tab.write_files), tab.key, files, **in_turn("token files"), **PRIVATE, **AGAIN)
    tab.counting.click(guard(tab.count_codes), tab.key, [tab.message, tab.use, tab.figures], **{**looking, "show_progress_on": tab.use})
