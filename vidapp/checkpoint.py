"""One file that can be sampled from: the weights of tokenizer and transformer, and the config that they belong to.

Format: safetensors, with JSON under the key `vidapp` of the header's metadata. Nothing is ever unpickled. Header, names, shapes
and dtypes are checked against the config's own model, on the meta device, before memory is taken for any weight. In a compact one the
transformer's matrices have eight bits a weight, each with its rows' scales beside it.
"""

import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .compact import SCALE, in_eight_bits, in_full
from .config import PHASES, Config
from .files import open_ordinary, replacing
from .tokenizer import Tokenizer, new_tokenizer
from .transformer import VideoTransformer

FORMAT_VERSION = 2  # the newest that is read; 1 is written but for compact ones
ENCODE_PRECISION = "float32"
TRANSFORMER_KINDS = ("F16", "F32", "I8")
SHAPING = ("model.", "tokenizer.", "data.clip_frames", "data.size", "data.channels")  # what the shapes of weights come of
LARGEST_HEADER = 4 * 2**20
LARGEST_FILE = 8 * 2**30
LARGEST_STEP = 10**12
BYTES = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8, "I64": 8, "I32": 4, "BOOL": 1, "U8": 1, "I8": 1}
DTYPES = {torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32", torch.int64: "I64", torch.bool: "BOOL"}


@dataclass(frozen=True)
class Header:
    """What a checkpoint says of itself; `tensors` maps names to (dtype, shape)."""

    config: Config
    step: int
    metrics: dict[str, Any]
    format_version: int
    precision: str
    phase: str
    tensors: dict[str, tuple[str, tuple[int, ...]]] = field(repr=False)

    @property
    def compact(self) -> bool:
        return any(kind == "I8" for kind, _ in self.tensors.values())

    @property
    def parameters(self) -> int:
        """Of the transformer."""
        return sum(
            math.prod(shape) for name, (_, shape) in self.tensors.items() if name.startswith("transformer.") and not name.endswith(SCALE)
        )


@dataclass(frozen=True)
class Checkpoint:
    """A tokenizer and a transformer, ready to sample, on one device."""

    config: Config
    tokenizer: Tokenizer
    transformer: VideoTransformer
    step: int
    metrics: dict[str, Any]
    precision: str
    path: Path

    @property
    def device(self) -> torch.device:
        return self.transformer.place_embedding.device

    @property
    def size(self) -> int:
        """Bytes that its weights take."""
        tensors = [*self.tokenizer.state_dict().values(), *self.transformer.state_dict().values()]
        return sum(tensor.nbytes for tensor in tensors)

    @torch.no_grad()
    def encode(self, frames_u8: np.ndarray) -> Tensor:
        """Token grids int64 (B, T, h, w) of frames uint8 (B, T, C, H, W)."""
        return self.tokenizer.encode(torch.from_numpy(np.ascontiguousarray(frames_u8)).to(self.device).float() / 255, checked=True)

    @torch.no_grad()
    def decode(self, tokens_BTHW: Tensor) -> np.ndarray:
        """Frames float32 (B, T, C, H, W) of token grids, cut to [0, 1]: a picture has no other values, so none are judged."""
        return self.tokenizer.decode(tokens_BTHW.to(self.device)).float().clamp(0, 1).cpu().numpy()


def save_checkpoint(
    path: str | Path,
    config: Config,
    tokenizer: Tokenizer,
    transformer_weights: dict[str, Tensor],
    *,
    step: int,
    metrics: dict[str, Any],
    phase: str = "transformer",
    compact: bool = False,
) -> None:
    """Write a checkpoint atomically: the transformer's weights as float16 (its matrices in eight bits, if `compact`), the tokenizer's as
    float32.

    Raises ValueError, and writes nothing, where a weight is not finite or too large for float16.
    """
    tensors = {f"tokenizer.{name}": tensor for name, tensor in tokenizer.state_dict().items()}
    for name, tensor in transformer_weights.items():
        half = tensor.detach().to(torch.float16)
        if torch.isfinite(tensor).all() and not torch.isfinite(half).all():
            raise ValueError(
                f"weight {name} reaches {tensor.abs().max():.3g}, too large for a checkpoint in float16: lower the learning rate"
            )
        tensors[f"transformer.{name}"] = half
        if compact and tensor.ndim == 2:
            tensors[f"transformer.{name}"], tensors[f"transformer.{name}{SCALE}"] = in_eight_bits(tensor.detach())
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ValueError(f"weight {name} is not finite: the training diverged before step {step}; lower the learning rate")
    about = {
        "format_version": 2 if compact else 1,
        "config": config.to_dict(),
        "step": step,
        "metrics": metrics,
        "precision": ENCODE_PRECISION,
        "phase": phase,
    }
    with replacing(path) as temporary:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, temporary, {"vidapp": json.dumps(about)})


