"""What happens when a page wishes for frames: a preview of the clip, a generation, ten frames more. The newest wish counts."""

import atexit
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from . import links, opening, session
from .cards import error_chart, verdict_html
from .choices import FIRST, Chosen, carried_on, chosen_from, last_of
from .controls import Controls, thumbnails_value
from .downloads import download_files
from .generation import (
    DRAWN,
    LONGEST_FUTURE,
    TEST,
    TEST_CLIPS,
    UPLOAD,
    adjusted,
    errors_of,
    known_clips,
    mean_frame_for,
    predicted,
    sampling_of,
    source_of,
    verdict,
)
from .kept import GENERATIONS, Generation
from .messages import said, told
from .player import Reel
from .wishes import NOTHING, Wish, Wishes

if TYPE_CHECKING:
    from ..config import Config
    from ..replay import Recorder

GENERATE, MORE, PREVIEW, FIT = "generate", "more", "preview", "fit"  # kinds of wishes
FITTED = {FIT: FIT}  # what comes while a wish to fit to another checkpoint waits fits, too
MORE_FRAMES = 10
OWN_STAYS = {  # what a press of New clip says where there is no next clip
    UPLOAD: "Your own clip stays: upload another clip, or choose Test clip.",
    DRAWN: "Your drawing stays: clear it and draw another, or choose Test clip.",
}
NOTHING_TO_GO_ON_FROM = "There is nothing to go on from, or no longer: press Generate first."
WISHES = Wishes()
MAKING: set[int] = set()  # numbers of the wishes that are being fulfilled
OPENING_FILES = ExitStack()
atexit.register(OPENING_FILES.close)
Updates = dict[Any, Any]


@dataclass(frozen=True)
class Job:
    """A generation to be made: with which settings and file, and what it goes on from."""

    chosen: Chosen
    path: Path
    before: Generation | None
    notice: str = ""

    @staticmethod
    def of(wish: Wish) -> "Job":
        """ValueError where it cannot be."""
        if wish.kind == GENERATE:
            values, notice = carried_on(wish.values)
            chosen = chosen_from(*values)
            return Job(chosen, session.find_checkpoint(chosen.checkpoint, chosen.dropped), None, notice)
        before = GENERATIONS.get(str(wish.values[0]))
        if before is None or before.chosen is None or before.replay is None or before.checkpoint is None:
            raise ValueError(NOTHING_TO_GO_ON_FROM)
        frames = len(before.prediction_u8) + MORE_FRAMES
        if frames > LONGEST_FUTURE:
            raise ValueError(f"{frames} future frames would be more than the {LONGEST_FUTURE} that are shown here: start from another clip")
        return Job(dataclasses.replace(before.chosen, frames=frames), before.checkpoint, before)

    def recorder(self, mask_id: int) -> "Recorder":
        """One that has seen already what was decoded before."""
        from ..replay import Recorder

        recorder = Recorder(mask_id)
        if self.before and self.before.replay:
            replay = self.before.replay
            recorder.steps, recorder.tokens_THW, recorder.given = list(replay.steps), replay.tokens_THW, replay.given
        return recorder

    @property
    def made_THW(self) -> Any:
        return self.before.replay.tokens_THW[self.before.replay.given :] if self.before and self.before.replay else None


