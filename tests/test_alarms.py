"""Alarms from metrics alone: each sickness is named, and a healthy run raises none."""

import math

import pytest

from vidapp.alarms import SYMPTOMS as SYMPTOM_OF
from vidapp.alarms import Alarm, alarms
from vidapp.causes import Evidence, learning_rate_high
from vidapp.checks.verdict import Check
from vidapp.config import Config
from vidapp.symptoms import SYMPTOMS


def healthy(steps: int = 1000) -> list[dict[str, object]]:
    """A run as it should be: loss falling below the entropy, a steady gradient, better than copying."""
    lines: list[dict[str, object]] = []
    for step in range(10, steps + 1, 10):
        loss = 2.0 + 3.5 * math.exp(-step / 150)
        lines.append({"step": step, "phase": "transformer", "loss": loss, "grad_norm": 1.0, "unigram_entropy": 4.0, "learning_rate": 3e-4})
        if step % 100 == 0:
            lines.append(
                {
                    "step": step,
                    "phase": "transformer",
                    "validation_loss_full": loss + 0.2,
                    "validation_accuracy": 0.7,
                    "validation_copy_accuracy": 0.6,
                    "unigram_entropy": 4.0,
                }
            )
    return lines


def changed(start: int, **figures: object) -> list[dict[str, object]]:
    """The healthy run, with these figures from that step on wherever it has them."""
    return [
        {**line, **{key: value for key, value in figures.items() if key in line}} if line["step"] >= start else line  # type: ignore[operator]
        for line in healthy()
    ]


def names(lines: list[dict[str, object]], error: str = "") -> list[str]:
    return [alarm.name for alarm in alarms(lines, error)]


def test_a_healthy_run_raises_no_alarm() -> None:
    assert names(healthy()) == []


def test_a_run_that_has_only_begun_raises_no_alarm() -> None:
    assert names(healthy(100)) == []
    assert names([]) == []


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        (changed(900, loss=None), "not_a_number"),
        (changed(900, grad_norm=float("nan")), "not_a_number"),
        (changed(700, grad_norm=60.0), "exploding"),
        (changed(10, grad_norm=1e6), "exploding"),
        (changed(700, grad_norm=1e-7), "vanishing"),
        (changed(100, validation_loss_full=4.2), "not_below_entropy"),
        (changed(100, validation_accuracy=0.6), "not_below_copying"),
        (changed(10, loss=3.0), "flat"),
        (changed(700, validation_loss_full=3.4), "gap"),
    ],
)
def test_each_sickness_is_named(lines: list[dict[str, object]], name: str) -> None:
    assert name in names(lines)


def with_layers(start: int, **layers: dict[str, float]) -> list[dict[str, object]]:
    """The healthy run with a look at two layers on each training line, which are these from that step on."""
    usual = {"gradient_norm": {"1 space": 0.6, "2 mlp": 0.8}, "update_ratio": {"1 space": 1e-3, "2 mlp": 2e-3}}
    return [
        {**line, "layers": {**usual, **(layers if line["step"] >= start else {})}} if "loss" in line else line  # type: ignore[operator]
        for line in healthy()
    ]


def test_healthy_layers_raise_no_alarm() -> None:
    assert names(with_layers(2000)) == []


def test_a_layer_that_no_gradient_reaches_is_named() -> None:
    (alarm,) = alarms(with_layers(300, gradient_norm={"1 space": 0.0, "2 mlp": 0.8}))
    assert (alarm.name, alarm.title) == ("blocked", "No gradient reaches space of block 1")


def test_a_layer_that_no_gradient_reaches_is_not_sent_to_a_check_that_cannot_see_it() -> None:
    lines = with_layers(300, gradient_norm={"1 space": 0.0, "2 mlp": 0.8})
    (alarm,) = alarms(lines, config=Config())
    assert alarm.advice == (
        "These weights learn nothing any more: too high a learning rate has likely killed their units, and no later step revives them. "
        "Begin anew with a lower recipe.learning_rate. Find the cause (in Debug) measures which rate fits. "
        "The gradient check is of a newly made model: it sees only what is cut off there, too."
    )
    found = learning_rate_high(Evidence(Config(), alarms={alarm.name: alarm}))
    assert found is not None
    assert found.why == "No gradient reaches space of block 1 (from step 1,000)."


def test_a_layer_whose_steps_are_too_large_is_named() -> None:
    (alarm,) = alarms(with_layers(300, update_ratio={"1 space": 1e-3, "2 mlp": 0.9}))
    assert alarm.name == "large_steps"
    assert "mlp of block 2 by 90%" in alarm.title


