"""A wall of clips that loop together: each travels as one picture with its frames below one another."""

import secrets
from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np

from .pictures import LOSSLESS_PIXELS, uri_of
from .theme import static

WEBP_SIDE = 16_383  # the format's limit


@dataclass(frozen=True)
class Shown:
    """A clip uint8 (T, C, H, W) with a caption; its first `given` frames have a grey border, the others a coloured one."""

    frames: np.ndarray
    caption: str
    given: int = 0


def wall_value(clips: list[Shown], *, pairs: bool = False) -> dict[str, Any]:
    """The component's value; with `pairs` clips stand two by two."""
    return {
        "key": secrets.token_hex(4),
        "pairs": pairs,
        "clips": [
            {"sprite": sprite_uri(one.frames), "frames": len(one.frames), "caption": one.caption, "given": one.given} for one in clips
        ],
    }


def sprite_uri(frames_TCHW: np.ndarray) -> str:
    """All frames of a clip below one another, as a data URI."""
    tall = np.concatenate(list(frames_TCHW), axis=1)
    return uri_of(tall, lossless=frames_TCHW[0, 0].size <= LOSSLESS_PIXELS or tall.shape[1] > WEBP_SIDE, quality=85)


def wall(*, label: str, **settings: Any) -> gr.HTML:
    """The component; its value is what `wall_value` returns, None for an empty place. `label` is read out."""
    return gr.HTML(
        value=None,
        html_template=static("wall.html"),
        css_template=static("wall.css"),
        js_on_load=static("frames.js") + static("wall.js"),
        title=label,
        apply_default_css=False,
        **settings,
    )
