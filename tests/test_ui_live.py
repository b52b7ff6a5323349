"""What the live view answers beside curves: alarms, layers, bundled examples; all of it public, so nothing asked may hurt."""

from typing import Any

import gradio as gr
import pytest
from tiny_checkpoint import tiny_config, write_tiny_checkpoint

from vidapp.run_queue import enqueue
from vidapp.runs import RunWriter, open_run
from vidapp.ui import live, new_run, sick_compare, train
from vidapp.ui.live import Watcher
from vidapp.ui.run_table import Rows


def look(step: int, **figures: Any) -> dict[str, Any]:
    layers = {"gradient_norm": {"tokens": 1.0, "1 mlp": 0.5}, "update_ratio": {"tokens": 1e-3}, "activation_rms": {"1": 2.0}}
    return {"step": step, "phase": "transformer", "loss": 4.5, "grad_norm": 1.0, "unigram_entropy": 4.0, "layers": layers, **figures}


@pytest.fixture
def sick_run() -> str:
    with RunWriter.create("sick", tiny_config()) as run:
        for step in range(10, 600, 10):
            run.log(look(step))
    return "sick"


def test_a_run_is_answered_with_its_alarms_and_where_to_look(sick_run: str) -> None:
    alarms = Watcher().answer({"run": sick_run})["alarms"]
    assert [(alarm["name"], alarm["symptom"]) for alarm in alarms] == [("not_below_entropy", "loss-flat"), ("flat", "loss-flat")]
    assert all(alarm["advice"] for alarm in alarms)


def test_a_run_is_not_advised_what_it_has_set() -> None:
    with RunWriter.create("wild", tiny_config()) as run:
        for step in range(10, 400, 10):
            run.log(look(step, grad_norm=60.0 if step > 200 else 1.0))
    advice = {alarm["name"]: alarm["advice"] for alarm in Watcher().answer({"run": "wild"})["alarms"]}["exploding"]
    assert advice.startswith("Lower recipe.learning_rate. Find the cause")


def test_memory_is_said_to_be_that_of_the_whole_process_on_a_cpu_and_of_its_tensors_on_a_gpu() -> None:
    with RunWriter.create("run", tiny_config()) as run:
        run.log(look(10, memory_mib=1800.0))
    help = {name: help for name, _, help in Watcher().answer({"run": "run"})["figures"]}["Memory"]
    assert "since the training began or went on" in help
    assert "On a GPU: what tensors took there. On a CPU: all of the process that trains" in help


def test_layers_come_when_asked_for_and_not_twice(sick_run: str) -> None:
    Watcher().answer({"run": sick_run})
    found = live.layers_of({"run": sick_run})
    assert found["steps"] == list(range(10, 600, 10))
    assert list(found["figures"]["gradient_norm"]) == ["tokens", "1 mlp"]
    assert live.layers_of({"run": sick_run, "looks": found["looks"]}) == {}


def test_without_a_run_the_healthy_example_is_shown_and_said_to_be_one() -> None:
    assert train.first_shown() == "example:healthy"
    answer = Watcher().answer({"run": "example:healthy"})
    assert answer["banner"].startswith("Bundled example: A healthy run.")
    assert live.EMPTY in answer["banner"]
    assert answer["verdict"][0] == "good"
    assert answer["alarms"] == []
    assert answer["curves"]["transformer/loss"][0][0] == 1


def test_with_a_run_of_ones_own_it_is_shown_first_and_the_example_only_when_chosen(sick_run: str) -> None:
    assert train.first_shown() == sick_run
    assert [name for _, name in train.run_choices()][:2] == [sick_run, "example:healthy"]
    assert live.EMPTY not in Watcher().answer({"run": "example:healthy"})["banner"]


def test_a_page_that_opens_shows_ones_newest_run_whatever_there_was_when_the_app_started(sick_run: str) -> None:
    with gr.Blocks():
        tab = train.build(gr.BrowserState(None))
    assert tab.open("example:healthy", gr.Request(query_params={}))[tab.picker].constructor_args["value"] == sick_run


def test_when_the_run_that_is_shown_has_vanished_the_first_one_takes_its_place_and_nothing_is_said_of_it(sick_run: str) -> None:
    with gr.Blocks():
        tab = train.build(gr.BrowserState(None))
    assert tab.new
    told = new_run.started(tab.new, "gone", waits=True)[tab.new.message]
    updates = tab.refresh("gone", told)
    assert updates[tab.picker].constructor_args["value"] == sick_run
    assert (updates[tab.message], updates[tab.new.message]) == ("", "")