@dataclass(frozen=True)
class Stage:
    """The components that show a generation, and the handlers behind the wishes for one."""

    controls: Controls
    thumbs: gr.HTML
    screen: gr.HTML
    message: gr.HTML
    result: gr.HTML
    errors: gr.HTML
    files: dict[str, gr.DownloadButton]
    made: gr.Textbox  # the key of the last generation; never shown
    recipe: gr.Textbox  # the settings of the frames on the screen, as JSON, for their link; empty where none are generated; never shown

    @property
    def outputs(self) -> list[Any]:
        return [self.message, self.screen, self.result, self.errors, self.made, self.recipe, self.controls.frames, *self.files.values()]

    def closed_files(self) -> Updates:
        return {button: gr.DownloadButton(value=None, interactive=False) for button in self.files.values()}

    def nothing_made(self) -> Updates:
        return {self.result: "", self.errors: None, self.recipe: "", **self.closed_files()}

    def work(self, request: gr.Request) -> Iterator[Updates]:
        """The generation wished for: frames appear as they are decoded, then the verdict. Ends as soon as the page wishes for
        something else."""
        page = request.session_hash
        wish = WISHES.begin(page, GENERATE, MORE)
        if wish is None:
            return
        MAKING.add(wish.number)
        try:
            yield from self.make(page, wish)
        finally:
            MAKING.discard(wish.number)

    def make(self, page: str | None, wish: Wish) -> Iterator[Updates]:
        """What that wish is for."""
        job = Job.of(wish)
        chosen, before = job.chosen, job.before
        yield {self.message: said("Loading the checkpoint…")}
        checkpoint = session.CHECKPOINTS.load(job.path)
        try:
            clip = chosen.clip(checkpoint.config)
        except Exception:  # what is on the screen is not what was chosen
            if not WISHES.holds(page, wish.number):
                return
            yield {self.screen: None, **self.nothing_made(), self.made: ""}
            raise
        if not WISHES.holds(page, wish.number):  # loading may have taken seconds: what was wished for since is shown by now, or will be
            return
        sampling = sampling_of(checkpoint.config, chosen.settings())
        reel = Reel(clip.given_u8, clip.truth_u8, chosen.frames, before.reel if before else "")
        if before:
            reel.add(before.prediction_u8)
        recorder = job.recorder(checkpoint.transformer.mask_id)
        kept: Updates = {self.controls.frames: chosen.frames} if before else {self.made: ""}
        kept[self.recipe] = links.recipe(chosen)
        yield {self.screen: reel.value(making=True), **self.closed_files(), **kept}  # the verdict before stays, dimmed: nothing jumps
        from ..media import to_u8

        try:
            for frames in predicted(checkpoint, clip.given_u8, chosen.frames, sampling, chosen.seed, recorder, job.made_THW):
                if not WISHES.holds(page, wish.number):
                    newer = WISHES.of(page)
                    if newer and newer.kind in (GENERATE, MORE):  # it waits behind this one; whatever else was wished for is shown by now
                        yield {self.screen: reel.value()}
                    return
                reel.add(to_u8(frames))
                yield {self.screen: reel.value(making=True)}
            trusted = session.trusted(chosen.checkpoint)
            scores = errors_of(checkpoint, clip, frames, lambda: mean_frame_for(checkpoint.config, trusted=trusted))
        except Exception:
            yield {self.screen: reel.value(), **self.nothing_made()}  # whatever was made stays, and nothing is said to be on its way
            raise
        made = GENERATIONS.put(Generation(clip, to_u8(frames), wish.number, recorder.replay(), job.path, chosen, reel.key))
        unlike = adjusted(checkpoint.config, chosen.settings(), len(clip.given_u8), chosen.frames)
        judged = verdict_html(verdict(scores, chosen.frames)) + said(job.notice) + said(clip.which) + said(unlike)
        yield {self.screen: reel.value(), self.result: judged, self.errors: error_chart(scores), self.made: made}

    def write_files(self, request: gr.Request, made: str) -> Iterator[Updates]:
        """The last generation as files to take away, unless the page wishes for something else by now."""
        generation = GENERATIONS.get(made)
        if generation is None or not generation.wish or not WISHES.holds(request.session_hash, generation.wish):
            return
        made_by = generation.checkpoint
        ids = made_by is not None and session.read_header(made_by).config.tokenizer.quantizer == "ids"
        with download_files(generation.clip, generation.prediction_u8, ids=ids) as paths:
            if WISHES.holds(request.session_hash, generation.wish):  # writing them takes a second or two
                yield {self.files[kind]: gr.DownloadButton(value=path, interactive=True) for kind, path in paths.items()}

    def offer_opening(self, request: gr.Request) -> Iterator[Updates]:
        """What the page opens with as files to take away, as long as the page has not wished for anything else. Needs no torch."""
        if opening.opening() is None or WISHES.of(request.session_hash) is not None:
            return
        paths = opening_files()
        if WISHES.of(request.session_hash) is None:
            yield {self.files[kind]: gr.DownloadButton(value=path, interactive=True) for kind, path in paths.items()}

    def preview(self, request: gr.Request) -> Updates:
        """The clip that was chosen, before anything is generated. Needs no checkpoint to be loaded.

        Where another checkpoint was chosen, as many given and future frames as it was trained with.
        """
        wish = WISHES.begin(request.session_hash, PREVIEW, FIT)
        if wish is None:
            return {}
        try:
            values, notice = carried_on(wish.values)
            chosen = chosen_from(*values)
            config = session.config_of(chosen.checkpoint, chosen.dropped)
            updates: Updates = {self.made: ""}
            if wish.kind == FIT:
                chosen = fitted(chosen, config)
                updates |= {getattr(self.controls, name): getattr(chosen, name) for name in ("given", "frames", "number")}
            updates |= self.shown(chosen, config, notice)
            newer = WISHES.of(request.session_hash)
            if newer and newer.number != wish.number and newer.kind in (PREVIEW, FIT):
                return {}  # what took longer than the next one would land on it
            return updates
        except Exception as error:  # what is on the screen is not what was chosen, and a generation may have ended there
            return {**self.nothing_made(), self.made: "", self.screen: None, self.message: told(error)}

    def examples(self, choice: str, dropped: str | None) -> Updates:
        """The test clips that a checkpoint can be tried on: pictures of the first, and how many there are to choose from."""
        config = session.config_of(choice, dropped)
        clips, pictures = TEST_CLIPS, None
        with suppress(ValueError, OSError):
            data = source_of(config, trusted=session.trusted(choice))
            clips = known_clips(data)
            pictures = opening.pictures(data, at_length(FIRST, config).given)
        return {
            self.thumbs: thumbnails_value(pictures, clips),
            self.controls.number: gr.Slider(maximum=last_of(clips)),
        }

    def shown(self, chosen: Chosen, config: "Config", notice: str) -> Updates:
        """The clip that was chosen, where there is one yet, and what is said of it."""
        if (chosen.source == UPLOAD and not chosen.upload) or (chosen.source == DRAWN and not chosen.drawing):
            return {self.screen: None, self.message: said(notice), **self.nothing_made()}
        clip = chosen.clip(config)
        screen = Reel(clip.given_u8, clip.truth_u8, chosen.frames).value()
        return {self.screen: screen, self.message: said(notice) + said(clip.which), **self.nothing_made()}

    def arrive(self, request: gr.Request, *values: Any) -> Updates:
        """A page was opened: what its link names is generated; else what it opens with is there already, or the clip is shown."""
        page = request.session_hash
        try:
            named = links.generation_of(dict(request.query_params or {}))
            linked = dataclasses.replace(first_of(named.get("checkpoint")), source=DRAWN if named.get("drawing") else TEST, **named)
        except ValueError as error:
            return {self.message: told(error)}
        if named:
            chosen = tuple(getattr(linked, name) for name in Controls.names())
            WISHES.claim(page, GENERATE, chosen)
            files = (self.controls.dropped, self.controls.upload)  # a link has none, and a box that is emptied says that it was changed
            return {
                control: value for control, value in zip(self.controls.inputs, carried_on(chosen)[0], strict=True) if control not in files
            }
        of_files = ("dropped", "upload")  # one of these alone shows nothing: what is said of it, meanwhile, stays
        given = {name: value for name, value in zip(Controls.names(), values, strict=False) if name not in of_files}
        if opening.opening() is None or any(value != getattr(FIRST, name) for name, value in given.items()):
            WISHES.claim(page, PREVIEW, values)
        return {}


