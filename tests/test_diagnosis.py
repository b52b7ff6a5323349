"""From a symptom to its cause: whatever is planted is ranked first, with a setting that takes it away; cheap looks come first."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from test_stages import scores

from vidapp.alarms import Alarm
from vidapp.causes import CERTAIN, LIKELY, Evidence, learning_rate_high, own_frames_unknown
from vidapp.checkpoint import load_tokenizer
from vidapp.checks.subject import Subject
from vidapp.checks.verdict import Check
from vidapp.commands.check import words_of
from vidapp.config import Config
from vidapp.data.moving_mnist import MovingMnist
from vidapp.diagnosis import STAGES, Diagnosis, Examination, Patient, cost, diagnose, order_of, usable
from vidapp.stages import Lost, lost
from vidapp.symptoms import SYMPTOMS, doubt, support
from vidapp.tokenizer import Tokenizer
from vidapp.tokenizer_choice import BUNDLED
from vidapp.transformer_phase import TransformerPhase

WELL = Config().replace(  # a small model on the bundled tokenizer, without anything that a cause would name
    {
        "model.width": 32,
        "model.layers": 2,
        "model.heads": 2,
        "model.attention": "factorized",
        "data.clip_frames": 4,
        "data.context_frames": 2,
        "recipe.own_past": 0.5,
        "recipe.learning_rate": 3e-3,
        "recipe.precision": "float32",
        "run.device": "cpu",
    }
)
Wish = Callable[[Callable[[float], None]], Lost]


@cache
def trained_tokenizer() -> Tokenizer:
    return load_tokenizer(BUNDLED)[0].eval().requires_grad_(False)


def subject_of(config: Config, **settings: Any) -> Subject:
    return Subject(config, MovingMnist(config.data), trained_tokenizer(), **settings)


def examined(
    symptom: str, config: Config = WELL, *, subject: Subject | None = None, alarms: Sequence[Alarm] = (), evaluate: Wish | None = None
) -> tuple[Diagnosis, list[Check]]:
    patient = Patient(config, lambda: subject or subject_of(config), alarms, evaluate)
    *checks, last = diagnose(symptom, patient)
    assert isinstance(last, Diagnosis)
    return last, [check for check in checks if isinstance(check, Check)]


def refuse() -> Subject:
    raise AssertionError("settings alone were to suffice")


@pytest.mark.parametrize(
    ("symptom", "planted", "cause", "change"),
    [
        ("nothing-moves", {"model.attention": "framewise"}, "no_time_attention", {"model.attention": "factorized"}),
        ("flicker", {"model.attention": "framewise"}, "no_time_attention", {"model.attention": "factorized"}),
        ("nothing-moves", {"recipe.objective_future": 0.0}, "no_future_objective", {"recipe.objective_future": 1.0}),
        ("flicker", {"sampling.temperature": 1.5}, "too_hot", {"sampling.temperature": 0.8}),
        ("samples-bad", {"recipe.mask_schedule": "fixed"}, "never_all_masked", {"recipe.mask_schedule": "cosine"}),
        ("loss-flat", {"recipe.learning_rate": 0.0}, "learning_rate_low", {"recipe.learning_rate": 3e-4}),
    ],
)
def test_what_the_settings_rule_out_is_said_without_computing(
    symptom: str, planted: dict[str, Any], cause: str, change: dict[str, Any]
) -> None:
    *_, found = diagnose(symptom, Patient(WELL.replace(planted), refuse))
    assert isinstance(found, Diagnosis)
    assert found.findings[0].name == cause
    assert found.change == change
    assert found.looked == ("settings",)
    assert set(found.spared) <= set(SYMPTOMS[symptom].looks)


@pytest.mark.parametrize(
    ("symptom", "found", "cause", "key"),
    [
        ("blurry", scores(120, 130, 130, 140), "tokenizer_blurs", "tokenizer.downsampling"),
        ("blurry", scores(10, 110, 110, 120), "undertrained", "run.steps"),
        ("flicker", scores(10, 20, 120, 125), "too_hot", "sampling.temperature"),
        ("drift", scores(12, 60, 60, 160), "own_frames_unknown", "recipe.own_past"),
        ("nothing-moves", scores(10, 110, 110, 120), "motion_beside", "model.stem_frames"),
    ],
)
def test_the_stage_that_loses_most_is_the_cause(symptom: str, found: dict[str, Any], cause: str, key: str) -> None:
    named, _ = examined(symptom, WELL.replace({"recipe.own_past": 0.0}), evaluate=lambda progress: lost(found))
    assert named.findings[0].name == cause
    assert list(named.change) == [key]
    assert named.lost is not None


@pytest.mark.parametrize("name", ["not_below_entropy", "not_below_copying"])
def test_that_a_model_which_knows_nothing_yet_goes_astray_is_no_certain_cause(name: str) -> None:
    config = WELL.replace({"recipe.own_past": 0.0})
    seen = Evidence(config, alarms={name: Alarm(name, "Nothing yet", "Train on.", 100)}, lost=lost(scores(12, 60, 60, 160)))
    found, sure = own_frames_unknown(seen), own_frames_unknown(replace(seen, alarms={}))
    assert found
    assert sure
    assert (found.weight, sure.weight) == (LIKELY, CERTAIN)


def test_nothing_is_drawn_too_freely_where_nothing_is_drawn() -> None:
    for choice, blamed in (("drawn", True), ("expected", False)):
        config = WELL.replace({"sampling.temperature": 1.5, "sampling.choice": choice, "sampling.steps": 1})
        named, _ = examined("flicker", config)
        assert ("too_hot" in {finding.name for finding in named.findings}) == blamed
        assert ("few_decode_steps" in {finding.name for finding in named.findings}) == blamed


def test_what_is_expected_is_named_as_the_compromise_that_it_is() -> None:
    config = WELL.replace({"sampling.choice": "expected"})
    named, _ = examined("drift", config, evaluate=lambda progress: lost(scores(10, 20, 120, 125)))
    assert (named.findings[0].name, dict(named.change)) == ("compromise", {"sampling.choice": "drawn"})
    assert "compromise" not in {finding.name for finding in examined("drift", WELL)[0].findings}


def test_where_a_stem_shows_motion_already_longer_training_is_what_is_left() -> None:
    config = WELL.replace({"model.stem_frames": 3})
    named, _ = examined("nothing-moves", config, evaluate=lambda progress: lost(scores(10, 110, 110, 120)))
    assert named.findings[0].name == "undertrained"


def test_a_stage_that_cannot_be_scored_loses_nothing_of_what_else_was_found() -> None:
    def gone(progress: Callable[[float], None]) -> Any:
        raise ValueError("the clips are gone")

    found, checks = examined("drift", WELL, evaluate=gone)
    assert dict(found.refused) == {"stages": "the clips are gone"}
    assert checks
    assert "stages" not in found.looked


def test_a_model_of_ids_made_elsewhere_has_no_frames_to_score() -> None:
    def asked(progress: Callable[[float], None]) -> Any:
        raise AssertionError("there is nothing to score")

    ids = WELL.replace({"tokenizer.quantizer": "ids", "tokenizer.downsampling": 1, "data.source": "ids.npy", "data.channels": 3})
    patient = Patient(ids, lambda: subject_of(WELL), [], evaluate=asked)
    *_, found = diagnose("drift", patient)
    assert isinstance(found, Diagnosis)
    assert "stages" not in (*found.looked, *found.spared, *found.refused)


def test_a_rate_beyond_use_is_found_by_the_range_test_and_a_lower_one_suggested() -> None:
    config = WELL.replace({"recipe.learning_rate": 0.9})
    found, checks = examined("nan", config)
    assert "rate_range" in [check.name for check in checks]
    assert found.findings[0].name == "learning_rate_high"
    assert found.change["recipe.learning_rate"] < 0.9


def test_muons_rate_is_lowered_in_step_with_the_other() -> None:
    config = WELL.replace({"recipe.optimizer": "muon", "recipe.muon_learning_rate": 1.0, "recipe.learning_rate": 3e-3})
    large = Alarm("large_steps", "Steps are too large", "Lower it.", 120)
    finding = learning_rate_high(Evidence(config, alarms={"large_steps": large}))
    assert finding
    assert finding.change == {"recipe.learning_rate": 1e-3, "recipe.muon_learning_rate": 0.33}


def test_a_collapsed_codebook_makes_one_colour() -> None:
    class Collapsed(torch.nn.Module):
        """Says the same id whatever it sees."""

        def __init__(self, of: torch.nn.Module) -> None:
            super().__init__()
            self.of = of

        def __getattr__(self, name: str) -> Any:
            return super().__getattr__(name) if name in ("of",) else getattr(self.of, name)

        def encode(self, frames: torch.Tensor) -> torch.Tensor:
            return torch.zeros_like(self.of.encode(frames))

    sick = Subject(WELL, MovingMnist(WELL.data), Collapsed(trained_tokenizer()))  # type: ignore[arg-type]
    found, _ = examined("one-colour", subject=sick)
    assert found.findings[0].name == "codebook_collapsed"
    assert found.change == {"recipe.tokenizer_learning_rate": 1e-3}


def test_a_frozen_layer_keeps_the_loss_flat() -> None:
    def frozen(*arguments: Any) -> TransformerPhase:
        phase = TransformerPhase(*arguments)
        phase.model.blocks[0].requires_grad_(False)
        return phase

    found, checks = examined("loss-flat", subject=subject_of(WELL, make_phase=frozen))
    assert found.findings[0].name == "gradient_blocked"
    assert found.change == {}
    assert "overfit_one_batch" not in [check.name for check in checks], "the costly look was not needed"


def test_a_masked_past_in_training_is_why_samples_are_bad() -> None:
    config = WELL.replace({"recipe.clean_past": False, "recipe.own_past": 0.0})
    found, _ = examined("samples-bad", config)
    assert found.findings[0].name == "past_mismatch"
    assert found.change == {"recipe.clean_past": True}


def test_an_alarm_of_the_run_counts_as_evidence() -> None:
    nan = Alarm("not_a_number", "A loss was not finite", "Lower it.", 120)
    patient = Patient(WELL, lambda: subject_of(WELL), [nan])
    *_, found = diagnose("nan", patient)
    assert isinstance(found, Diagnosis)
    assert "learning_rate_high" in [finding.name for finding in found.findings]
    assert "metrics" in found.looked


@pytest.mark.parametrize("symptom", SYMPTOMS)
def test_whatever_is_seen_of_weights_that_were_thrown_off_more_steps_are_not_suggested(symptom: str) -> None:
    lost = Alarm("activations", "Activations have grown", "Begin anew.", 250)
    entropy = Alarm("not_below_entropy", "Nothing learnt but frequencies", "Look.", 250)
    seen = Evidence(WELL, alarms={alarm.name: alarm for alarm in (lost, entropy)})
    found = Examination(SYMPTOMS[symptom], seen).ranked()
    assert found[0].name == "learning_rate_high"
    assert "undertrained" not in {finding.name for finding in found}


def validated(*losses: float) -> list[dict[str, Any]]:
    return [{"step": 50 * at, "phase": "transformer", "validation_loss_full": loss} for at, loss in enumerate(losses, start=1)]


def test_a_symptom_that_the_metrics_do_not_show_is_doubted_and_has_no_certain_cause() -> None:
    config = WELL.replace({"recipe.learning_rate": 0.0})
    *_, found = diagnose("loss-flat", Patient(config, refuse, lines=validated(3.1, 2.9, 2.5, 2.3)))
    assert "has fallen from 3.1 at step 50 to 2.3 at step 200" in found.doubt
    assert found.words.startswith("The likeliest cause")
    *_, found = diagnose("loss-flat", Patient(config, refuse, lines=validated(3.1, 2.9, 2.9, 2.9)))
    assert found.doubt == ""
    assert found.words.startswith("The cause")


def test_a_loss_that_falls_far_above_the_tokens_frequencies_is_not_said_to_be_well() -> None:
    lines = [{**line, "unigram_entropy": 3.57} for line in validated(2560.0, 1200.0, 805.0)]
    rate_zero = WELL.replace({"recipe.learning_rate": 0.0})
    *_, found = diagnose("loss-flat", Patient(rate_zero, refuse, lines=lines))
    assert isinstance(found, Diagnosis)
    assert (found.doubt, found.support) == (
        "",
        "Whatever the curve does, nothing is learnt so far: the validation loss is 805 at step 150, where knowing only the tokens' "
        "frequencies gives 3.57.",
    )
    assert found.words.startswith("The cause"), "what is seen may have a certain cause"
    assert found.support in words_of(found)
    assert found.to_dict()["support"] == found.support


@pytest.mark.parametrize(("symptom", "entropy"), [("loss-flat", 4.0), ("loss-flat", None), ("nan", 2.0)])
def test_where_more_than_frequencies_is_learnt_or_another_thing_is_seen_nothing_supports_it(symptom: str, entropy: float | None) -> None:
    lines = [{**line, "unigram_entropy": entropy} for line in validated(3.1, 2.9, 2.5, 2.3)]
    assert support(symptom, lines) == ""
    assert doubt(symptom, lines).startswith("Its metrics say otherwise")


@pytest.mark.parametrize(("entropy", "says"), [(1.0, support), (4.0, doubt)])
def test_lines_that_say_no_step_are_passed_over(entropy: float, says: Callable[..., str]) -> None:
    lines = [{**line, "unigram_entropy": entropy} for line in validated(3.1, 2.9, 2.5, 2.3)]
    stray = {"phase": "transformer", "validation_loss_full": 2.4}
    assert says("loss-flat", [stray, *lines, stray]) == says("loss-flat", lines) != ""


def test_cheap_looks_come_before_dear_ones() -> None:
    for symptom in SYMPTOMS.values():
        costs = [cost(look) for look in order_of(symptom)]
        assert costs == sorted(costs)


def test_every_symptom_ends_in_words_and_at_most_one_setting() -> None:
    for name in ("blurry", "drift"):
        found, _ = examined(name, evaluate=lambda progress: lost(scores(2, 8, 8, 12)))
        assert found.words
        assert len(found.change) <= 1
        assert STAGES in found.looked


def test_a_change_that_the_config_does_not_allow_is_not_suggested() -> None:
    config = WELL.replace({"model.width": 4096, "model.heads": 1})
    assert usable(config, {"model.width": 8192}) == {}
    assert usable(config, {"model.width": 4096}) == {}, "that is what it has"
    assert usable(config, {"model.width": 2048}) == {"model.width": 2048}


def test_unknown_symptoms_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="unknown symptom 'sad': use one of blurry"):
        list(diagnose("sad", Patient(WELL, refuse)))
