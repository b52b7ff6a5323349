"""Moving MNIST made on the fly: which digits, how they move, and that a clip is a function of its keys."""

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidapp.config import DataConfig
from vidapp.data.moving_mnist import ASSET, SPEED, SPLITS, MovingMnist, bundled_digits, draw_clip, trajectory
from vidapp.data.source import open_source
from vidapp.randomness import numpy_generator

LONG = 10**7  # a span so wide that whole pixels do not blur a speed
SEEDS = st.integers(0, 2**31 - 1)


def digits_of_shade() -> dict[str, np.ndarray]:
    """Square digits whose shade says which split they are from."""
    return {name: np.full((3, 28, 28), shade, np.uint8) for shade, name in enumerate(SPLITS, start=100)}


# ------------------------------------------------------------------ digits


def test_no_digit_is_in_two_splits() -> None:
    images = {name: {digit.tobytes() for digit in digits} for name, digits in bundled_digits().items()}
    assert set(images) == {"train", "validation", "test"}
    assert not images["train"] & images["validation"]
    assert not images["train"] & images["test"]
    assert not images["validation"] & images["test"]


def test_the_splits_hold_all_bundled_digits_with_every_class_in_the_same_shares() -> None:
    with np.load(ASSET, allow_pickle=False) as file:
        label_of = {image.tobytes(): label for image, label in zip(file["images"], file["labels"], strict=True)}
    assert sum(map(len, bundled_digits().values())) == 5000
    for name, share in (("train", 0.8), ("validation", 0.1), ("test", 0.1)):
        labels = [label_of[digit.tobytes()] for digit in bundled_digits()[name]]
        assert np.bincount(labels).tolist() == [round(500 * share)] * 10


@pytest.mark.parametrize("split", SPLITS)
def test_a_clip_shows_digits_of_its_split_only(split: str) -> None:
    digits = digits_of_shade()
    clips = MovingMnist(DataConfig(), digits).fixed_clips(split, 5, 3)
    assert set(np.unique(clips)) == {0, digits[split][0, 0, 0]}


def test_training_clips_show_training_digits() -> None:
    clip = MovingMnist(DataConfig(), digits_of_shade()).training_clip(0, 0, 0, 3)
    assert set(np.unique(clip)) == {0, 100}


# ------------------------------------------------------------------ motion


@given(SEEDS, st.integers(1, 60), st.integers(1, 500))
def test_a_digit_never_leaves_the_frame(seed: int, frames: int, span: int) -> None:
    corners = trajectory(numpy_generator(seed, "clip"), frames, span)
    assert corners.shape == (frames, 2)
    assert corners.min() >= 0
    assert corners.max() <= span


@given(SEEDS)
def test_a_digit_moves_a_tenth_of_the_free_span_a_frame_and_bounces(seed: int) -> None:
    moves = np.diff(trajectory(numpy_generator(seed, "clip"), 40, LONG), axis=0) / LONG
    straight = np.abs(np.abs(moves) - np.median(np.abs(moves), axis=0)).max(axis=1) < 1e-5  # in neither axis a bounce
    assert straight.sum() >= 20
    assert np.hypot(*moves[straight].T) == pytest.approx(SPEED, abs=1e-5)
    assert np.hypot(*moves.T).max() <= SPEED + 1e-5  # a bounce goes back: it never jumps


def test_a_digit_turns_round_at_the_border_and_nowhere_else() -> None:
    for seed in range(20):
        corners = trajectory(numpy_generator(seed, "clip"), 200, LONG) / LONG
        for axis in corners.T:
            speed = np.abs(np.diff(axis)).max()
            turns = np.flatnonzero(np.diff(np.sign(np.diff(axis))))
            nearest = np.minimum(axis, 1 - axis)
            assert all(min(nearest[turn + 1], nearest[turn], nearest[turn + 2]) <= speed for turn in turns)
            assert len(turns) >= int(speed * 199) - 1