@cache
def opening_files() -> dict[str, str]:
    """The files of what the page opens with by kind, written once and kept as long as the app runs."""
    first = opening.opening()
    assert first is not None
    return OPENING_FILES.enter_context(download_files(first.clip, first.prediction_u8))


def fitted(chosen: Chosen, config: "Config") -> Chosen:
    """With as many given and future frames as the checkpoint was trained with, and a test clip that there is, where that is known."""
    chosen = at_length(chosen, config)
    try:
        known = known_clips(source_of(config, trusted=session.trusted(chosen.checkpoint)))
    except (ValueError, OSError):
        return chosen
    return dataclasses.replace(chosen, number=min(chosen.number, known - 1))


def first_of(checkpoint: str | None) -> Chosen:
    """What a link that names a checkpoint alone means: frames as many as that was trained with, where it is there."""
    if checkpoint:
        with suppress(ValueError, OSError):  # whoever generates says what is wrong with it
            return at_length(FIRST, session.config_of(checkpoint))
    return FIRST


def at_length(chosen: Chosen, config: "Config") -> Chosen:
    """With as many given and future frames as the checkpoint was trained with."""
    data = config.data
    if data.clip_frames <= data.context_frames:
        return chosen
    return dataclasses.replace(chosen, given=data.context_frames, frames=data.clip_frames - data.context_frames)


