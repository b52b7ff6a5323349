"""Curves of a run as the page draws them: nothing twice, nothing lost that matters, never too much."""

import itertools
import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from vidapp.run_reader import RunReader
from vidapp.ui import history
from vidapp.ui.history import Curve, Histories, History


def training_line(step: int, loss: float, phase: str = "transformer") -> dict[str, object]:
    return {"step": step, "phase": phase, "attempt": 1, "time_s": 1000.0 + step, "loss": loss, "grad_norm": 1.0}


def run_with(tmp_path: Path, lines: list[dict[str, object]]) -> RunReader:
    folder = tmp_path / "run"
    folder.mkdir(exist_ok=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return RunReader(folder)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200))
def test_a_thinned_curve_keeps_its_extremes_and_its_order(values: list[float]) -> None:
    curve = Curve()
    for step, value in enumerate(values):
        curve.add(step, value, step + 1)
    curve.thin()
    assert len(curve.values) <= max(2, len(values) // 2 + 2)
    assert min(curve.values) == min(values)
    assert max(curve.values) == max(values)
    assert curve.steps == sorted(curve.steps)
    assert curve.serials == sorted(curve.serials)


def test_the_pace_is_of_the_newest_stretch_alone() -> None:
    """A resume, or a pause, is no slow step."""
    followed = History()
    followed.take([training_line(step, 1.0) for step in (1, 2, 3)])
    followed.take([{**training_line(4, 1.0), "attempt": 2, "time_s": 9000.0}])
    assert followed.speed("transformer") is None
    followed.take([{**training_line(step, 1.0), "attempt": 2, "time_s": 8996.0 + step, "seconds_per_step": 1.0} for step in (5, 6)])
    assert followed.speed("transformer") == 1.0
    followed.take([{**training_line(7, 1.0), "attempt": 2, "time_s": 20000.0}])
    assert followed.speed("transformer") is None


def test_a_page_gets_every_point_once() -> None:
    followed = History()
    followed.take([training_line(step, step) for step in range(1, 6)])
    first = followed.since(0, 0)
    assert first["reset"]
    assert first["curves"]["transformer/loss"] == [[1, 2, 3, 4, 5], [1, 2, 3, 4, 5]]
    followed.take([training_line(6, 6.5)])
    second = followed.since(first["epoch"], first["serial"])
    assert not second["reset"]
    assert second["curves"]["transformer/loss"] == [[6], [6.5]]
    assert followed.since(second["epoch"], second["serial"])["curves"] == {}


def test_a_long_run_stays_bounded_and_says_that_points_are_gone() -> None:
    followed = History()
    followed.take([training_line(step, 1.0) for step in range(10)])
    before = followed.epoch
    followed.take([training_line(step, 5.0 if step == 777 else 1.0) for step in range(10, 3 * history.POINTS)])
    assert followed.epoch != before
    curve = followed.curves["transformer/loss"]
    assert len(curve.steps) <= history.POINTS
    assert max(curve.values) == 5.0


def test_what_is_no_finite_number_is_left_out() -> None:
    followed = History()
    followed.take([{**training_line(1, float("nan")), "grad_norm": None}, {"step": "2", "loss": 1.0}, {"loss": 1.0}, training_line(3, 2.0)])
    assert followed.since(0, 0)["curves"]["transformer/loss"] == [[3], [2.0]]


def test_a_line_of_a_phase_that_is_none_costs_no_other_line() -> None:
    history = History()
    history.take([{"step": 1, "phase": phase} for phase in ([], {}, 3, None, "else")] + [training_line(2, 3.0)])
    assert history.since(0, 0)["serial"] == 1


def test_phases_are_curves_of_their_own() -> None:
    followed = History()
    followed.take([training_line(5, 0.1, "tokenizer"), training_line(1, 7.0)])
    assert followed.since(0, 0)["curves"]["tokenizer/loss"] == [[5], [0.1]]
    assert followed.since(0, 0)["curves"]["transformer/loss"] == [[1], [7.0]]


def test_the_speed_is_that_of_the_newest_lines() -> None:
    followed = History()
    assert followed.speed("transformer") is None
    followed.take([training_line(step, 1.0) for step in (10, 20, 30)])
    assert followed.speed("transformer") == 1.0  # training_line is a step a second
    assert followed.speed("tokenizer") is None


def test_a_run_is_read_on_from_where_it_was_left(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(history, "REFRESH_SECONDS", 0.0)
    histories = Histories()
    reader = run_with(tmp_path, [training_line(1, 9.0)])
    assert histories.follow(reader).serial == 1
    with open(reader.path / "metrics.jsonl", "a") as file:
        file.write(json.dumps(training_line(2, 8.0)) + '\n{"step": 3, "lo')
    followed = histories.follow(reader)
    assert followed.serial == 2
    assert followed.since(0, 0)["curves"]["transformer/loss"] == [[1, 2], [9.0, 8.0]]


def test_a_file_that_was_cut_by_a_resume_starts_the_curves_over(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(history, "REFRESH_SECONDS", 0.0)
    histories = Histories()
    reader = run_with(tmp_path, [training_line(step, 9.0) for step in range(1, 9)])
    seen = histories.follow(reader).since(0, 0)
    run_with(tmp_path, [training_line(1, 9.0), training_line(2, 3.0)])
    answer = histories.follow(reader).since(seen["epoch"], seen["serial"])
    assert answer["reset"]
    assert answer["curves"]["transformer/loss"] == [[1, 2], [9.0, 3.0]]


def test_a_long_file_comes_in_parts(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(history, "REFRESH_SECONDS", 1000.0)
    reader = run_with(tmp_path, [training_line(step, 9.0) for step in range(1, 101)])
    followed = History()
    calls = 0
    while not followed.serial or followed.behind:
        history.read_on(followed, reader, most_bytes=1000)
        calls += 1
    assert followed.serial == 100
    assert calls > 5


def test_only_so_many_runs_are_held(tmp_path: Path) -> None:
    histories = Histories(held=2)
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        histories.follow(RunReader(tmp_path / name))
    assert [path.name for path in histories.kept] == ["b", "c"]


def look(step: int, gradient: float = 1.0) -> dict[str, object]:
    return {**training_line(step, 2.0), "layers": {"gradient_norm": {"tokens": gradient, "1 mlp": 2.0}, "activation_rms": {"1": 0.5}}}


def test_layers_become_rows_over_the_logged_steps() -> None:
    followed = History()
    followed.take([look(10), look(20, float("nan")), training_line(30, 2.0)])
    assert followed.heat.to_dict() == {
        "steps": [10, 20],
        "figures": {"gradient_norm": {"tokens": [1.0, None], "1 mlp": [2.0, 2.0]}, "activation_rms": {"1": [0.5, 0.5]}},
    }


def test_a_long_run_keeps_evenly_spaced_columns_of_its_layers() -> None:
    followed = History()
    followed.take([look(step) for step in range(10, 10_000, 10)])
    steps = followed.heat.steps
    assert len(steps) <= history.COLUMNS
    assert len({after - before for before, after in itertools.pairwise(steps)}) == 1
    assert steps[0] == 10
    assert steps[-1] > 9000


def test_alarms_of_a_long_run_come_from_a_bounded_number_of_lines() -> None:
    followed = History()
    steps = range(10, 10 * 3 * history.ALARM_LINES, 10)
    followed.take([{**look(step, 0.0 if step > steps[-20] else 1.0), "unigram_entropy": 4.0, "loss": 100 / step} for step in steps])
    assert len(followed.lines) <= history.ALARM_LINES
    assert sum("layers" in line for line in followed.lines) <= 2 * history.LOOKS
    assert [alarm.name for alarm in followed.alarms()] == ["blocked"]
