"""The player: given -> truth, given -> prediction and their difference under one scrubber, with the film strip below.

The difference is computed in the browser, so only the frames themselves travel; frames that are appended to a value
(a generation on its way) reach the page as a few hundred bytes each.
"""

import base64
import io
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from .theme import static

LOSSLESS_PIXELS = 128 * 128  # larger colour frames travel as WebP


def frame_uri(frame_CHW: np.ndarray) -> str:
    """One uint8 frame (1 or 3 channels) as a data URI that a browser can draw."""
    channels = frame_CHW.shape[0]
    image = Image.fromarray(frame_CHW[0] if channels == 1 else frame_CHW.transpose(1, 2, 0))
    memory = io.BytesIO()
    if channels == 1 or image.width * image.height <= LOSSLESS_PIXELS:
        image.save(memory, "PNG", compress_level=6)
        kind = "png"
    else:
        image.save(memory, "WEBP", quality=90)
        kind = "webp"
    return f"data:image/{kind};base64,{base64.b64encode(memory.getvalue()).decode('ascii')}"


def frame_uris(frames_TCHW: np.ndarray | None) -> list[str]:
    """Every frame of a clip as a data URI; none for None."""
    return [] if frames_TCHW is None else [frame_uri(frame) for frame in frames_TCHW]


def player_value(
    given: np.ndarray,
    truth: np.ndarray | None = None,
    prediction: np.ndarray | None = None,
    *,
    total: int | None = None,
    key: str = "",
    making: bool = False,
) -> dict[str, Any]:
    """What the player shows.

    given, truth, prediction: uint8 (T, C, H, W); truth holds the frames that really followed (as many as are known),
    prediction the generated ones (as many as there are yet). `total` is the number of future frames to come and
    `making` says that more are on their way. A new `key` starts the animation over, the same one lets it go on.
    """
    known = 0 if truth is None else len(truth)
    made = 0 if prediction is None else len(prediction)
    return {
        "key": key,
        "making": making,
        "height": int(given.shape[2]),
        "width": int(given.shape[3]),
        "total": int(total if total is not None else max(known, made)),
        "given": frame_uris(given),
        "truth": frame_uris(truth),
        "prediction": frame_uris(prediction),
    }


def player(value: dict[str, Any] | None = None, **settings: Any) -> gr.HTML:
    """The component. Its `frame` event carries {"frame": index} when a person picks a frame of the film strip."""
    return gr.HTML(
        value=value,
        html_template=static("player.html"),
        css_template=static("player.css"),
        js_on_load=static("player.js"),
        apply_default_css=False,
        **settings,
    )
