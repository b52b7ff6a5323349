"""Token ids that were made elsewhere, to train on: a .npy or a raw file of ids, read by memory map, with a JSON beside it.

`ids.npy` of shape (N, T, h, w) or (T, h, w), whole numbers in [0, codebook_size), and `ids.json` with {"codebook_size": 512}.
A raw file has its "shape" and "dtype" there too. There are no frames: an id is drawn as a colour of its own, one pixel a token,
and everything that takes frames takes these.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..config import Config, DataConfig
from ..files import expanded, read_json, replacing
from .decoders import npy_header, refuse_short
from .folder import FolderSource, Segment, Windows, split_by_name, split_by_time, too_short

COLOURS = 1 << 24
SPREAD = 0x9E3779  # odd, so that ids times it are all different colours, and far apart
GATHER = pow(SPREAD, -1, COLOURS)
MAX_CLIPS = 1_000_000
LARGEST_CODEBOOK = 65536
DTYPES = ("uint8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
OPEN_FILES = 16
LOOKED_THROUGH = 64 << 20  # bytes: a file of more is refused where a clip of it is read that holds what it must not


@dataclass(frozen=True)
class TokenFile:
    """A file of ids: how many codes there are, and where a raw file's ids lie. shape: (N, T, h, w), h = w."""

    path: Path
    codebook_size: int
    shape: tuple[int, ...]
    dtype: str

    @property
    def frames(self) -> int:
        return self.shape[1]

    @property
    def grid(self) -> int:
        return self.shape[2]


@dataclass(frozen=True)
class IdSegment(Segment):
    """Frames of token ids. A window comes in colours: uint8 (T, 3, h, w)."""

    file: TokenFile

    def window(self, offset: int, frames: int) -> np.ndarray:
        first = self.start + offset
        ids = np.array(opened(self.file)[self.index, first : first + frames])
        refuse_outside(ids, self.file.codebook_size, self.name)
        return colours_of(ids)

    def part(self, start: int, stop: int) -> "IdSegment":
        return IdSegment(self.name, self.path, self.index, start, stop, self.file)


class TokenSource(FolderSource):
    """Clips of given ids: whole clips go into train, validation or test; one or two are split by time."""

    def __init__(self, config: DataConfig) -> None:
        file = token_file(config.source)
        assert file is not None, "see is_token_data"
        refuse_misfit(config, file)
        self.config, self.file, self.name, self.skipped = config, file, file.path.name, []
        self._found: dict[tuple[str, int], Windows] = {}
        if file.shape[0] > MAX_CLIPS:
            raise ValueError(f"{self.name} has {file.shape[0]:,} clips, above the limit of {MAX_CLIPS:,}: split it")
        if opened(file).nbytes <= LOOKED_THROUGH:
            refuse_outside(opened(file), file.codebook_size, self.name)
        clips: list[Segment] = [
            IdSegment(f"{file.path.name}[{index}]", file.path, index, 0, file.frames, file) for index in range(file.shape[0])
        ]
        if file.frames < config.clip_frames:
            raise too_short(self.name, clips, config.clip_frames)
        self.segments = split_by_time(self.name, clips, config.clip_frames) if len(clips) <= 2 else split_by_name(clips)


def is_token_data(source: str) -> bool:
    """Whether a JSON beside the file says how many codes there are; without one it is taken for frames."""
    path = expanded(source)
    return path.is_file() and "codebook_size" in (read_json(path.with_suffix(".json")) or {})


def token_file(source: str) -> TokenFile | None:
    """The file of ids that `source` names, None where it is something else; ValueError where the JSON and the file disagree."""
    if not is_token_data(source):
        return None
    path = expanded(source).resolve()
    facts = read_json(path.with_suffix(".json")) or {}
    size = facts["codebook_size"]
    if type(size) is not int or not 2 <= size <= LARGEST_CODEBOOK:
        raise ValueError(f"{path.stem}.json says codebook_size {size!r}: give a whole number from 2 to {LARGEST_CODEBOOK}")
    stored = npy_header(path) if path.suffix == ".npy" else None
    shape, dtype = (stored[0], str(stored[1])) if stored else raw_layout(path, facts)
    whole = (1, *shape) if len(shape) == 3 else shape
    if len(whole) != 4 or whole[2] != whole[3] or 0 in whole:
        raise ValueError(f"{path.name} has shape {shape}: give ids as (N, T, h, w) or (T, h, w) with h = w")
    if dtype not in DTYPES:
        raise ValueError(f"{path.name} holds {dtype}: give ids as one of {', '.join(DTYPES)}")
    if stored:
        refuse_short(path, *stored)
    return TokenFile(path, size, whole, dtype)


