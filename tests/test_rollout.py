"""From given frames to future ones: cached or recomputed, frame by frame or at once, within the trained length or beyond it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import TINY, random_tokens, tiny, tiny_tokenizer, tiny_transformer
from torch import Tensor

from vidapp.checkpoint import Checkpoint
from vidapp.config import Config, SamplingConfig
from vidapp.rollout import CausalPast, RolloutStep, future_tokens, predict, rollout, unseen_past
from vidapp.sampling import expected
from vidapp.transformer import VideoTransformer

ATTENTIONS = ("full", "factorized", "framewise")
SAMPLING = SamplingConfig(temperature=1.0, top_k=0, steps=3)
GREEDY = SamplingConfig(temperature=0.0, steps=2, order="fixed")


def config_of(**changes: object) -> Config:
    return tiny(tokenizer__downsampling=16, model__layers=2, **changes)


def make(
    attention: str = "factorized", positions: str = "learned", causal: bool = True, frames: int = 4, stem: int = 0
) -> VideoTransformer:
    given = {
        "data__clip_frames": frames, "data__context_frames": max(1, frames - 1), "model__attention": attention, "model__positions": positions,
        "model__causal": causal, "recipe__clean_past": causal, "model__stem_frames": min(stem, 1) if attention == "framewise" else stem,
    }  # fmt: skip
    return tiny_transformer(config_of(**given))


def context(clips: int = 2, frames: int = 2, seed: int = 0) -> Tensor:
    return random_tokens(config_of(), clips, frames, seed)


def all_steps(model: VideoTransformer, given_frames: Tensor, frames: int, **changes: object) -> list[RolloutStep]:
    return list(rollout(model, given_frames, frames, SAMPLING, 0, **changes))


@pytest.mark.parametrize(("trained", "lengths"), [(5, [3, 4, 2, 3, 4]), (6, [3, 4, 5, 3, 4]), (2, [1, 1, 1, 1, 1])])
def test_a_window_that_is_full_keeps_its_second_half(trained: int, lengths: list[int]) -> None:
    past, frame = CausalPast(make(frames=trained), context(1, 2)), context(1, 1)
    seen = []
    for _ in lengths:
        past.append(frame)
        seen.append(past.window.shape[1])
    assert seen == lengths


# ------------------------------------------------------------------ frame by frame


@given(
    st.sampled_from(ATTENTIONS),
    st.sampled_from(("learned", "relative")),
    st.sampled_from((0, 3)),
    st.integers(1, 6),
    st.integers(1, 7),
    st.integers(1, 8),
    st.integers(0, 99),
)
@settings(max_examples=40)
def test_the_cache_changes_nothing_within_the_trained_length_and_beyond(
    attention: str, positions: str, stem: int, trained: int, given_frames: int, frames: int, seed: int
) -> None:
    model, start = make(attention, positions, frames=trained, stem=stem), context(frames=given_frames, seed=seed)
    with_cache = list(rollout(model, start, frames, SAMPLING, seed))
    without = list(rollout(model, start, frames, SAMPLING, seed, cached=False))
    for one, other in zip(with_cache, without, strict=True):
        assert torch.equal(one.tokens_BTHW, other.tokens_BTHW)
        assert torch.allclose(one.confidence_BTHW, other.confidence_BTHW, atol=1e-6)


def test_every_decode_step_of_every_frame_comes_out_in_order() -> None:
    start = context()
    steps = all_steps(make(), start, 3)
    assert [(step.frame, step.decode_step) for step in steps] == [(frame, number) for frame in range(3) for number in range(3)]
    assert [step.frame_done for step in steps] == [False, False, True] * 3
    for step in steps:
        assert step.decode_steps == 3
        assert step.tokens_BTHW.shape == (2, 2 + step.frame + 1, 2, 2)
        assert step.confidence_BTHW.shape == (2, 1, 2, 2)
        assert torch.equal(step.tokens_BTHW[:, :2], start)
        assert step.tokens_BTHW[:, :-1].max() < 16
        assert (step.tokens_BTHW[:, -1] == 16).any() != step.frame_done


def test_a_decided_frame_stays_as_it_is() -> None:
    final, *earlier = reversed([step.tokens_BTHW for step in all_steps(make(), context(), 4) if step.frame_done])
    for tokens in earlier:
        assert torch.equal(final[:, : tokens.shape[1]], tokens)


def test_more_frames_begin_with_the_fewer() -> None:
    model, start = make(), context()
    longer, shorter = (future_tokens(model, start, frames, SAMPLING, 0, range(2)) for frames in (7, 3))
    assert torch.equal(longer[:, :3], shorter)


@pytest.mark.parametrize("causal", [True, False])
def test_a_clip_does_not_depend_on_its_batch(causal: bool) -> None:
    model, start = make("full", causal=causal), context(clips=3)
    together = future_tokens(model, start, 3, SAMPLING, 0, [4, 9, 2])
    assert torch.equal(together[1:2], future_tokens(model, start[1:2], 3, SAMPLING, 0, [9]))
    assert not torch.equal(together[1:2], future_tokens(model, start[1:2], 3, SAMPLING, 0, [8]))


def test_clips_are_numbered_from_zero_by_default() -> None:
    model, start = make(), context()
    assert torch.equal(all_steps(model, start, 2)[-1].tokens_BTHW, all_steps(model, start, 2, clips=[0, 1])[-1].tokens_BTHW)


@pytest.mark.parametrize("causal", [True, False])
def test_the_seed_decides_and_torchs_own_generator_does_not(causal: bool) -> None:
    model, start, state = make("full", causal=causal), context(), torch.get_rng_state()
    one = future_tokens(model, start, 3, SAMPLING, 0, range(2))
    torch.manual_seed(1)
    assert torch.equal(one, future_tokens(model, start, 3, SAMPLING, 0, range(2)))
    assert not torch.equal(one, future_tokens(model, start, 3, SAMPLING, 1, range(2)))
    torch.set_rng_state(state)
    future_tokens(model, start, 1, SAMPLING, 0, range(2))
    assert torch.equal(state, torch.get_rng_state())


def test_the_past_decides_and_only_as_much_of_it_as_was_trained() -> None:
    """Trained on 4 frames, a model sees at most 3 before the one that it decodes."""
    model, start = make("full"), context(frames=6)
    future = future_tokens(model, start, 1, GREEDY, 0, range(2))
    for frame in range(6):
        other = start.clone()
        other[:, frame] = (other[:, frame] + 5) % 16
        same = torch.equal(future_tokens(model, other, 1, GREEDY, 0, range(2)), future)
        assert same or frame >= 3
    everything = start.clone()
    everything[:, 3:] = (everything[:, 3:] + 5) % 16
    assert not torch.equal(future_tokens(model, everything, 1, GREEDY, 0, range(2)), future)


@pytest.mark.parametrize(("causal", "seen"), [(True, 3), (False, 2)])
def test_given_frames_that_are_not_seen_are_said(causal: bool, seen: int) -> None:
    """Trained on 4 frames: a causal model sees the 3 before its own, one that decodes 2 at once the 2 before these."""
    model, start = make(causal=causal), context(frames=6)
    config = config_of(model__causal=causal, recipe__clean_past=causal, data__clip_frames=4, data__context_frames=3)
    assert unseen_past(config, 6, 2) == f"the model sees the last {seen} of 6 given frames: it was trained on clips of 4"
    assert unseen_past(config, seen, 2) == ""

    def first_look(changed: int) -> Tensor:
        other = start.clone()
        other[:, changed] = (other[:, changed] + 1) % model.mask_id
        return all_steps(model, other, 2)[0].confidence_BTHW

    before = all_steps(model, start, 2)[0].confidence_BTHW
    assert torch.equal(first_look(-seen - 1), before)
    assert not torch.equal(first_look(-seen), before)


def test_the_context_is_not_changed() -> None:
    start = context()
    before = start.clone()
    all_steps(make(), start, 3)
    all_steps(make("full", causal=False), start, 3)
    assert torch.equal(start, before)


def test_every_frame_has_noise_of_its_own() -> None:
    model = make()
    for parameter in model.parameters():
        parameter.data.zero_()  # all ids are as likely everywhere: what differs is the noise
    future = future_tokens(model, context(clips=1), 6, SAMPLING, 0, [0])
    assert len({frame.numpy().tobytes() for frame in future[0]}) >= 5


# ------------------------------------------------------------------ at once


@pytest.mark.parametrize("attention", ["full", "factorized"])
def test_a_model_that_is_not_causal_decodes_all_frames_at_once(attention: str) -> None:
    start = context()
    steps = all_steps(make(attention, causal=False), start, 2)
    assert [(step.frame, step.decode_step, step.frame_done) for step in steps] == [(-1, 0, False), (-1, 1, False), (-1, 2, True)]
    for step in steps:
        assert step.tokens_BTHW.shape == (2, 4, 2, 2)
        assert step.confidence_BTHW.shape == (2, 2, 2, 2)
        assert torch.equal(step.tokens_BTHW[:, :2], start)
    assert steps[-1].tokens_BTHW.max() < 16


@given(st.integers(1, 6), st.integers(1, 8), st.integers(1, 9), st.sampled_from(("learned", "relative")))
@settings(max_examples=25)
def test_more_frames_at_once_than_were_trained_come_in_windows(trained: int, given_frames: int, frames: int, positions: str) -> None:
    start = context(frames=given_frames)
    passed: list[int] = []
    model = make("full", positions, causal=False, frames=trained)
    model.register_forward_pre_hook(lambda _, arguments: passed.append(arguments[0].shape[1]))
    steps = all_steps(model, start, frames)
    tokens = steps[-1].tokens_BTHW
    assert tokens.shape == (2, given_frames + frames, 2, 2)
    assert torch.equal(tokens[:, :given_frames], start)
    assert tokens.max() < 16
    assert max(passed) <= trained
    assert steps[-1].frame_done
    if given_frames + frames <= trained:
        assert passed == [given_frames + frames] * 3  # one window, everything seen
    elif given_frames >= trained // 2:
        assert min(passed) == trained  # no window is smaller than it need be


def test_framewise_models_go_frame_by_frame_causal_or_not() -> None:
    assert {step.frame for step in all_steps(make("framewise", causal=False), context(), 2)} == {0, 1}


# ------------------------------------------------------------------ errors


def test_nothing_asked_for_and_nothing_given_are_refused() -> None:
    with pytest.raises(ValueError, match="0 future frames were asked for: ask for at least 1"):
        all_steps(make(), context(), 0)
    with pytest.raises(ValueError, match="there are no given frames: give at least 1"):
        all_steps(make(), context(frames=0), 1)


# ------------------------------------------------------------------ what is expected


@pytest.mark.parametrize(("attention", "causal"), [*((attention, True) for attention in ATTENTIONS), ("full", False)])
def test_what_is_expected_is_one_future_whatever_the_seed(attention: str, causal: bool) -> None:
    """Within the trained length and beyond it."""
    model = make(attention, causal=causal)
    safe, drawn = replace(SAMPLING, choice="expected"), replace(SAMPLING, temperature=3.0)
    futures = [[future_tokens(model, context(), 5, sampling, seed, range(2)) for seed in (0, 1)] for sampling in (safe, drawn)]
    assert torch.equal(*futures[0])
    assert not torch.equal(*futures[1])


def test_in_one_step_each_frame_is_what_is_expected_of_its_logits() -> None:
    model = make()
    future = future_tokens(model, context(), 2, replace(SAMPLING, choice="expected", steps=1), 0, range(2))
    for frame in range(2):
        past = CausalPast(model, torch.cat([context(), future[:, :frame]], dim=1))
        logits = past.frame_logits(torch.full_like(future[:, :1], model.mask_id))
        assert torch.equal(expected(logits.float(), model.codes_VK), future[:, frame : frame + 1])


# ------------------------------------------------------------------ pixels


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    model = tiny_transformer(dtype=torch.float32)
    return Checkpoint(TINY, tiny_tokenizer(), model, step=0, metrics={}, precision="float32", path=Path("test"))


def test_pixels_in_pixels_out(checkpoint: Checkpoint) -> None:
    given_u8 = np.random.default_rng(0).integers(0, 256, (2, 2, 1, 32, 32), np.uint8)
    future = predict(checkpoint, given_u8, 3, SAMPLING, 0)
    assert future.dtype == np.float32
    assert future.shape == (2, 3, 1, 32, 32)
    assert np.isfinite(future).all()
    tokens = future_tokens(checkpoint.transformer, checkpoint.encode(given_u8), 3, SAMPLING, 0, range(2))
    assert np.array_equal(future, checkpoint.decode(tokens))


def test_first_clip_numbers_the_batch_within_a_longer_list(checkpoint: Checkpoint) -> None:
    given_u8 = np.random.default_rng(0).integers(0, 256, (3, 2, 1, 32, 32), np.uint8)
    together = predict(checkpoint, given_u8, 2, SAMPLING, 0)
    parts = [predict(checkpoint, given_u8[first : first + 1], 2, SAMPLING, 0, first_clip=first) for first in range(3)]
    assert np.allclose(together, np.concatenate(parts), atol=1e-5)


def test_a_top_k_above_the_codebook_means_all_of_it(checkpoint: Checkpoint) -> None:
    given_u8 = np.zeros((1, 2, 1, 32, 32), np.uint8)
    every = predict(checkpoint, given_u8, 2, SAMPLING, 0)
    assert np.array_equal(predict(checkpoint, given_u8, 2, replace(SAMPLING, top_k=1000), 0), every)