def claiming(kind: str, *, joins: Mapping[str, str] = NOTHING) -> Callable[..., None]:
    """A handler that claims a wish with the controls' values; the event's work follows it."""

    def claim(request: gr.Request, *values: Any) -> None:
        before = WISHES.of(request.session_hash)
        if before and kind == PREVIEW and before.values == values:
            return  # a box was left as it was: what is shown, and what is said of it, stays
        if before and before.kind == PREVIEW and carried_on(before.values)[0] == values:
            values = before.values  # as they were typed, a moment ago: what became of them is said of this wish, too
        WISHES.claim(request.session_hash, kind, values, joins=joins)

    return claim


def claim_source(request: gr.Request, *values: Any) -> None:
    """Another kind of clip is chosen: a test clip is generated at once, of the others there may be none yet."""
    source = values[Controls.names().index("source")]
    WISHES.claim(request.session_hash, GENERATE if source == TEST else PREVIEW, values, joins=FITTED)


def claim_fresh(request: gr.Request, *values: Any) -> Any:
    """Another clip is asked for: the next test clip, whose number is in the values already, is generated. There is no next one of a
    person's own: returns the line that says so.
    """
    source = values[Controls.names().index("source")]
    if source in OWN_STAYS:
        return said(OWN_STAYS[source])
    WISHES.claim(request.session_hash, GENERATE, values, joins=FITTED)
    return gr.skip()


def claim_fit(request: gr.Request, *values: Any) -> None:
    """Another checkpoint is chosen: fit to it, unless it came with the settings of a generation that is wished for already."""
    newest = WISHES.of(request.session_hash)
    if newest is None or newest.kind != GENERATE or newest.values[:2] != values[:2]:
        WISHES.claim(request.session_hash, FIT, values)


def being_made(page: str | None) -> bool:
    """Whether what the page wants last is being generated."""
    newest = WISHES.of(page)
    return newest is not None and newest.number in MAKING


def beside_making(page: str | None, line: str) -> tuple[Any, Any]:
    """A line where the generation's own are, and one below it: there where one that is being made would clear the other with its next
    frame."""
    return (gr.skip(), line) if being_made(page) else (line, gr.skip())


def claim_more(request: gr.Request, made: str) -> tuple[Any, Any]:
    """Further frames are asked for, which ends nothing that is being made; returns the lines that say why there are none (`beside_making`)."""
    page = request.session_hash
    if being_made(page):
        return beside_making(page, said(f"{MORE_FRAMES} more can be asked for as soon as these frames are done."))
    if chosen_of(made) is None:
        return beside_making(page, said(NOTHING_TO_GO_ON_FROM))
    WISHES.claim(page, MORE, (made,))
    return gr.skip(), gr.skip()


def chosen_of(made: str) -> Chosen | None:
    """What a kept generation was made with. Of what the page opens with it is known without its replay, which would import torch: a
    claim that waited for that would come after newer ones.
    """
    first = opening.opening() if made == opening.KEY else None
    kept = first or GENERATIONS.get(made)
    return kept.chosen if kept else None


def claim_again(request: gr.Request, made: str, *values: Any) -> tuple[Any, Any]:
    """A slider was released, or another setting given: generate again where something was generated, or is being, with other values.
    Returns the lines (`beside_making`) about a value beyond the slider's end where no generation says so, or about one that cannot be.
    """
    (kept, notice), page = carried_on(values), request.session_hash
    newest = WISHES.of(page)
    if newest is not None and newest.kind == GENERATE:
        wanted = carried_on(newest.values)[0] != kept
    else:
        before = chosen_of(made)
        wanted = before is not None and tuple(getattr(before, name) for name in Controls.names()) != kept
    if not wanted:
        return beside_making(page, said(notice)) if notice else (gr.skip(), gr.skip())
    try:
        chosen_from(*kept)
    except ValueError as error:  # what cannot be made ends nothing that is being made
        return beside_making(page, told(error))
    WISHES.claim(page, GENERATE, values)
    return gr.skip(), gr.skip()
