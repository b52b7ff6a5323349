"""Augmentation: the same for every frame of a clip, a function of its counters, and nothing where nothing is asked for."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vidapp.config import RecipeConfig
from vidapp.data.augment import Augmentation, apply, augment, draw_augmentation

EVERYTHING = RecipeConfig(horizontal_flip=0.5, rotation=20, brightness=0.3, contrast=0.3)


def clips(batch: int = 3, frames: int = 4, channels: int = 1) -> Tensor:
    return torch.rand(batch, frames, channels, 12, 12, generator=torch.Generator().manual_seed(0))


def test_without_augmentation_the_clips_come_back_themselves() -> None:
    frames = clips()
    assert augment(frames, RecipeConfig(), 0, 1, [0, 1, 2]) is frames


@given(seed=st.integers(0, 1000), step=st.integers(0, 10**6), channels=st.sampled_from([1, 3]))
@settings(max_examples=20)
def test_a_still_clip_stays_still_and_in_range(seed: int, step: int, channels: int) -> None:
    still = clips(2, 1, channels).expand(2, 4, channels, 12, 12)
    changed = augment(still, EVERYTHING, seed, step, [0, 1])
    assert changed.shape == still.shape
    assert torch.equal(changed, changed[:, :1].expand_as(changed))
    assert changed.min() >= 0
    assert changed.max() <= 1


def test_a_clip_is_changed_the_same_whatever_is_beside_it() -> None:
    frames = clips()
    together = augment(frames, EVERYTHING, 0, 5, [10, 11, 12])
    alone = augment(frames[1:2], EVERYTHING, 0, 5, [11])
    assert torch.equal(together[1:2], alone)
    assert not torch.equal(together, augment(frames, EVERYTHING, 0, 6, [10, 11, 12]))


def test_torchs_own_random_state_is_neither_read_nor_moved() -> None:
    frames = clips()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = augment(frames, EVERYTHING, 0, 5, [0, 1, 2])
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(augment(frames, EVERYTHING, 0, 5, [0, 1, 2]), one)


def test_the_input_is_not_written_to() -> None:
    frames = clips()
    kept = frames.clone()
    augment(frames, EVERYTHING, 0, 5, [0, 1, 2])
    assert torch.equal(frames, kept)


@given(step=st.integers(0, 10**6), sample=st.integers(0, 10**6))
def test_drawn_changes_lie_within_the_recipe(step: int, sample: int) -> None:
    drawn = draw_augmentation(EVERYTHING, 3, step, sample)
    assert abs(drawn.angle) <= 20
    assert 0.7 <= drawn.brightness <= 1.3
    assert 0.7 <= drawn.contrast <= 1.3
    assert drawn == draw_augmentation(EVERYTHING, 3, step, sample)
    without_rotation = draw_augmentation(RecipeConfig(horizontal_flip=0.5, brightness=0.3), 3, step, sample)
    assert (without_rotation.flip, without_rotation.brightness) == (drawn.flip, drawn.brightness)


def test_changes_go_both_ways_alike_and_to_their_ends() -> None:
    drawn = [draw_augmentation(EVERYTHING, 0, step, 0) for step in range(2000)]
    for values, middle, width in (
        ([one.angle for one in drawn], 0.0, 20.0),
        ([one.brightness for one in drawn], 1.0, 0.3),
        ([one.contrast for one in drawn], 1.0, 0.3),
    ):
        assert sum(values) / len(values) == pytest.approx(middle, abs=0.05 * width)
        assert min(values) < middle - 0.95 * width
        assert max(values) > middle + 0.95 * width


def test_flips_come_as_often_as_asked() -> None:
    recipe = RecipeConfig(horizontal_flip=0.25)
    flips = sum(draw_augmentation(recipe, 0, step, 0).flip for step in range(2000))
    assert 400 < flips < 600


def test_each_change_does_what_its_name_says() -> None:
    frames = clips(1)[0]
    assert torch.equal(apply(frames, Augmentation(flip=True)), frames.flip(-1))
    assert torch.allclose(apply(frames, Augmentation(brightness=0.5)), frames / 2)
    flatter = apply(frames, Augmentation(contrast=0.5))
    assert torch.allclose(flatter, 0.5 * frames + 0.5 * frames.mean(), atol=1e-6)
    corner = apply(torch.ones(2, 1, 12, 12), Augmentation(angle=45))[:, 0, 0, 0]
    assert corner.tolist() == [0, 0]


def test_eight_bit_clips_stay_eight_bit() -> None:
    frames = (clips() * 255).to(torch.uint8)
    assert augment(frames, EVERYTHING, 0, 5, [0, 1, 2]).dtype == torch.uint8


def test_every_clip_needs_its_number() -> None:
    with pytest.raises(ValueError, match="3 clips but 2 sample numbers"):
        augment(clips(), EVERYTHING, 0, 0, [0, 1])
