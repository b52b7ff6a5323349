"""Trainings that are killed without warning, at any moment, or lose their disk for a while, end with the very weights of one that was left
in peace; and no clock that jumps makes a living run look dead, or a dead one alive."""

import contextlib
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Iterator
from io import FileIO
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import numpy as np
import pytest
from tiny import tiny
from trainings import EVERYTHING, curve, differing, left_behind, train_to_end

from vidapp import checkpoint, files, run_checkpoints, run_writer
from vidapp.checkpoint import load_checkpoint
from vidapp.config import Config
from vidapp.files import write_json
from vidapp.liveness import process_start, this_process
from vidapp.resume import find_resume
from vidapp.run_folder import CONFIG, STATUS, checkpoint_path
from vidapp.run_reader import RunReader
from vidapp.run_writer import RunWriter
from vidapp.train import train

KILLS = 20
FORKS = multiprocessing.get_context("forkserver")


@pytest.fixture(scope="module")
def forks() -> ForkServerContext:
    """Processes forked from one that has torch in memory already: each starts within milliseconds."""
    FORKS.set_forkserver_preload(["vidapp.train", "trainings"])
    first = FORKS.Process(target=time.monotonic)  # waits until the parent of all others is ready
    first.start()
    first.join()
    return FORKS


def train_in_a_process(forks: ForkServerContext, name: str, config: Config, folder: Path) -> ForkServerProcess:
    """Start the training of a run, or go on with it where its folder is there."""
    process = forks.Process(target=train_to_end, args=(name, config, folder, (folder / name / CONFIG).exists()))
    process.start()
    return process


def killed(process: ForkServerProcess, delay_s: float) -> bool:
    """SIGKILL after `delay_s`; False where the training came to its end before."""
    process.join(delay_s)
    process.kill()
    process.join()
    assert process.exitcode in (0, -9), f"the training ended by itself with exit code {process.exitcode}"
    return process.exitcode == -9


def test_twenty_kills_at_random_moments_leave_no_trace(forks: ForkServerContext, tmp_path: Path) -> None:
    rng = np.random.default_rng()
    expected, lasts = {}, {}
    for kind, config in EVERYTHING.items():
        began = time.monotonic()
        train_in_a_process(forks, kind.replace(", ", "-"), config, tmp_path).join()
        path = tmp_path / kind.replace(", ", "-")
        expected[kind], lasts[kind] = (left_behind(path, config.run.steps), curve(path)), time.monotonic() - began

    moments: list[tuple[str, str, int]] = []
    runs = 0
    while len(moments) < KILLS:
        kind = list(EVERYTHING)[runs % len(EVERYTHING)]
        config, name, runs = EVERYTHING[kind], f"run-{runs}", runs + 1
        while killed(train_in_a_process(forks, name, config, tmp_path), rng.uniform(0.02, lasts[kind])):
            if (tmp_path / name / CONFIG).exists():  # else it had not even begun
                status = RunReader(tmp_path / name).status()
                if status.state == "finished":  # its last word was written, only the process was still there
                    break
                assert status.state == "interrupted"
                moments.append((name, str(status.extra.get("phase")), status.step))
        weights, lines = expected[kind]
        assert not differing(left_behind(tmp_path / name, config.run.steps), weights), moments
        assert curve(tmp_path / name) == lines, moments


# A disk that is full for a while


class Disk:
    """Refuses every write below the run folders while it is full."""

    full = False

    def refuse(self) -> None:
        if self.full:
            raise OSError(28, "No space left on device")


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk, replacing = Disk(), files.replacing

    @contextlib.contextmanager
    def replacing_while_there_is_room(path: str | Path) -> Iterator[Path]:
        with replacing(path) as temporary:
            yield temporary
            disk.refuse()  # as flushing to disk does

    class Lines(FileIO):
        def write(self, content: object) -> int:
            disk.refuse()
            return super().write(content)  # type: ignore[arg-type]

    for module in (files, run_checkpoints, run_writer, checkpoint):
        monkeypatch.setattr(module, "replacing", replacing_while_there_is_room)
    monkeypatch.setattr(run_writer, "FileIO", Lines)
    return disk


