"""Frames out of one file: .npy, .gif, video or a picture. Files come from strangers: sizes are checked before memory is taken.

Every decoder streams: it holds one frame at a time (at most `MAX_PIXELS` large), whatever the length of the clip.
"""

import contextlib
import errno
import itertools
import math
import re
import subprocess
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy_format
from PIL import Image, ImageOps

from ..failures import TookTooLongError

MAX_PIXELS = 4096 * 4096  # in one frame
MAX_DRAWN = 1 << 35  # of all frames of a .gif: minutes
MAX_HEADER = 1 << 16  # bytes of a .npy's header
NPY_HEAD = MAX_HEADER + 64  # bytes of a .npy that hold its header, whole
MOST_SAID = 4096  # bytes of what ffmpeg complains of that are looked at
VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF")  # nothing else of what Pillow can open is tried on a stranger's file
STANDARD_TEST_SHAPE = (20, 10_000, 64, 64)  # mnist_test_seq.npy of Moving MNIST: the one known file with time first

Frames = Generator[Image.Image, None, None]
LOOK_UP: ContextVar[Callable[[], None] | None] = ContextVar("LOOK_UP", default=None)  # of `looking_up`


class ClipError(ValueError):
    """What is wrong with somebody's clip and what to do about it, in one sentence that names the file."""


@contextlib.contextmanager
def explained(name: str) -> Iterator[None]:
    """Turns whatever a decoder raises over damaged bytes into one ClipError; decoders raise nearly every type there is."""
    try:
        yield
    except (ClipError, TookTooLongError):
        raise
    except PermissionError as error:
        raise ClipError(f"{name} cannot be read: allow reading it") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise ClipError(f"{name} found the disk full: free some space") from error
        raise ClipError(f"{name} is damaged or not what its name says: save it again or leave it out") from error


@contextlib.contextmanager
def looking_up(check: Callable[[], None]) -> Iterator[None]:
    """While inside, `check` is called for every frame that is decoded: a small file can hold hours of them. It raises where that is enough."""
    token = LOOK_UP.set(check)
    try:
        yield
    finally:
        LOOK_UP.reset(token)


def look_up() -> None:
    check = LOOK_UP.get()
    if check is not None:
        check()


