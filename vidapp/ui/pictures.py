"""Pictures as data URIs, which a page shows without asking for a file."""

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

LOSSLESS_PIXELS = 128 * 128  # of a frame; larger colour ones travel as WebP


def uri_of(picture_CHW: np.ndarray, *, lossless: bool = True, quality: int = 90) -> str:
    """A uint8 picture of 1 or 3 channels as PNG, or where it is in colour and need not be `lossless` as WebP."""
    grey = len(picture_CHW) == 1
    image = Image.fromarray(picture_CHW[0] if grey else picture_CHW.transpose(1, 2, 0))
    return image_uri(image) if grey or lossless else image_uri(image, "webp", quality=quality)


def image_uri(image: Image.Image, kind: str = "png", **options: Any) -> str:
    memory = io.BytesIO()
    image.save(memory, kind, **options)
    return file_uri(memory.getvalue(), kind)


def file_uri(content: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