def test_a_disk_that_is_full_for_a_while_costs_lines_and_checkpoints_but_no_training(disk: Disk, tmp_path: Path) -> None:
    config = tiny(run__steps=10, run__checkpoint_every=1, run__sample_every=2, run__keep_checkpoints=3)
    train_to_end("whole", config, tmp_path)
    with RunWriter.create("a", config, tmp_path) as run:
        for line in train(config, run):
            if line["phase"] != "transformer":
                continue
            if line["step"] == 7:
                assert run.complete_steps()[-1] == 3, "the last one before is still there"
                assert load_checkpoint(checkpoint_path(run.path, 3)).step == 3
                assert RunReader(run.path).status().state == "running"
            disk.full = 4 <= line["step"] < 8
    reader = RunReader(tmp_path / "a")
    status = reader.status()
    assert status.sentence == "finished at step 10 of 10"
    said = " ".join(status.extra["notices"])
    for part in (
        "metrics cannot be written since step 4: No space left on device",
        "metrics are written again from step 8",
        "the checkpoint of step 5 could not be saved: No space left on device; training goes on",
        "the sample of step 6 could not be saved",
    ):
        assert part in said
    assert not differing(left_behind(tmp_path / "a", 10), left_behind(tmp_path / "whole", 10))
    assert [line["step"] for line in reader.metrics()[0] if line["phase"] == "transformer" and "loss" in line] == [1, 2, 3, 4, 9, 10]


def test_a_run_that_dies_while_the_disk_is_full_goes_on_from_before(disk: Disk, tmp_path: Path) -> None:
    config = tiny(run__steps=6, run__checkpoint_every=1)
    train_to_end("whole", config, tmp_path)
    run = RunWriter.create("a", config, tmp_path)
    training = train(config, run)
    for line in training:
        disk.full = (line["phase"], line["step"]) >= ("transformer", 3)
        if disk.full and line["step"] == 5:
            break
    training.close()  # type: ignore[attr-defined]
    run.close()
    disk.full = False
    with contextlib.closing(RunWriter.resume("a", config, tmp_path)) as again:
        found = find_resume(again, "transformer")
        assert found is not None
        assert found.step in (2, 3)
    train_to_end("a", config, tmp_path, resume=True)
    assert not differing(left_behind(tmp_path / "a", 6), left_behind(tmp_path / "whole", 6))
    assert curve(tmp_path / "a") == curve(tmp_path / "whole")


# A clock that jumps

YEARS = 3650 * 24 * 3600.0


@pytest.mark.parametrize("jump", [-YEARS, -300.0, 300.0, YEARS])
def test_a_clock_that_jumps_kills_no_run_and_wakes_none(jump: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        there = {**this_process().to_dict(), "pid": child.pid, "pid_start": process_start(child.pid)}
        for name, state in (("alive", "running"), ("over", "finished")):
            (tmp_path / name).mkdir()
            write_json(tmp_path / name / STATUS, {"state": state, "step": 3, "total": 9, "heartbeat": time.time(), **there})
        with RunWriter.create("own", tiny(), tmp_path) as own:
            own.status("running", 1, 6)
            clock = time.time
            monkeypatch.setattr(time, "time", lambda: clock() + jump)
            own.status("running", 2, 6)
            assert [RunReader(tmp_path / name).status().state for name in ("alive", "over", "own")] == ["running", "finished", "running"]
            child.kill()
            child.wait()
            assert [RunReader(tmp_path / name).status().state for name in ("alive", "over", "own")] == [
                "interrupted",
                "finished",
                "running",
            ]
    assert RunReader(tmp_path / "own").status().state == "finished"


@pytest.mark.parametrize("jump", [-YEARS, YEARS])
def test_a_run_from_before_a_restart_stays_dead_whatever_the_clock_says_since(jump: float, tmp_path: Path) -> None:
    before = {**this_process().to_dict(), "boot_id": "the boot before", "heartbeat": time.time() + jump}
    (tmp_path / "a").mkdir()
    write_json(tmp_path / "a" / STATUS, {"state": "running", "step": 3, "total": 9, **before})
    assert RunReader(tmp_path / "a").status().state == "interrupted"
