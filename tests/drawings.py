"""Drawings as the page sends them."""

import base64

import numpy as np

from vidapp.ui.drawing import LEVELS, DrawnDigit


def text_of(digits: list[DrawnDigit]) -> str:
    """The text that `digits_of` reads."""

    def packed(digit: DrawnDigit) -> str:
        halves = (digit.pixels // (255 // (LEVELS - 1))).reshape(-1, 2).astype(np.uint8)
        return base64.b64encode((halves[:, 0] << 4 | halves[:, 1]).tobytes(), altchars=b"-_").decode("ascii")

    return "~".join(":".join([*(f"{number:.4f}" for number in (*digit.place, *digit.motion)), packed(digit)]) for digit in digits)
