"""Which tokens are hidden: always at least one, never one that is given, as many as asked for."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidapp.config import DataConfig, RecipeConfig
from vidapp.masking import ClipMask, block, draw_context, draw_mask, lowest, pattern_mask
from vidapp.randomness import numpy_generator
from vidapp.schedules import LARGEST_OPEN_RATIO, OBJECTIVES, always_given, clip_frames

PATTERNS = ("random", "tube", "block", "frame")
SCHEDULES = ("fixed", "uniform", "cosine", "progressive", "progressive-range")
SEEDS = st.integers(0, 2**31 - 1)


def only(objective: str, **changes: object) -> RecipeConfig:
    """A recipe with one objective."""
    weights = {f"objective_{name}": float(name == objective) for name in OBJECTIVES}
    return RecipeConfig(**weights, **changes)


@st.composite
def recipes(draw: st.DrawFn, objective: str | None = None) -> RecipeConfig:
    changes = {
        "mask_pattern": draw(st.sampled_from(PATTERNS)),
        "mask_schedule": draw(st.sampled_from(SCHEDULES)),
        "mask_ratio": draw(st.floats(0, 1)),
        "clean_past": draw(st.booleans()),
    }
    return only(objective, **changes) if objective else RecipeConfig(**changes)


@st.composite
def drawn(draw: st.DrawFn, objective: str | None = None, least_frames: int = 1, least_grid: int = 1) -> tuple[RecipeConfig, int, ClipMask]:
    """(recipe, context asked for, a mask of it)."""
    recipe = draw(recipes(objective))
    frames, context = draw(st.integers(least_frames, 12)), draw(st.integers(1, 12))
    mask = draw_mask(
        numpy_generator(draw(SEEDS), "mask"),
        recipe,
        frames=frames,
        grid=draw(st.integers(least_grid, 9)),
        context=context,
        progress=draw(st.floats(0, 1)),
    )
    return recipe, context, mask


def masks_of(
    recipe: RecipeConfig, count: int = 50, frames: int = 6, grid: int = 8, context: int = 2, progress: float = 0.5
) -> list[ClipMask]:
    return [
        draw_mask(numpy_generator(seed, "mask"), recipe, frames=frames, grid=grid, context=context, progress=progress)
        for seed in range(count)
    ]


# ------------------------------------------------------------------ what holds for all


@given(drawn())
def test_at_least_one_token_is_hidden(case: tuple[RecipeConfig, int, ClipMask]) -> None:
    _, _, mask = case
    assert mask.mask_THW.dtype == bool
    assert mask.mask_THW.any()
    assert 0 <= mask.ratio <= 1
    assert mask.objective in OBJECTIVES


@given(drawn("future"))
def test_given_frames_are_never_hidden_and_one_is_left_to_predict(case: tuple[RecipeConfig, int, ClipMask]) -> None:
    _, context, mask = case
    assert mask.context == min(context, len(mask.mask_THW) - 1)
    assert not mask.mask_THW[: mask.context].any()
    assert mask.mask_THW[mask.context :].any()


@given(st.sampled_from(("joint", "individual")).flatmap(lambda objective: drawn(objective, least_frames=2)))
def test_joint_and_individual_never_hide_all(case: tuple[RecipeConfig, int, ClipMask]) -> None:
    _, _, mask = case
    assert mask.context == 0
    assert mask.ratio <= LARGEST_OPEN_RATIO + 1e-9  # a mean: it is rounded
    assert mask.mask_THW.mean() <= LARGEST_OPEN_RATIO


@given(drawn("individual", least_grid=2))
def test_an_individual_frame_always_shows_something_of_itself(case: tuple[RecipeConfig, int, ClipMask]) -> None:
    _, _, mask = case
    assert mask.mask_THW.mean(axis=(1, 2)).max() <= LARGEST_OPEN_RATIO


@given(recipes(), SEEDS)
def test_a_mask_is_a_function_of_its_generator(recipe: RecipeConfig, seed: int) -> None:
    one, same = (draw_mask(numpy_generator(seed, "mask"), recipe, frames=5, grid=4, context=2, progress=0.4) for _ in range(2))
    assert np.array_equal(one.mask_THW, same.mask_THW)
    assert (one.objective, one.context, one.ratio) == (same.objective, same.context, same.ratio)


def test_objectives_come_as_often_as_their_weights_say() -> None:
    recipe = RecipeConfig(objective_future=0.5, objective_joint=0.4, objective_individual=0.1)
    names = [mask.objective for mask in masks_of(recipe, 1000)]
    assert [names.count(name) / 1000 for name in OBJECTIVES] == pytest.approx([0.5, 0.4, 0.1], abs=0.05)


# ------------------------------------------------------------------ patterns


@given(SEEDS, st.integers(1, 9), st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_random_masks_hide_exactly_the_share_asked_for_in_every_frame(seed: int, grid: int, ratios: list[float]) -> None:
    mask = pattern_mask(numpy_generator(seed), "random", np.array(ratios), grid)
    assert mask.shape == (len(ratios), grid, grid)
    assert mask.sum(axis=(1, 2)).tolist() == [round(ratio * grid * grid) for ratio in ratios]


@given(SEEDS, st.integers(1, 9), st.floats(0, 1), st.integers(1, 8))
def test_tubes_hide_the_same_places_in_every_frame(seed: int, grid: int, ratio: float, frames: int) -> None:
    mask = pattern_mask(numpy_generator(seed), "tube", np.full(frames, ratio), grid)
    assert (mask == mask[0]).all()
    assert mask[0].sum() == round(ratio * grid * grid)


@given(SEEDS, st.integers(1, 9), st.floats(0, 1), st.integers(1, 8))
def test_frame_masks_hide_whole_frames(seed: int, grid: int, ratio: float, frames: int) -> None:
    hidden = pattern_mask(numpy_generator(seed), "frame", np.full(frames, ratio), grid).mean(axis=(1, 2))
    assert set(hidden) <= {0.0, 1.0}
    assert hidden.sum() == round(ratio * frames)


@given(SEEDS, st.integers(1, 9), st.floats(0, 1), st.sampled_from((1.0, LARGEST_OPEN_RATIO)))
def test_blocks_are_rectangles_of_about_the_share_asked_for(seed: int, grid: int, ratio: float, most: float) -> None:
    mask = block(numpy_generator(seed), min(ratio, most), grid, most)
    if not min(round(min(ratio, most) * grid * grid), math.floor(most * grid * grid)):
        assert not mask.any()
        return
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    assert mask.sum() == len(rows) * len(columns) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    area = min(ratio, most) * grid * grid
    assert mask.sum() == pytest.approx(area, abs=max(1.0, min(area, grid)))
    assert mask.mean() <= most


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_ratio_of_nothing_hides_one_token_of_the_clip_whatever_the_pattern(pattern: str) -> None:
    for mask in masks_of(only("joint", mask_pattern=pattern, mask_schedule="fixed", mask_ratio=0.0), 5):
        assert mask.mask_THW.sum() == 1


def test_everything_masked_hides_all_of_every_future_frame() -> None:
    for pattern in PATTERNS:
        for mask in masks_of(only("future", mask_pattern=pattern, mask_schedule="fixed", mask_ratio=1.0), 5):
            assert mask.mask_THW[2:].all()


def test_random_places_are_spread_over_the_frame() -> None:
    masks = masks_of(only("future", mask_schedule="fixed", mask_ratio=0.5), 200, frames=3)
    assert np.mean([mask.mask_THW[2] for mask in masks], axis=0) == pytest.approx(np.full((8, 8), 0.5), abs=0.15)


def test_against_a_clean_past_every_frame_draws_its_own_ratio() -> None:
    counts = masks_of(only("future", mask_schedule="uniform"), 1)[0].mask_THW[2:].sum(axis=(1, 2))
    assert len(set(counts)) > 1
    for mask in masks_of(only("future", mask_schedule="uniform", clean_past=False), 5):
        assert len(set(mask.mask_THW[2:].sum(axis=(1, 2)))) == 1


def test_the_ratio_told_is_the_ratio_hidden() -> None:
    for mask in masks_of(only("future", mask_schedule="cosine"), 20):
        assert mask.mask_THW[2:].mean() == pytest.approx(mask.ratio, abs=0.01)


def test_an_unknown_pattern_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="unknown mask pattern 'spiral'"):
        pattern_mask(numpy_generator(0), "spiral", np.ones(2), 2)


@given(st.lists(st.lists(st.floats(0, 1), min_size=6, max_size=6), min_size=1, max_size=4), st.data())
def test_lowest_picks_exactly_so_many_and_the_lowest(scores: list[list[float]], data: st.DataObject) -> None:
    counts = [data.draw(st.integers(0, 6)) for _ in scores]
    picked = lowest(np.array(scores), np.array(counts))
    assert picked.sum(axis=1).tolist() == counts
    for row, chosen in zip(np.array(scores), picked, strict=True):
        assert max(row[chosen], default=-math.inf) <= min(row[~chosen], default=math.inf)


# ------------------------------------------------------------------ context


def test_the_context_is_fixed_or_drawn_between_two_and_its_length() -> None:
    recipe = RecipeConfig()
    fixed = {draw_context(numpy_generator(seed), recipe, DataConfig(), 20) for seed in range(20)}
    drawn_ones = {draw_context(numpy_generator(seed), replace(recipe, random_context=True), DataConfig(), 20) for seed in range(200)}
    assert fixed == {10}
    assert drawn_ones == set(range(2, 11))
    shortest = DataConfig(clip_frames=2, context_frames=1)
    assert {draw_context(numpy_generator(seed), replace(recipe, random_context=True), shortest, 2) for seed in range(9)} == {1}


@pytest.mark.parametrize(
    ("recipe", "progress", "first"),
    [
        (RecipeConfig(), 1.0, 0),
        (only("future"), 1.0, 6),
        (only("future", mask_pattern="frame"), 1.0, 6),
        (only("future", random_context=True), 1.0, 2),
        (only("future", curriculum=(4, 12)), 1.0, 2),
        (replace(only("future"), objective_individual=0.1), 1.0, 0),
        (only("joint"), 1.0, 0),
        (RecipeConfig(objective_schedule="growing"), 0.2, 6),
        (RecipeConfig(objective_schedule="growing"), 0.5, 0),
    ],
)
def test_the_first_frames_that_were_always_given_are_those_that_no_mask_reaches(recipe: RecipeConfig, progress: float, first: int) -> None:
    data, rng = DataConfig(clip_frames=12, context_frames=6), np.random.default_rng(0)
    assert always_given(recipe, data, progress) == first
    reached = np.zeros(12, bool)
    for at in np.linspace(0, progress, 400):
        frames = clip_frames(recipe, data, at)
        context = draw_context(rng, recipe, data, frames)
        reached[:frames] |= draw_mask(rng, recipe, frames=frames, grid=4, context=context, progress=at).mask_THW.any(axis=(1, 2))
    assert not reached[:first].any()
    assert reached[first]
