"""Checks that train for a moment: gradients, learning by heart, the learning rate; each names the bug planted for it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny import subject, tiny

import vidapp.checks.overfit
import vidapp.checks.rate
import vidapp.transformer_phase
from vidapp.causes import Evidence, learning_rate_high
from vidapp.checks.checklist import GROUPS, checklist, summary
from vidapp.checks.gradient import gradient_flow
from vidapp.checks.overfit import learns_single_frames, overfits
from vidapp.checks.rate import rate_range
from vidapp.checks.subject import Subject
from vidapp.checks.verdict import Check, failure
from vidapp.objective import MaskedLogits
from vidapp.transformer_phase import TransformerPhase

LEARNS = tiny(model__width=64, model__layers=2)


def made(group: Callable[..., list[Check]], who: Subject) -> dict[str, Check]:
    return {check.name: check for check in group(who, lambda share: None)}


def failing(group: Callable[..., list[Check]], who: Subject) -> set[str]:
    return {name for name, check in made(group, who).items() if check.failed}


# --- gradients


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("changes", [{}, {"model__norm": "post"}, {"model__attention": "framewise", "model__positions": "relative"}])
def test_healthy_gradients_pass(optimizer: str, changes: dict[str, Any]) -> None:
    assert failing(gradient_flow, subject(tiny(model__layers=2, recipe__optimizer=optimizer, **changes))) == set()


def test_a_gradient_check_that_passes_says_that_it_has_not_looked_at_what_was_trained() -> None:
    for check in made(gradient_flow, subject(tiny(model__layers=2))).values():
        assert check.status == "pass"
        assert check.advice.endswith(
            "in a newly made model with these settings; what training has made of a run's weights is not looked at"
        ), check.name


def with_bug(spoil: Callable[[TransformerPhase], None]) -> Callable[..., TransformerPhase]:
    def make(*arguments: Any) -> TransformerPhase:
        phase = TransformerPhase(*arguments)
        spoil(phase)
        return phase

    return make


def test_a_frozen_layer_is_named() -> None:
    who = subject(make_phase=with_bug(lambda phase: phase.model.blocks[0].mlp_in.requires_grad_(False) and None))
    checks = made(gradient_flow, who)
    assert checks["gradient_reaches_all"].names == ("blocks.0.mlp_in.weight",)
    assert checks["every_weight_moves"].failed


def test_a_detached_gradient_is_named() -> None:
    def detach(phase: TransformerPhase) -> None:
        phase.model.blocks[1].register_forward_pre_hook(lambda module, inputs: (inputs[0].detach(), *inputs[1:]))

    check = made(gradient_flow, subject(tiny(model__layers=2), make_phase=with_bug(detach)))["gradient_reaches_all"]
    assert check.failed
    assert "blocks.0.space.qkv.weight" in check.names
    assert "blocks.1.space.qkv.weight" not in check.names


@pytest.mark.parametrize("factor", [1e-7, 1e5])
def test_vanishing_and_exploding_blocks_are_named(factor: float) -> None:
    def scale(phase: TransformerPhase) -> None:
        for parameter in phase.model.blocks[1].parameters():
            parameter.register_hook(lambda gradient: gradient * factor)

    check = made(gradient_flow, subject(tiny(model__layers=3), make_phase=with_bug(scale)))["gradient_flow"]
    assert check.failed
    assert "blocks.1" in check.names


def test_a_weight_that_the_optimiser_does_not_know_is_named() -> None:
    def forget(phase: TransformerPhase) -> None:
        group = phase.optimizers.all[0][0].param_groups[1]
        group["params"] = [parameter for parameter in group["params"] if parameter is not phase.model.head_bias]

    checks = made(gradient_flow, subject(make_phase=with_bug(forget)))
    assert checks["every_weight_moves"].names == ("head_bias",)
    assert not checks["gradient_reaches_all"].failed


# --- learning by heart


def test_a_healthy_model_learns_by_heart_and_says_it_back() -> None:
    checks = made(overfits, subject(LEARNS))
    assert not [check for check in checks.values() if check.failed]
    assert "data.clip_frames" not in " ".join(checks["overfit_one_batch"].overrides), "clips of 4 frames are short already"
    assert "run.training_clips=8" in checks["overfit_one_batch"].overrides
    assert checks["overfit_one_batch"].curve[0][1] > checks["overfit_one_batch"].curve[-1][1]


def test_it_is_said_back_greedily_also_where_what_is_expected_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vidapp.checks.overfit, "STEPS", 2)
    checks = made(overfits, subject(tiny(sampling__choice="expected", model__attention="framewise")))
    assert "sampling.choice=drawn" in checks["samples_it_back"].overrides


def test_targets_out_of_place_are_not_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    real = vidapp.transformer_phase.masked_logits

    def shuffled(*arguments: Any, **named: Any) -> MaskedLogits:
        found = real(*arguments, **named)
        return replace(found, targets_P=found.targets_P[torch.randperm(len(found.targets_P))])

    monkeypatch.setattr(vidapp.transformer_phase, "masked_logits", shuffled)
    monkeypatch.setattr(vidapp.checks.overfit, "STEPS", 15)
    assert "overfit_one_batch" in failing(overfits, subject())


def test_a_sampler_that_does_not_say_what_was_learnt_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = vidapp.checks.overfit.future_tokens
    monkeypatch.setattr(vidapp.checks.overfit, "TARGET", 100.0)
    monkeypatch.setattr(vidapp.checks.overfit, "future_tokens", lambda *arguments: (real(*arguments) + 1) % 16)
    assert failing(overfits, subject()) == {"samples_it_back"}


def test_single_frames_are_learnt_and_a_blind_model_is_named() -> None:
    assert failing(learns_single_frames, subject(LEARNS)) == set()

    def blind(phase: TransformerPhase) -> None:
        see = phase.model.forward
        phase.model.forward = lambda tokens, *rest, **more: see(torch.full_like(tokens, phase.model.mask_id), *rest, **more)  # type: ignore[method-assign]
        phase.model.place_embedding.requires_grad_(False).zero_()

    assert failing(learns_single_frames, subject(LEARNS, make_phase=with_bug(blind))) == {"frame_wise_learns"}


# --- the learning rate


def test_the_range_test_suggests_a_rate_and_refuses_one_beyond_it() -> None:
    good = made(rate_range, subject(tiny(recipe__learning_rate=1e-2)))["rate_range"]
    assert good.status == "pass"
    assert 1e-4 < good.details["suggested_peak"] < 1.0
    assert len(good.curve) > 10
    assert failing(rate_range, subject(tiny(recipe__learning_rate=1e-8))) == {"rate_range"}


def test_the_rate_that_is_read_is_the_one_that_is_suggested() -> None:
    config = tiny(recipe__learning_rate=1.0)
    check = made(rate_range, subject(config))["rate_range"]
    assert check.failed
    found = learning_rate_high(Evidence(config, {"rate_range": check}))
    assert found is not None
    assert found.why.endswith(f"try {found.change['recipe.learning_rate']:g}")


def test_a_loss_that_falls_at_no_rate_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vidapp.checks.rate, "HIGHEST", 1.01e-5)
    check = made(rate_range, subject())["rate_range"]
    assert check.failed
    assert "no rate" in check.advice


# --- all of them


def test_the_checklist_goes_from_cheap_to_dear_and_tells_how_far_it_is() -> None:
    shares: list[float] = []
    names = [check.name for check in checklist(subject(), ["gradient", "sampler"], lambda what, share: shares.append(share))]
    assert names[0] == "temperature"
    assert names[-1] == "every_weight_moves"
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert list(GROUPS)[-1] == "overfit"


def test_a_check_that_breaks_is_a_check_that_fails() -> None:
    def broken(*arguments: Any) -> TransformerPhase:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    (check,) = checklist(subject(make_phase=broken), ["gradient"])
    assert check.failed
    assert "mat1" in check.advice
    assert summary([check])["ok"] is False
    assert summary([replace(check, status="not_applicable")])["ok"] is True


def test_whoever_watches_can_end_it() -> None:
    def leave(what: str, share: float) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        list(checklist(subject(), ["gradient"], leave))
    with pytest.raises(ValueError, match="no-such"):
        list(checklist(subject(), ["no-such"]))


def test_figures_that_are_not_finite_become_null() -> None:
    check = replace(failure("x", "X", "why"), figure=float("nan"), details={"a": float("inf")}, curve=((0.0, float("nan")),))
    assert check.to_dict()["figure"] is None
    assert check.to_dict()["details"] == {"a": None}
    assert check.to_dict()["curve"] == [[0.0, None]]
