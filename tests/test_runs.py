"""The run folder: names, status, commands, exact cuts, complete pairs, and what a crash or a full disk may not do."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidapp import files, run_folder, run_reader, run_writer
from vidapp.cli import main
from vidapp.config import Config
from vidapp.files import read_json, write_json
from vidapp.presets import preset
from vidapp.run_queue import queued
from vidapp.run_reader import Cursor
from vidapp.runs import RunReader, RunWriter, list_runs, open_run, runs_folder

ROOT = Path(__file__).parents[1]


@pytest.fixture
def run() -> RunWriter:
    return RunWriter.create("a", preset("debug"))


def reader_of(run: RunWriter) -> RunReader:
    return open_run(run.name)


def save(run: RunWriter, step: int, phase: str = "transformer") -> bool:
    return run.commit(
        step,
        checkpoint=lambda path: path.write_bytes(b"checkpoint %d" % step),
        tensors=lambda path: path.write_bytes(b"tensors %d" % step),
        state={"step": step},
        phase=phase,
    )


def full_disk(path: Path) -> None:
    raise OSError(28, "No space left on device")


# Making a run


def test_a_new_run_is_a_folder_that_reads_back_its_config_and_state(run: RunWriter) -> None:
    assert run.path == runs_folder() / "a"
    assert not run.resumed
    reader = reader_of(run)
    assert reader.config() == preset("debug")
    assert (reader.status().state, reader.status().step, reader.status().total, reader.status().attempt) == ("starting", 0, 1000, 1)


def test_a_name_that_exists_is_refused_and_left_alone(run: RunWriter) -> None:
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match="run 'a' exists already .*: choose another name, or resume it"):
        RunWriter.create("a", preset("tiny"))
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", ["../a", "", ".a", "a/b", "x" * 65])
def test_unsafe_names_are_refused_for_every_way_in(name: str) -> None:
    for way_in in (lambda: RunWriter.create(name, preset("debug")), lambda: RunWriter.resume(name), lambda: open_run(name)):
        with pytest.raises(ValueError, match="not usable"):
            way_in()


def test_a_new_run_is_not_called_like_an_option() -> None:
    with pytest.raises(ValueError, match="'-dash' begins with '-', which a shell takes for an option"):
        RunWriter.create("-dash", preset("debug"))


def test_runs_without_a_name_get_readable_names_of_their_own() -> None:
    names = [RunWriter.create(None, preset("debug")).name for _ in range(5)]
    assert len(set(names)) == 5
    assert all(name.startswith("debug-moving-mnist-20") for name in names)
    own = preset("debug").replace({"model.width": 64, "data.source": "/some/where/My clips (2).zip"})
    assert RunWriter.create(None, own).name.startswith("64x2-My-clips-2-20")


def test_a_runs_folder_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "runs"):
        monkeypatch.setenv("VIDAPP_RUNS", str(folder))
        with pytest.raises(ValueError, match=f"{re.escape(str(folder))}.*VIDAPP_RUNS"):
            RunWriter.create("a", preset("debug"))
    assert list_runs() == []


def test_a_full_disk_at_the_start_is_one_sentence_and_leaves_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(run_writer, "write_text", lambda path, text: full_disk(path))
        with pytest.raises(ValueError, match="cannot write the run folder .*: No space left on device"):
            RunWriter.create("a", preset("debug"))
    assert list_runs() == []
    RunWriter.create("a", preset("debug"))


def test_runs_are_listed_newest_first_and_other_folders_are_not(tmp_path: Path) -> None:
    for name in ("b", "c", "a"):
        RunWriter.create(name, preset("debug"))
    (runs_folder() / "notes").mkdir()
    (runs_folder() / "file").write_text("")
    (runs_folder() / "away").symlink_to(tmp_path)
    assert [reader.name for reader in list_runs()] == ["a", "c", "b"]


def test_there_are_no_runs_before_the_first() -> None:
    assert list_runs() == []
    with pytest.raises(ValueError, match="there is no run 'a'"):
        open_run("a")


# Status


def test_a_status_is_written_at_once_when_the_state_changes_and_else_every_two_seconds(
    run: RunWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, clock = reader_of(run), [100.0]
    monkeypatch.setattr(run_writer.time, "monotonic", lambda: clock[0])
    run.status("running", 1, 1000)
    assert reader.status().state == "running"
    for step in range(2, 12):
        clock[0] += 0.19
        run.status("running", step, 1000)
    assert reader.status().step == 1
    clock[0] += 0.19
    run.status("running", 12, 1000)
    assert reader.status().step == 12
    run.status("paused", 13, 1000)
    assert (reader.status().state, reader.status().step) == ("paused", 13)


def test_the_heartbeat_moves_on_during_long_work_too(run: RunWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    run.status("running", 7, 10)
    first = reader_of(run).status().heartbeat
    clock = run_writer.time.monotonic()
    monkeypatch.setattr(run_writer.time, "monotonic", lambda: clock + 3)
    run.beat()
    assert reader_of(run).status().heartbeat > first
    assert reader_of(run).status().step == 7


def test_a_status_says_for_how_long_its_writer_was_silent(run: RunWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [run_writer.time.monotonic()]
    monkeypatch.setattr(run_writer.time, "monotonic", lambda: clock[0])
    for silence in (3.0, 500.0, 4.0):
        clock[0] += silence
        run.status("running", 1, 10)
    assert 500.0 <= json.loads((run.path / "status.json").read_text())["slowest_beat_s"] < 510.0


def test_extra_facts_stay_until_they_are_given_anew(run: RunWriter) -> None:
    run.status("running", 1, 10, phase="tokenizer", loss=2.0)
    run.status("paused", 2, 10, loss=float("nan"))
    assert {key: reader_of(run).status().extra[key] for key in ("phase", "loss")} == {"phase": "tokenizer", "loss": None}


def test_a_run_whose_writer_is_gone_reads_interrupted_at_its_step(run: RunWriter) -> None:
    run.status("running", 120, 1000)
    assert reader_of(run).status().live
    run.close()
    status = reader_of(run).status()
    assert (status.state, status.step, status.live) == ("interrupted", 120, False)
    assert status.sentence == "interrupted at step 120 of 1000"


@pytest.mark.parametrize("state", ["finished", "stopped", "failed"])
def test_a_run_that_ended_stays_as_it_ended(run: RunWriter, state: str) -> None:
    run.status(state, 5, 10)
    run.close()
    assert reader_of(run).status().state == state


def test_a_killed_process_leaves_an_interrupted_run_that_can_be_resumed(tmp_path: Path) -> None:
    code = (
        "import os, signal; from vidapp.runs import RunWriter; from vidapp.presets import preset\n"
        "run = RunWriter.create('a', preset('debug')); run.log({'step': 3, 'loss': 1.0}); run.status('running', 3, 10)\n"
        "print('ready', flush=True); signal.pause()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE
    ) as trainer:
        assert trainer.stdout is not None
        trainer.stdout.readline()
        reader = open_run("a")
        assert (reader.status().state, reader.status().pid) == ("running", trainer.pid)
        with pytest.raises(ValueError, match=f"run 'a' is running on .* \\(process {trainer.pid}\\): stop it first"):
            RunWriter.resume("a")
        reader.send("pause")
        trainer.send_signal(signal.SIGKILL)
        trainer.wait()
    assert reader.status().sentence == "interrupted at step 3 of 10"
    run = RunWriter.resume("a")
    assert (run.attempt, run.resumed, run.poll_control().pause) == (2, True, False)
    assert reader.status().state == "starting"


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"state": "flying"}', '{"state": ["running"]}', '{"state": "running", "step": "x", "pid": "y"}']
)
def test_a_damaged_status_reads_interrupted(run: RunWriter, content: str) -> None:
    run.log({"step": 41})
    run.close()
    (run.path / "status.json").write_text(content)
    assert reader_of(run).status().state == "interrupted"


def test_without_a_status_the_metrics_know_the_step(run: RunWriter) -> None:
    run.log({"step": 41})
    run.close()
    (run.path / "status.json").unlink()
    assert reader_of(run).status().sentence == "interrupted at step 41"


# Commands


def test_stop_and_pause_hold_while_save_and_sample_are_asked_once(run: RunWriter) -> None:
    reader = reader_of(run)
    assert run.poll_control() == run_writer.Control()
    reader.send("pause")
    reader.send("save")
    assert run.poll_control() == run_writer.Control(pause=True, save=True)
    assert run.poll_control() == run_writer.Control(pause=True)
    reader.send("save")
    reader.send("sample")
    assert run.poll_control() == run_writer.Control(pause=True, save=True, sample=True)
    reader.send("resume")
    assert run.poll_control() == run_writer.Control()
    reader.send("pause")
    reader.send("stop")
    assert run.poll_control() == run_writer.Control(stop=True)
    assert run.poll_control().stop


def test_a_control_file_written_by_hand_is_followed(run: RunWriter) -> None:
    write_json(run.path / "control.json", {"save": True})
    assert run.poll_control() == run_writer.Control(save=True)
    assert run.poll_control() == run_writer.Control()
    write_json(run.path / "control.json", {"save": True, "stop": True})
    assert run.poll_control() == run_writer.Control(stop=True, save=True)


@pytest.mark.parametrize("content", ["", "{", "[1]", "null", '{"stop": null}'])
def test_a_damaged_control_file_asks_for_nothing(run: RunWriter, content: str) -> None:
    (run.path / "control.json").write_text(content)
    assert run.poll_control() == run_writer.Control()
    write_json(run.path / "control.json", {"stop": True})
    assert run.poll_control().stop


def test_a_pause_holds_while_the_control_file_is_being_written(run: RunWriter) -> None:
    reader_of(run).send("pause")
    assert run.poll_control().pause
    (run.path / "control.json").write_text('{"pause": tr')
    assert run.poll_control().pause


def test_commands_of_many_pages_at_once_are_all_kept(run: RunWriter) -> None:
    commands = ["save", "sample", "pause", "stop"]
    pages = [threading.Thread(target=reader_of(run).send, args=(command,)) for command in commands for _ in range(3)]
    for page in pages:
        page.start()
    for page in pages:
        page.join()
    assert run.poll_control() == run_writer.Control(stop=True, save=True, sample=True)
    assert set(read_json(run.path / "control.json") or {}) == set(commands)


def test_a_command_that_nobody_would_follow_is_refused(run: RunWriter) -> None:
    with pytest.raises(ValueError, match="unknown command 'explode': use one of stop, pause, resume, save, sample"):
        reader_of(run).send("explode")
    run.status("finished", 10, 10)
    run.close()
    with pytest.raises(ValueError, match="run 'a' is finished at step 10 of 10: there is nothing to stop"):
        reader_of(run).send("stop")
    assert read_json(run.path / "control.json") == {}


def test_a_stop_from_before_does_not_stop_the_next_attempt(run: RunWriter) -> None:
    reader_of(run).send("stop")
    run.close()
    assert not RunWriter.resume("a").poll_control().stop


def test_the_process_itself_can_ask_for_a_stop(run: RunWriter) -> None:
    run.request_stop()
    assert run.poll_control().stop


# Metrics


def test_lines_come_back_with_attempt_and_time_and_only_once(run: RunWriter) -> None:
    reader = reader_of(run)
    run.log({"step": 1, "phase": "transformer", "loss": 2.0})
    lines, cursor = reader.metrics()
    assert [(line["step"], line["loss"], line["attempt"]) for line in lines] == [(1, 2.0, 1)]
    assert lines[0]["time_s"] > 1e9
    assert reader.metrics(cursor) == ([], cursor)
    run.log({"step": 2})
    lines, cursor = reader.metrics(cursor)
    assert [line["step"] for line in lines] == [2]
    assert re.fullmatch(r"1/\d+/\d+", cursor)


def test_metrics_that_somebody_deletes_begin_anew_with_a_word(run: RunWriter) -> None:
    run.log({"step": 1})
    (run.path / "metrics.jsonl").unlink()
    for step in (2, 3):
        run.log({"step": step})
    assert [line["step"] for line in reader_of(run).metrics()[0]] == [2, 3]
    (notice,) = run.notices
    assert notice.startswith("metrics.jsonl was deleted while the run trains")


def test_lines_are_json_for_everybody(run: RunWriter) -> None:
    run.log({"step": 1, "loss": float("nan"), "grad_norm": float("inf")})
    line = json.loads((run.path / "metrics.jsonl").read_text(), parse_constant=pytest.fail)
    assert (line["loss"], line["grad_norm"]) == (None, None)


@pytest.mark.parametrize(("torn", "lines"), [(b"", 2), (b'{"step": 2, "lo', 3)])
def test_a_resumed_run_puts_an_end_only_to_a_torn_line(torn: bytes, lines: int) -> None:
    with RunWriter.create("again", preset("debug")) as run:
        run.log({"step": 1, "loss": 2.0})
    with open(run.path / "metrics.jsonl", "ab") as file:
        file.write(torn)
    with RunWriter.resume("again") as run:
        run.log({"step": 2, "loss": 1.0})
    written = (run.path / "metrics.jsonl").read_bytes().splitlines()
    assert len(written) == lines
    assert all(written)


def test_a_run_without_metrics_has_none() -> None:
    run = RunWriter.create("a", preset("debug"))
    assert reader_of(run).metrics() == ([], "0/0/0")


@given(cut=st.integers(0, 400), more=st.integers(0, 5))
def test_a_torn_last_line_is_ignored_until_it_is_whole(tmp_path_factory: pytest.TempPathFactory, cut: int, more: int) -> None:
    folder = tmp_path_factory.mktemp("run")
    content = b"".join(run_reader.json_line({"step": step, "loss": 1 / step}) for step in range(1, 12))
    (folder / "metrics.jsonl").write_bytes(content[:cut])
    reader = RunReader(folder)
    first, cursor = reader.metrics()
    assert len(first) == content[:cut].count(b"\n")
    (folder / "metrics.jsonl").write_bytes(content)
    second, cursor = reader.metrics(cursor)
    assert [line["step"] for line in first + second] == list(range(1, 12))
    assert reader.metrics(cursor)[0] == []


@given(st.lists(st.one_of(st.just("read"), st.integers(1, 4), st.floats(0, 0.99)), max_size=30), st.sampled_from([None, 1, 50, 1000]))
def test_whatever_is_appended_and_cut_a_reader_ends_up_with_what_is_in_the_file(
    tmp_path_factory: pytest.TempPathFactory, deeds: list[str | int | float], most_bytes: int | None
) -> None:
    """Numbers of lines are appended, shares of the file are cut off, and a reader looks now and then."""
    reader = RunReader(tmp_path_factory.mktemp("run"))
    path, serial, cursor = reader.path / "metrics.jsonl", 0, ""
    seen: list[int] = []
    lines: list[bytes] = []
    for deed in [*deeds, *(["read"] * 200 if most_bytes else ["read"])]:
        if deed == "read":
            part = reader.read_metrics(cursor, most_bytes=most_bytes)
            seen = ([] if part.restarted else seen) + [line["time_s"] for line in part.lines]
            cursor = part.cursor
        elif isinstance(deed, int):
            for _ in range(deed):
                serial += 1
                lines.append(run_reader.json_line({"step": len(lines), "time_s": serial}))
            path.write_bytes(b"".join(lines))
        elif isinstance(deed, float):
            lines = lines[: int(len(lines) * deed)]
            path.write_bytes(b"".join(lines))
    assert seen == [json.loads(line)["time_s"] for line in lines]


def test_a_line_without_an_end_is_passed_over_in_parts_and_what_follows_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_reader, "_LONGEST_LINE", 1000)
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(run_reader.json_line({"step": 1}) + b"\0" * 10_000)
    reader, seen, cursor = RunReader(tmp_path), [], ""
    for _ in range(20):
        part = reader.read_metrics(cursor, most_bytes=50)
        assert part.size <= 1050
        seen, cursor = seen + part.lines, part.cursor
    with open(path, "ab") as file:
        file.write(b"\n" + run_reader.json_line({"step": 2}))
    for _ in range(5):
        part = reader.read_metrics(cursor, most_bytes=50)
        seen, cursor = seen + part.lines, part.cursor
    assert [line["step"] for line in seen] == [1, 2]


def test_the_step_of_a_run_without_a_status_is_found_at_the_end_of_its_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_reader, "_LONGEST_LINE", 1000)
    (tmp_path / "metrics.jsonl").write_bytes(b"".join(run_reader.json_line({"step": step}) for step in range(1, 2000)) + b'{"step": 20')
    monkeypatch.setattr(RunReader, "read_metrics", None)  # which reads all of it
    assert RunReader(tmp_path).status().step == 1999


@given(st.text(max_size=100))
def test_any_text_is_a_cursor_and_what_is_none_means_the_beginning(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("run")
    (folder / "metrics.jsonl").write_bytes(run_reader.json_line({"step": 1}))
    part = RunReader(folder).read_metrics(text)
    assert len(part.lines) == 1
    assert part.restarted


@given(st.integers(0, 10**17), st.integers(0, 10**17), st.integers(0, 2**32 - 1))
def test_a_cursor_survives_the_way_through_a_browser(attempt: int, offset: int, check: int) -> None:
    cursor = Cursor(attempt, offset, check)
    assert Cursor.parse(str(cursor)) == cursor


def test_garbage_between_lines_is_skipped(run: RunWriter) -> None:
    run.log({"step": 1})
    run.close()
    with open(run.path / "metrics.jsonl", "ab") as file:
        file.write(b'{"step": 2, "lo\n[3]\n\xff\xfe\n{"step": 4}\n')
    assert [line["step"] for line in reader_of(run).metrics()[0]] == [1, 4]


# Resuming


def test_a_resume_cuts_what_lies_beyond_its_checkpoint_and_keeps_it_aside(run: RunWriter) -> None:
    for step in range(1, 6):
        run.log({"step": step, "phase": "transformer"})
    run.close()
    with open(run.path / "metrics.jsonl", "ab") as file:
        file.write(b'{"step": 6, "pha')
    resumed = RunWriter.resume("a")
    assert resumed.cut_metrics(3) == 3
    resumed.log({"step": 4, "phase": "transformer"})
    assert [(line["step"], line["attempt"]) for line in reader_of(run).metrics()[0]] == [(1, 1), (2, 1), (3, 1), (4, 2)]
    aside = (run.path / "metrics.cut-2.jsonl").read_bytes().splitlines()
    assert [json.loads(line)["step"] for line in aside[:2]] == [4, 5]
    assert aside[2] == b'{"step": 6, "pha'


def test_going_back_into_the_tokenizer_phase_cuts_all_of_the_other(run: RunWriter) -> None:
    for phase in ("tokenizer", "transformer"):
        for step in (1, 2, 3):
            run.log({"step": step, "phase": phase})
    run.close()
    resumed = RunWriter.resume("a")
    resumed.cut_metrics(2, "transformer")
    moments = [(line["phase"], line["step"]) for line in reader_of(run).metrics()[0]]
    assert moments == [("tokenizer", 1), ("tokenizer", 2), ("tokenizer", 3), ("transformer", 1), ("transformer", 2)]
    resumed.cut_metrics(1, "tokenizer")
    assert [(line["phase"], line["step"]) for line in reader_of(run).metrics()[0]] == [("tokenizer", 1)]
    assert len((run.path / "metrics.cut-2.jsonl").read_text().splitlines()) == 5
    resumed.cut_metrics(-1, "tokenizer")
    assert reader_of(run).metrics()[0] == []


def test_a_reader_that_slept_through_a_cut_starts_over(run: RunWriter) -> None:
    for step in range(1, 6):
        run.log({"step": step, "phase": "transformer"})
    _, cursor = reader_of(run).metrics()
    run.close()
    resumed = RunWriter.resume("a")
    resumed.cut_metrics(2)
    for step in range(3, 9):
        resumed.log({"step": step, "phase": "transformer"})
    part = reader_of(run).read_metrics(cursor)
    assert part.restarted
    assert [line["step"] for line in part.lines] == list(range(1, 9))


def test_a_line_that_a_crash_tore_does_not_spoil_the_next(run: RunWriter) -> None:
    run.log({"step": 1})
    run.close()
    with open(run.path / "metrics.jsonl", "ab") as file:
        file.write(b'{"step": 2, "lo')
    resumed = RunWriter.resume("a")
    resumed.log({"step": 2})
    assert [line["step"] for line in reader_of(run).metrics()[0]] == [1, 2]


def test_another_config_is_refused_by_field_name_except_the_number_of_steps(run: RunWriter) -> None:
    run.close()
    with pytest.raises(ValueError, match=r"recipe\.learning_rate \(0\.002, not 0\.001\), run\.seed \(0, not 1\)"):
        RunWriter.resume("a", preset("debug").replace({"run.seed": 1, "recipe.learning_rate": 1e-3, "run.steps": 50}))
    assert reader_of(run).config() == preset("debug")
    longer = preset("debug").replace({"run.steps": 2000})
    resumed = RunWriter.resume("a", longer)
    assert resumed.config == reader_of(run).config() == longer
    assert reader_of(run).status().total == 2000


def test_a_run_cannot_end_before_the_step_that_it_stands_at(run: RunWriter) -> None:
    save(run, 7)
    run.close()
    before = reader_of(run).config()
    with pytest.raises(ValueError, match="stands at step 7"):
        RunWriter.resume("a", before.replace({"run.steps": 6}))
    assert reader_of(run).config() == before
    assert RunWriter.resume("a", before.replace({"run.steps": 8})).config.run.steps == 8


@pytest.mark.parametrize("step", [1.5, "one", None])
def test_a_line_of_metrics_without_a_whole_step_is_refused(run: RunWriter, step: object) -> None:
    with pytest.raises(ValueError, match="whole step"):
        run.log({"step": step, "loss": 1.0})
    run.log({"step": np.int64(3), "loss": 1.0})
    assert [line["step"] for line in reader_of(run).metrics()[0]] == [3]


def test_a_state_that_there_is_not_is_refused(run: RunWriter) -> None:
    with pytest.raises(ValueError, match="'Running': use one of"):
        run.status("Running", 1, 10)


def test_only_one_of_two_takes_a_run_up(run: RunWriter) -> None:
    run.close()
    first = RunWriter.resume("a")
    with pytest.raises(ValueError, match="run 'a' is starting on .*: stop it first"):
        RunWriter.resume("a")
    (run.path / "status.json").unlink()  # even where the status cannot tell
    with pytest.raises(ValueError, match="run 'a' is being written by another process"):
        RunWriter.resume("a")
    first.close()
    assert RunWriter.resume("a").state == "starting"


def test_attempts_are_counted_even_where_the_status_is_lost(run: RunWriter) -> None:
    run.close()
    second = RunWriter.resume("a")
    second.log({"step": 1})
    second.close()
    (run.path / "status.json").unlink()
    assert RunWriter.resume("a").attempt == 3


def test_what_is_no_run_cannot_be_resumed(run: RunWriter) -> None:
    with pytest.raises(ValueError, match="there is no run 'b'"):
        RunWriter.resume("b")
    run.close()
    (run.path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"run 'a' has no readable config\.json"):
        RunWriter.resume("a")
    (run.path / "config.json").write_text('{"model": {"colour": 3}}')
    with pytest.raises(ValueError, match=r"config\.json of run 'a' does not fit this version: unknown setting of model 'colour'"):
        RunWriter.resume("a")


# Checkpoints


def test_a_checkpoint_is_complete_only_with_its_resume_part(run: RunWriter) -> None:
    assert run.complete_steps() == []
    assert save(run, 100)
    run.checkpoint_path(200).write_bytes(b"sampleable, but nothing to resume from")
    run.resume_paths(300)[0].write_bytes(b"killed before the checkpoint")
    assert run.complete_steps() == [100]
    assert [step for step, _ in reader_of(run).checkpoints()] == [200, 100]
    assert reader_of(run).checkpoints()[1][1] == run.checkpoint_path(100)


def test_the_checkpoint_is_renamed_into_place_last(run: RunWriter) -> None:
    def checkpoint(path: Path) -> None:
        assert all(part.exists() for part in run.resume_paths(100))
        path.write_bytes(b"x")

    assert run.commit(100, checkpoint=checkpoint, tensors=lambda path: path.write_bytes(b"y"), state={"step": 100})
    assert read_json(run.resume_paths(100)[1]) == {"step": 100}


def test_a_full_disk_keeps_the_checkpoint_before_and_training_goes_on(run: RunWriter) -> None:
    save(run, 100)
    for part in ("checkpoint", "tensors"):
        writers = {"checkpoint": lambda path: None, "tensors": lambda path: path.write_bytes(b"y")} | {part: full_disk}
        assert not run.commit(200, **writers, state={})
    assert run.complete_steps() == [100]
    assert sorted(path.name for path in (run.path / "checkpoints").iterdir()) == sorted(
        path.name for path in (run.checkpoint_path(100), *run.resume_paths(100))
    )
    assert "step 200 could not be saved: No space left on device" in reader_of(run).status().extra["notices"][-1]


def test_a_bug_while_saving_is_not_taken_for_a_full_disk(run: RunWriter) -> None:
    with pytest.raises(TypeError):
        run.commit(1, checkpoint=lambda path: None, tensors=lambda path: None, state={"tensor": object()})


def test_a_step_that_is_saved_is_not_saved_again(run: RunWriter) -> None:
    save(run, 100)
    assert run.commit(100, checkpoint=full_disk, tensors=full_disk, state={})
    assert run.checkpoint_path(100).read_bytes() == b"checkpoint 100"


def test_the_phases_have_checkpoints_of_their_own(run: RunWriter) -> None:
    save(run, 300, "tokenizer")
    save(run, 100)
    assert (run.complete_steps("tokenizer"), run.complete_steps()) == ([300], [100])
    assert [step for step, _ in reader_of(run).checkpoints()] == [100]
    with pytest.raises(ValueError, match="unknown phase 'decoder'"):
        run.complete_steps("decoder")


@given(
    whole=st.sets(st.integers(0, 30)),
    bare=st.sets(st.integers(0, 30)),
    stray=st.sets(st.integers(0, 30)),
    keep=st.integers(1, 5),
    protect=st.sets(st.integers(0, 30), max_size=3),
)
def test_pruning_keeps_the_newest_and_never_touches_the_newest_complete_pair(
    tmp_path_factory: pytest.TempPathFactory, whole: set[int], bare: set[int], stray: set[int], keep: int, protect: set[int]
) -> None:
    run = RunWriter.create("a", None, tmp_path_factory.mktemp("runs"))
    for step in whole:
        save(run, step)
    for step in bare - whole:
        run.checkpoint_path(step).write_bytes(b"x")
    for step in stray - whole - bare:
        run.resume_paths(step)[0].write_bytes(b"y")
    newest, before = max(run.complete_steps(), default=None), sorted(whole | bare)
    run.prune(keep, protect)
    left = {step for step, _ in RunReader(run.path).checkpoints()}
    assert max(run.complete_steps(), default=None) == newest
    assert left >= set(before[-keep:])
    assert left >= protect & (whole | bare)
    if newest is not None:
        assert len(left - protect - {newest} - {step for step in before if step > newest}) <= keep
        assert not any(path.exists() for step in stray - whole - bare if step < newest for path in run.resume_paths(step))
    run.close()


def test_going_back_puts_later_checkpoints_aside_so_that_they_are_not_taken_for_new_ones(run: RunWriter) -> None:
    save(run, 500, "tokenizer")
    for step in (100, 200, 300):
        save(run, step)
    run.resume_paths(400)[0].write_bytes(b"killed before the checkpoint")
    run.close()
    resumed = RunWriter.resume("a")
    resumed.cut_metrics(200)
    assert resumed.complete_steps() == [100, 200]
    assert resumed.complete_steps("tokenizer") == [500]
    assert sorted(path.name for path in (run.path / "checkpoints" / "aside-2").iterdir()) == sorted(
        path.name for path in (run.checkpoint_path(300), *run.resume_paths(300))
    )
    assert not run.resume_paths(400)[0].exists()
    assert save(resumed, 300)
    resumed.cut_metrics(500, "tokenizer")
    assert resumed.complete_steps() == []


SAVING = """
import itertools, sys
from vidapp.presets import preset
from vidapp.runs import RunWriter
resume = sys.argv[1] == "resume"
run = RunWriter.resume("a") if resume else RunWriter.create("a", preset("debug"))
newest = max(run.complete_steps(), default=None)
if resume:
    run.cut_metrics(-1 if newest is None else newest)
