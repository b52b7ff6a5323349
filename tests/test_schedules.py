"""What changes over a run is a function of the step alone: where every schedule begins, where it ends, and how it gets there."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidapp.config import Config, DataConfig, RecipeConfig
from vidapp.randomness import numpy_generator
from vidapp.schedules import (
    OBJECTIVES,
    SHORTEST_OWN_PAST,
    clip_frames,
    context_frames,
    learning_rate,
    mask_ratio,
    mean_mask_ratio,
    moved,
    notices,
    objective_weights,
    own_past,
    progress_of,
    warmup_steps,
)

STEPS = st.integers(2, 10**6)
PROGRESS = st.floats(0, 1)
MASK_SCHEDULES = ("fixed", "uniform", "cosine", "progressive", "progressive-range")
COSINE = RecipeConfig(schedule="cosine", learning_rate=1e-3, warmup_steps=100, minimum_learning_rate=1e-6)


def ratios(schedule: str, progress: float, count: int = 4000, **changes: float) -> np.ndarray:
    return mask_ratio(RecipeConfig(mask_schedule=schedule, **changes), progress, numpy_generator(0, "mask"), count)


# ------------------------------------------------------------------ learning rate


def test_a_constant_rate_is_constant() -> None:
    recipe = RecipeConfig(schedule="constant", learning_rate=0.01, warmup_steps=100)
    assert {learning_rate(step, 1000, recipe) for step in range(1000)} == {0.01}


@given(STEPS)
def test_the_cosine_rises_to_its_peak_falls_all_the_way_and_ends_at_the_smallest_rate(steps: int) -> None:
    warmup = warmup_steps(COSINE, steps)
    assert learning_rate(0, steps, COSINE) == pytest.approx(1e-3 / max(1, warmup))
    assert learning_rate(warmup, steps, COSINE) == pytest.approx(1e-3)
    assert learning_rate(steps - 1, steps, COSINE) == pytest.approx(1e-6)
    for step in (warmup // 2, (warmup + steps) // 2):
        assert 1e-6 <= learning_rate(step, steps, COSINE) <= 1e-3


def test_half_way_down_the_cosine_is_half_way_between_its_ends() -> None:
    recipe = replace(COSINE, warmup_steps=0)
    assert learning_rate(500, 1001, recipe) == pytest.approx((1e-3 + 1e-6) / 2)
    rates = [learning_rate(step, 1001, recipe) for step in range(1001)]
    assert rates == sorted(rates, reverse=True)


@given(STEPS, st.integers(0, 10**6))
def test_warm_up_takes_at_most_a_tenth_of_the_run(steps: int, asked: int) -> None:
    used = warmup_steps(RecipeConfig(warmup_steps=asked), steps)
    assert used <= asked
    assert used <= steps / 10
    assert used == asked or used == steps // 10


def test_another_optimisers_peak_follows_the_same_curve() -> None:
    recipe = replace(COSINE, minimum_learning_rate=0.0)
    for step in (0, 50, 99, 100, 500, 999):
        assert learning_rate(step, 1000, recipe, peak=0.02) == pytest.approx(20 * learning_rate(step, 1000, recipe))


def test_a_smallest_rate_above_the_peak_keeps_the_peak() -> None:
    recipe = replace(COSINE, learning_rate=1e-7, warmup_steps=0)
    assert {learning_rate(step, 10, recipe) for step in range(10)} == {1e-7}


def test_a_run_of_one_step_is_trained_at_its_peak() -> None:
    assert learning_rate(0, 1, COSINE) == 1e-3


# ------------------------------------------------------------------ progress and masks


@given(STEPS)
def test_progress_is_exactly_zero_at_the_first_step_and_one_at_the_last(steps: int) -> None:
    assert progress_of(0, steps) == 0.0
    assert progress_of(steps - 1, steps) == 1.0
    assert progress_of(steps + 5, steps) == 1.0


@given(STEPS)
def test_progressive_masking_is_exactly_a_half_at_first_and_all_at_last(steps: int) -> None:
    assert set(ratios("progressive", progress_of(0, steps), 3)) == {0.5}
    assert set(ratios("progressive", progress_of(steps - 1, steps), 3)) == {1.0}


@given(PROGRESS)
def test_progressive_masking_is_linear_in_progress(progress: float) -> None:
    assert set(ratios("progressive", progress, 3)) == {0.5 + 0.5 * progress}


@given(PROGRESS)
def test_the_progressive_range_reaches_from_a_half_to_the_progressive_ratio(progress: float) -> None:
    drawn = ratios("progressive-range", progress, 500)
    assert drawn.min() >= 0.5
    assert drawn.max() <= 0.5 + 0.5 * progress
    assert np.ptp(drawn) >= 0.45 * progress - 1e-9


@given(st.floats(0, 1), PROGRESS)
def test_a_fixed_ratio_is_fixed(ratio: float, progress: float) -> None:
    assert set(ratios("fixed", progress, 3, mask_ratio=ratio)) == {ratio}


def test_cosine_ratios_are_the_cosine_of_a_uniform_angle() -> None:
    drawn = ratios("cosine", 0.5)
    for quantile in (0.1, 0.5, 0.9):
        assert np.quantile(drawn, quantile) == pytest.approx(math.cos(0.5 * math.pi * (1 - quantile)), abs=0.03)


@pytest.mark.parametrize("schedule", MASK_SCHEDULES)
@pytest.mark.parametrize("progress", [0.0, 0.3, 1.0])
def test_the_mean_shown_in_previews_is_the_mean_that_is_drawn(schedule: str, progress: float) -> None:
    drawn = ratios(schedule, progress)
    assert drawn.mean() == pytest.approx(mean_mask_ratio(RecipeConfig(mask_schedule=schedule), progress), abs=0.02)
    assert drawn.min() >= 0
    assert drawn.max() <= 1


# ------------------------------------------------------------------ objectives


@given(st.tuples(*[st.floats(0.01, 10)] * 3), PROGRESS)
def test_objective_weights_sum_to_one_in_their_proportions(weights: tuple[float, float, float], progress: float) -> None:
    recipe = RecipeConfig(**{f"objective_{name}": weight for name, weight in zip(OBJECTIVES, weights, strict=True)})
    found = objective_weights(recipe, progress)
    assert sum(found.values()) == pytest.approx(1)
    assert list(found.values()) == pytest.approx([weight / sum(weights) for weight in weights])


@pytest.mark.parametrize(
    ("progress", "present"),
    [
        (0.0, {"future"}),
        (0.33, {"future"}),
        (1 / 3, {"future", "joint"}),
        (0.66, {"future", "joint"}),
        (2 / 3, set(OBJECTIVES)),
        (1.0, set(OBJECTIVES)),
    ],
)
def test_growing_objectives_join_in_thirds_of_the_run(progress: float, present: set[str]) -> None:
    weights = objective_weights(RecipeConfig(objective_schedule="growing"), progress)
    assert {name for name, weight in weights.items() if weight} == present
    assert sum(weights.values()) == pytest.approx(1)


def test_growing_ends_at_the_recipes_own_weights() -> None:
    fixed, growing = (objective_weights(RecipeConfig(objective_schedule=name), 1.0) for name in ("fixed", "growing"))
    assert growing == fixed == {"future": 0.5, "joint": 0.4, "individual": 0.1}


def test_growing_begins_with_the_future_even_where_that_has_no_weight() -> None:
    recipe = RecipeConfig(objective_schedule="growing", objective_future=0.0)
    assert objective_weights(recipe, 0.0) == {"future": 1.0, "joint": 0.0, "individual": 0.0}


# ------------------------------------------------------------------ curriculum


def test_without_a_curriculum_clips_have_their_full_length() -> None:
    assert {clip_frames(RecipeConfig(), DataConfig(), progress) for progress in (0.0, 0.5, 1.0)} == {20}


def test_a_curriculum_has_equal_parts_and_ends_at_its_last_length() -> None:
    recipe = RecipeConfig(curriculum=(5, 10, 15, 20))
    lengths = [clip_frames(recipe, DataConfig(), progress_of(step, 400)) for step in range(400)]
    assert [lengths.count(length) for length in (5, 10, 15, 20)] == pytest.approx([100] * 4, abs=1)
    assert lengths == sorted(lengths)
    assert (lengths[0], lengths[-1]) == (5, 20)


def test_the_context_scales_with_the_clip() -> None:
    assert [context_frames(DataConfig(), frames) for frames in (5, 10, 15, 20)] == [2, 5, 8, 10]


@given(st.integers(2, 64), st.integers(1, 63), st.integers(2, 64))
def test_something_is_given_and_something_left_to_predict(clip: int, context: int, frames: int) -> None:
    data = DataConfig(clip_frames=clip, context_frames=min(context, clip - 1))
    assert 1 <= context_frames(data, frames) <= max(frames - 1, data.context_frames if frames == clip else 0)
    assert context_frames(data, clip) == data.context_frames


def test_own_past_begins_where_it_is_told_to_and_stays() -> None:
    late = Config().replace({"recipe.own_past": 0.4, "recipe.own_past_from": 0.5})
    assert [own_past(late, 20, progress) for progress in (0.0, 0.49, 0.5, 1.0)] == [0.0, 0.0, 0.4, 0.4]
    assert own_past(late.replace({"recipe.own_past_from": 0.0}), 20, 0.0) == 0.4


def test_there_is_no_own_past_where_no_masked_frame_would_see_it() -> None:
    config = Config().replace({"recipe.own_past": 0.4})
    assert own_past(config, SHORTEST_OWN_PAST, 1.0) == 0.4
    assert own_past(config, SHORTEST_OWN_PAST - 1, 1.0) == 0.0
    for key, value in (("recipe.clean_past", False), ("model.attention", "framewise")):
        assert own_past(config.replace({key: value}), 20, 1.0) == 0.0


# ------------------------------------------------------------------ notices


@pytest.mark.parametrize(("optimizer", "learnt"), [("adamw", "nothing"), ("muon", "the hidden matrices alone")])
def test_a_rate_of_nothing_is_said_to_teach_nothing(optimizer: str, learnt: str) -> None:
    (notice,) = notices(RecipeConfig(learning_rate=0.0, optimizer=optimizer), 100_000)
    assert notice == f"recipe.learning_rate=0: {learnt} will be learnt."


def test_a_schedule_that_fits_its_run_needs_no_words() -> None:
    assert notices(RecipeConfig(), 20_000) == []
    assert notices(RecipeConfig(schedule="constant"), 10) == []


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (RecipeConfig(warmup_steps=1000), "Warm-up shortened from 1000 to 50 steps: a tenth of this run of 500 steps."),
        (RecipeConfig(warmup_steps=0, learning_rate=1e-7), "recipe.minimum_learning_rate is above it"),
        (RecipeConfig(warmup_steps=0, curriculum=(5,) * 500 + (20,)), "The curriculum has 501 lengths but the run only 500 steps"),
        (RecipeConfig(warmup_steps=0, context_corruption=0.1, clean_past=False), "recipe.context_corruption changes nothing"),
        (RecipeConfig(warmup_steps=0, own_past=0.1, clean_past=False), "recipe.own_past changes nothing"),
        (RecipeConfig(warmup_steps=0, objective_future=0, objective_joint=0, own_past=0.1), "an individual frame sees no past"),
        (RecipeConfig(warmup_steps=0, own_past_from=0.5), "recipe.own_past_from changes nothing"),
        (RecipeConfig(warmup_steps=0, objective_future=0, random_context=True), "recipe.random_context changes nothing"),
        (RecipeConfig(schedule="constant", warmup_steps=500), "recipe.warmup_steps changes nothing"),
        (RecipeConfig(warmup_steps=0, muon_learning_rate=0.1), "recipe.muon_learning_rate changes nothing"),
        (RecipeConfig(warmup_steps=0, mask_ratio=0.3), "it is for recipe.mask_schedule=fixed"),
        (RecipeConfig(warmup_steps=0, objective_schedule="growing", objective_future=0), "its weight of 0 is taken as 1"),
        (RecipeConfig(warmup_steps=0, mask_schedule="fixed", mask_ratio=0), "one token of each clip is masked all the same"),
        (RecipeConfig(warmup_steps=0, mask_schedule="fixed", mask_ratio=1), "is taken as 0.95 for the joint and individual"),
        (RecipeConfig(warmup_steps=0, mask_pattern="frame"), "is taken as random for the individual objective"),
        (RecipeConfig(warmup_steps=0, curriculum=(5, 10)), "no clip of data.clip_frames 20 is trained on"),
    ],
)
def test_what_a_short_or_contradictory_run_adjusts_is_said(recipe: RecipeConfig, words: str) -> None:
    (notice,) = notices(recipe, 500, DataConfig())
    assert words in notice


def test_own_past_in_clips_too_short_to_look_back_at_it_is_said() -> None:
    short, curriculum = DataConfig(clip_frames=2, context_frames=1), RecipeConfig(warmup_steps=0, own_past=0.5, curriculum=(1, 2))
    for recipe in (RecipeConfig(warmup_steps=0, own_past=0.5), curriculum):
        assert "recipe.own_past changes nothing in clips of 2 frames" in " ".join(notices(recipe, 20_000, short))
    assert notices(RecipeConfig(own_past=0.5), 20_000, DataConfig(clip_frames=3, context_frames=1)) == []


def test_what_more_steps_mean_for_a_run_that_goes_on_is_said() -> None:
    said = moved(Config(recipe=RecipeConfig(curriculum=(5, 10, 15, 20))), 20_000, 20_000, 40_000)
    assert said == (
        "Schedules go by the share of run.steps: with 40,000 in place of 20,000, the learning rate goes from 1e-06 to 0.000157 and the clip "
        "length goes from 20 to 15 at step 20,000."
    )
    assert "clip" not in moved(Config(recipe=RecipeConfig()), 500, 1000, 4000)
    assert moved(Config(recipe=RecipeConfig(schedule="constant")), 500, 1000, 4000) == ""


def test_every_schedule_that_more_steps_take_back_is_said() -> None:
    growing = RecipeConfig(
        schedule="constant", objective_schedule="growing", mask_schedule="progressive", clean_past=True, own_past=0.5, own_past_from=0.5
    )
    assert moved(Config(recipe=growing), 1000, 1000, 6000) == (
        "Schedules go by the share of run.steps: with 6,000 in place of 1,000, objectives go from 50% future, 40% joint, 10% individual to "
        "100% future, the mean mask ratio goes from 1 to 0.58 and the share of clips with their own past goes from 50% to 0% at step 1,000."
    )


def test_a_context_too_short_to_be_drawn_is_said() -> None:
    (notice,) = notices(RecipeConfig(random_context=True), 20_000, DataConfig(clip_frames=4, context_frames=2))
    assert "recipe.random_context changes nothing" in notice


def test_objectives_that_cannot_all_join_are_said() -> None:
    (notice,) = notices(RecipeConfig(schedule="constant", objective_schedule="growing"), 2)
    assert "some are skipped" in notice


@pytest.mark.parametrize("schedule", ["fixed", "growing"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_single_objective_is_alone_from_where_it_joins(name: str, schedule: str) -> None:
    recipe = RecipeConfig(objective_schedule=schedule, **{f"objective_{other}": float(other == name) for other in OBJECTIVES})
    weights = objective_weights(recipe, 1.0)
    growing_adds_the_future = schedule == "growing" and name != "future"
    assert {other for other, weight in weights.items() if weight} == ({name, "future"} if growing_adds_the_future else {name})
