"""Frames into files and pictures: GIF, MP4, NPY and film strips. Written whole or not at all."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
from PIL import GifImagePlugin, Image, ImageDraw, ImageFont

from .data.decoders import require_ffmpeg
from .files import replacing

BACKGROUND = (24, 26, 32)
INK = (226, 228, 233)
GAP = 2  # pixels between frames of a strip
MAX_STRIP_PIXELS = 64_000_000
FPS = 10


def to_u8(frames: Any) -> np.ndarray:
    """Values in [0, 1], of any shape, as uint8: cut off outside, rounded. ValueError where one is no number."""
    values = np.asarray(frames, dtype=np.float32)
    if np.isnan(values).any():
        raise ValueError("the frames hold values that are no numbers: the model has diverged, use an earlier checkpoint")
    return np.rint(np.clip(values, 0.0, 1.0) * 255).astype(np.uint8)


def write_clip(path: str | Path, frames_TCHW: np.ndarray, *, scale: int = 1) -> None:
    """Write a clip uint8 (T, C, H, W) as the suffix says: .gif, .mp4 or .npy (which knows no scale)."""
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".npy":
        write_npy(path, frames_TCHW)
    elif suffix in (".gif", ".mp4"):
        (write_gif if suffix == ".gif" else write_mp4)(path, frames_TCHW, scale=scale)
    else:
        raise ValueError(f"{path.name} is of an unknown type: use .gif, .mp4 or .npy")


def write_npy(path: str | Path, frames_TCHW: np.ndarray) -> None:
    """Write a clip uint8 (T, C, H, W) as uint8 (T, H, W) when grey, (T, H, W, 3) when in colour."""
    frames = checked(path, frames_TCHW)
    array = frames[:, 0] if frames.shape[1] == 1 else frames.transpose(0, 2, 3, 1)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.save(file, np.ascontiguousarray(array), allow_pickle=False)


def write_gif(path: str | Path, frames_TCHW: np.ndarray, *, scale: int = 1) -> None:
    """Write a clip uint8 (T, C, H, W) as an endless GIF, grey exactly, colour in 256 colours a frame; `scale` repeats pixels.

    Pillow's own writer drops a frame that equals the one before. Here every frame is kept, so that a GIF reads back as
    long as it was written.
    """
    frames = checked(path, frames_TCHW, scale)
    height, width = frames.shape[2] * scale, frames.shape[3] * scale
    if max(height, width) > 65535:
        raise ValueError(f"a GIF cannot have {width} x {height} pixels: use a smaller scale")
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(b"GIF89a" + width.to_bytes(2, "little") + height.to_bytes(2, "little") + b"\x70\x00\x00")
        file.write(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00")  # loop for ever
        for frame in frames:
            image = indexed(enlarged(frame, scale))
            for block in GifImagePlugin.getdata(image, duration=1000 // FPS, include_color_table=True):
                file.write(block)
        file.write(b";")


def write_mp4(path: str | Path, frames_TCHW: np.ndarray, *, scale: int = 1) -> None:
    """Write a clip uint8 (T, C, H, W) as H.264 that browsers play; a last row or column is repeated where a side is odd."""
    frames = checked(path, frames_TCHW, scale)
    require_ffmpeg()
    odd = [(0, side * scale % 2) for side in frames.shape[2:]]
    pictures = [np.pad(enlarged(frame, scale), (*odd, (0, 0)), mode="edge") for frame in frames]
    pictures = [np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture for picture in pictures]
    quality = ["-crf", "12", "-preset", "fast", "-movflags", "+faststart", "-threads", "2"]
    with replacing(path) as temporary:
        # quality=None leaves it to -crf
        options: dict[str, Any] = {"fps": FPS, "codec": "libx264", "quality": None, "macro_block_size": 2, "output_params": quality}
        iio.imwrite(temporary.resolve(), np.stack(pictures), plugin="FFMPEG", extension=".mp4", **options)


def checked(path: str | Path, frames_TCHW: np.ndarray, scale: int = 1) -> np.ndarray:
    """The clip, after a look at its shape and at whether it can be written where it is wanted."""
    frames = np.asarray(frames_TCHW)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1] not in (1, 3) or not frames.size:
        raise ValueError(f"frames of shape {frames.shape} and type {frames.dtype} are no clip: give uint8 (T, C, H, W) with C 1 or 3")
    if not 1 <= scale <= 64:
        raise ValueError(f"scale {scale} is not usable: use a whole number from 1 to 64")
    if not Path(path).resolve().parent.is_dir():
        raise ValueError(f"the folder {Path(path).parent} does not exist: make it first")
    return frames


def enlarged(frame_CHW: np.ndarray, scale: int) -> np.ndarray:
    """(H * scale, W * scale, C) with every pixel repeated."""
    return frame_CHW.transpose(1, 2, 0).repeat(scale, axis=0).repeat(scale, axis=1)


def indexed(pixels_HWC: np.ndarray) -> Image.Image:
    """A picture with a palette: all 256 greys, or the 256 colours that suit it best."""
    if pixels_HWC.shape[2] == 3:
        return Image.fromarray(pixels_HWC).quantize(256, dither=Image.Dither.NONE)
    image = Image.fromarray(pixels_HWC[..., 0])
    image.putpalette([value for value in range(256) for _ in range(3)])
    return image


@dataclass(frozen=True)
class StripRow:
    """One line of a film strip: a clip uint8 (T, C, H, W), with a label to its left."""

    frames: np.ndarray
    label: str = ""


def film_strip(rows: Sequence[StripRow | np.ndarray], *, scale: int = 1) -> Image.Image:
    """Clips under one another, frame beside frame, as an RGB picture. A row is a `StripRow` or just its frames.

    All rows share one frame size. `scale` repeats pixels. What would be above 64 million pixels is drawn smaller: at a
    lower scale, then with every second pixel left out. Raises ValueError where there is nothing to draw.
    """
    lines = [row if isinstance(row, StripRow) else StripRow(row) for row in rows]
    sizes = {line.frames.shape[2:] for line in lines if line.frames.ndim == 4}
    if len(sizes) != 1 or any(line.frames.ndim != 4 or line.frames.shape[1] not in (1, 3) for line in lines):
        raise ValueError(f"a film strip needs clips (T, C, H, W) of one size, not {[line.frames.shape for line in lines]}")
    height, width = (side * scale for side in sizes.pop())
    columns = max(len(line.frames) for line in lines)
    font = ImageFont.load_default(size=max(9, min(14, height // 4)))
    margin = max(round(font.getlength(line.label)) + 8 if line.label else 0 for line in lines)
    total = (margin + columns * (width + GAP) + GAP, len(lines) * (height + GAP) + GAP)
    if total[0] * total[1] > MAX_STRIP_PIXELS:
        if scale > 1:
            return film_strip(lines, scale=scale // 2)
        if max(height, width) == 1:
            raise ValueError(f"a film strip of {len(lines)} rows of {columns} frames is too large: use fewer")
        return film_strip([replace(line, frames=line.frames[..., ::2, ::2]) for line in lines])
    strip = Image.new("RGB", total, BACKGROUND)
    draw = ImageDraw.Draw(strip)
    for number, line in enumerate(lines):
        top = GAP + number * (height + GAP)
        draw.text((4, top + height / 2), line.label, fill=INK, font=font, anchor="lm")
        for column, frame in enumerate(line.frames):
            pixels = enlarged(frame, scale)
            image = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels.repeat(3, axis=2))
            strip.paste(image, (margin + GAP + column * (width + GAP), top))
    return strip
