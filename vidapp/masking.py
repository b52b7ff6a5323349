"""Which tokens of a clip are masked: the objectives and the mask patterns.

Masks are bool (T, h, w), true where the token is hidden and must be predicted. Every mask hides at least one token.
"""

import math
from dataclasses import dataclass

import numpy as np

from .config import DataConfig, RecipeConfig
from .schedules import LARGEST_OPEN_RATIO, LEAST_CONTEXT, OBJECTIVES, context_frames, mask_ratio, objective_weights

ROWS = 256  # of logits: their number in a step is a multiple of it


@dataclass(frozen=True)
class ClipMask:
    """mask_THW: what is hidden. objective: one of OBJECTIVES. context: frames that are given whole. ratio: mean mask ratio asked for."""

    mask_THW: np.ndarray
    objective: str
    context: int
    ratio: float


def hidden_tokens(masks: list[ClipMask]) -> int:
    """How many tokens these masks hide in all."""
    return sum(int(mask.mask_THW.sum()) for mask in masks)


def head_rows(positions: int) -> int:
    """Of how many rows a training step's logits are computed where so many tokens are hidden: of a few more, so that the same numbers
    come back. On a CPU each number of rows has a program of its own made for it (oneDNN), which takes a while, and is kept."""
    return -(-positions // ROWS) * ROWS


def draw_objective(rng: np.random.Generator, weights: dict[str, float]) -> str:
    return str(rng.choice(OBJECTIVES, p=[weights[name] for name in OBJECTIVES]))


def draw_mask(rng: np.random.Generator, recipe: RecipeConfig, *, frames: int, grid: int, context: int, progress: float) -> ClipMask:
    """The objective and the mask of one training clip of `frames` frames, `context` of them given where the objective is `future`."""
    objective = draw_objective(rng, objective_weights(recipe, progress))
    given = min(context, frames - 1) if objective == "future" else 0
    # An individual frame sees no other: from one that is hidden whole only the marginal could be learnt.
    pattern = "random" if objective == "individual" and recipe.mask_pattern == "frame" else recipe.mask_pattern
    # Against a clean past the frames are independent tasks: each draws its own ratio.
    independent = recipe.clean_past and pattern in ("random", "block")
    ratios = np.broadcast_to(mask_ratio(recipe, progress, rng, frames - given if independent else 1), frames - given)
    most = 1.0 if objective == "future" else LARGEST_OPEN_RATIO
    ratios = np.minimum(ratios, most)
    mask = np.zeros((frames, grid, grid), bool)
    mask[given:] = pattern_mask(rng, pattern, ratios, grid, most)
    return ClipMask(at_least_one(rng, mask, given), objective, given, float(ratios.mean()))


def draw_context(rng: np.random.Generator, recipe: RecipeConfig, data: DataConfig, frames: int) -> int:
    """Given frames of this step's `future` clips."""
    context = context_frames(data, frames)
    return int(rng.integers(min(LEAST_CONTEXT, context), context + 1)) if recipe.random_context else context


def pattern_mask(rng: np.random.Generator, pattern: str, ratios_T: np.ndarray, grid: int, most: float = 1.0) -> np.ndarray:
    """Mask bool (T, grid, grid) with about ratios_T of every frame (of the clip, for `frame`) hidden, and no more than `most` of it."""
    frames, places = len(ratios_T), grid * grid

    def counts(ratios: np.ndarray, among: int) -> np.ndarray:
        return np.minimum(np.rint(ratios * among), math.floor(most * among))

    if pattern == "random":
        return lowest(rng.random((frames, places)), counts(ratios_T, places)).reshape(frames, grid, grid)
    if pattern == "tube":
        one = lowest(rng.random((1, places)), counts(ratios_T[:1], places))
        return np.repeat(one, frames, axis=0).reshape(frames, grid, grid)
    if pattern == "frame":
        hidden = lowest(rng.random((1, frames)), counts(ratios_T[:1], frames))[0]
        return np.broadcast_to(hidden[:, None, None], (frames, grid, grid)).copy()
    if pattern == "block":
        return np.stack([block(rng, ratio, grid, most) for ratio in ratios_T])
    raise ValueError(f"unknown mask pattern {pattern!r}: use random, tube, block or frame")


def lowest(scores_RP: np.ndarray, counts_R: np.ndarray) -> np.ndarray:
    """Per row, true for the `count` places with the lowest scores: exactly that many."""
    ranks = scores_RP.argsort(axis=1).argsort(axis=1)
    return ranks < counts_R[:, None]


def block(rng: np.random.Generator, ratio: float, grid: int, most: float = 1.0) -> np.ndarray:
    """A rectangle in (grid, grid) of about `ratio` of the area and no more than `most` of it, of random shape and place; nothing where that
    is less than half a token, or one token is more than `most`."""
    area, mask = ratio * grid * grid, np.zeros((grid, grid), bool)
    if not round(area) or most * grid * grid < 1:
        return mask
    low, high = max(1.0, area / grid), min(float(grid), max(1.0, area))  # as high as the area at most: then it is one column
    height = int(np.clip(round(float(np.exp(rng.uniform(np.log(low), np.log(high))))), 1, grid)) if low < high else round(low)
    width = int(np.clip(round(area / height), 1, grid))
    if height * width > most * grid * grid:  # rounded up to the whole frame
        width -= 1
    top, left = rng.integers(grid - height + 1), rng.integers(grid - width + 1)
    mask[top : top + height, left : left + width] = True
    return mask


def at_least_one(rng: np.random.Generator, mask_THW: np.ndarray, given: int) -> np.ndarray:
    """The mask, with one token hidden after the given frames where none was."""
    if not mask_THW.any():
        frames, height, width = mask_THW.shape
        mask_THW[rng.integers(given, frames), rng.integers(height), rng.integers(width)] = True
    return mask_THW


def alike(masks: list[ClipMask], framewise: bool) -> list[tuple[list[int], bool]]:
    """(clips, whether their masked frames look at a clean past): those together that need the same frames to be computed.

    A clip with given frames has nothing masked in them, one whose frames see themselves alone needs no past. Passing
    all of them as the most demanding ones need it would cost a fifth more at the usual weights of the objectives.
    """
    parts: dict[tuple[bool, int], list[int]] = {}
    for clip, mask in enumerate(masks):
        alone = framewise or mask.objective == "individual"
        parts.setdefault((not alone, 0 if alone else mask.context), []).append(clip)
    return [(clips, with_past) for (with_past, _), clips in parts.items()]
