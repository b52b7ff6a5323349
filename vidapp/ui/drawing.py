"""Draw a digit and flick it: from a stroke and a swipe to a clip, with a future that is known.

The digits move as those of Moving MNIST do: along a straight line, reflected at the borders, overlaps by the brighter pixel. What the
page sends is a short text (it fits into a link); everything in it is checked here.
"""

import base64
import binascii
import math
from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np

from ..config import DataConfig
from .generation import Clip, refuse_large
from .theme import static

SIDE = 28  # pixels of a digit, as in MNIST
LEVELS = 16  # greys of a digit: two pixels in a byte
MOST_DIGITS = 2  # as many as the bundled model has seen together
FASTEST = 0.25  # of the free span a frame, in each direction; Moving MNIST moves at 0.1
NOTHING = "nothing was drawn yet: draw a digit into the left box, then swipe across the right one"


@dataclass(frozen=True)
class DrawnDigit:
    """pixels uint8 (28, 28); place (top, left) and motion a frame, both in shares of the span that it can move in."""

    pixels: np.ndarray
    place: tuple[float, float]
    motion: tuple[float, float]


def digits_of(text: str | None) -> list[DrawnDigit]:
    """The digits in a drawing's text, `top:left:down:right:PIXELS` with `~` between digits; ValueError where it is none."""
    parts = [part for part in (text or "").split("~") if part]
    if not parts:
        raise ValueError(NOTHING)
    if len(parts) > MOST_DIGITS:
        raise ValueError(f"there are {len(parts)} drawn digits: draw at most {MOST_DIGITS}")
    return [digit_of(part) for part in parts]


def digit_of(part: str) -> DrawnDigit:
    try:
        *numbers, packed = part.split(":")
        top, left, down, right = (float(number) for number in numbers)
        raw = np.frombuffer(base64.b64decode(packed, altchars=b"-_", validate=True), np.uint8)
        if len(raw) != SIDE * SIDE // 2:
            raise ValueError
    except (ValueError, binascii.Error):
        raise ValueError("the drawing cannot be read: clear it and draw again") from None
    if not all(math.isfinite(number) for number in (top, left, down, right)):
        raise ValueError("the drawing cannot be read: clear it and draw again")
    if not (0 <= top <= 1 and 0 <= left <= 1):
        raise ValueError(f"the drawn digit lies at ({top:g}, {left:g}), outside the frame: both must be from 0 to 1")
    if max(abs(down), abs(right)) > FASTEST:
        raise ValueError(f"the drawn digit moves by ({down:g}, {right:g}) a frame: at most {FASTEST} in each direction")
    halves = np.stack([raw >> 4, raw & 15], axis=1).reshape(SIDE, SIDE)
    if not halves.any():
        raise ValueError(NOTHING)
    return DrawnDigit((halves * (255 // (LEVELS - 1))).astype(np.uint8), (top, left), (down, right))


def drawn_clip(text: str | None, data: DataConfig, given: int, future: int) -> Clip:
    """The clip of a drawing, as a model with that data sees it: given frames and what truly follows."""
    from ..data.moving_mnist import bounced, draw_clip  # brings torch, which the page does not wait for

    digits = digits_of(text)
    refuse_large(data, given + future)
    if data.size <= SIDE:
        raise ValueError(f"this checkpoint's frames have {data.size} pixels a side: a drawn digit of {SIDE} has no room to move there")
    frames = given + future
    corners = np.stack([bounced(np.array(one.place), np.array(one.motion), frames, data.size - SIDE) for one in digits])
    clip = draw_clip(np.stack([one.pixels for one in digits]), corners, data.size)
    clip_TCHW = np.repeat(clip[:, None], data.channels, axis=1)
    return Clip(clip_TCHW[:given], clip_TCHW[given:], "your drawing")


def pad(**settings: Any) -> gr.HTML:
    """The two touch canvases. The value is the drawing's text; events: `input` when it was drawn, `release` when it was flicked."""
    return gr.HTML(
        value=None,
        html_template=static("pad.html"),
        css_template=static("pad.css"),
        js_on_load=static("pad.js").replace("MOST_DIGITS", str(MOST_DIGITS)).replace("FASTEST", str(FASTEST)),
        apply_default_css=False,
        **settings,
    )