def read_header(path: str | Path) -> Header:
    """Check a checkpoint's header without loading a weight; ValueError says what is wrong with it."""
    path = Path(path)
    raw, size = raw_header(path)
    metadata = raw.pop("__metadata__", None)
    if not isinstance(metadata, dict) or "vidapp" not in metadata:
        raise ValueError(f"{path.name} is a safetensors file but no vidapp checkpoint: train one here, or use the bundled one")
    try:
        about = json.loads(metadata["vidapp"])
        version = int(about["format_version"])
        if version > FORMAT_VERSION:
            raise ValueError(f"it has format {version} and this version reads up to {FORMAT_VERSION}: update vidapp")
        config = Config.from_dict(about["config"])
        tensors = {name: (str(entry["dtype"]), shape_of(entry)) for name, entry in raw.items()}
        refuse_unknown(about)
        header = Header(config, about["step"], dict(about["metrics"]), version, about["precision"], about["phase"], tensors)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"{path.name} cannot be used: {str(error)[:300]}") from error
    check_extent(path, raw, size)
    return header


def refuse_unknown(about: dict[str, Any]) -> None:
    """ValueError where a header names a step, a phase, a precision or metrics that none can have."""
    step, phase, precision = about["step"], about["phase"], about["precision"]
    if type(step) is not int or not 0 <= step <= LARGEST_STEP:
        raise ValueError(f"its step is {str(step)[:40]!r}, where a number of steps should be")
    if not isinstance(about["metrics"], dict):
        raise ValueError(f"its metrics are {str(about['metrics'])[:40]!r}, where an object should be")
    if phase not in PHASES:
        raise ValueError(f"its phase is {str(phase)[:40]!r}, where one of {', '.join(PHASES)} should be")
    if precision != ENCODE_PRECISION:
        raise ValueError(f"it was trained on ids encoded in {str(precision)[:40]!r}, and here they are encoded in {ENCODE_PRECISION}")


def raw_header(path: Path) -> tuple[dict[str, Any], int]:
    """The safetensors header as a dictionary, and how many bytes of weights follow it."""
    try:
        size = path.stat().st_size
        with open_ordinary(path) as file:
            prefix = file.read(8)
            length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
            if not 2 <= length <= min(LARGEST_HEADER, size - 8) or size > LARGEST_FILE:
                raise ValueError(f"{length} bytes of header in a file of {size}")
            header = json.loads(file.read(length))
    except OSError as error:
        raise ValueError(f"cannot read {path.name}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path.name} is no safetensors file, or is damaged: download or export it again") from error
    if not isinstance(header, dict):
        raise ValueError(f"{path.name} is no safetensors file, or is damaged: download or export it again")
    return header, size - 8 - length


def shape_of(entry: dict[str, Any]) -> tuple[int, ...]:
    """The shape in a tensor's entry; ValueError where it is none, or larger than any file may be."""
    shape = entry["shape"]
    if not isinstance(shape, list) or len(shape) > 8 or any(type(extent) is not int or not 0 <= extent <= LARGEST_FILE for extent in shape):
        raise ValueError("a weight has a shape that no weight can have")
    return tuple(shape)


def check_extent(path: Path, raw: dict[str, Any], size: int) -> None:
    """The weights named must lie within the file without overlap or gap."""
    end = 0
    try:
        for start, stop, entry in sorted((*entry["data_offsets"], entry) for entry in raw.values()):
            if start != end or stop - start != math.prod(shape_of(entry)) * BYTES[entry["dtype"]]:
                raise ValueError
            end = stop
        if end != size:
            raise ValueError
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path.name} is damaged: its weights do not fill the file as its header says") from error


def check_tensors(name: str, header: Header, model: nn.Module, prefix: str, kinds: tuple[str, ...]) -> None:
    """Names, shapes and dtypes must be exactly those of `model` (which may be on the meta device): of its weights one of `kinds`, I8 for
    matrices alone, with the scales of their rows."""
    expected: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {}
    for key, tensor in model.state_dict().items():
        known = kinds if tensor.is_floating_point() else (DTYPES[tensor.dtype],)
        if tensor.ndim != 2:
            known = tuple(kind for kind in known if kind != "I8")
        expected[prefix + key] = known, tuple(tensor.shape)
        if "I8" in known and header.tensors.get(prefix + key, ("", ()))[0] == "I8":
            expected[prefix + key + SCALE] = ("F32",), tuple(tensor.shape[:1])
    found = {key for key in header.tensors if key.startswith(prefix)}
    if found != set(expected):
        odd = sorted(found ^ set(expected))
        raise ValueError(f"{name} does not fit its own config: {len(odd)} weights are missing or unknown, the first is {odd[0][:80]}")
    for key, (known, extents) in expected.items():
        kind, shape = header.tensors[key]
        if shape != extents:
            raise ValueError(f"{name} does not fit its own config: {key} has shape {shape} instead of {extents}")
        if kind not in known:
            raise ValueError(f"{name} does not fit its own config: {key} has dtype {kind[:20]} instead of {' or '.join(known)}")


