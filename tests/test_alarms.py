"""Alarms from metrics alone: each sickness is named, and a healthy run raises none."""

import math

import pytest

from vidapp.alarms import alarms


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


def test_what_ended_the_run_counts() -> None:
    assert names(healthy(), "the loss is not finite at step 7") == ["not_a_number"]


def test_skipped_steps_are_said() -> None:
    lines = [*healthy(), {"step": 1010, "phase": "transformer", "loss": 2.0, "grad_norm": 1.0, "skipped_steps": 3}]
    assert [alarm.title for alarm in alarms(lines)] == ["A loss or gradient was not finite; 3 steps were skipped because of it"]


def test_a_lower_rate_than_the_run_had_is_suggested() -> None:
    (alarm,) = [alarm for alarm in alarms(changed(700, grad_norm=60.0)) if alarm.name == "exploding"]
    assert alarm.change == {"recipe.learning_rate": pytest.approx(1e-4)}


@pytest.mark.parametrize(("use", "perplexity", "dead"), [(0.002, 2.1, True), (0.9, 400.0, False), (0.03, 25.0, False), (0.2, 3.0, True)])
def test_dead_codes_are_seen_in_the_tokenizers_own_phase(use: float, perplexity: float, dead: bool) -> None:
    line = {"step": 500, "phase": "tokenizer", "loss": 0.01, "codebook_use": use, "perplexity": perplexity}
    assert names([line]) == (["dead_codes"] if dead else [])


def test_serious_alarms_come_first() -> None:
    lines = [{**line, **({"validation_accuracy": 0.1} if "validation_accuracy" in line else {})} for line in changed(700, grad_norm=60.0)]
    assert names(lines) == ["exploding", "not_below_copying"]
