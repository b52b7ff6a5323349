"""The Data tab: clips as the model sees them, how they are split, what a recipe does to them, and clips of one's own."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from ..config import Config, DataConfig
from ..failures import TookTooLongError
from . import data_view, form, own_clips, sources
from .address import Address
from .data_view import chosen_from, skipped_html, survey_html
from .messages import guarded, message_box, said, told
from .patience import patience
from .theme import heading, static
from .wall import Shown, wall, wall_value
from .wiring import AGAIN, COMPUTE, PRIVATE, QUICK, in_turn
from .wishes import Wishes
from .words import count

if TYPE_CHECKING:
    from ..data.source import ClipSource

OPEN, SHOW, CHANGE = "open", "show", "change"  # kinds of wishes: the first look, another source or split, another recipe
LOOK = "look"
WISHES, LOOKS = Wishes(), Wishes()  # of the tab, and of its part for clips of one's own
Updates = dict[Any, Any]


@dataclass(frozen=True)
class OwnClips:
    """Files that a person brings. keeping: name and button, only where clips may be kept."""

    files: gr.File
    message: gr.HTML
    screen: gr.HTML
    skipped: gr.HTML
    keeping: tuple[gr.Textbox, gr.Button] | None


@dataclass(frozen=True)
class DataTab:
    """The tab's components and what happens when they are used. Handlers take values and return {component: update}."""

    inputs: list[Any]  # in the order of data_view.Chosen
    message: gr.HTML
    screen: gr.HTML
    survey: gr.HTML
    train: gr.Button | None  # leads to a run on what is shown; only where there can be one
    before_after: gr.HTML
    lengths: gr.HTML
    own: OwnClips
    shown: gr.Textbox  # whether something is shown; never seen
    linked: gr.Textbox  # the address that the page was opened with, where it names something to see; never seen

    @property
    def address(self) -> Address:
        return Address(
            "data", dict(zip(data_view.Chosen.__dataclass_fields__, self.inputs, strict=True)), self.linked, {"source": sources.choices}
        )

    @property
    def source(self) -> gr.Dropdown:
        return self.inputs[0]

    def show(self, request: gr.Request, progress: gr.Progress = gr.Progress()) -> Iterator[Updates]:
        """The wall, the splits and the previews, or the previews alone where only the recipe was changed."""
        wish = WISHES.begin(request.session_hash, OPEN, SHOW, CHANGE)
        if wish is None or (wish.kind == OPEN and wish.values[-1]):
            return
        chosen = chosen_from(*wish.values[:-1])
        data = chosen.data
        yield {self.message: said("Getting the clips…")}
        source = data_view.opened(data, lambda done, total, name: progress((done, total), desc=f"decoding {name}", unit="files"))
        shown: Updates = {}  # all at once: of updates that follow on one another a browser may skip some
        if wish.kind != CHANGE:
            from ..data.survey import survey

            found = survey(source)
            shown |= {self.screen: wall_value(data_view.clips_of(source, chosen)), self.shown: "yes"}
            shown[self.survey] = survey_html(found) + skipped_html(found.skipped)
        yield {**shown, **self.previews(source, chosen)}

    def previews(self, source: "ClipSource", chosen: data_view.Chosen) -> Updates:
        """What the recipe does to a clip; lengths that it cannot have leave the rest as it is."""
        shown: Updates = {self.before_after: wall_value(data_view.augmented(source, chosen), pairs=True)}
        try:
            return {**shown, self.lengths: wall_value(data_view.at_lengths(source, chosen))}
        except ValueError as error:
            return {**shown, self.message: told(error)}

    def look(self, request: gr.Request, files: list[str] | None, size: Any, channels: Any, frames: Any, step: Any) -> Iterator[Updates]:
        """Uploaded files, read one after the other: what they show, and what was skipped and why. Ends as soon as they are to be read in
        another way."""
        own, wish = self.own, LOOKS.of(request.session_hash)
        if wish is None or wish.values != how(files, (size, channels, frames, step)):  # asked for in another way since
            return
        if not files:
            yield {own.screen: None, own.skipped: ""}
            return
        files, in_time = list(dict.fromkeys(files)), patience()

        def wanted() -> None:
            in_time()
            if not LOOKS.holds(request.session_hash, wish.number):
                raise TookTooLongError("the files are read in another way by now")

        for done, brought in own_clips.read_brought(files, brought_data(size, channels, frames, step), wanted):  # noqa: B007 - the last one counts
            if not LOOKS.holds(request.session_hash, wish.number):
                return
            if done < len(files):
                yield {own.message: said(f"Reading {done + 1} of {len(files)}…")}
        clips = [Shown(frames_u8, name) for name, frames_u8 in brought.clips]
        usable = f"{count(len(brought.usable), 'file')} of {len(files)} can be used."
        if brought.partly:
            usable += (
                f" Of {' and of '.join(brought.partly[:2])} the first {own_clips.SHOWN} clips were looked at: all are once they are kept."
            )
        if own_clips.lose_colours(brought.usable, brought_data(size, channels, frames, step)):
            usable += " They are in colour and shown in grey: choose colour above to keep it."
        yield {
            own.message: said(usable if brought.usable else "None of the files can be used.", "good" if brought.usable else "bad"),
            own.screen: wall_value(clips) if clips else None,
            own.skipped: skipped_html(brought.skipped),
        }

    def keep(self, files: list[str] | None, size: Any, channels: Any, frames: Any, step: Any, name: str) -> Iterator[Updates]:
        """Copy the usable files to the folder that training from the page may use, and choose them as the source."""
        yield {self.own.message: said("Reading them once more…")}
        *_, (_, brought) = own_clips.read_brought(list(dict.fromkeys(files or [])), brought_data(size, channels, frames, step), patience())
        choice = own_clips.keep(brought.usable, name or "")
        yield {
            self.own.message: said(
                f"Kept as {choice.removeprefix(sources.PREFIX)!r}, and chosen above, where a button trains on them as they are shown.",
                "good",
            ),
            self.source: gr.Dropdown(choices=sources.choices(), value=choice),
        }

    def settings(self, *values: Any) -> dict[str, Any]:
        """What a run on what is shown is given, by dotted key; ValueError where it cannot be."""
        return chosen_from(*values).settings

    def refresh(self, choice: str) -> Updates:
        """The data that there is now; what is chosen is left alone where it still exists."""
        choices = sources.choices()
        known = choice in [value for _, value in choices]
        return {self.source: gr.Dropdown(choices=choices) if known else gr.Dropdown(choices=choices, value=choices[0][1])}


