"""Does it learn? in words; and the strip that says what trains now."""

import json
from typing import Any

import pytest
from tiny_checkpoint import tiny_config

from vidapp.runs import RunWriter, open_run
from vidapp.ui.history import History
from vidapp.ui.learning import Learning, learning
from vidapp.ui.schedule_preview import OWN_PAST, POINTS, curves, schedule_figure
from vidapp.ui.strip import Live, stop_run


def verdict(losses: list[float], **known: float) -> Learning:
    history = History()
    history.take([{"step": 10 * at, "phase": "transformer", "validation_loss_full": loss, **known} for at, loss in enumerate(losses)])
    return learning(history, "transformer", validate_every=50, live=True)


def test_before_a_validation_nothing_is_claimed() -> None:
    assert "first validation comes after 50 steps" in verdict([]).text


def test_a_loss_at_the_unigram_entropy_is_nothing_learnt() -> None:
    found = verdict([3.0], unigram_entropy=3.0)
    assert found.tone == "bad"
    assert "not learnt anything yet" in found.text


def test_copying_has_to_be_beaten_too() -> None:
    known = {"unigram_entropy": 4.0, "copy_entropy": 1.9}
    assert verdict([2.5], **known).tone == "info"
    assert "copying the frame before gives" in verdict([2.5], **known).text
    assert "but hardly below the 1.9 of copying the frame before" in verdict([1.88], **known).text
    assert verdict([1.0], **known).tone == "good"


def test_who_gets_fewer_tokens_right_than_copying_does_is_not_said_to_learn() -> None:
    known = {"unigram_entropy": 4.0, "copy_entropy": 0.9, "validation_copy_accuracy": 0.899}
    found = verdict([0.602], validation_accuracy=0.869, **known)
    assert found.tone == "info"
    assert "87% of the tokens right, and copying the frame before 90%" in found.text
    assert verdict([0.602], validation_accuracy=0.91, **known).tone == "good"


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ([4, 3, 2, 1], "still falls"),
        ([1, 1, 1, 1], "hardly falls"),
        ([2, 1, 2, 2, 2, 2], "was best at step 10"),
        ([2, 1], "better than"),
        ([2.378, 2.199, 2.136, 2.191], "was best at step 20 (2.14)."),
        ([3, 2, 1.5, 1.51], "hardly falls"),
    ],
)
def test_the_trend_is_said(losses: list[float], said: str) -> None:
    assert said in verdict(losses, unigram_entropy=9.0).text


def stepwise(losses: list[float], right: list[float], **known: float) -> Learning:
    history = History()
    lines = [
        {"validation_loss_full": loss, "validation_changed_accuracy": share, **known} for loss, share in zip(losses, right, strict=True)
    ]
    history.take([{"step": 10 * at, "phase": "transformer", **line} for at, line in enumerate(lines)])
    return learning(history, "transformer", validate_every=50, live=True)


def test_a_flat_loss_with_no_motion_learnt_is_not_called_learning() -> None:
    found = stepwise([3.09, 2.932, 2.939, 2.909], [0.085, 0.087, 0.082, 0.082], unigram_entropy=3.57)
    assert found.tone == "info"
    assert "does not get on" in found.text
    assert stepwise([2.56, 2.55, 2.542], [0.098, 0.102, 0.104], unigram_entropy=3.57).tone == "good"


def test_empty_samples_are_not_called_learning() -> None:
    found = stepwise([3.0, 2.5, 2.0], [0.1, 0.2, 0.3], unigram_entropy=3.57, sample_sharpness=0.01)
    assert found.tone == "info"
    assert "almost empty" in found.text


def test_the_preview_begins_and_ends_with_the_run() -> None:
    found = curves(tiny_config(run__steps=1000, recipe__curriculum="6,12"))
    assert (found["step"][0], found["step"][-1]) == (0, 999)
    assert len(found["step"]) <= 2 * POINTS
    assert (found["frames"][0], found["frames"][-1]) == (6, 12)
    assert max(found["learning rate"]) == pytest.approx(2e-3, rel=0.01)


def test_the_preview_shows_own_past_where_there_is_any() -> None:
    assert OWN_PAST not in curves(tiny_config())
    found = curves(tiny_config(run__steps=100, recipe__own_past=0.5, recipe__own_past_from=0.6))
    assert {share for step, share in zip(found["step"], found[OWN_PAST], strict=True) if step < 59} == {0.0}
    assert {share for step, share in zip(found["step"], found[OWN_PAST], strict=True) if step > 60} == {0.5}
    names = {trace.name for trace in schedule_figure(tiny_config(recipe__own_past=0.5)).data}
    assert OWN_PAST in names


def test_the_strip_says_what_trains_in_a_few_hundred_bytes() -> None:
    assert Live().glance()["run"] == ""
    with RunWriter.create("mine", tiny_config(recipe__precision="float32")) as run:
        run.log({"step": 5, "phase": "transformer", "validation_loss_full": 2.0, "unigram_entropy": 3.5})
        run.status("running", 5, 20, phase="transformer")
        found = Live().glance()
        assert (found["run"], found["share"], found["step"]) == ("mine", 0.25, "5 of 20")
        assert found["score"] == "validation loss 2, baseline 3.5"
        assert found["where"] == "float32"
        assert len(json.dumps(found)) < 500
        answer = stop_run({"run": "mine"})
        assert answer["stops"]
        assert "stops after the step" in answer["said"]
        assert run.poll_control().stop
    assert open_run("mine").status().state != "running"


def test_the_strip_says_where_it_trains_as_soon_as_the_trainer_does() -> None:
    with RunWriter.create("placed", tiny_config(recipe__precision="auto")) as run:
        run.status("running", 1, 20, phase="tokenizer", device="cuda", precision="bf16")
        assert Live().glance()["where"] == "cuda, bf16"


@pytest.mark.parametrize("request_", [None, [], {}, {"run": "../../etc"}, {"run": 5}, {"run": "nobody"}])
def test_stop_answers_whatever_is_sent(request_: Any) -> None:
    answer = stop_run(request_)
    assert answer["said"]
    assert not answer["stops"]
