"""The token view: frame, id grid, reconstruction and error under one cursor and one time, with the microscope below.

What it shows travels once; clicks ask two small functions on the server, whose answers the page itself keeps in order (the
newest question wins). What a key stands for is kept for a while and then dropped.
"""

import contextlib
import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from ..metrics import frame_mse, frame_psnr, to_unit
from ..token_figures import Array, CodeUse, atlas, code_use, flicker
from .kept import Kept
from .messages import sentence
from .player import frame_uri, frame_uris
from .theme import static
from .token_colours import PALETTE

if TYPE_CHECKING:
    from ..microscope import Edit, Microscope
    from ..replay import Replay

TOP = 5  # guesses shown
MOST_EDITS = 50
PATIENCE_S = 20  # that a click waits for the one before it
BUSY = "The app is busy with others' clicks: try again in a moment."
GONE = "This view was dropped to make room for newer ones: press Show to have it again."
ALWAYS_GIVEN = "This frame was always given in training and never predicted: a guess here says nothing about what the model learnt."
UNTRAINED = "This checkpoint's transformer is untrained, so it has nothing to say about tokens: only its tokenizer is of use."


@dataclass(frozen=True)
class TokenView:
    """What one page looks at. truth_u8 (at most T frames, C, H, W): the frames as far as they are known; drawn_u8 (T, C, H, W): decoded
    from tokens_THW. true_tokens_THW: of a generation, the ids of the known frames. given: how many frames were given to a generation,
    replay: how it was decoded. trusted: whether the checkpoint is one that the page offers by itself, so that the data which it names
    may be opened."""

    name: str
    microscope: "Microscope"
    tokens_THW: Array
    truth_u8: Array
    drawn_u8: Array
    true_tokens_THW: Array | None = None
    given: int | None = None
    can_guess: bool = True
    trusted: bool = False
    replay: "Replay | None" = None

    @property
    def size(self) -> int:
        own = self.tokens_THW.nbytes + self.truth_u8.nbytes + self.drawn_u8.nbytes
        return own + self.microscope.size + (self.replay.size if self.replay else 0)

    @property
    def codebook_size(self) -> int:
        return self.microscope.checkpoint.tokenizer.codebook_size

    @property
    def use(self) -> CodeUse:
        return code_use(self.tokens_THW, self.codebook_size)

    def errors(self) -> tuple[Array, Array]:
        """Squared error summed over a frame, and PSNR in dB, of the frames whose truth is known."""
        known = len(self.truth_u8)
        drawn, truth = to_unit(self.drawn_u8[:known]), to_unit(self.truth_u8)
        return frame_mse(drawn, truth), frame_psnr(drawn, truth)


class Views(Kept[TokenView]):
    """Views with the checkpoints that they look through, each of these counted once."""

    @property
    def bytes(self) -> int:
        checkpoints = {id(view.microscope.checkpoint): view.microscope.checkpoint for view in self.kept.values()}
        return super().bytes + sum(checkpoint.size for checkpoint in checkpoints.values())


VIEWS = Views(held=48, held_bytes=512 << 20)
NOTHING = {"said": "nothing to show"}  # the reason stands above it
LOCK = threading.Lock()  # clicks are answered one at a time: they share the processor
WAITING = threading.BoundedSemaphore(6)  # clicks that may hold a thread of the server's for it, of which there are 40


def value_of(view: TokenView, *, start: int = 0) -> dict[str, Any]:
    """Keep a view; the component's value that shows it, from frame `start` on."""
    total, known = len(view.tokens_THW), len(view.truth_u8)
    errors, psnr = ([round(float(one), 4) for one in row] + [None] * (total - known) for row in view.errors())
    entries = atlas(view.tokens_THW, view.drawn_u8)
    sprite = np.concatenate([np.rint(entry.patch).astype(np.uint8) for entry in entries], axis=1)
    still = view.drawn_u8 if view.given is not None else view.truth_u8  # a prediction is judged by its own pixels
    true_ids = view.true_tokens_THW
    return {
        "key": VIEWS.put(view),
        "name": view.name,
        "grid": list(view.tokens_THW.shape[1:]),
        "channels": view.drawn_u8.shape[1],
        "codebook": view.codebook_size,
        "frames": frame_uris(view.truth_u8) + [None] * (total - known),
        "drawn": frame_uris(view.drawn_u8),
        "ids": flat(view.tokens_THW),
        "true_ids": None if true_ids is None else flat(true_ids) + [None] * (total - len(true_ids)),
        "replay": {"given": view.given} if view.replay else None,
        "flicker": flat(flicker(view.tokens_THW, still).astype(np.uint8)),
        "kinds": [kind(view.given, index, "true future") for index in range(total)],
        "drawn_kinds": [kind(view.given, index, "predicted") for index in range(total)],
        "errors": errors,
        "psnr": psnr,
        "palette": list(PALETTE),
        "atlas": {"sprite": frame_uri(sprite), "side": sprite.shape[2], "entries": [[entry.id, entry.count] for entry in entries]},
        "start": max(0, min(start, total - 1)),
    }


def flat(grids_THW: Array) -> list[list[int]]:
    return [grid.ravel().tolist() for grid in grids_THW]


def kind(given: int | None, index: int, future: str) -> str:
    return "" if given is None else "given" if index < given else future