def brought_data(size: Any, channels: Any, frames: Any, step: Any = 1) -> DataConfig:
    if size not in data_view.SIZES or channels not in (1, 3) or not frames or not 2 <= int(frames) <= data_view.LONGEST:
        raise ValueError("choose a size, grey or colour, and a clip length above")
    return DataConfig(
        source="own", size=int(size), channels=int(channels), clip_frames=int(frames), context_frames=1, frame_step=int(step or 1)
    )


def build(*, readonly: bool) -> DataTab:
    """Lay the tab out (inside a gr.Tab). With `readonly` uploaded clips are only looked at."""
    default = Config().data
    with gr.Row(equal_height=False):
        source = gr.Dropdown(
            sources.choices(), value=sources.MADE[1], label="Data", elem_id="data-source", min_width=180,
            info="Built-in, or clips that lie here." if readonly else "Built-in, or your own, kept here.",
        )  # fmt: skip
        split = gr.Radio(
            [("Training", "train"), ("Validation", "validation"), ("Test", "test")], value="train", label="Split", elem_id="data-split",
            info="Which share of the data to look at.", min_width=320, scale=2,
        )  # fmt: skip
        size = gr.Dropdown(
            [(f"{side} × {side}", side) for side in data_view.SIZES], value=default.size, label="Frame size", elem_id="data-size",
            info="Cut square, resized.", min_width=110,
        )  # fmt: skip
        channels = gr.Dropdown(
            [("grey", 1), ("colour", 3)],
            value=default.channels,
            label="Colour",
            info="What the model gets.",
            elem_id="data-channels",
            min_width=90,
        )
        frames = form.Slider(
            2, data_view.LONGEST, value=default.clip_frames, step=1, label="Clip length", info="Frames in a training clip.", elem_id="data-frames",
            min_width=180,
        )  # fmt: skip
        given = form.Slider(
            1, data_view.LONGEST - 1, value=default.context_frames, step=1, label="Given frames", info="Grey border; the others are to be predicted.",
            elem_id="data-given", min_width=180,
        )  # fmt: skip
        step = form.slider("data.frame_step", Config(), 1, 15, 1, info="Every n-th frame of your own.", elem_id="data-step", min_width=180)
    message = message_box(elem_id="data-message")
    screen = wall(label="Clips as the model sees them", elem_id="data-wall")
    survey = gr.HTML("", css_template=static("survey.css"), elem_id="data-survey", apply_default_css=False, padding=False)
    train = None if readonly else gr.Button("Train on these clips, as they are shown", size="sm", elem_id="data-train")
    heading("Augmentation, before and after: a preview, which a run follows where its recipe says so")
    with gr.Row(equal_height=False):
        shown_first = Config().replace(
            {"recipe.horizontal_flip": 0.5, "recipe.rotation": 15, "recipe.brightness": 0.4, "recipe.contrast": 0.4}
        )
        flip = form.slider("recipe.horizontal_flip", shown_first, 0, 1, 0.05, elem_id="data-flip", min_width=180)
        rotation = form.slider("recipe.rotation", shown_first, 0, 45, 1, elem_id="data-rotation", min_width=180)
        brightness = form.slider("recipe.brightness", shown_first, 0, 0.9, 0.05, elem_id="data-brightness", min_width=180)
        contrast = form.slider("recipe.contrast", shown_first, 0, 0.9, 0.05, elem_id="data-contrast", min_width=180)
        draw = gr.Number(
            0, precision=None, step=1, label="Training step", info="Each draws anew; all frames of a clip get the same.",
            elem_id="data-draw", min_width=140,
        )  # fmt: skip
    before_after = wall(label="Training clips before and after augmentation", elem_id="data-augmented")
    heading("Clip length over a run: a preview, too")
    lengths_text = gr.Textbox(
        "5, 10, 15, 20", label="Curriculum", info="Clip lengths in equal parts of the run; the given frames keep their share.",
        elem_id="data-lengths", max_lines=1,
    )  # fmt: skip
    lengths = wall(label="One clip at the lengths of the curriculum", elem_id="data-length-wall")
    own = build_own(readonly)
    inputs = [source, split, size, channels, frames, given, flip, rotation, brightness, contrast, draw, lengths_text, step]
    shown, linked = (gr.Textbox("", visible=False) for _ in range(2))
    return DataTab(inputs, message, screen, survey, train, before_after, lengths, own, shown, linked)