for step in itertools.count((newest or 0) + 1):
    run.log({"step": step, "phase": "transformer"})
    run.status("running", step, 10**6)
    content = str(step).encode() * 5000
    run.commit(step, checkpoint=lambda path: path.write_bytes(content), tensors=lambda path: path.write_bytes(content), state={"step": step})
    run.prune(2)
    print(step, flush=True)
"""


def test_kills_at_any_moment_lose_no_complete_pair_and_leave_an_unbroken_curve() -> None:
    said = 0
    for kill in range(6):
        command = [sys.executable, "-c", SAVING, "resume" if kill else "create"]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as trainer:
            assert trainer.stdout is not None
            for _ in range(2 + kill % 3):
                said = int(trainer.stdout.readline())
            threading.Event().wait(0.0007 * kill)  # somewhere within the next save
            trainer.kill()
            said = max([said, *(int(line) for line in trainer.stdout.read().split())])
        assert open_run("a").status().state == "interrupted"
        newest = run_folder.complete_steps(runs_folder() / "a")[-1]
        assert newest >= said
        for path in (run_folder.checkpoint_path(runs_folder() / "a", newest), run_folder.resume_paths(runs_folder() / "a", newest)[0]):
            assert path.read_bytes() == str(newest).encode() * 5000
    run = RunWriter.resume("a")
    newest = max(run.complete_steps(), default=0)
    run.cut_metrics(newest)
    assert [line["step"] for line in reader_of(run).metrics()[0]] == list(range(1, newest + 1))
    assert len(reader_of(run).checkpoints()) <= 3  # two, and one that was saved but not yet pruned


def test_half_written_files_of_a_killed_attempt_are_cleared_away(run: RunWriter) -> None:
    run.close()
    litter = run.path / "checkpoints" / ".tmp-123-abcd-step-00000100.safetensors"
    litter.write_bytes(b"half")
    RunWriter.resume("a")
    assert not litter.exists()


def test_samples_are_listed_newest_first_after_their_phase(run: RunWriter) -> None:
    for step, phase in ((3000, "tokenizer"), (100, "transformer"), (200, "transformer")):
        assert run.save_sample(step, "strip.png", lambda path: path.write_bytes(b"png"), phase)
    (run.path / "samples" / "notes.txt").write_text("")
    assert reader_of(run).samples() == [
        (200, run.sample_path(200, "strip.png")),
        (100, run.sample_path(100, "strip.png")),
        (3000, run.sample_path(3000, "strip.png", "tokenizer")),
    ]
    with pytest.raises(ValueError, match="sample name '../strip' is not usable"):
        run.sample_path(1, "../strip")


def test_a_sample_that_cannot_be_written_does_not_end_the_training(run: RunWriter) -> None:
    assert not run.save_sample(7, "strip.png", full_disk)
    assert reader_of(run).samples() == []
    assert "sample of step 7 could not be saved: No space" in run.notices[-1]


# Disks that are full


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_metrics_that_cannot_be_written_are_counted_and_said(run: RunWriter) -> None:
    (run.path / "metrics.jsonl").symlink_to("/dev/full")
    run.log({"step": 1})
    run.log({"step": 2})
    assert reader_of(run).status().extra["notices"] == ["metrics cannot be written since step 1: No space left on device"]
    (run.path / "metrics.jsonl").unlink()
    run.cut_metrics(2)  # opens the file anew
    run.log({"step": 3})
    assert "written again from step 3; 2 lines are lost" in run.notices[-1]
    assert [line["step"] for line in reader_of(run).metrics()[0]] == [3]


def test_status_and_commands_find_room_on_a_full_disk_in_the_files_that_are_there(run: RunWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "write_text", lambda path, text: full_disk(path))
    run.status("paused", 5, 10)
    reader_of(run).send("stop")
    assert run.poll_control().stop
    run.status("failed", 5, 10, error="the disk is full")
    assert (reader_of(run).status().state, reader_of(run).status().error) == ("failed", "the disk is full")


def test_a_disk_that_is_away_does_not_end_the_training(run: RunWriter, tmp_path: Path) -> None:
    run.log({"step": 1})
    runs_folder().rename(tmp_path / "away")
    run.status("paused", 2, 10)
    run.log({"step": 2})
    assert not save(run, 2)
    assert run.poll_control() == run_writer.Control()
    run.close()


def test_a_run_folder_that_was_deleted_ends_it_since_nobody_could_see_or_stop_it(run: RunWriter) -> None:
    run.log({"step": 1})
    shutil.rmtree(run.path)
    run.status("running", 2, 10)
    run.log({"step": 2})
    assert not save(run, 2)
    with pytest.raises(FileNotFoundError, match="the run folder was deleted while it was trained"):
        run.poll_control()
    run.close()
    assert not run.path.exists()


# A training loop of one's own


def test_a_loop_of_ones_own_writes_a_run_in_a_few_lines() -> None:
    with RunWriter.create("mine", None) as run:
        for step in range(1, 4):
            run.log({"step": step, "loss": 1 / step})
            run.status("running", step, 3)
            if run.poll_control().stop:
                break
    reader = open_run("mine")
    assert [found.name for found in list_runs()] == ["mine"]
    assert reader.status().sentence == "finished at step 3 of 3"
    assert len(reader.metrics()[0]) == 3
    with pytest.raises(ValueError, match=r"no readable config\.json"):
        reader.config()


def test_the_loop_in_the_readme_writes_a_run_that_can_be_watched() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "RunWriter.create" in block]
    exec(code, {})
    assert open_run("my-run").status().sentence == "finished at step 100 of 100"
    assert [line["step"] for line in open_run("my-run").metrics()[0]] == list(range(1, 101))


def test_a_loop_that_raises_leaves_a_failed_run_with_a_sentence_and_a_traceback() -> None:
    with pytest.raises(ZeroDivisionError), RunWriter.create("mine", None) as run:
        run.status("running", 2, 3)
        _ = 1 / 0
    assert open_run("mine").status().sentence == "failed at step 2 of 3: ZeroDivisionError: division by zero"
    assert "Traceback" in (run.path / "error.log").read_text()


@pytest.mark.parametrize("leave", [KeyboardInterrupt, SystemExit])
def test_a_loop_that_is_interrupted_leaves_a_stopped_run(leave: type[BaseException]) -> None:
    with pytest.raises(leave), RunWriter.create("mine", None) as run:
        run.status("running", 2, 3)
        raise leave
    assert open_run("mine").status().state == "stopped"


def test_a_loop_that_left_because_of_a_stop_is_stopped() -> None:
    with RunWriter.create("mine", None) as run:
        run.status("running", 2, 3)
        open_run("mine").send("stop")
        assert run.poll_control().stop
    assert open_run("mine").status().state == "stopped"


def test_what_the_trainer_said_of_a_failure_is_not_said_again() -> None:
    with pytest.raises(ValueError, match="short"), RunWriter.create("mine", None) as run:
        run.status("failed", 2, 3, error="the gradient of step 3 is not finite")
        raise ValueError("short")
    assert open_run("mine").status().error == "the gradient of step 3 is not finite"


def test_a_config_is_asked_for_only_where_there_is_one() -> None:
    assert isinstance(RunWriter.create("a", preset("debug")).config, Config)
    with pytest.raises(ValueError, match="run 'b' was created without a config"):
        _ = RunWriter.create("b", None).config


def test_watching_and_writing_runs_needs_no_torch() -> None:
    code = "import sys, vidapp.runs, vidapp.files, vidapp.jobs; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


# Run folders of strangers

HUGE = "1" + 400 * "0"  # more than a float holds


@pytest.mark.parametrize("status", [
    '{"created": Infinity}', '{"created": 1e18}', '{"created": NaN, "heartbeat": NaN}', f'{{"created": {HUGE}}}',
    f'{{"state": "running", "pid": {HUGE}, "pid_start": {HUGE}}}', '{"state": "queued", "queued_at": "now"}',
    '{"state": "\\u001b[2J", "error": "\\u001b]0;x\\u0007"}', '{"notices": 5}',
])  # fmt: skip
def test_a_status_of_any_kind_leaves_the_other_runs_in_the_list(status: str, run: RunWriter, capsys: pytest.CaptureFixture[str]) -> None:
    run.close()
    RunWriter.create("odd", preset("debug")).close()
    odd = open_run("odd").path
    (odd / "status.json").write_text(status)
    (odd / "metrics.jsonl").write_text('{"step": 1, "phase": "\\u001b[1mred", "loss": HUGE}\n'.replace("HUGE", HUGE))
    assert {reader.name for reader in list_runs()} == {"a", "odd"}
    queued()
    for words in (["list"], ["show", "odd"], ["compare", "a", "odd"], ["list", "--json"]):
        assert main(["runs", *words]) == 0
        out = capsys.readouterr().out
        assert "odd" in out
        assert "\x1b" not in out


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
@pytest.mark.parametrize("name", ["status.json", "metrics.jsonl", "config.json", "control.json"])
def test_a_pipe_in_a_run_folder_is_not_waited_for(name: str, run: RunWriter) -> None:
    run.log({"step": 1})
    run.close()
    (run.path / name).unlink()
    os.mkfifo(run.path / name)
    (reader,) = list_runs()
    reader.status()
    reader.metrics()
    with pytest.raises(ValueError, match="no readable config.json|is a link or no ordinary file"):
        RunWriter.resume("a")


@pytest.mark.parametrize("part", ["checkpoints", "samples", "metrics.jsonl", "checkpoints/step-00000001.safetensors"])
def test_a_run_folder_with_links_in_it_is_not_written(part: str, run: RunWriter, tmp_path: Path) -> None:
    save(run, 1)
    run.log({"step": 1})
    run.close()
    place, elsewhere = run.path / part, tmp_path / "elsewhere"
    place.rename(elsewhere)
    place.symlink_to(elsewhere)
    before = sorted((path, path.stat().st_mtime_ns) for path in [elsewhere, *elsewhere.rglob("*")])
    with pytest.raises(ValueError, match=f"{part} of run 'a' is a link or no ordinary file: put what it stands for in its place"):
        RunWriter.resume("a")
    assert sorted((path, path.stat().st_mtime_ns) for path in [elsewhere, *elsewhere.rglob("*")]) == before
