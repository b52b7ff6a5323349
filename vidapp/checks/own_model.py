"""Your own model: any function from token ids to logits, checked without knowing what is inside it.

The function takes int64 ids (B, T, h, w) in [0, V], V standing for a mask, and returns logits (B, T, h, w, V).
"""

import contextlib
import importlib
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..baselines import unigram
from ..config import SamplingConfig
from ..failures import describe_failure
from ..sampling import decode
from .checklist import Report
from .data import digest
from .gradient import gradient_figures, listed
from .sampler import sampler, stays
from .subject import masks_of, other_ids
from .tokens import codebook_use
from .verdict import Check, failure, judge, not_applicable

CLIPS = 4
CLIP_FRAMES = 16  # of one long recording
SAME = 1e-5  # change of a logit that rounding could make
SEEN = 1e-6
LARGEST_CODEBOOK = 2**20


@dataclass(frozen=True)
class OwnModel:
    """tokens_NTHW: some clips of ids. causal: whether the model promises that no frame sees a later one."""

    function: Callable[[Tensor], Tensor]
    tokens_NTHW: Tensor
    codebook_size: int
    causal: bool = False

    @property
    def context(self) -> int:
        return self.tokens_NTHW.shape[1] // 2

    @property
    def masked_NTHW(self) -> Tensor:
        """Half of every frame after the first half of the clip."""
        count, frames, height, width = self.tokens_NTHW.shape
        square = masks_of("future", count, frames, max(height, width), self.context, 0.5)
        masked = torch.from_numpy(np.stack([mask.mask_THW for mask in square]))[:, :, :height, :width].clone()
        masked[:, -1, 0, 0] = True
        return masked

    def logits(self, tokens: Tensor) -> Tensor:
        """The function's answer; ValueError where it is no tensor of logits (B, T, h, w, V)."""
        with contextlib.redirect_stdout(sys.stderr):  # stdout is for what is found
            answer = self.function(tokens)
        expected = (*tokens.shape, self.codebook_size)
        if not isinstance(answer, Tensor):
            raise ValueError(f"the function returned {type(answer).__name__}: return a tensor of logits {expected}")
        if tuple(answer.shape) != expected:
            raise ValueError(f"the function returned shape {tuple(answer.shape)} for ids {tuple(tokens.shape)}: return logits {expected}")
        return answer


def load_function(name: str) -> Callable[[Tensor], Tensor]:
    """The callable that `package.module:function` names. It runs that module: for a local shell, never for a page."""
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise ValueError(f"--model {name!r} names no function: write package.module:function")
    try:
        with contextlib.redirect_stdout(sys.stderr):
            found: Any = importlib.import_module(module)
            for part in attribute.split("."):
                found = getattr(found, part)
    except (Exception, SystemExit) as error:  # whatever somebody's own module does
        raise ValueError(f"--model {name} cannot be imported: {describe_failure(error)} (run it where `import {module}` works)") from error
    if not callable(found):
        raise ValueError(f"--model {name} is {type(found).__name__}, nothing that can be called: name a function from ids to logits")
    return found


