"""One token under the microscope: what the transformer expects in its place, and what the frame would be with another id.

A clip's keys and values are computed once; after that a look costs one pass of a single frame.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .checkpoint import Checkpoint
from .rollout import CausalPast, most_given
from .schedules import always_given, progress_of
from .transformer import Cache, VideoTransformer, cached_view, clip_view

PASTS = 2  # sets of keys and values that are kept: the clip's own and those of the newest what-if
CONFIDENT = 1e-12  # probabilities below count as none in the entropy


@dataclass(frozen=True)
class Cell:
    """A place in a token grid, all from 0."""

    frame: int
    row: int
    column: int


@dataclass(frozen=True)
class Edit:
    """What if another id were there."""

    cell: Cell
    id: int


@dataclass(frozen=True)
class Sight:
    """What the transformer expects in a masked cell.

    guesses: (id, probability), most likely first. own_probability and own_rank (from 1) are those of the id that is there.
    entropy_bits is 0 where it is sure and log2(codebook size) where it knows nothing.
    """

    guesses: tuple[tuple[int, float], ...]
    own_probability: float
    own_rank: int
    entropy_bits: float

    @property
    def confidence(self) -> float:
        """Probability of the most likely id."""
        return self.guesses[0][1]


class Microscope:
    """Looks into the token grid tokens_THW (int64 ids, or an array of them) of one clip with one checkpoint. Not for two threads at once."""

    def __init__(self, checkpoint: Checkpoint, tokens_THW: Tensor | np.ndarray) -> None:
        self.checkpoint = checkpoint
        self.tokens_THW = torch.as_tensor(tokens_THW, dtype=torch.int64, device=checkpoint.device)
        self.pasts: dict[tuple[Edit, ...], Cache] = {}

    @property
    def size(self) -> int:
        """Bytes of what is remembered."""
        held = [tensor for past in self.pasts.values() for tensor in (*past.keys, *past.values)]
        return sum(tensor.numel() * tensor.element_size() for tensor in [self.tokens_THW, *held])

    def with_edits(self, edits: tuple[Edit, ...] = ()) -> Tensor:
        """The token grid (T, h, w) after the edits, the later ones on top; ValueError for a place or an id that is none."""
        tokens = self.tokens_THW.clone()
        for edit in edits:
            self.check_cell(edit.cell)
            if not 0 <= edit.id < self.checkpoint.tokenizer.codebook_size:
                raise ValueError(f"id {edit.id} is not in the codebook: use 0 to {self.checkpoint.tokenizer.codebook_size - 1}")
            tokens[edit.cell.frame, edit.cell.row, edit.cell.column] = edit.id
        return tokens

    def check_cell(self, cell: Cell) -> None:
        for name, place, extent in zip(("frame", "row", "column"), (cell.frame, cell.row, cell.column), self.tokens_THW.shape, strict=True):
            if not 0 <= place < extent:
                raise ValueError(f"{name} {place} is outside the token grid: use 0 to {extent - 1}")

    @torch.no_grad()
    def look(self, cell: Cell, top: int = 5, edits: tuple[Edit, ...] = ()) -> tuple[Sight, Sight]:
        """What is expected in a cell when it alone is masked, and when its whole frame is. The frames before it are given as they are.

        A model that is not causal sees the frames after it masked, as it does when it samples.
        """
        self.check_cell(cell)
        tokens = self.with_edits(edits)
        frame = tokens[cell.frame]
        masked = frame.expand(2, 1, -1, -1).clone()
        masked[0, 0, cell.row, cell.column] = self.checkpoint.transformer.mask_id
        masked[1] = self.checkpoint.transformer.mask_id
        logits_2V = self.frame_logits(tokens, cell.frame, masked, edits)[:, 0, cell.row, cell.column]
        own = int(frame[cell.row, cell.column])
        alone, together = (sight(logits_V, own, top) for logits_V in logits_2V)
        return alone, together

    def was_always_given(self, frame: int) -> bool:
        """Whether a frame so early in its clip was never masked in the training of this checkpoint: what is believed of it was never learnt."""
        config = self.checkpoint.config
        return frame < always_given(config.recipe, config.data, progress_of(max(0, self.checkpoint.step - 1), config.run.steps))

    @property
    def is_causal(self) -> bool:
        """Whether a frame's beliefs depend on no later frame."""
        return self.checkpoint.transformer.config.is_causal

    def frame_logits(self, tokens_THW: Tensor, frame: int, masked_B1HW: Tensor, edits: tuple[Edit, ...] = ()) -> Tensor:
        """Logits (B, 1, h, w, V) of some masked versions of a frame after the clip's own past."""
        transformer = self.checkpoint.transformer
        if not self.is_causal:
            later = torch.full_like(masked_B1HW, transformer.mask_id).repeat(1, len(tokens_THW) - frame - 1, 1, 1)
            return logits_at_once(transformer, tokens_THW, frame, torch.cat([masked_B1HW, later], dim=1), len(tokens_THW))[:, :1]
        count = len(masked_B1HW)
        if frame >= transformer.max_frames:
            return CausalPast(transformer, tokens_THW[:frame].expand(count, -1, -1, -1)).frame_logits(masked_B1HW)
        earlier = tuple(edit for edit in edits if edit.cell.frame < frame)
        cache = past_of(self.past(self.with_edits(earlier), earlier), frame, count, transformer)
        hidden = transformer(masked_B1HW, cached_view(cache, 1, 0, masked_B1HW.device))
        return transformer.logits(hidden).unflatten(2, masked_B1HW.shape[2:])

    @torch.no_grad()
    def past(self, tokens_THW: Tensor, edits: tuple[Edit, ...] = ()) -> Cache:
        """Keys and values of the clip (as far as the trained length reaches), with these edits in it."""
        if edits not in self.pasts:
            while len(self.pasts) >= PASTS:
                self.pasts.pop(next(key for key in self.pasts if key) if any(self.pasts) else ())
            self.pasts[edits] = filled(self.checkpoint.transformer, tokens_THW[None, : self.checkpoint.transformer.max_frames])
        return self.pasts[edits]

    def warm(self) -> None:
        """Compute now what the first look would otherwise wait for."""
        if self.is_causal:
            self.past(self.tokens_THW)

    def redraw(self, frame: int, edits: tuple[Edit, ...]) -> np.ndarray:
        """A frame float32 (C, H, W), in [0, 1], as it is decoded after the edits."""
        self.check_cell(Cell(frame, 0, 0))
        return self.checkpoint.decode(self.with_edits(edits)[None, frame : frame + 1])[0, 0]

    def drawn_as(self, cell: Cell, ids: tuple[int, ...], edits: tuple[Edit, ...] = ()) -> np.ndarray:
        """The cell's patch float32 (len(ids), C, p, p), in [0, 1], with each of the ids in its place: neighbours have their say."""
        frames = self.with_edits(edits)[cell.frame].repeat(len(ids), 1, 1, 1)
        frames[:, 0, cell.row, cell.column] = torch.tensor(ids, device=frames.device)
        drawn = self.checkpoint.decode(frames)[:, 0]
        side = drawn.shape[-1] // self.tokens_THW.shape[2]
        return drawn[:, :, cell.row * side : (cell.row + 1) * side, cell.column * side : (cell.column + 1) * side]