def check_pixels(name: str, width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise ClipError(f"{name} has frames of {width} x {height} pixels: leave it out")
    if width * height > MAX_PIXELS:
        raise ClipError(f"{name} has frames of {width} x {height} pixels, above the limit of {MAX_PIXELS}: make it smaller first")


@dataclass(frozen=True)
class NpyLayout:
    """What the header of a .npy says: `clips` clips of `frames` frames; `channels` is 0 where there is no such axis."""

    clips: int
    frames: int
    height: int
    width: int
    channels: int
    time_first: bool = False


def npy_header(path: Path, name: str = "") -> tuple[tuple[int, ...], np.dtype, int]:
    """(shape, dtype, where the values begin) of a .npy, without loading anything; ClipError where it is none. name: what it is called
    there, where it is called otherwise here."""
    name = name or path.name
    with explained(name), open(path, "rb") as file:
        version = npy_format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ClipError(f"{name} is a .npy of an unknown version {version}: save it again with numpy.save")
        begin, length = file.tell(), 2 if version == (1, 0) else 4
        if int.from_bytes(file.read(length), "little") > MAX_HEADER:  # numpy reads it whole before it looks
            raise ClipError(f"{name} has a header that no clip has: save it again with numpy.save")
        file.seek(begin)
        read_header = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
        shape, _, dtype = read_header(file)
        if not all(type(side) is int and side >= 0 for side in shape):
            raise ClipError(f"{name} has the shape {shape}, which no clip has: save it again")
        return shape, dtype, file.tell()


def refuse_short(path: Path, shape: tuple[int, ...], dtype: np.dtype, begin: int) -> None:
    """ClipError where a .npy has fewer values than `npy_header` says."""
    if path.stat().st_size < begin + math.prod(shape) * dtype.itemsize:
        raise ClipError(f"{path.name} is shorter than its header says: copy or save it again")


def npy_layout(path: Path) -> NpyLayout:
    """Read and check the header alone, without loading anything; ClipError where it is not a uint8 clip, all of it there."""
    shape, dtype, begin = npy_header(path)
    layout = clip_layout(path.name, shape, dtype)
    refuse_short(path, shape, dtype, begin)
    return layout


def clip_layout(name: str, shape: tuple[int, ...], dtype: np.dtype) -> NpyLayout:
    """The layout of what a header says; ClipError where that is no uint8 clip."""
    if dtype != np.uint8:
        of_ids = "frames are uint8 from 0 to 255, and token ids need their .json beside the .npy"
        fix = of_ids if dtype.kind in "iu" else "save uint8 from 0 to 255, e.g. (x * 255).astype('uint8')"
        raise ClipError(f"{name} holds {dtype} values: {fix}")
    return layout_of(name, shape)


def layout_of(name: str, shape: tuple[int, ...]) -> NpyLayout:
    """(T,H,W), (T,H,W,C), (N,T,H,W) or (N,T,H,W,C) with C 1 or 3; a last axis of 1 or 3 is always colour."""
    expected = "save (T,H,W), (T,H,W,C) or (N,T,H,W[,C]) with C 1 or 3"
    coloured = shape[-1:] in ((1,), (3,))
    if len(shape) not in (3, 4, 5) or min(shape) < 1 or (coloured and len(shape) == 3):
        raise ClipError(f"{name} has the shape {shape}: {expected}")
    if not coloured and (len(shape) == 5 or (len(shape) == 4 and (shape[1] in (1, 3) or shape[3] in (2, 4)))):
        raise ClipError(f"{name} has the shape {shape}, whose last axis is no colour: {expected}")
    full = shape if coloured else (*shape, 0)
    clips, frames, height, width, channels = full if len(full) == 5 else (1, *full)
    time_first = shape == STANDARD_TEST_SHAPE
    if time_first:
        clips, frames = frames, clips
    check_pixels(name, width, height)
    return NpyLayout(clips, frames, height, width, channels, time_first)


def npy_frames(path: Path, layout: NpyLayout, clip: int) -> Frames:
    """The pictures of one clip of a .npy that `npy_layout` has passed, read through a memory map."""
    with explained(path.name):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        for frame in range(layout.frames):
            look_up()
            index = (frame, clip) if layout.time_first else (clip, frame)
            pixels = np.ascontiguousarray(array[index] if array.ndim - bool(layout.channels) == 4 else array[frame])
            yield Image.fromarray(pixels[..., 0] if layout.channels == 1 else pixels)


def gif_frames(path: Path) -> Frames:
    """The pictures of a .gif as they are stored, one after another; their durations are not looked at."""
    with explained(path.name), Image.open(path, formats=("GIF",)) as image:
        check_pixels(path.name, *image.size)
        drawn = 0
        for index in itertools.count():
            try:
                image.seek(index)
            except EOFError:
                return
            check_pixels(path.name, *image.size)  # a later frame may enlarge the picture
            drawn += image.width * image.height  # whole, however little of it a frame of a few bytes changes
            look_up()
            if drawn > MAX_DRAWN:
                raise ClipError(f"{path.name} takes more than {MAX_DRAWN:,} pixels to draw: make it smaller or shorter first")
            yield image


def image_frame(path: Path) -> Image.Image:
    """The decoded picture in a file, the right way up; ClipError where the file holds several.

    The small pictures that cameras put into a .jpg beside its own are not looked at.
    """
    with explained(path.name), Image.open(path, formats=IMAGE_FORMATS) as image:
        check_pixels(path.name, *image.size)
        if image.format != "MPO" and getattr(image, "is_animated", False):  # counting pages would take a hostile .tif for ever
            raise ClipError(f"{path.name} holds more than one picture: save each as a file of its own, or all as one .gif or .npy")
        image.load()
        with contextlib.suppress(Exception):  # damaged EXIF: then the picture is as it lies
            ImageOps.exif_transpose(image, in_place=True)
        return image


def video_demuxer(path: Path) -> str:
    """ffmpeg's name of the container, by the first bytes. Left to guess, ffmpeg would take a playlist that names other files."""
    with explained(path.name), open(path, "rb") as file:
        start = file.read(12)
    if start[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"):
        return "mov"
    if start[:4] == b"\x1a\x45\xdf\xa3":
        return "matroska"
    if start[:4] == b"RIFF" and start[8:12] == b"AVI ":
        return "avi"
    raise ClipError(f"{path.name} is no video of a kind that is read here (mp4, mov, mkv, webm, avi): save it again or leave it out")


def video_frames(path: Path) -> Frames:
    """The pictures of a video, streamed through ffmpeg: each coded frame once. ClipError where it is damaged or cut off.

    ffmpeg hides damage behind frames of its own making unless it is told to stop at the first error, and some readers of containers end
    as if all were well: what it wrote to stderr counts, too. An .avi in which nothing is found behind the damage may still just end.
    """
    with explained(path.name):
        strict = ["-loglevel", "error", "-xerror", "-err_detect", "crccheck+bitstream+buffer+explode"]
        limits = ["-f", video_demuxer(path), "-protocol_whitelist", "file", "-max_pixels", str(MAX_PIXELS), "-threads", "2"]
        # passthrough: two frames that claim to be hours apart must not become a million copies
        output = ["-an", "-sn", "-dn", "-fps_mode", "passthrough", "-pix_fmt", "rgb24", "-c:v", "ppm", "-f", "image2pipe", "pipe:1"]
        # an absolute path, so that no name is taken for a device, an address or an option
        command = [require_ffmpeg(), "-nostdin", "-hide_banner", *strict, *limits, "-i", str(path.resolve()), *output]
        with tempfile.TemporaryFile() as said, started(command, said) as process:
            assert process.stdout
            count = 0
            while (picture := ppm_picture(path.name, process.stdout)) is not None:
                look_up()
                yield picture
                count += 1
            failed = process.wait() != 0
            said.seek(0)
            words = said.read(MOST_SAID).decode(errors="replace")
        if failed or words.strip():
            raise ClipError(f"{path.name} is broken after frame {count} ({reason_in(words)}): save it again or leave it out")


@contextlib.contextmanager
def started(command: list[str], said: IO[bytes]) -> "Iterator[subprocess.Popen[bytes]]":
    """A process with its stderr in `said`, ended when the block is left."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said)
    try:
        yield process
    finally:
        process.kill()
        assert process.stdout
        process.stdout.close()
        process.wait()


def ppm_picture(name: str, stream: IO[bytes]) -> Image.Image | None:
    """The next picture of a stream of binary PPMs; None where the stream ends, within a picture or before."""
    header = [stream.readline(MOST_SAID) for _ in range(3)]  # P6, width and height, 255
    if not header[2].endswith(b"\n"):
        return None
    width, height = (int(number) for number in header[1].split())
    check_pixels(name, width, height)
    pixels = stream.read(3 * width * height)
    return Image.frombytes("RGB", (width, height), pixels) if len(pixels) == 3 * width * height else None


def reason_in(words: str) -> str:
    """The first thing that ffmpeg said, without the part of ffmpeg that said it."""
    first = next((line for line in words.splitlines() if line.strip()), "ffmpeg stopped")
    return re.sub(r"^(\[[^]]*\] ?)+", "", first)[:120]


def require_ffmpeg() -> str:
    """The path of the ffmpeg that imageio brings, or of the one it finds."""
    import imageio_ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise ClipError("no ffmpeg was found to read or write videos: pip install imageio[ffmpeg], or use .gif or .npy") from error


def fitted(name: str, image: Image.Image, size: int, channels: int) -> np.ndarray:
    """The picture as uint8 (C, size, size): its central square, resized with antialiasing, grey (1) or colour (3)."""
    look_up()
    with explained(name):  # Pillow decodes as late as it can, here
        image = flattened(name, image, channels)
        side = min(image.size)
        left, top = (image.width - side) / 2, (image.height - side) / 2
        # the gap lets Pillow average whole blocks of a far larger picture first: 1.5 times as fast, 0.2 levels apart
        square = image.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side), reducing_gap=3.0)
    pixels = np.asarray(square, np.uint8)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def flattened(name: str, image: Image.Image, channels: int) -> Image.Image:
    """The picture in 8 bits without transparency (black shows through)."""
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise ClipError(f"{name} has more than 16 bits a pixel: save it with 8 bits")
    elif image.has_transparency_data:
        picture = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", picture.size, (0, 0, 0, 255)), picture)
    mode = "L" if channels == 1 else "RGB"
    return image if image.mode == mode else image.convert(mode)