def build_own(readonly: bool) -> OwnClips:
    of_ids = "" if readonly else " Token ids, an .npy and its .json, are put into the folder own of VIDAPP_DATA."
    gr.HTML(
        "<h2 class='heading'>Clips of your own</h2>"
        f"<p class='hint'>Videos, GIFs, .npy, or .zip files of clips or of numbered pictures.{of_ids}</p>",
        apply_default_css=False,
        padding=False,
    )
    files = gr.File(label="Your clips", file_types=own_clips.CLIP_FILES, file_count="multiple", height=150, elem_id="own-files")
    message = message_box(elem_id="own-message")
    screen = wall(label="Your clips as the model would see them", elem_id="own-wall")
    skipped = gr.HTML("", css_template=static("survey.css"), elem_id="own-skipped", apply_default_css=False, padding=False)
    if readonly:
        return OwnClips(files, message, screen, skipped, None)
    with gr.Row(equal_height=False, elem_classes=["actions"]):
        name = gr.Textbox(
            "", label="Name", placeholder="e.g. traffic", info="Under which they can be chosen for training. Nothing is overwritten.",
            max_lines=1, elem_id="own-name", scale=3,
        )  # fmt: skip
        button = gr.Button("Keep for training", elem_id="own-keep", scale=1, min_width=160)
    return OwnClips(files, message, screen, skipped, (name, button))


def claiming(kind: str) -> Any:
    """Claims a wish. What comes while all of it waits to be shown is part of that, and all of it is shown to whoever opens the tab while a
    change of the recipe alone waits."""
    joins = {OPEN: SHOW, SHOW: SHOW, **({CHANGE: SHOW} if kind == OPEN else {})}

    def claim(request: gr.Request, *values: Any) -> None:
        WISHES.claim(request.session_hash, kind, values, joins=joins)

    return claim


def claim_look(request: gr.Request, files: list[str] | None, *values: Any) -> None:
    LOOKS.claim(request.session_hash, LOOK, how(files, values))


def how(files: list[str] | None, values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Which files are read and how, as a wish can hold it."""
    return (hash(tuple(files or ())), *values)


def wire(page: gr.Blocks, place: gr.Tab, tab: DataTab) -> None:
    """The tab's events. The newest wish to see something counts."""
    guard, quiet = guarded(tab.message), guarded(tab.message, clears=False)
    quick = {**QUICK, **PRIVATE, **AGAIN}
    claim = {"inputs": [*tab.inputs, tab.shown], "outputs": None, "queue": False, **quick}
    outputs = [tab.message, tab.screen, tab.survey, tab.before_after, tab.lengths, tab.shown]
    looking = {**in_turn("clips"), "show_progress": "minimal", "show_progress_on": tab.screen, **PRIVATE, **AGAIN}
    source, split, size, channels, frames, given, *recipe, draw, lengths, step = tab.inputs

    place.select(quiet(tab.refresh), tab.source, [tab.message, tab.source], **quick)
    page.load(quiet(tab.address.arrive), None, [tab.message, *tab.inputs, tab.linked], queue=False, **quick)
    shows = [source.change, split.input, size.input, channels.input, frames.release, given.release, step.release, tab.linked.change]
    changes = [*(control.release for control in recipe), draw.change, lengths.submit, lengths.blur]
    for kind, events in ((OPEN, [place.select]), (SHOW, shows), (CHANGE, changes)):
        gr.on(events, claiming(kind), **claim).then(guard(tab.show), None, outputs, **looking)
    gr.on([place.select, *shows, *changes], None, tab.inputs, js=tab.address.script(), **PRIVATE, **AGAIN)

    own = tab.own
    guard_own = guarded(own.message)
    seen = [own.files, size, channels, frames, step]
    brought = [
        own.files.upload,
        own.files.clear,
        own.files.delete,
        size.input,
        channels.input,
        frames.release,
        step.release,
    ]  # these say how to read them
    looked = gr.on(brought, claim_look, seen, None, queue=False, **quick)
    looked.then(guard_own(tab.look), seen, [own.message, own.screen, own.skipped], **in_turn("own clips"), **PRIVATE, **AGAIN)
    if own.keeping is not None:
        name, button = own.keeping
        button.click(guard_own(tab.keep), [*seen, name], [own.message, tab.source], **{**COMPUTE, "show_progress": "hidden"}, **PRIVATE)
