"""The loss is that of masked tokens and of nothing else, and the figures beside it say what they claim to."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import random_tokens, roughen, tiny, tiny_tokenizer, tiny_transformer
from torch import Tensor

from vidapp import objective, transformer_phase
from vidapp.batches import TokenBatch, draw_masks
from vidapp.config import Config
from vidapp.data.source import open_source
from vidapp.masking import ClipMask, hidden_tokens
from vidapp.objective import MaskedLogits, accuracies, masked_logits, means, objective_losses, with_own_past
from vidapp.randomness import numpy_generator, torch_generator
from vidapp.transformer import VideoTransformer
from vidapp.transformer_phase import TransformerPhase

FRAMES, GRID, V = 4, 2, 16
ATTENTIONS = ("full", "factorized", "framewise")


def make(attention: str = "factorized", causal: bool = True) -> VideoTransformer:
    return tiny_transformer(
        tiny(tokenizer__downsampling=16, model__attention=attention, model__causal=causal, recipe__clean_past=causal, model__layers=2)
    )


def tokens_of(clips: int = 2, seed: int = 0) -> Tensor:
    return random_tokens(tiny(tokenizer__downsampling=16), clips, FRAMES, seed)


def mask_of(seed: int = 0, context: int = 2, objective: str = "future", ratio: float = 0.5) -> ClipMask:
    mask = numpy_generator(seed, "mask").random((FRAMES, GRID, GRID)) < ratio
    mask[:context] = False
    mask[-1, 0, 0] = True
    return ClipMask(mask, objective, context, ratio)


def batch_of(tokens: Tensor, **changes: object) -> TokenBatch:
    """Every clip with a mask of its own."""
    return TokenBatch(tokens, [mask_of(seed, **changes) for seed in range(len(tokens))])


def altered(tokens: Tensor, where: np.ndarray | Tensor) -> Tensor:
    """Other tokens wherever `where` holds."""
    return torch.where(torch.as_tensor(where), (tokens + 1 + tokens % 3) % V, tokens)


def same(one: MaskedLogits, other: MaskedLogits) -> bool:
    """To the last bit."""
    return torch.equal(one.logits_PV, other.logits_PV) and torch.equal(one.losses_P, other.losses_P)


def phase_of(config: Config) -> TransformerPhase:
    """With a tokenizer whose tokens change from frame to frame, as those of a trained one do."""
    tokenizer = tiny_tokenizer(config)
    roughen(tokenizer, torch_generator(0))
    return TransformerPhase(config, open_source(config.data), tokenizer, torch.device("cpu"), "float32")


# ------------------------------------------------------------------ the loss


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_with_the_input_fixed_targets_at_visible_places_do_not_matter_and_masked_ones_do(attention: str) -> None:
    """The past is passed by itself here, so that given frames are in `tokens_BTHW` as possible targets only."""
    model, tokens = make(attention), tokens_of()
    before = masked_logits(model, batch_of(tokens), clean_past=True, past_BTHW=tokens)
    given_frames = torch.zeros(tokens.shape, dtype=torch.bool)
    given_frames[:, :2] = True
    assert same(before, masked_logits(model, batch_of(altered(tokens, given_frames)), clean_past=True, past_BTHW=tokens))

    masked = batch_of(tokens).masked_BTHW
    other = masked_logits(model, batch_of(altered(tokens, masked)), clean_past=True, past_BTHW=tokens)
    assert torch.equal(other.logits_PV, before.logits_PV)  # the answer was not in the input,
    assert (other.losses_P != before.losses_P).all()  # and every masked place counts


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_frames_after_the_last_masked_one_do_not_matter(attention: str) -> None:
    model, tokens = make(attention), tokens_of()
    masks = [mask_of(seed, context=1) for seed in range(2)]
    for mask in masks:
        mask.mask_THW[1, 0, 0], mask.mask_THW[3] = True, False
    last = torch.zeros(tokens.shape, dtype=torch.bool)
    last[:, 3] = True
    for clean_past in (True, False):
        one, other = (masked_logits(model, TokenBatch(ids, masks), clean_past=clean_past) for ids in (tokens, altered(tokens, last)))
        assert same(one, other)


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("causal", [True, False])
def test_in_one_stream_no_masked_token_is_seen_by_any(attention: str, causal: bool) -> None:
    model, tokens = make(attention, causal), tokens_of()
    one, other = (masked_logits(model, batch_of(ids), clean_past=False) for ids in (tokens, altered(tokens, batch_of(tokens).masked_BTHW)))
    assert torch.equal(one.logits_PV, other.logits_PV)


@pytest.mark.parametrize("attention", ["full", "factorized"])
def test_against_a_clean_past_a_masked_token_is_seen_by_later_frames_only(attention: str) -> None:
    model, tokens = make(attention), tokens_of(1)
    mask = ClipMask(np.zeros((FRAMES, GRID, GRID), bool), "joint", 0, 0.5)
    mask.mask_THW[:, 0, 0] = True
    here = torch.zeros(tokens.shape, dtype=torch.bool)
    here[:, 1, 0, 0] = True
    one, other = (masked_logits(model, TokenBatch(ids, [mask]), clean_past=True) for ids in (tokens, altered(tokens, here)))
    assert [torch.equal(a, b) for a, b in zip(one.logits_PV, other.logits_PV, strict=True)] == [True, True, False, False]


def test_individual_frames_are_predicted_from_themselves() -> None:
    model, tokens = make("full"), tokens_of(1)
    mask = mask_of(0, context=0, objective="individual")
    visible = torch.from_numpy(~mask.mask_THW)[None].clone()
    visible[:, 3] = False  # all visible tokens but those of the last frame
    for clean_past in (True, False):
        one, other = (masked_logits(model, TokenBatch(ids, [mask]), clean_past=clean_past) for ids in (tokens, altered(tokens, visible)))
        last = torch.from_numpy(one.positions_P >= 3 * GRID * GRID)
        assert torch.equal(one.logits_PV[last], other.logits_PV[last])
        assert not torch.equal(one.logits_PV[~last], other.logits_PV[~last])


@given(st.integers(0, 99), st.booleans(), st.integers(0, 3), st.sampled_from(ATTENTIONS))
@settings(max_examples=15)
def test_losses_are_those_of_the_masked_places_in_order(seed: int, clean_past: bool, context: int, attention: str) -> None:
    model, tokens = make(attention), tokens_of(3, seed)
    batch = TokenBatch(tokens, [mask_of(seed + clip, context) for clip in range(3)])
    predicted = masked_logits(model, batch, clean_past=clean_past)
    masked = torch.from_numpy(batch.masked_BTHW)
    assert np.array_equal(predicted.positions_P, np.flatnonzero(batch.masked_BTHW))
    assert torch.equal(predicted.targets_P, tokens[masked])
    assert predicted.logits_PV.shape == (hidden_tokens(batch.masks), V)
    assert predicted.logits_PV.dtype == torch.float32
    expected = -predicted.logits_PV.log_softmax(-1)[range(hidden_tokens(batch.masks)), tokens[masked]]
    assert torch.allclose(predicted.losses_P, expected)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_clips_of_all_objectives_together_are_predicted_as_each_is_alone(attention: str) -> None:
    """They are passed in parts that need the same frames; nothing of that is to be seen outside."""
    model, tokens = make(attention), tokens_of(5)
    kinds = (("joint", 0), ("future", 2), ("individual", 0), ("future", 1), ("joint", 0))
    batch = TokenBatch(tokens, [mask_of(seed, context, objective) for seed, (objective, context) in enumerate(kinds)])
    past = altered(tokens, torch.ones_like(tokens, dtype=torch.bool))
    together = masked_logits(model, batch, clean_past=True, past_BTHW=past)
    alone = [masked_logits(model, batch.of([clip]), clean_past=True, past_BTHW=past[clip : clip + 1]) for clip in range(5)]
    assert np.array_equal(together.positions_P, np.flatnonzero(batch.masked_BTHW))
    assert torch.equal(together.targets_P, torch.cat([one.targets_P for one in alone]))
    assert torch.allclose(together.logits_PV, torch.cat([one.logits_PV for one in alone]))


def test_a_new_model_loses_what_a_uniform_guess_does() -> None:
    assert phase_of(tiny()).train_step(0, measure=True)["loss"] == pytest.approx(math.log(V), abs=0.1)


def test_a_corrupted_past_is_seen_and_never_asked_for() -> None:
    model, tokens = make(), tokens_of()
    one = masked_logits(model, batch_of(tokens), clean_past=True)
    other = masked_logits(model, batch_of(tokens), clean_past=True, past_BTHW=altered(tokens, torch.ones_like(tokens, dtype=torch.bool)))
    assert torch.equal(one.targets_P, other.targets_P)
    assert not torch.equal(one.logits_PV, other.logits_PV)


# ------------------------------------------------------------------ micro-batches


@pytest.mark.parametrize("clean_past", [True, False])
def test_micro_batches_give_the_gradient_of_the_whole_batch(clean_past: bool) -> None:
    """Although the parts have different numbers of masked tokens: the loss is their mean over all, not a mean of means."""
    config = tiny(recipe__mask_schedule="uniform", recipe__gradient_clip=0, recipe__clean_past=clean_past, recipe__context_corruption=0.3)
    counts = [mask.mask_THW.sum() for mask in draw_masks(config, 1, range(4))]
    assert len({int(count) for count in counts}) >= 3
    losses, gradients = [], []
    for parts in (1, 2, 4):
        phase = phase_of(config.replace({"recipe.micro_batches": parts}))
        losses.append(phase.train_step(1, measure=True)["loss"])
        gradients.append({name: weight.grad for name, weight in phase.model.named_parameters() if weight.grad is not None})
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)
    for name, whole in gradients[0].items():
        for parts in gradients[1:]:
            assert torch.allclose(parts[name], whole, atol=1e-6, rtol=1e-4), name


def test_the_figures_of_a_step_do_not_depend_on_its_micro_batches() -> None:
    config = tiny(recipe__mask_schedule="uniform", run__seed=3)
    whole, parts = (phase_of(config.replace({"recipe.micro_batches": count})).train_step(1, measure=True) for count in (1, 4))
    assert set(whole) == set(parts)
    assert {"masked_accuracy", "changed_accuracy", "copy_accuracy", "mask_ratio", "clip_frames"} <= set(whole)
    layers, others = whole.pop("layers"), parts.pop("layers")
    for name, value in whole.items():
        assert parts[name] == pytest.approx(value, rel=1e-4), name
    for name, figures in layers.items():
        assert others[name] == pytest.approx(figures, rel=1e-2), name


# ------------------------------------------------------------------ figures


def test_accuracies_count_masked_tokens_those_that_changed_and_what_copying_scores() -> None:
    tokens = np.array([[[[1, 2]], [[1, 3]], [[4, 3]]]])  # (1 clip, 3 frames, 1, 2)
    positions = np.array([0, 2, 3, 4])  # targets 1 | 1, 3 | 4; before the last three: 1, 2, 1
    found = accuracies(np.array([1, 1, 2, 4]), positions, tokens)
    assert found == {"masked_accuracy": (3, 4), "copy_accuracy": (1, 3), "changed_accuracy": (1, 2)}
    assert means([found]) == {"masked_accuracy": 3 / 4, "copy_accuracy": 1 / 3, "changed_accuracy": 1 / 2}


def test_first_frames_have_nothing_to_copy_and_still_clips_nothing_that_changed() -> None:
    tokens = np.array([[[[1, 2]], [[1, 2]]]])
    assert means([accuracies(np.array([1]), np.array([0]), tokens)]) == {"masked_accuracy": 1.0}
    assert means([accuracies(np.array([0]), np.array([2]), tokens)]) == {"masked_accuracy": 0.0, "copy_accuracy": 1.0}


def test_means_are_over_all_terms_and_not_over_parts() -> None:
    assert means([{"a": (3.0, 1), "b": (1.0, 2)}, {"a": (0.0, 3)}, {"b": (0.0, 0), "c": (0.0, 0)}]) == {"a": 0.75, "b": 0.5}


@given(st.integers(0, 99))
def test_copying_is_right_where_nothing_changed_and_wrong_where_it_did(seed: int) -> None:
    tokens = numpy_generator(seed).integers(0, 3, (2, 4, 2, 2))
    positions = np.flatnonzero(numpy_generator(seed, "mask").random(tokens.shape) < 0.5)
    before = np.concatenate([tokens[:, :1], tokens[:, :-1]], axis=1).reshape(-1)
    later = positions[(positions // 4) % 4 > 0]
    found = means([accuracies(before[later], later, tokens)])
    if len(later):
        assert found["masked_accuracy"] == found["copy_accuracy"]
        assert found.get("changed_accuracy", 0.0) == 0.0


def test_losses_are_told_by_objective() -> None:
    masks = [mask_of(0, 0, objective) for objective in ("future", "joint", "future")]
    batch = TokenBatch(tokens_of(3), masks)
    positions = np.flatnonzero(batch.masked_BTHW)
    clip = positions // (FRAMES * GRID * GRID)
    losses = np.where(clip == 1, 5.0, np.where(clip == 0, 1.0, 2.0))
    ones, twos = (clip == 0).sum(), (clip == 2).sum()
    assert means([objective_losses(losses, positions, batch)]) == pytest.approx(
        {"loss_future": (ones + 2 * twos) / (ones + twos), "loss_joint": 5.0}
    )


def test_own_past_keeps_what_is_given_and_changes_no_clip_that_starts_beyond_its_end() -> None:
    model, tokens = tiny_transformer(dtype=torch.float32), random_tokens(clips=3)
    frames = tokens.shape[1]
    own = with_own_past(model, tokens, [2, frames, 1], [torch_generator(0, clip) for clip in range(3)])
    assert torch.equal(own[0, :2], tokens[0, :2])
    assert torch.equal(own[1], tokens[1])
    assert torch.equal(own[2, :1], tokens[2, :1])
    assert not torch.equal(own[2, 1:], tokens[2, 1:])
    assert 0 <= int(own.min()) <= int(own.max()) < model.codebook_size


def test_own_past_is_drawn_by_the_whole_model_as_in_sampling() -> None:
    model, tokens = tiny_transformer(tiny(model__dropout=0.5)), random_tokens(tiny())

    def own() -> Tensor:
        return with_own_past(model, tokens, [1, 1], [torch_generator(0, clip) for clip in range(2)])

    sampled = own()
    model.train()
    assert torch.equal(own(), sampled)
    assert all(part.training for part in model.modules())


@pytest.mark.parametrize(
    "changes",
    [
        {"data__clip_frames": 2, "data__context_frames": 1},
        {"model__attention": "framewise"},
        {"recipe__objective_future": 0, "recipe__objective_joint": 0, "recipe__objective_individual": 1},
    ],
)
def test_own_past_that_no_masked_frame_would_see_is_not_made(changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    phase = phase_of(tiny(recipe__own_past=1.0, recipe__own_past_from=0.0, **changes))
    starts: list[int] = []
    monkeypatch.setattr(transformer_phase, "with_own_past", lambda model, tokens, begin, noise: starts.extend(begin) or tokens)
    batch = phase.batch(0, range(4))
    phase.past(batch, 0, range(4))
    assert set(starts) <= {batch.tokens_BTHW.shape[1]}


def test_own_past_begins_where_a_later_frame_looks_back_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    phase = phase_of(tiny(recipe__own_past=1.0, recipe__own_past_from=0.0, recipe__objective_individual=0, data__clip_frames=6))
    starts: list[int] = []
    monkeypatch.setattr(transformer_phase, "with_own_past", lambda model, tokens, begin, noise: starts.extend(begin) or tokens)
    for step in range(30):
        phase.past(phase.batch(step, range(4)), step, range(4))
    assert set(starts) == {1, 2, 3, 4}


def test_own_past_does_not_depend_on_how_many_frames_are_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokens = tiny_transformer(dtype=torch.float32), random_tokens(clips=3)

    def own() -> Tensor:
        return with_own_past(model, tokens, [2, 1, 1], [torch_generator(0, clip) for clip in range(3)])

    together = own()
    monkeypatch.setattr(objective, "ELSEWHERE_AT_ONCE", 1)
    assert torch.equal(own(), together)


def test_own_past_of_a_sure_model_is_its_prediction() -> None:
    model, tokens = tiny_transformer(dtype=torch.float32), random_tokens(clips=1)
    for parameter in model.parameters():
        parameter.data.zero_()
    model.head_bias.data[3] = 1e4
    own = with_own_past(model, tokens, [1], [torch_generator(0)])
    assert torch.equal(own[:, 1:], torch.full_like(own[:, 1:], 3))
