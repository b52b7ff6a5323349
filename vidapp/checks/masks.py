"""(j) As much is masked as the schedule says, and where the pattern says."""

import numpy as np

from ..batches import draw_masks
from ..config import Config
from ..masking import ClipMask
from ..schedules import LARGEST_OPEN_RATIO, OBJECTIVES, mean_mask_ratio, objective_weights, progress_of
from .subject import Subject
from .verdict import Check, Progress, judge

DRAWS = 400
PROGRESS = (0.0, 0.5, 1.0)
RATIO_OFF = 0.05  # between the mean share masked and the schedule's, beyond rounding and chance
SPREAD = 0.3  # standard deviation of a ratio that is drawn
WEIGHT_OFF = 0.1


def masks_as_scheduled(subject: Subject, progress: Progress) -> list[Check]:
    """Masks of the run as it is, at its start, middle and end: mean ratio, pattern, and how often each objective is drawn."""
    config = subject.config
    ratios, misfits, shares, curve = [0.0], [], [0.0], []
    for place, part in enumerate(PROGRESS):
        step = round(part * (config.run.steps - 1))
        part = progress_of(step, config.run.steps)  # of few steps, none may be there
        masks = draw_masks(config, step, range(DRAWS))
        for objective in OBJECTIVES:
            drawn = [mask for mask in masks if mask.objective == objective]
            shares.append(abs(len(drawn) / DRAWS - objective_weights(config.recipe, part)[objective]))
            if len(drawn) >= DRAWS // 20:
                off = abs(hidden_share(drawn) - expected_share(config, drawn[0], part))
                ratios.append(off - rounding(config, drawn[0]) - chance(config, len(drawn)))
        misfits += [mask for mask in masks if not fits(config, mask)]
        curve.append((part, hidden_share(masks)))
        progress((place + 1) / len(PROGRESS))
    recipe = config.recipe
    return [
        judge(
            "mask_ratio",
            "As much is masked as scheduled",
            max(ratios),
            at_most=RATIO_OFF,
            unit="share off the schedule's mean, beyond rounding and chance",
            good=f"recipe.mask_schedule={recipe.mask_schedule} over the run, of what an objective masks at all",
            bad=f"the share masked is not what recipe.mask_schedule={recipe.mask_schedule} says: look at schedules.mask_ratio",
            curve=tuple(curve),
            axes=("progress of the run", "share of all tokens masked"),
        ),
        judge(
            "mask_pattern",
            "Masks fall where the pattern says",
            len(misfits),
            at_most=0,
            unit=f"of {DRAWS * len(PROGRESS)} masks",
            good=f"recipe.mask_pattern={recipe.mask_pattern}; at least one token masked, given frames untouched",
            bad=f"masks are not of recipe.mask_pattern={recipe.mask_pattern}, touch given frames or hide nothing: look at masking.draw_mask",
        ),
        judge(
            "objective_mix",
            "Objectives are drawn as weighted",
            max(shares),
            at_most=WEIGHT_OFF,
            unit="share, off the weights",
            good=", ".join(f"{name} {weight:.0%}" for name, weight in objective_weights(recipe, 1.0).items()) + " at the end",
            bad="objectives are not drawn with the recipe's weights: look at schedules.objective_weights",
        ),
    ]


def hidden_share(masks: list[ClipMask]) -> float:
    """Mean share masked of the frames that are not given."""
    return float(np.mean([mask.mask_THW[mask.context :].mean() for mask in masks]))


def expected_share(config: Config, mask: ClipMask, progress: float) -> float:
    """The schedule's mean, with what is above the open objectives' largest ratio cut off."""
    mean = mean_mask_ratio(config.recipe, progress)
    return mean if mask.objective == "future" else min(mean, LARGEST_OPEN_RATIO)


def rounding(config: Config, mask: ClipMask) -> float:
    """What whole tokens, whole rows of a rectangle or whole frames can add to a share."""
    pattern = config.recipe.mask_pattern
    if pattern == "block":
        return 1.0 / config.grid
    whole_frames = pattern == "frame" and mask.objective != "individual"
    return 0.5 / (len(mask.mask_THW) - mask.context if whole_frames else config.grid**2)


def chance(config: Config, draws: int) -> float:
    """Three standard errors of the mean of so many masks, where their ratios are drawn."""
    return 0.0 if config.recipe.mask_schedule in ("fixed", "progressive") else float(3 * SPREAD / np.sqrt(draws))


def fits(config: Config, mask: ClipMask) -> bool:
    """Whether a mask hides something, leaves the given frames alone, and has the pattern's shape."""
    hidden = mask.mask_THW[mask.context :]
    if not hidden.any() or mask.mask_THW[: mask.context].any():
        return False
    if hidden.sum() == 1:  # the one token that is hidden where the ratio rounds to none
        return True
    pattern = "random" if mask.objective == "individual" and config.recipe.mask_pattern == "frame" else config.recipe.mask_pattern
    if pattern == "tube":
        return bool((hidden == hidden[0]).all())
    if pattern == "frame":
        return all(frame.all() or not frame.any() for frame in hidden)
    if pattern == "block":
        return all(is_rectangle(frame) for frame in hidden if frame.any())
    return True


def is_rectangle(frame_HW: np.ndarray) -> bool:
    rows, columns = np.flatnonzero(frame_HW.any(axis=1)), np.flatnonzero(frame_HW.any(axis=0))
    return bool(frame_HW[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all())
