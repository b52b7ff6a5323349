"""The player: given -> truth, given -> prediction and their difference under one scrubber, with the film strip below.

The difference is computed in the browser, so only the frames themselves travel; frames that are appended to a value
(a generation on its way) reach the page as a few hundred bytes each.
"""

import secrets
from typing import Any

import gradio as gr
import numpy as np

from .pictures import LOSSLESS_PIXELS, uri_of
from .theme import static


def frame_uri(frame_CHW: np.ndarray) -> str:
    """One uint8 frame (1 or 3 channels) as a data URI that a browser can draw."""
    return uri_of(frame_CHW, lossless=frame_CHW[0].size <= LOSSLESS_PIXELS)


def frame_uris(frames_TCHW: np.ndarray | None) -> list[str]:
    """Every frame of a clip as a data URI; none for None."""
    return [] if frames_TCHW is None else [frame_uri(frame) for frame in frames_TCHW]


class Reel:
    """What the player shows, added to as frames are made; every frame is encoded once.

    given, truth: uint8 (T, C, H, W); truth holds the frames that really followed, as many as are known. `total` is the number of
    future frames to come. A new reel starts the animation over, one with the key of the reel that is shown lets it go on.
    """

    def __init__(self, given: np.ndarray, truth: np.ndarray | None, total: int, key: str = "") -> None:
        self.key = key or secrets.token_hex(4)
        self.height, self.width = (int(side) for side in given.shape[2:])
        self.total = total
        self.given, self.truth = frame_uris(given), frame_uris(truth)
        self.prediction: list[str] = []

    def add(self, prediction: np.ndarray) -> None:
        """Take in the generated frames uint8 (n, C, H, W), all that there are so far."""
        self.prediction += frame_uris(prediction[len(self.prediction) :])

    def value(self, *, making: bool = False) -> dict[str, Any]:
        """The component's value; `making` says that more frames are on their way."""
        return {
            "key": self.key,
            "making": making,
            "height": self.height,
            "width": self.width,
            "total": self.total,
            "given": self.given,
            "truth": self.truth,
            "prediction": list(self.prediction),
        }


def player(value: dict[str, Any] | None = None, **settings: Any) -> gr.HTML:
    """The component. Its `frame` event carries {"frame": index} when a person picks a frame of the film strip."""
    return gr.HTML(
        value=value,
        html_template=static("player.html"),
        css_template=static("player.css"),
        js_on_load=static("frames.js") + static("player.js"),
        apply_default_css=False,
        **settings,
    )
