"""What is read off the metrics of a planned run: its newest figures, and how long it trained."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny

from vidapp.experiment import NEW, Planned, elapsed, look_up, newest_mean, seconds_per_step, seconds_until
from vidapp.metric_lines import newest
from vidapp.runs import RunWriter, list_runs

PLANNED = Planned(name="planned", title="a plan", config=tiny())


def timed(*steps_and_seconds: tuple[int, float | None]) -> list[dict[str, object]]:
    return [{"step": step} | ({"seconds_per_step": seconds} if seconds is not None else {}) for step, seconds in steps_and_seconds]


def test_the_newest_finite_value_counts() -> None:
    lines = [{"loss": 3.0}, {"loss": 2.0}, {"loss": None}, {"other": 1.0}, {"loss": float("nan")}]
    assert newest(lines, "loss") == 2.0
    assert newest(lines, "missing") is None
    assert newest_mean(lines, "loss", 2) == 2.5
    assert newest_mean(lines, "loss", 3) is None, "a mean of fewer values than asked for would be another figure"


def test_time_is_seconds_a_step_times_steps() -> None:
    lines = timed((1, None), (10, 2.0), (20, 1.0), (20, None))
    assert elapsed(lines) == [(10, 20.0), (20, 30.0)]
    assert [seconds_until(lines, step) for step in (0, 5, 10, 15, 20)] == [0.0, 10.0, 20.0, 25.0, 30.0]
    assert seconds_until(lines, 21) is None


def test_a_line_after_a_pause_takes_the_time_of_the_next() -> None:
    assert elapsed(timed((10, 1.0), (20, None), (30, 2.0))) == [(10, 10.0), (30, 50.0)]
    assert seconds_until(timed((10, 1.0), (20, 2.0), (22, None)), 22) == pytest.approx(30 + 2 * 1.5), "at the median where none follows"


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=20))
def test_time_grows_with_every_step(seconds: list[float]) -> None:
    lines = timed(*((10 * (place + 1), value) for place, value in enumerate(seconds)))
    found = [seconds_until(lines, step) for step in range(10 * len(seconds) + 1)]
    assert found == sorted(found)
    assert found[-1] == pytest.approx(10 * sum(seconds))
    assert min(seconds) <= (seconds_per_step(lines) or 0) <= max(seconds)


def test_without_a_run_nothing_is_begun() -> None:
    found = look_up(PLANNED, {})
    assert (found.state, found.begun, found.finished, found.total) == (NEW, False, False, PLANNED.config.run.steps)


def test_a_run_of_the_name_is_shown_with_the_settings_in_which_it_differs() -> None:
    with RunWriter.create("planned", tiny(model__width=32, run__threads=2)) as run:
        run.log({"step": 9, "phase": "tokenizer", "loss": 9.0})
        run.log({"step": 1, "phase": "transformer", "loss": 1.0})
        run.status("running", 1, 6)
    found = look_up(PLANNED, {run.name: run for run in list_runs()})
    assert found.begun
    assert found.differs == {"model.width": (16, 32)}, "on how many threads it was trained makes it no other experiment"
    assert [line["loss"] for line in found.lines] == [1.0], "the tokenizer's lines are not the transformer's"