def checked_header(path: str | Path) -> Header:
    """The header, with every weight that it names checked against the config's tokenizer and transformer."""
    header = read_header(path)
    with torch.device("meta"):
        tokenizer, transformer = Tokenizer(header.config.tokenizer, header.config.data.channels), VideoTransformer.of(header.config)
    check_tensors(Path(path).name, header, tokenizer, "tokenizer.", ("F32",))
    check_tensors(Path(path).name, header, transformer, "transformer.", TRANSFORMER_KINDS)
    if extra := [key for key in header.tensors if not key.startswith(("tokenizer.", "transformer."))]:
        raise ValueError(f"{Path(path).name} holds an unknown weight {extra[0][:80]}")
    return header


def refuse_other_model(path: str | Path, config: Config) -> None:
    """ValueError where the transformer of a checkpoint is not of the kind and size that `config` describes."""
    path, header = Path(path), checked_header(path)
    with torch.device("meta"):
        model = VideoTransformer.of(config)
    try:
        check_tensors(path.name, header, model, "transformer.", TRANSFORMER_KINDS)
    except ValueError as error:
        differing = [f"{key} {theirs}" for key, (_, theirs) in config.differences(header.config).items() if key.startswith(SHAPING)]
        raise ValueError(f"{path.name} holds another model ({', '.join(differing)}): copy these settings, or leave it out") from error


def tensors_of(path: Path, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors under a prefix by their full names, one at a time: as the file has them, or in full where it has eight bits and scales.
    ValueError for one that is not finite."""
    try:
        with safe_open(str(path), framework="pt") as file:
            names = set(file.keys())
            for key in sorted(names):
                if key.startswith(prefix) and not (key.endswith(SCALE) and key.removesuffix(SCALE) in names):
                    tensor = file.get_tensor(key)
                    if key + SCALE in names:
                        tensor = in_full(tensor, file.get_tensor(key + SCALE))
                    if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                        raise ValueError(f"{path.name} is damaged: weight {key} is not finite")
                    yield key, tensor
    except (SafetensorError, OSError) as error:  # safetensors is stricter with headers than JSON is, e.g. with a key given twice
        raise ValueError(f"{path.name} is damaged: {str(error)[:300]}") from error


def load_tensors(path: Path, prefix: str) -> dict[str, Tensor]:
    """The tensors under a prefix, by what follows it, floating-point ones as finite float32."""
    return {
        key.removeprefix(prefix): tensor.float() if tensor.is_floating_point() else tensor.clone()
        for key, tensor in tensors_of(path, prefix)
    }


def check_checkpoint(path: str | Path) -> None:
    """ValueError for whatever `load_checkpoint` would refuse; builds no model, and holds one weight at a time."""
    checked_header(path)
    for key, tensor in tensors_of(Path(path)):
        refuse_unfilled(Path(path).name, {key: tensor})


def load_tokenizer(path: str | Path) -> tuple[Tokenizer, Config]:
    """The tokenizer of a checkpoint, and its config (of which the transformer's part may be ignored)."""
    header = checked_header(path)
    tokenizer = new_tokenizer(header.config.tokenizer, header.config.data.channels)
    weights = load_tensors(Path(path), "tokenizer.")
    refuse_unfilled(Path(path).name, weights)
    tokenizer.load_state_dict(weights)
    return tokenizer.eval().requires_grad_(False), header.config


def refuse_unfilled(name: str, weights: dict[str, Tensor]) -> None:
    """ValueError where a learned codebook says that it has no codes yet: it would make them of the first clip that it is shown."""
    if not all(bool(tensor.all()) for key, tensor in weights.items() if key.endswith(".initted")):
        raise ValueError(f"{name} is damaged: its codebook says that it was never filled")


def load_checkpoint(path: str | Path, device: str | torch.device = "cpu") -> Checkpoint:
    """Tokenizer and transformer of a checkpoint on `device`; ValueError where the file is damaged, hostile or does not fit itself."""
    path = Path(path)
    tokenizer, config = load_tokenizer(path)
    header = read_header(path)
    transformer = VideoTransformer.new(config)
    transformer.load_state_dict(load_tensors(path, "transformer."))
    transformer.take_codes(tokenizer)
    return Checkpoint(
        config=config,
        tokenizer=tokenizer.to(device),
        transformer=transformer.eval().requires_grad_(False).to(device),
        step=header.step,
        metrics=header.metrics,
        precision=header.precision,
        path=path,
    )