def look(request: Any) -> dict[str, Any]:
    """What the transformer expects in a cell: request {key, frame, row, column, edits}. Never raises for bad input."""
    return answered(look_into, request)


def redraw(request: Any) -> dict[str, Any]:
    """A frame after the edits: request {key, frame, edits}. Never raises for bad input."""
    return answered(drawn_again, request)


def replay(request: Any) -> dict[str, Any]:
    """Every decode step of a frame: request {key, frame}. Never raises for bad input."""
    return answered(replayed, request)


def answered(work: Any, request: Any) -> dict[str, Any]:
    """Anyone can call what a page calls: whatever is asked, the answer is bounded work or one sentence."""
    asked = request if isinstance(request, dict) else {}
    view = VIEWS.get(str(asked.get("key", "")))
    if view is None:
        return {"trouble": GONE}
    if not WAITING.acquire(blocking=False):
        return {"trouble": BUSY}
    with released(WAITING):
        if not LOCK.acquire(timeout=PATIENCE_S):
            return {"trouble": BUSY}
        with released(LOCK):
            try:
                return dict(work(view, asked))
            except Exception as error:
                return {"trouble": sentence(error)}


@contextlib.contextmanager
def released(held: Any) -> Iterator[None]:
    """At the end of the block what was acquired before it is released."""
    try:
        yield
    finally:
        held.release()


def look_into(view: TokenView, asked: dict[str, Any]) -> dict[str, Any]:
    from ..media import to_u8
    from ..microscope import Cell

    if not view.can_guess:
        return {"trouble": UNTRAINED}
    cell = Cell(whole(asked, "frame"), whole(asked, "row"), whole(asked, "column"))
    edits = edits_of(asked)
    sights = dict(zip(("alone", "together"), view.microscope.look(cell, TOP, edits), strict=True))
    ids = tuple(sorted({id for sight in sights.values() for id, _ in sight.guesses}))
    patches = dict(zip(ids, frame_uris(to_u8(view.microscope.drawn_as(cell, ids, edits))), strict=True))
    untaught = ALWAYS_GIVEN if view.microscope.was_always_given(cell.frame) else ""
    return {"most_bits": math.log2(view.codebook_size), "untaught": untaught} | {
        name: {
            "guesses": [{"id": id, "probability": share, "patch": patches[id]} for id, share in sight.guesses],
            "own_probability": sight.own_probability,
            "own_rank": sight.own_rank,
            "entropy_bits": sight.entropy_bits,
        }
        for name, sight in sights.items()
    }


def drawn_again(view: TokenView, asked: dict[str, Any]) -> dict[str, Any]:
    from ..media import to_u8

    frame = whole(asked, "frame")
    drawn_u8 = to_u8(view.microscope.redraw(frame, edits_of(asked)))
    if frame >= len(view.truth_u8):
        return {"uri": frame_uri(drawn_u8), "error": None, "psnr": None}
    drawn, truth = to_unit(drawn_u8), to_unit(view.truth_u8[frame])
    return {"uri": frame_uri(drawn_u8), "error": float(frame_mse(drawn, truth)), "psnr": float(frame_psnr(drawn, truth))}


def replayed(view: TokenView, asked: dict[str, Any]) -> dict[str, Any]:
    from ..media import to_u8
    from ..replay import step_views

    frame = whole(asked, "frame")
    if view.replay is None or not view.replay.given <= frame < len(view.tokens_THW):
        raise ValueError(f"frame {frame + 1} was not decoded: choose a predicted frame of a generation")
    steps = step_views(view.microscope, view.replay, frame - view.replay.given)
    return {
        "mask_id": view.replay.mask_id,
        "steps": [
            {
                "ids": step.tokens.ravel().tolist(),
                "confidence": np.round(step.confidence.astype(float), 4).ravel().tolist(),
                "entropy": np.round(step.entropy_bits.astype(float), 3).ravel().tolist(),
                "uri": frame_uri(to_u8(step.picture)),
            }
            for step in steps
        ],
    }


def edits_of(asked: dict[str, Any]) -> "tuple[Edit, ...]":
    from ..microscope import Cell, Edit

    edits = asked.get("edits") or []
    if not isinstance(edits, list) or len(edits) > MOST_EDITS or not all(isinstance(edit, dict) for edit in edits):
        raise ValueError(f"at most {MOST_EDITS} tokens can be changed at once: undo some")
    return tuple(Edit(Cell(whole(edit, "frame"), whole(edit, "row"), whole(edit, "column")), whole(edit, "id")) for edit in edits)


def whole(asked: dict[str, Any], name: str) -> int:
    value = asked.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 31:
        raise ValueError(f"{name} is {str(value)[:40]!r}: give a whole number, 0 or more")
    return value


def token_view(**settings: Any) -> gr.HTML:
    """The component; its value is what `value_of` returns, None while the first clip is on its way, NOTHING where none could be had."""
    return gr.HTML(
        value=None,
        html_template=static("tokens.html"),
        css_template=static("tokens.css"),
        js_on_load=static("frames.js") + static("tokens.js") + static("scope.js") + static("replay.js"),
        server_functions=[look, redraw, replay],
        apply_default_css=False,
        **settings,
    )