def raw_layout(path: Path, facts: dict[str, Any]) -> tuple[tuple[int, ...], str]:
    shape, dtype = facts.get("shape"), facts.get("dtype")
    if not isinstance(shape, list) or not all(type(side) is int and 0 < side < 2**40 for side in shape) or dtype not in DTYPES:
        raise ValueError(f'{path.stem}.json must say "shape", e.g. [1000, 20, 16, 16], and "dtype", one of {", ".join(DTYPES)}')
    if path.stat().st_size != math.prod(shape) * np.dtype(dtype).itemsize:
        raise ValueError(f"{path.name} has {path.stat().st_size} bytes, which are not the {shape} of {dtype} that {path.stem}.json says")
    return tuple(shape), str(dtype)


@lru_cache(maxsize=OPEN_FILES)
def opened(file: TokenFile) -> np.ndarray:
    """The memory map (N, T, h, w)."""
    if file.path.suffix == ".npy":
        array: np.ndarray = np.load(file.path, mmap_mode="r", allow_pickle=False)
        return array.reshape(file.shape)
    return np.memmap(file.path, dtype=np.dtype(file.dtype).newbyteorder("<"), mode="r", shape=file.shape)


def refuse_outside(ids: np.ndarray, codebook_size: int, name: str) -> None:
    if ids.size and not (int(ids.min()) >= 0 and int(ids.max()) < codebook_size):
        raise ValueError(f"{name} holds ids from {ids.min()} to {ids.max()}, outside of [0, {codebook_size}): correct codebook_size")


def settings_of(source: str) -> dict[str, Any]:
    """The settings that ids need, by dotted key; {} where `source` is something else."""
    file = token_file(source)
    if file is None:
        return {}
    return {
        "tokenizer.quantizer": "ids",
        "tokenizer.vq_codebook_size": file.codebook_size,
        "tokenizer.downsampling": 1,
        "data.size": file.grid,
        "data.channels": 3,
        "model.code_embedding": False,
        "model.pixel_embedding": False,
    }


def refuse_mismatch(config: Config) -> None:
    """ValueError where a config is for given ids and its data are not, or the other way round."""
    needed = settings_of(config.data.source)
    if not needed and config.tokenizer.quantizer == "ids":
        raise ValueError(
            f"tokenizer.quantizer is ids, but {config.data.source} is no file of ids with a JSON beside it: give one, or set another quantizer"
        )
    values = config.to_dict()
    wrong = [f"{key}={value}" for key, value in needed.items() if values[key.split(".")[0]][key.split(".")[1]] != value]
    if [text for text in wrong if not text.startswith("model.")]:
        raise ValueError(f"{config.data.source} holds token ids: set {' '.join(wrong)}")


def refuse_misfit(config: DataConfig, file: TokenFile) -> None:
    if (config.size, config.channels) != (file.grid, 3):
        raise ValueError(f"{file.path.name} holds grids of {file.grid} x {file.grid} token ids: set data.size={file.grid} data.channels=3")


def read_id_clip(path: Path, config: Config, frames: int) -> np.ndarray:
    """At most so many frames of the ids (T, h, w) in a .npy, in their colours uint8 (T, 3, h, w); ValueError where they are none, or not
    such as the config describes."""
    if path.suffix.lower() != ".npy":
        raise ValueError(
            f"{path.name} is no .npy: this checkpoint knows token ids only, so give whole numbers (T, h, w) saved with numpy.save"
        )
    shape, dtype, begin = npy_header(path)
    if len(shape) != 3 or not shape[0] or str(dtype) not in DTYPES:
        raise ValueError(f"{path.name} holds {dtype} of shape {shape}: give whole numbers (T, h, w)")
    if shape[1:] != (config.grid, config.grid):
        raise ValueError(
            f"{path.name} has grids of {shape[1]} x {shape[2]} tokens, the checkpoint {config.grid} x {config.grid}: give such ids"
        )
    refuse_short(path, shape, dtype, begin)
    ids = np.array(np.load(path, mmap_mode="r", allow_pickle=False)[:frames])
    refuse_outside(ids, config.tokenizer.codebook_size, path.name)
    return colours_of(ids)


def colours_of(ids_THW: np.ndarray) -> np.ndarray:
    """The colour of each id: uint8 (T, 3, h, w) of (T, h, w)."""
    spread = (ids_THW.astype(np.int64) * SPREAD) % COLOURS
    return np.stack([spread & 255, (spread >> 8) & 255, spread >> 16], axis=1).astype(np.uint8)


def write_ids(path: Path, colours_TCHW: np.ndarray) -> None:
    """The ids of those colours as a .npy, int64 (T, h, w), which can be sampled from and trained on again."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.save(file, ids_of(colours_TCHW), allow_pickle=False)


def ids_of(colours_TCHW: np.ndarray) -> np.ndarray:
    """The ids int64 (T, h, w) whose colours those are."""
    red, green, blue = colours_TCHW.astype(np.int64).transpose(1, 0, 2, 3)
    ids: np.ndarray = (red + (green << 8) + (blue << 16)) * GATHER % COLOURS
    return ids