def test_activations_that_have_grown_are_said() -> None:
    (alarm,) = alarms(with_layers(300, activation_rms={"1": 5.0, "2": 2e5}))
    assert (alarm.name, alarm.title) == ("activations", "Activations have grown to an RMS of 2e+05 behind block 2")


def test_activations_of_a_model_that_muon_trains_are_healthy_at_a_hundred_and_more() -> None:
    assert names(with_layers(300, activation_rms={"1": 392.0})) == ["activations"]
    assert names(with_layers(300, activation_rms={"1": 167.0})) == []  # the most of three trainings of the preset `motion`, which learnt


@pytest.mark.parametrize(("share", "found"), [(0.0, ["empty_samples"]), (0.05, ["empty_samples"]), (0.5, [])])
def test_almost_empty_samples_are_said(share: float, found: list[str]) -> None:
    drawn = [{"step": step, "phase": "transformer", "sample_sharpness": share} for step in (900, 1000)]
    assert names([*healthy(), *drawn]) == found
    assert names([*healthy(), drawn[0]]) == []  # one strip may be bad luck


def test_empty_samples_are_no_emergency_at_first() -> None:
    drawn = [{"step": step, "phase": "transformer", "sample_sharpness": 0.0} for step in (40, 80)]
    assert [(alarm.name, alarm.serious) for alarm in alarms([*healthy(100), *drawn])] == [("empty_samples", False)]


def test_a_validation_that_falls_no_more_is_said_without_alarm() -> None:
    (alarm,) = alarms(changed(300, validation_loss_full=2.9))
    assert (alarm.name, alarm.serious, alarm.step) == ("stalled", False, 300)


def test_an_explosion_says_in_which_layer() -> None:
    sick = [{**line, **({"grad_norm": 60.0} if line["step"] >= 700 else {})} for line in with_layers(700)]  # type: ignore[operator]
    assert "most of it in mlp of block 2" in alarms(sick)[0].title


def test_a_gradient_that_is_enormous_is_not_said_to_explode_where_it_has_fallen() -> None:
    def title(*norms: tuple[int, float]) -> str:
        sick = [{**line, "grad_norm": [norm for start, norm in norms if start <= line["step"]][-1]} for line in healthy() if "loss" in line]  # type: ignore[operator]
        return next(alarm.title for alarm in alarms(sick) if alarm.name == "exploding")

    assert title((0, 1.47e7), (600, 5.92e6)) == "The gradient is enormous: norm 5.92e+06 lately"
    assert title((0, 1e6), (600, 30.0)) == "The gradient was enormous for most of the run: norm 1e+06 by the median, 30 lately"
    assert title((0, 1e6), (600, 3e7)) == "The gradient explodes: norm 3e+07 lately, 1e+06 before"


def test_a_loss_that_goes_up_is_known_within_three_lines_and_long_before_any_validation() -> None:
    lines = [
        {"step": step, "phase": "transformer", "loss": loss, "grad_norm": 50.0, "unigram_entropy": 4.0}
        for step, loss in ((1, 6.9), (10, 110.0), (20, 206.0), (30, 754.0))
    ]
    assert names(lines[:2]) == []  # one line may be a spike
    for seen in (3, 4):
        (alarm,) = alarms(lines[:seen])
        assert (alarm.name, alarm.step, alarm.serious, alarm.symptom) == ("diverged", 10, True, "nan")
    assert alarm.title == "The loss went up instead of down: 6.9 at first, 754 now"
    assert names([*lines, *({**lines[0], "step": 40 + 10 * at, "loss": 5.0} for at in range(2))]) == []  # it came back
    assert names([{**line, "loss": loss} for line, loss in zip(lines, (0.5, 3.0, 6.0, 9.0), strict=True)]) == []  # below chance before


@pytest.mark.parametrize("layers", [None, [], {"gradient_norm": 3}, {"update_ratio": {"1 space": None}}])
def test_layers_that_are_none_do_no_harm(layers: object) -> None:
    assert names([{**line, "layers": layers} for line in healthy()]) == []


def test_a_loss_that_is_too_good_for_its_validation_is_said() -> None:
    lines = [{**line, **({"validation_loss_half": 9.0} if "validation_accuracy" in line else {})} for line in healthy()]
    assert names(lines) == ["too_good"]


def test_every_alarm_leads_to_a_symptom() -> None:
    assert set(SYMPTOM_OF.values()) <= set(SYMPTOMS)


def test_what_ended_the_run_counts() -> None:
    assert names(healthy(), "the loss is not finite at step 7") == ["not_a_number"]


def test_skipped_steps_are_said() -> None:
    lines = [*healthy(), {"step": 1010, "phase": "transformer", "loss": 2.0, "grad_norm": 1.0, "skipped_steps": 3}]
    assert [alarm.title for alarm in alarms(lines)] == ["A loss or gradient was not finite; 3 steps were skipped because of it"]


