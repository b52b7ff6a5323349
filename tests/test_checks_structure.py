"""Checks of data, tokens, masks, loss and attention: silent on a healthy config, and each names the bug planted for it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tiny import TINY, subject, tiny
from torch import Tensor

import vidapp.batches
import vidapp.checks.sight
import vidapp.masking
import vidapp.objective
import vidapp.transformer_phase
from vidapp.batches import TokenBatch
from vidapp.checks.data import data
from vidapp.checks.gradient import gradient_flow
from vidapp.checks.loss import masked_only
from vidapp.checks.masks import masks_as_scheduled
from vidapp.checks.sight import causality, frames_alone, hidden_stays_hidden, training_matches_sampling
from vidapp.checks.subject import Subject
from vidapp.checks.tokens import tokenization
from vidapp.checks.verdict import Check
from vidapp.config import Config
from vidapp.data.moving_mnist import MovingMnist
from vidapp.objective import MaskedLogits, masked_logits
from vidapp.transformer import View, clip_view

Group = Callable[[Subject, Callable[[float], None]], list[Check]]
SIGHT = (hidden_stays_hidden, causality, frames_alone, training_matches_sampling)


def statuses(group: Group, who: Subject | None = None) -> dict[str, str]:
    checks = group(who or subject(), lambda share: None)
    assert all(check.advice and check.title for check in checks)
    return {check.name: check.status for check in checks}


def failing(group: Group, who: Subject | None = None) -> set[str]:
    return {name for name, status in statuses(group, who).items() if status == "fail"}


# --- what is healthy passes


@pytest.mark.parametrize("attention", ["full", "factorized", "framewise"])
@pytest.mark.parametrize("changes", [{}, {"model__positions": "relative"}, {"model__causal": False, "recipe__clean_past": False}])
def test_healthy_attention_passes(attention: str, changes: dict[str, Any]) -> None:
    who = subject(tiny(model__attention=attention, **changes))
    assert set().union(*(failing(group, who) for group in SIGHT)) == set()


@pytest.mark.parametrize("clean_past", [True, False])
@pytest.mark.parametrize("attention", ["full", "framewise"])
def test_a_healthy_loss_passes(attention: str, clean_past: bool) -> None:
    assert failing(masked_only, subject(tiny(model__attention=attention, recipe__clean_past=clean_past, recipe__micro_batches=2))) == set()


@pytest.mark.parametrize(
    ("pattern", "schedule"),
    [("random", "fixed"), ("random", "uniform"), ("tube", "cosine"), ("frame", "progressive-range"), ("block", "progressive")],
)
def test_healthy_masks_pass(pattern: str, schedule: str) -> None:
    config = tiny(recipe__mask_pattern=pattern, recipe__mask_schedule=schedule, data__clip_frames=8, data__context_frames=4, run__steps=100)
    assert failing(masks_as_scheduled, subject(config)) == set()


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7])
def test_masks_of_a_run_of_few_steps_are_judged_by_the_progress_that_these_have(steps: int) -> None:
    config = tiny(recipe__mask_schedule="progressive", recipe__objective_schedule="growing", run__steps=steps)
    assert failing(masks_as_scheduled, subject(config)) == set()


@pytest.mark.parametrize(
    "changes",
    [
        {"recipe__objective_future": 0.0, "recipe__objective_joint": 0.0, "recipe__objective_individual": 1.0},
        {"data__clip_frames": 1, "data__context_frames": 1},
        {},
    ],
)
@pytest.mark.parametrize("attention", ["full", "factorized"])
def test_what_lies_between_frames_need_not_learn_where_none_sees_another(changes: dict[str, Any], attention: str) -> None:
    config = tiny(model__stem_frames=3, model__positions="relative", model__attention=attention, **changes)
    assert failing(gradient_flow, subject(config)) == set()


def test_healthy_data_pass() -> None:
    assert failing(data) == set()


def test_clips_of_one_frame_leave_out_what_needs_two() -> None:
    who = subject(tiny(data__clip_frames=1, data__context_frames=1))
    found = {name: status for group in (*SIGHT, data, masked_only) for name, status in statuses(group, who).items()}
    assert "fail" not in found.values()
    assert {name for name, status in found.items() if status == "not_applicable"} == {
        "causality",
        "sees_the_past",
        "frame_wise_isolation",
        "training_matches_sampling",
        "data_moves",
    }


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("attention", ["full", "factorized"])
def test_frames_of_one_token_leave_out_what_needs_two_of_a_frame(attention: str, causal: bool) -> None:
    one_token = {"tokenizer__downsampling": 32, "model__positions": "relative", "model__attention": attention}
    who = subject(tiny(**one_token, model__causal=causal, recipe__clean_past=causal))
    found = {
        name: status for group in (*SIGHT, masks_as_scheduled, masked_only, gradient_flow) for name, status in statuses(group, who).items()
    }
    assert "fail" not in found.values()
    left_out = {"input_is_seen"} if causal else {"input_is_seen", "causality", "sees_the_past"}
    assert {name for name, status in found.items() if status == "not_applicable"} == left_out


# --- attention


def see_everything(frames: int, causal: bool, device: torch.device, cut_B: Tensor | None = None) -> View:
    return clip_view(frames, False, device)


def test_a_broken_causal_mask_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vidapp.objective, "clip_view", see_everything)
    assert failing(causality) == {"causality"}


def test_a_broken_clean_past_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = vidapp.objective.clean_past_view

    def leaking(*arguments: Any) -> View:
        view = real(*arguments)
        return replace(view, allowed_BFK=torch.ones_like(view.allowed_BFK))

    monkeypatch.setattr(vidapp.objective, "clean_past_view", leaking)
    assert "causality" in failing(causality)
    assert "hidden_tokens_stay_hidden" in failing(hidden_stays_hidden), "a masked frame sees its own truth in the clean stream"
    assert failing(training_matches_sampling) == {"training_matches_sampling"}


def test_frames_that_see_each_other_where_they_must_not_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TokenBatch, "cut_B", lambda self, device: None)
    monkeypatch.setattr(vidapp.objective, "clip_view", see_everything)
    assert failing(frames_alone) == {"frame_wise_isolation"}


def test_no_attention_across_frames_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def alone(self: TokenBatch, device: torch.device) -> Tensor:
        return torch.ones(len(self.masks), dtype=torch.bool, device=device)

    monkeypatch.setattr(TokenBatch, "cut_B", alone)
    assert failing(causality) == {"sees_the_past"}


def test_a_leaking_mask_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def peeking(model: Any, batch: TokenBatch, **named: Any) -> MaskedLogits:
        found = masked_logits(model, batch, **named)
        return replace(found, logits_PV=found.logits_PV + torch.nn.functional.one_hot(found.targets_P, found.logits_PV.shape[1]))

    monkeypatch.setattr(vidapp.checks.sight, "masked_logits", peeking)
    assert "hidden_tokens_stay_hidden" in failing(hidden_stays_hidden)


def test_a_past_masked_in_training_but_clean_in_sampling_is_named() -> None:
    who = subject(tiny(recipe__clean_past=False))
    (check,) = training_matches_sampling(who, lambda share: None)
    assert check.status == "fail"
    assert "recipe.clean_past=true" in check.advice


def test_a_cache_that_holds_something_else_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    append = vidapp.rollout.CausalPast.append
    monkeypatch.setattr(vidapp.rollout.CausalPast, "append", lambda self, frame: append(self, torch.zeros_like(frame)))
    assert failing(training_matches_sampling) == {"training_matches_sampling"}


# --- loss


def test_a_loss_over_all_tokens_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def of_all(model: Any, batch: TokenBatch, **named: Any) -> MaskedLogits:
        found = masked_logits(model, batch, **named)
        targets = batch.tokens_BTHW.flatten()
        spread = found.logits_PV[torch.arange(len(targets)) % len(found.logits_PV)]
        return MaskedLogits(spread, targets, np.arange(len(targets)))

    monkeypatch.setattr(vidapp.transformer_phase, "masked_logits", of_all)
    assert "loss_masked_only" in failing(masked_only)


def test_a_loss_that_looks_at_no_target_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def aimless(model: Any, batch: TokenBatch, **named: Any) -> MaskedLogits:
        found = masked_logits(model, batch, **named)
        return replace(found, targets_P=torch.zeros_like(found.targets_P))

    monkeypatch.setattr(vidapp.transformer_phase, "masked_logits", aimless)
    assert failing(masked_only) == {"loss_sees_masked"}


def test_a_mask_id_among_the_targets_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def after_masking(model: Any, batch: TokenBatch, **named: Any) -> MaskedLogits:
        found = masked_logits(model, batch, **named)
        return replace(found, targets_P=torch.full_like(found.targets_P, model.mask_id))

    monkeypatch.setattr("vidapp.checks.loss.masked_logits", after_masking)
    assert failing(masked_only) == {"targets_are_ids"}


# --- masks


def test_a_schedule_that_is_not_kept_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vidapp.masking, "mask_ratio", lambda recipe, progress, rng, count=1: np.full(count, 0.2))
    assert failing(masks_as_scheduled) == {"mask_ratio"}


def test_a_pattern_that_is_not_kept_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = vidapp.masking.pattern_mask
    monkeypatch.setattr(vidapp.masking, "pattern_mask", lambda rng, pattern, *rest: real(rng, "random", *rest))
    for pattern in ("tube", "block", "frame"):
        assert "mask_pattern" in failing(masks_as_scheduled, subject(tiny(recipe__mask_pattern=pattern)))


def test_objectives_out_of_proportion_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vidapp.masking, "draw_objective", lambda rng, weights: "joint")
    assert failing(masks_as_scheduled) == {"objective_mix"}


# --- data and tokens


class Planted(MovingMnist):
    """Moving MNIST with something wrong in it."""

    def __init__(self, config: Config, spoil: Callable[[np.ndarray, str], np.ndarray]) -> None:
        super().__init__(config.data)
        self.spoil = spoil

    def make_clip(self, split: str, rng: np.random.Generator, frames: int) -> np.ndarray:
        return self.spoil(super().make_clip(split, rng, frames), split)


ONE = MovingMnist(TINY.data).fixed_clips("train", 1, 4)[0]


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda clip, split: clip // 255, "data_in_range"),
        (lambda clip, split: np.zeros_like(clip), "data_not_constant"),
        (lambda clip, split: np.repeat(clip[:1], len(clip), axis=0), "data_moves"),
        (lambda clip, split: ONE if split == "train" else clip, "data_distinct"),
        (lambda clip, split: np.concatenate([clip[:-1], ONE[-1:]]), "splits_disjoint"),
    ],
)
def test_spoilt_data_are_named(spoil: Callable[[np.ndarray, str], np.ndarray], named: str) -> None:
    assert named in failing(data, subject(source=Planted(TINY, spoil)))


def test_a_collapsed_codebook_is_named() -> None:
    who = subject()
    encode = who.tokenizer.encode
    who.tokenizer.encode = lambda frames: encode(frames) % 2  # type: ignore[method-assign]
    assert "codebook_use" in failing(tokenization, who)


def test_a_tokenizer_that_has_learnt_nothing_is_named() -> None:
    assert "reconstruction" in failing(tokenization)


@pytest.mark.parametrize("quantizer", ["fsq", "vq"])
def test_ids_survive_the_way_through_their_codes(quantizer: str) -> None:
    who = subject(tiny(tokenizer__quantizer=quantizer))
    assert "code_round_trip" not in failing(tokenization, who)


def test_codes_that_are_as_good_as_one_are_counted_and_no_disagreement() -> None:
    who = subject(tiny(tokenizer__quantizer="vq"))
    codes = who.tokenizer.quantizer._codebook.embed.data[0]  # type: ignore[union-attr]
    codes[1], codes[3] = codes[0], codes[2]
    check = next(check for check in tokenization(who, lambda share: None) if check.name == "code_round_trip")
    assert check.status == "pass"
    assert check.details["twins"] == 2


def test_ids_that_do_not_come_back_are_named() -> None:
    who = subject()
    codes = who.tokenizer.codes
    who.tokenizer.codes = lambda tokens: codes((tokens + 1) % 16)  # type: ignore[method-assign]
    assert "code_round_trip" in failing(tokenization, who)