def test_directions_and_starts_are_spread_over_all_there_are() -> None:
    paths = np.stack([trajectory(numpy_generator(seed, "clip"), 2, LONG) for seed in range(400)]) / LONG
    starts, moves = paths[:, 0], np.diff(paths, axis=1)[:, 0]
    assert np.histogram2d(*starts.T, bins=2, range=[[0, 1], [0, 1]])[0].min() > 60
    assert np.histogram2d(*np.sign(moves).T, bins=2)[0].min() > 60


def test_overlapping_digits_show_the_brighter_one_at_every_pixel() -> None:
    digits = np.zeros((2, 2, 2), np.uint8)
    digits[0], digits[1] = [[10, 200], [0, 0]], [[90, 40], [0, 7]]
    clip = draw_clip(digits, np.zeros((2, 1, 2), np.int64), 3)
    assert clip.tolist() == [[[90, 200, 0], [0, 7, 0], [0, 0, 0]]]


# ------------------------------------------------------------------ clips


@given(SEEDS, st.integers(0, 10**6), st.integers(0, 4096), st.integers(1, 6))
@settings(max_examples=20)
def test_a_training_clip_is_a_function_of_seed_step_and_sample(seed: int, step: int, sample: int, frames: int) -> None:
    source = MovingMnist(DataConfig(clip_frames=20))
    clip = source.training_clip(seed, step, sample, frames)
    assert clip.dtype == np.uint8
    assert clip.shape == (frames, 1, 64, 64)
    assert np.array_equal(clip, MovingMnist(DataConfig()).training_clip(seed, step, sample, frames))
    for other in ((seed + 1, step, sample), (seed, step + 1, sample), (seed, step, sample + 1)):
        assert not np.array_equal(clip, source.training_clip(*other, frames))


def test_a_longer_clip_begins_with_the_shorter_one() -> None:
    source = MovingMnist(DataConfig())
    assert np.array_equal(source.training_clip(3, 5, 7, 20)[:8], source.training_clip(3, 5, 7, 8))


def test_more_fixed_clips_begin_with_the_fewer() -> None:
    source = MovingMnist(DataConfig())
    assert np.array_equal(source.fixed_clips("validation", 5, 3)[:2], source.fixed_clips("validation", 2, 3))
    assert np.array_equal(source.fixed_clips("validation", 5, 3)[3:], source.fixed_clips("validation", 2, 3, first=3))


def test_splits_have_clips_of_their_own() -> None:
    source = MovingMnist(DataConfig(), dict.fromkeys(SPLITS, bundled_digits()["test"]))
    assert not np.array_equal(source.fixed_clips("validation", 1, 3), source.fixed_clips("test", 1, 3))


def test_the_test_clips_are_those_that_results_name() -> None:
    clips = MovingMnist(DataConfig()).fixed_clips("test", 2, 4)
    assert zlib.crc32(clips.tobytes()) == 402730839


def test_colour_size_and_number_of_digits_are_the_configs() -> None:
    clip = MovingMnist(DataConfig(channels=3, size=80, digits=1)).training_clip(0, 0, 0, 5)
    assert clip.shape == (5, 3, 80, 80)
    assert np.array_equal(clip[:, 0], clip[:, 2])
    rows, columns = np.nonzero(clip[0, 0])
    assert max(np.ptp(rows), np.ptp(columns)) < 28
    crowd = MovingMnist(DataConfig(digits=6)).training_clip(0, 0, 0, 1)
    assert np.count_nonzero(crowd) > 2 * np.count_nonzero(clip[0, 0])


def test_an_unknown_split_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="unknown split 'holdout': use one of train, validation, test"):
        MovingMnist(DataConfig()).fixed_clips("holdout", 1, 1)


def test_the_config_names_the_source() -> None:
    assert isinstance(open_source(DataConfig()), MovingMnist)
    with pytest.raises(ValueError, match="no-such-clips"):
        open_source(DataConfig(source="no-such-clips"))