def skipping(counts: dict[int, int]) -> list[dict[str, object]]:
    """The healthy run under run.on_nonfinite=skip, with so many steps skipped from that step on."""
    lines = []
    for line in healthy():
        count = max((count for start, count in counts.items() if line["step"] >= start), default=0)  # type: ignore[operator]
        lines.append({**line, "skipped_steps": count} if "loss" in line else line)
    return lines


def only(lines: list[dict[str, object]], error: str = "") -> Alarm:
    (alarm,) = alarms(lines, error)
    return alarm


def test_one_step_that_was_skipped_long_ago_is_a_remark() -> None:
    alarm = only(skipping({300: 1}))
    assert (alarm.name, alarm.serious, alarm.step) == ("not_a_number", False, 300)
    assert alarm.title == "A loss or gradient was not finite; 1 step was skipped because of it"
    assert alarm.advice == "So few do no harm: the weights were left as they were. Should there be many, lower recipe.learning_rate."


def test_a_skipped_step_that_was_logged_itself_is_a_remark_as_well() -> None:
    lines = [{**line, "grad_norm": None, "loss": None} if line["step"] == 300 and "loss" in line else line for line in skipping({300: 1})]
    assert not only(lines).serious


def test_steps_that_are_skipped_often_are_serious_until_they_are_rare_again() -> None:
    assert not only(skipping({900: 2})).serious, "2 of the newest 200 steps are no more than a hundredth"
    assert only(skipping({900: 3})).serious
    assert not only(skipping({300: 500, 900: 501})).serious, "they were many once, and are rare lately"
    assert only(skipping({20: 1})[:5]).serious, "1 of the first 50"


def test_each_phase_counts_its_own_skipped_steps() -> None:
    first = [{"step": step, "phase": "tokenizer", "loss": 0.1, "grad_norm": 1.0, "skipped_steps": 40} for step in (100, 200)]
    assert only(first).serious
    alarm = only([*first, *skipping({})])
    assert (alarm.serious, alarm.step) == (False, 100)


def test_a_run_that_ended_because_of_it_is_lost_however_few_were_skipped() -> None:
    assert only(changed(900, loss=None)).serious
    assert only(skipping({300: 1}), "the loss of step 990 is not finite, nor were the 50 steps up to now").serious


def test_few_skipped_steps_do_not_blame_the_learning_rate() -> None:
    def blamed(lines: list[dict[str, object]]) -> bool:
        return learning_rate_high(Evidence(Config(), alarms={alarm.name: alarm for alarm in alarms(lines)})) is not None

    assert not blamed(skipping({300: 1}))
    assert blamed(skipping({300: 1, 900: 9}))
    assert blamed([{**line, "grad_norm": 1e6} if "loss" in line else line for line in skipping({300: 1})]), "another alarm still does"


@pytest.mark.parametrize(
    "lines",
    [
        changed(900, loss=None),
        changed(700, grad_norm=60.0),
        with_layers(300, update_ratio={"1 space": 1e-3, "2 mlp": 0.9}),
        with_layers(300, activation_rms={"1": 5.0, "2": 2e5}),
    ],
)
def test_an_alarm_names_no_rate_of_its_own_and_leads_to_where_it_is_measured(lines: list[dict[str, object]]) -> None:
    alarm = alarms(lines)[0]
    assert "recipe.learning_rate" in alarm.advice
    assert "Find the cause" in alarm.advice
    assert "third" not in alarm.advice
    assert alarm.change == {}


def by_heart() -> list[dict[str, object]]:
    return changed(700, validation_loss_full=3.4)


def collapsed() -> list[dict[str, object]]:
    return [{"step": 500, "phase": "tokenizer", "loss": 0.01, "codebook_use": 0.002, "perplexity": 2.1}]