@pytest.mark.parametrize("told", ["started", "Run name: use letters, digits, dots and dashes", "", None])
def test_what_is_said_of_a_run_that_is_there_or_of_none_stays(sick_run: str, told: str | None) -> None:
    with gr.Blocks():
        tab = train.build(gr.BrowserState(None))
    assert tab.new
    if told == "started":
        told = new_run.started(tab.new, sick_run, waits=False)[tab.new.message]
    assert tab.new.message not in tab.refresh(sick_run, told)


def test_that_a_run_waits_is_said_as_long_as_it_does(sick_run: str) -> None:
    with gr.Blocks():
        tab = train.build(gr.BrowserState(None))
    assert tab.new
    enqueue(tiny_config(), "next")
    told = new_run.started(tab.new, "next", waits=True)[tab.new.message]
    assert tab.new.message not in tab.refresh(sick_run, told)
    open_run("next").send("stop")
    assert tab.refresh(sick_run, told)[tab.new.message] == ""


def test_of_a_run_that_has_vanished_nothing_is_said_beside_another_one(sick_run: str) -> None:
    with gr.Blocks():
        tab = train.build(gr.BrowserState(None))
    assert tab.new
    updates = tab.refresh(sick_run, new_run.started(tab.new, "gone", waits=False)[tab.new.message])
    assert updates[tab.new.message] == ""
    assert "value" not in updates[tab.picker].constructor_args


def test_a_strip_is_news_also_when_the_slider_reaches_back_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "STRIPS", 2)
    known: list[Any] = [0]
    with RunWriter.create("drawn", tiny_config()) as run:
        for step in (1, 2, 3, 4):
            run.save_sample(step, "strip.png", lambda path: path.touch())
            found = Watcher().answer({"run": "drawn", "strips": known})["strips"]
            assert found[-1] == f"step-{step:08d}-strip.png"
            known = [len(found), found[-1]]
            assert Watcher().answer({"run": "drawn", "strips": known})["strips"] is None


def test_nobody_steers_an_example() -> None:
    with pytest.raises(ValueError, match="only there to be looked at"):
        train.chosen_run("example:healthy")


def test_the_table_of_runs_is_never_empty_and_lists_only_ones_own_where_there_are_any() -> None:
    rows = Rows().answer("No run yet.")
    assert next(row["label"] for row in rows["rows"]) == "Bundled example: A healthy run"
    assert rows["words"].startswith("No run yet.")
    with RunWriter.create("own", tiny_config()):
        pass
    assert [row["name"] for row in Rows().answer("No run yet.")["rows"]] == ["own"]


def test_the_curves_of_a_sick_run_come_with_what_to_see() -> None:
    found = live.sick_curves({"name": "rate-too-high"})
    assert found["title"] == "Learning rate too high"
    assert {"transformer/loss", "transformer/validation_loss_full", "transformer/grad_norm"} <= set(found["curves"])


@pytest.mark.parametrize(
    "asked", [None, [], {}, {"run": 3}, {"run": "../.."}, {"run": "example:../healthy"}, {"name": "../healthy"}, {"name": None}]
)
def test_what_a_page_makes_up_gets_nothing(asked: Any) -> None:
    assert live.layers_of(asked) == {}
    assert live.sick_curves(asked) == {}
    assert live.strip_named(asked) == {}


@pytest.mark.parametrize(("own", "theirs", "times"), [(400.0, 250.0, 1.0), (2500.0, 250.0, 10.0), (0.0, 250.0, 1.0)])
def test_an_example_is_stretched_only_under_a_much_longer_run(own: float, theirs: float, times: float) -> None:
    curves = [{"loss": ([1.0, last], [2.0, 1.0])} if last else {} for last in (own, theirs)]
    assert sick_compare.stretch(*curves) == times


def test_a_verdict_is_not_green_beside_a_serious_alarm() -> None:
    answer = Watcher().answer({"run": "example:rate-too-high"})
    assert [alarm["name"] for alarm in answer["alarms"] if alarm["serious"]] == ["activations", "empty_samples"]
    assert answer["verdict"][0] == "info"


def test_a_finished_run_can_be_trained_for_twice_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    with RunWriter.create("done", tiny_config(run__steps=10)) as run:
        write_tiny_checkpoint(run.checkpoint_path(10))
        run.status("finished", 10, 10)
    with gr.Blocks():
        tab = train.build(gr.BrowserState())
    assert tab.steering
    button = tab.buttons("done")[tab.steering.pause]
    assert (button.value, button.interactive) == ("Train twice as long", True)
    asked: list[tuple[str, int]] = []
    monkeypatch.setattr(train.jobs, "start_training", lambda config, name, **_: asked.append((name, config.run.steps)))
    told = tab.pause_or_continue("done")[tab.message]
    assert asked == [("done", 20)]
    assert "Run done goes on from its newest checkpoint, to step 20." in told
