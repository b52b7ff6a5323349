"""What a step trains on is a function of (seed, step, sample): it does not matter who makes it, or in which parts."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import TINY, random_tokens, roughen, tiny, tiny_tokenizer

from vidapp.batches import TokenBatch, corrupted, corruption, draw_masks, encode_clips, training_clips
from vidapp.config import Config
from vidapp.data.moving_mnist import MovingMnist
from vidapp.data.source import open_source
from vidapp.masking import ClipMask, hidden_tokens
from vidapp.randomness import torch_generator

CPU = torch.device("cpu")
ALL, PARTS = range(4), (range(1), range(1, 4))
SOURCE = MovingMnist(TINY.data)


def test_clips_are_fresh_at_every_step_and_the_same_in_any_parts() -> None:
    clips = training_clips(TINY, SOURCE, 3, ALL, 4)
    assert clips.shape == (4, 4, 1, 32, 32)
    assert clips.dtype == np.uint8
    assert np.array_equal(clips, np.concatenate([training_clips(TINY, SOURCE, 3, part, 4) for part in PARTS]))
    assert not np.array_equal(clips, training_clips(TINY, SOURCE, 4, ALL, 4))
    assert not np.array_equal(clips, training_clips(tiny(run__seed=1), SOURCE, 3, ALL, 4))


def test_a_few_fixed_clips_are_all_that_is_trained_on_where_asked() -> None:
    config = tiny(run__training_clips=3)
    seen = {clip.tobytes() for step in range(20) for clip in training_clips(config, SOURCE, step, ALL, 2)}
    assert len(seen) == 3
    one_step = training_clips(config, SOURCE, 7, ALL, 2)
    assert np.array_equal(one_step, np.concatenate([training_clips(config, SOURCE, 7, part, 2) for part in PARTS]))


@pytest.mark.parametrize("changes", [{}, {"recipe__rotation": 10, "recipe__brightness": 0.3, "recipe__horizontal_flip": 0.5}])
def test_tokens_are_the_same_in_any_parts(changes: dict[str, float]) -> None:
    config, tokenizer = tiny(**changes), tiny_tokenizer()
    roughen(tokenizer, torch_generator(0))
    clips = training_clips(config, SOURCE, 0, ALL, 2)
    tokens = encode_clips(config, tokenizer, clips, 5, ALL, CPU)
    assert tokens.shape == (4, 2, 4, 4)
    assert len(tokens.unique()) > 2
    parts = [encode_clips(config, tokenizer, clips[part.start : part.stop], 5, part, CPU) for part in PARTS]
    assert torch.equal(tokens, torch.cat(parts))
    assert torch.equal(tokens, encode_clips(config, tokenizer, clips, 6, ALL, CPU)) == (not changes)


def test_masks_are_the_same_in_any_parts() -> None:
    masks = draw_masks(TINY, 5, ALL)
    parts = [mask for part in PARTS for mask in draw_masks(TINY, 5, part)]
    assert all(np.array_equal(one.mask_THW, other.mask_THW) for one, other in zip(masks, parts, strict=True))
    assert [mask.objective for mask in masks] == [mask.objective for mask in parts]


def test_masks_follow_the_curriculum_and_progress() -> None:
    config = tiny(recipe__curriculum="2,4", recipe__mask_schedule="progressive", recipe__objective_joint=0, recipe__objective_individual=0)
    first, last = (draw_masks(config, step, range(1))[0] for step in (0, config.run.steps - 1))
    assert (first.mask_THW.shape, first.context, first.ratio) == ((2, 4, 4), 1, 0.5)
    assert (last.mask_THW.shape, last.context, last.ratio) == ((4, 4, 4), 2, 1.0)


def test_all_future_clips_of_a_step_have_the_same_context() -> None:
    config = tiny(
        recipe__random_context=True,
        data__clip_frames=9,
        data__context_frames=8,
        recipe__objective_joint=0,
        recipe__objective_individual=0,
    )
    contexts = [{mask.context for mask in draw_masks(config, step, ALL)} for step in range(20)]
    assert all(len(found) == 1 for found in contexts)
    assert len(set.union(*contexts)) > 3


# ------------------------------------------------------------------ corruption


def with_corruption(config: Config, step: int = 0, samples: range = range(40)) -> tuple[torch.Tensor, torch.Tensor]:
    tokens = random_tokens(config, 40)[samples.start : samples.stop]
    return tokens, corrupted(tokens, corruption(config, step, samples))


def test_without_corruption_tokens_pass_through() -> None:
    tokens, same = with_corruption(TINY)
    assert same is tokens


def test_corruption_replaces_the_share_asked_for_by_ids_of_the_codebook() -> None:
    config = tiny(recipe__context_corruption=0.2)
    tokens, other = with_corruption(config)
    changed = (tokens != other).float()
    assert float(changed.mean()) == pytest.approx(0.2 * 15 / 16, abs=0.04)  # one id in 16 is drawn as what it was
    shares = changed.flatten(1).mean(dim=1)
    assert shares.min() < 0.1  # each clip has a share of its own, up to twice as much
    assert 0.25 < shares.max() <= 0.5
    assert other.min() >= 0
    assert other.max() < 16
    assert torch.equal(tokens, random_tokens(config, 40))  # the targets are left as they were


def test_corruption_is_the_same_in_any_parts_and_another_at_every_step() -> None:
    config, state = tiny(recipe__context_corruption=0.5), torch.get_rng_state()
    whole = with_corruption(config)[1]
    assert torch.equal(whole, torch.cat([with_corruption(config, 0, part)[1] for part in (range(7), range(7, 40))]))
    assert not torch.equal(whole, with_corruption(config, 1)[1])
    assert torch.equal(state, torch.get_rng_state())


def test_the_few_clips_that_are_to_be_overfitted_are_the_same_at_every_length(tmp_path: Path) -> None:
    for clip in range(12):
        np.save(tmp_path / f"{clip}.npy", np.arange(30, dtype=np.uint8)[:, None, None] + np.full((32, 32), 20 * clip, np.uint8))
    config = tiny(data__source=str(tmp_path), data__clip_frames=20, run__training_clips=3)
    source = open_source(config.data)
    whole = training_clips(config, source, 0, range(8), 20)
    for frames in (1, 5, 19):
        assert np.array_equal(training_clips(config, source, 0, range(8), frames), whole[:, :frames])


# ------------------------------------------------------------------ the batch


def test_a_batch_knows_its_masks() -> None:
    masks = [ClipMask(np.zeros((4, 2, 2), bool), name, given, 0.5) for name, given in (("future", 2), ("future", 3))]
    masks[0].mask_THW[2:, 0], masks[1].mask_THW[3] = True, True
    batch = TokenBatch(torch.zeros(2, 4, 2, 2, dtype=torch.long), masks)
    assert hidden_tokens(batch.masks) == 8
    assert batch.masked_BTHW.shape == (2, 4, 2, 2)
    assert batch.first == 2
    assert batch.cut_B(CPU) is None
    masks[1] = ClipMask(masks[1].mask_THW, "individual", 0, 0.5)
    assert batch.first == 0
    assert batch.cut_B(CPU).tolist() == [False, True]