@pytest.mark.parametrize(
    ("lines", "name", "key", "others", "own"),
    [
        (changed(900, loss=None), "not_a_number", "recipe.gradient_clip", 0.0, 1.0),
        (changed(900, loss=None), "not_a_number", "recipe.gradient_clip", 30.0, 0.5),
        (changed(700, grad_norm=60.0), "exploding", "recipe.gradient_clip", 0.0, 1.0),
        (changed(700, grad_norm=60.0), "exploding", "model.norm", "post", "pre"),
        (changed(700, grad_norm=1e-7), "vanishing", "model.norm", "post", "pre"),
        (with_layers(300, gradient_norm={"1 space": 0.0, "2 mlp": 0.8}), "blocked", "model.norm", "post", "pre"),
        (changed(100, validation_accuracy=0.6), "not_below_copying", "model.attention", "framewise", "full"),
        (changed(100, validation_accuracy=0.6), "not_below_copying", "recipe.objective_future", 0.0, 1.0),
        (changed(300, validation_loss_full=2.9), "stalled", "model.attention", "framewise", "full"),
        (by_heart(), "gap", "run.training_clips", 8, 0),
        (by_heart(), "gap", "model.dropout", 0.0, 0.2),
        (collapsed(), "dead_codes", "tokenizer.quantizer", "vq", "fsq"),
    ],
)
def test_nobody_is_advised_what_is_set_already(lines: list[dict[str, object]], name: str, key: str, others: object, own: object) -> None:
    def said(config: Config | None) -> Alarm:
        return next(alarm for alarm in alarms(lines, config=config) if alarm.name == name)

    followed = said(Config().replace({key: own}))
    assert key in said(None).advice, "where the settings are not known"
    assert key in said(Config().replace({key: others, "recipe.objective_joint": 1.0})).advice
    assert key not in followed.advice
    assert key not in followed.change


def test_advice_without_settings_says_for_whom_it_is() -> None:
    advice = alarms(changed(700, grad_norm=60.0))[0].advice
    assert advice.startswith("Lower recipe.learning_rate, and set recipe.gradient_clip=1 where it is not; with model.norm=post try pre. ")
    assert alarms(changed(700, grad_norm=60.0), config=Config())[0].advice.startswith("Lower recipe.learning_rate. Find the cause")


@pytest.mark.parametrize(("checks", "rate"), [({}, 1.0e-4), ({"suggested_peak": 7e-5}, 7e-5), ({"suggested_peak": 2e-3}, 1e-4)])
def test_beside_an_alarm_the_measured_rate_is_suggested_where_it_is_lower(checks: dict[str, float], rate: float) -> None:
    seen = {"rate_range": Check(name="rate_range", title="", status="pass", details=checks)} if checks else {}
    config = Config().replace({"recipe.learning_rate": 3e-4})
    found = learning_rate_high(Evidence(config, seen, {"large_steps": Alarm("large_steps", "Steps are too large", "", 300)}))
    assert found is not None
    assert found.change == {"recipe.learning_rate": pytest.approx(rate)}


@pytest.mark.parametrize(("use", "perplexity", "dead"), [(0.002, 2.1, True), (0.9, 400.0, False), (0.03, 25.0, False), (0.2, 3.0, True)])
def test_dead_codes_are_seen_in_the_tokenizers_own_phase(use: float, perplexity: float, dead: bool) -> None:
    line = {"step": 500, "phase": "tokenizer", "loss": 0.01, "codebook_use": use, "perplexity": perplexity}
    assert names([line]) == (["dead_codes"] if dead else [])
    assert names([{**line, "validation_codebook_use": None, "validation_perplexity": None}]) == (["dead_codes"] if dead else [])


def test_a_tokenizer_that_ends_with_grey_mush_is_no_ground_to_learn_on() -> None:
    line = {"step": 60, "phase": "tokenizer", "validation_reconstruction_mse": 125.0, "validation_mean_image_mse": 53.8}
    after = {"step": 1, "phase": "transformer", "loss": 6.0}
    assert names([line]) == []  # it is still being trained
    (alarm,) = alarms([line, after])
    assert (alarm.name, alarm.serious, alarm.symptom) == ("redraws_poorly", True, "blurry")
    assert "125" in alarm.title
    assert "53.8" in alarm.title
    assert names([{**line, "validation_reconstruction_mse": 20.0}, after]) == []
    assert names([{**line, "validation_mean_image_mse": 0.0, "validation_reconstruction_mse": 0.0}, after]) == []


def test_serious_alarms_come_first() -> None:
    lines = [
        {**line, **({"validation_loss_full": 2.9} if "validation_accuracy" in line and line["step"] >= 300 else {})}  # type: ignore[operator]
        for line in changed(700, grad_norm=60.0)
    ]
    assert names(lines)[0] == "exploding"
    assert "stalled" in names(lines)


def test_nobody_is_told_to_train_longer_beside_a_serious_alarm() -> None:
    ahead = [{**line, **({"validation_accuracy": 0.1} if "validation_accuracy" in line else {})} for line in healthy()]
    assert names(ahead) == ["not_below_copying"]
    assert "train longer" in alarms(ahead)[0].advice
    lost = [{**line, **({"layers": {"activation_rms": {"1": 1e6}}} if "loss" in line else {})} for line in ahead]
    assert names(lost) == ["activations"]
    worse = [{**line, **({"validation_loss_full": 399.0} if "validation_accuracy" in line else {})} for line in ahead]
    assert names(worse) == ["not_below_entropy", "stalled"]