def sight(logits_V: Tensor, own: int, top: int) -> Sight:
    """A cell's logits as probabilities at temperature 1, without top-k: what the model believes, not how it is sampled."""
    probability = logits_V.cpu().double().softmax(dim=-1)
    best = probability.topk(min(top, len(probability)))
    entropy = -(probability * probability.clamp_min(CONFIDENT).log2()).sum()
    guesses = tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True))
    return Sight(guesses, float(probability[own]), int((probability > probability[own]).sum()) + 1, max(0.0, float(entropy)))


def filled(transformer: VideoTransformer, tokens_1THW: Tensor) -> Cache:
    """The cache after all these frames."""
    cache = Cache()
    frames = tokens_1THW.shape[1]
    transformer(tokens_1THW, cached_view(cache, frames, frames, tokens_1THW.device), skip=frames - 1)
    return cache


def past_of(cache: Cache, frames: int, count: int, transformer: VideoTransformer) -> Cache:
    """A copy of the first `frames` frames of a cache, for `count` clips at once. A frame's keys depend on no later frame."""
    if frames == 0:
        return Cache()
    length = frames * (transformer.grid**2 if transformer.config.attention == "full" else 1)

    kept = Cache()
    for layer, (keys, values) in enumerate(zip(cache.keys, cache.values, strict=True)):
        k, v = (part[..., :length, :].expand(count, *part.shape[1:-2], length, part.shape[-1]) for part in (keys, values))
        kept.extended(layer, k, v, length)
    kept.frames = frames
    if cache.tokens_BKN is not None:
        kept.tokens_BKN = cache.tokens_BKN[:, :frames].expand(count, -1, -1)
    return kept


def logits_at_once(transformer: VideoTransformer, tokens_THW: Tensor, first: int, masked_BnHW: Tensor, total: int) -> Tensor:
    """Logits (B, m, h, w, V) of a model that decodes frames together: of those from `first` on, masked where not decided, as many (m) as
    its window holds behind the frames before. `total` frames there are to be in all: as in sampling, that decides how many are given."""
    longest = transformer.max_frames
    given = min(first, most_given(longest, total - first, causal=False))
    later = masked_BnHW[:, : longest - given]
    past = tokens_THW[first - given : first].expand(len(later), -1, -1, -1)
    clip = torch.cat([past, later], dim=1)
    hidden = transformer(clip, clip_view(clip.shape[1], False, clip.device), skip=given)
    return transformer.logits(hidden).unflatten(2, later.shape[2:])