def read_tokens(path: str | Path, codebook_size: int, frames: int | None = None) -> Tensor:
    """The first clips int64 (N, T, h, w) of a .npy of ids (N, T, h, w), or (T, h, w), which is cut into clips of `frames`.

    Only these are read; the file stays memory-mapped. Raises ValueError where it is none, or ids lie outside the codebook.
    """
    if not 2 <= codebook_size <= LARGEST_CODEBOOK:
        raise ValueError(f"the codebook size is {codebook_size}: use 2 to {LARGEST_CODEBOOK}")
    try:
        ids = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"cannot read the ids in {path}: give a .npy of whole numbers (N, T, h, w) or (T, h, w)") from error
    if not isinstance(ids, np.ndarray) or ids.ndim not in (3, 4) or not np.issubdtype(ids.dtype, np.integer) or not ids.size:
        kind = f"{ids.dtype} {ids.shape}" if isinstance(ids, np.ndarray) else type(ids).__name__
        raise ValueError(f"{path} holds {kind}: give whole numbers (N, T, h, w) or (T, h, w)")
    if ids.ndim == 3:
        length = min(frames or CLIP_FRAMES, len(ids))
        ids = ids[: len(ids) // length * length].reshape(-1, length, *ids.shape[1:])
    chosen = torch.from_numpy(np.array(ids[:CLIPS, :frames]).astype(np.int64))
    low, high = int(chosen.min()), int(chosen.max())
    if low < 0 or high >= codebook_size:
        raise ValueError(
            f"{path} holds ids from {low} to {high}: they must lie in [0, {codebook_size}); the mask id {codebook_size} is no token"
        )
    return chosen


def check_own_model(own: OwnModel, report: Report | None = None) -> Iterator[Check]:
    """Make every check that needs nothing but the function, yielding each as it is known."""
    parts: tuple[Callable[[OwnModel], list[Check]], ...] = (
        lambda own: sampler(lambda share: None),
        ids,
        answers,
        order_in_time,
        frequencies,
        decoding,
        gradients,
    )
    for place, part in enumerate(parts):
        if report is not None:
            report("your model", place / len(parts))
        try:
            yield from part(own)
        except (Exception, SystemExit) as error:  # whatever somebody's own function raises is a finding
            yield failure(part.__name__, "Your model could not be checked", describe_failure(error))
    if report is not None:
        report("done", 1.0)


def ids(own: OwnModel) -> list[Check]:
    clips = own.tokens_NTHW.numpy()
    use = codebook_use(
        {"perplexity": math.exp(unigram(own.tokens_NTHW, own.codebook_size)["unigram_entropy"])}, own.tokens_NTHW, own.codebook_size
    )
    different = len({digest(clip) for clip in clips})
    distinct = judge(
        "data_distinct",
        "Clips differ",
        different / len(clips),
        at_least=1.0,
        unit=f"share of {len(clips)} clips",
        good="no clip comes twice",
        bad="the same clip comes more than once: check how the ids were written",
    )
    return [use, distinct]


@torch.no_grad()
def answers(own: OwnModel) -> list[Check]:
    """Finite logits, the same ones for the same ids, whatever else is in the batch."""
    tokens = torch.where(own.masked_NTHW, own.codebook_size, own.tokens_NTHW)
    first, again = own.logits(tokens).float(), own.logits(tokens.clone()).float()
    finite = judge(
        "logits_finite",
        "Logits are finite",
        int((~torch.isfinite(first)).sum()),
        at_most=0,
        unit="logits",
        good=f"shape {tuple(first.shape)}, all finite",
        bad="logits are NaN or infinite: look for a division by zero, or a softmax over nothing where a whole row is masked",
    )
    repeat = judge(
        "same_answer_twice",
        "The same ids get the same logits",
        gap(first, again),
        at_most=SAME,
        unit="largest change of a logit",
        good="the function depends on its input alone",
        bad="the same ids get other logits the second time: call .eval() (dropout, batch norm) and keep no state",
    )
    alone = torch.cat([own.logits(tokens[clip : clip + 1]).float() for clip in range(len(tokens))])
    batch = judge(
        "batch_independent",
        "A clip's logits do not depend on its batch",
        gap(first, alone),
        at_most=1e-3,
        unit="largest change of a logit",
        good="clips do not see each other",
        bad="a clip gets other logits alone than among others: an axis is mixed up (batch with time?), or batch norm is in training mode",
    )
    return [finite, repeat, batch]


@torch.no_grad()
def order_in_time(own: OwnModel) -> list[Check]:
    """Whether later frames reach earlier ones, and earlier ones later ones."""
    tokens = torch.where(own.masked_NTHW, own.codebook_size, own.tokens_NTHW)[:2]
    frames = tokens.shape[1]
    titles = {"causality": "No frame sees a later one", "sees_the_past": "Frames see the frames before them"}
    if frames < 2:
        return [not_applicable(name, title, "clips have one frame only") for name, title in titles.items()]
    before = own.logits(tokens).float()
    future, past = [], []
    for frame in range(1, frames):  # only what is masked need look at the past
        other = tokens.clone()
        other[:, frame] = other_ids(own.tokens_NTHW[:2, frame], own.codebook_size)
        future.append(gap(before[:, :frame], own.logits(other).float()[:, :frame]))
        if frame < max(1, own.context):
            continue
        other = tokens.clone()
        other[:, frame - 1] = other_ids(own.tokens_NTHW[:2, frame - 1], own.codebook_size)
        past.append(gap(before[:, frame], own.logits(other).float()[:, frame]))
    unit = "largest change of a logit"
    words = "an earlier frame's logits depend on a later frame: frame-by-frame sampling will see something else than training did"
    first = judge(
        "causality", titles["causality"], max(future), at_most=SAME, unit=unit, good="later frames change nothing earlier", bad=words
    )
    if first.failed and not own.causal:
        first = replace(first, status="not_applicable", advice="frames see later ones; say --causal if yours must not")
    return [
        first,
        judge(
            "sees_the_past",
            titles["sees_the_past"],
            min(past),
            at_least=SEEN,
            unit="smallest change of a logit",
            good="what a frame holds reaches the next one's logits",
            bad="other ids in a frame change nothing in the next one: attention across frames is cut off, so motion cannot be learnt",
        ),
    ]


@torch.no_grad()
def frequencies(own: OwnModel) -> list[Check]:
    """Loss at masked positions against what knowing only the ids' frequencies costs."""
    masked = own.masked_NTHW
    logits = own.logits(torch.where(masked, own.codebook_size, own.tokens_NTHW)).float()
    losses = F.cross_entropy(logits[masked], own.tokens_NTHW[masked], reduction="none")
    known = unigram(own.tokens_NTHW, own.codebook_size)["unigram_entropy"]
    frame_P = masked.nonzero()[:, 1]
    curve = tuple((float(frame + 1), float(losses[frame_P == frame].mean())) for frame in frame_P.unique().tolist())
    return [
        judge(
            "better_than_frequencies",
            "Predicts better than the ids' frequencies",
            float(losses.mean()),
            at_most=known,
            unit="nats per masked token",
            good=f"the frequencies alone cost {known:.2f}",
            bad=f"the frequencies alone cost {known:.2f}: it has learnt nothing of these ids, was trained on others, or takes another id for the "
            f"mask than {own.codebook_size}",
            curve=curve,
            axes=("frame", "loss (nats per masked token)"),
        )
    ]


@torch.no_grad()
def decoding(own: OwnModel) -> list[Check]:
    """The sampler on this function: the last frame decoded from the frames before it."""
    tokens = own.tokens_NTHW
    masked = torch.zeros_like(tokens, dtype=torch.bool)
    masked[:, -1] = True
    settings = SamplingConfig(steps=8, top_k=0, temperature=1.0)
    return [stays("decodes", decode, own.logits, tokens, masked, settings, own.codebook_size)]


def gradients(own: OwnModel) -> list[Check]:
    """Where the function is a torch module: the loss reaches every weight."""
    name, title = "gradient_reaches_all", "Every weight has a gradient"
    if not isinstance(own.function, nn.Module) or not list(own.function.parameters()):
        return [not_applicable(name, title, "the function is no torch module: name the module itself to see its gradients")]
    module, masked = own.function, own.masked_NTHW
    module.zero_grad()
    with torch.enable_grad():
        logits = own.logits(torch.where(masked, own.codebook_size, own.tokens_NTHW))
        F.cross_entropy(logits[masked].float(), own.tokens_NTHW[masked]).backward()
    figures = {name: gradient_figures(parameter) for name, parameter in module.named_parameters()}
    module.zero_grad()
    silent = tuple(name for name, (rms, _) in figures.items() if rms == 0.0)
    return [
        judge(
            name,
            title,
            len(silent),
            at_most=0,
            unit="weights without gradient",
            good="the loss reaches every weight",
            bad=f"no gradient in {listed(silent)}: frozen (requires_grad), cut off by a detach or no_grad, or not used at all",
            names=silent,
            details={f"rms {name}": rms for name, (rms, _) in figures.items()},
        )
    ]


def gap(one: Tensor, other: Tensor) -> float:
    difference = torch.where(one == other, 0.0, (one - other).abs())  # -inf forbids an id, and is no less the same twice
    return float(difference.max()) if torch.isfinite(difference).all() else math.inf
