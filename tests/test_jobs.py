"""Training in the background: one at a time, failures in one sentence, nothing left running at the end."""

import gc
import shutil
import subprocess
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vidapp import jobs, run_writer
from vidapp.config import Config
from vidapp.presets import preset
from vidapp.run_queue import enqueue, queued
from vidapp.run_reader import RunStatus
from vidapp.runs import RunReader, RunWriter, list_runs, open_run

ROOT = Path(__file__).parents[1]
Trainer = Callable[..., Iterator[dict[str, Any]]]


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Trainer], None]]:
    """Puts a fake in the place of `vidapp.train.train`; stops what still trains at the end of the test."""

    def use(train: Trainer) -> None:
        module = types.ModuleType("vidapp.train")
        module.train = train  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "vidapp.train", module)
        monkeypatch.setitem(sys.modules, "vidapp.preflight", ahead)

    ahead = types.ModuleType("vidapp.preflight")
    ahead.refuse_too_large = look_ahead  # type: ignore[attr-defined]
    yield use
    jobs.stop()
    assert jobs.wait(30)


def look_ahead(config: Config, *, trains_tokenizer: bool, done: int) -> types.SimpleNamespace:
    first = "a tokenizer first, " if trains_tokenizer else ""
    return types.SimpleNamespace(line=f"{first}from step {done} on" if done else "about 1 min")


def steps(config: Config, run: RunWriter, *, tokenizer: Path | None = None) -> Iterator[dict[str, Any]]:
    """Three steps, in the way of the real trainer."""
    for step in range(1, 4):
        run.status("running", step, 3, phase="transformer")
        line = {"step": step, "phase": "transformer", "loss": 1 / step}
        run.log(line)
        yield line
    run.status("finished", 3, 3)


def endless(config: Config, run: RunWriter, *, tokenizer: Path | None = None) -> Iterator[dict[str, Any]]:
    """Trains until it is asked to stop."""
    pause = threading.Event()
    step = 0
    while not run.poll_control().stop:
        step += 1
        run.status("running", step, 10**6)
        yield {"step": step}
        pause.wait(0.002)
    run.status("stopped", step, 10**6)


def failing(error: BaseException) -> Trainer:
    def train(config: Config, run: RunWriter, *, tokenizer: Path | None = None) -> Iterator[dict[str, Any]]:
        run.status("running", 7, 10)
        yield {"step": 7}
        raise error

    return train


def test_a_training_runs_to_its_end_in_the_background(trainer: Callable[[Trainer], None]) -> None:
    trainer(steps)
    name = jobs.start_training(preset("debug"), "a")
    assert name == "a"
    assert jobs.wait(30)
    assert jobs.running() is None
    assert open_run("a").status().sentence == "finished at step 3 of 3"
    assert [line["step"] for line in open_run("a").metrics()[0]] == [1, 2, 3]


def test_without_a_name_the_run_gets_one_that_can_be_opened(trainer: Callable[[Trainer], None]) -> None:
    trainer(steps)
    name = jobs.start_training(preset("debug"))
    assert open_run(name).config() == preset("debug")


def test_the_trainer_gets_config_and_tokenizer(trainer: Callable[[Trainer], None]) -> None:
    seen: list[Any] = []

    def train(config: Config, run: RunWriter, *, tokenizer: Path | None = None) -> Iterator[dict[str, Any]]:
        seen.extend([config, run.name, tokenizer])
        yield from ()

    trainer(train)
    jobs.start_training(preset("tiny"), "a", tokenizer=Path("assets/x.safetensors"))
    assert jobs.wait(30)
    assert seen == [preset("tiny"), "a", Path("assets/x.safetensors")]
    assert open_run("a").status().state == "finished"


def test_a_second_training_is_refused_and_leaves_no_run(trainer: Callable[[Trainer], None]) -> None:
    trainer(endless)
    jobs.start_training(preset("debug"), "a")
    with pytest.raises(ValueError, match="run 'a' is training in this app: stop it first, or let this one wait in the queue"):
        jobs.start_training(preset("debug"), "b")
    assert jobs.running() == "a"
    assert [run.name for run in list_runs()] == ["a"]


def test_of_two_that_train_the_one_of_this_app_is_named_first(trainer: Callable[[Trainer], None]) -> None:
    trainer(endless)
    assert jobs.training() is None
    jobs.start_training(preset("debug"), "here")
    with RunWriter.create("elsewhere", preset("debug")) as run:
        run.status("running", 1, 10)
        assert jobs.training() == "here"
        jobs.stop()
        assert jobs.wait(30)
        assert jobs.training() == "elsewhere"
        assert jobs.training([RunStatus(name="told", state="paused")]) == "told"
    assert jobs.training() is None


def test_of_many_starts_at_once_one_wins(trainer: Callable[[Trainer], None]) -> None:
    trainer(endless)
    outcomes: list[str] = []

    def start(index: int) -> None:
        try:
            outcomes.append(jobs.start_training(preset("debug"), f"run-{index}"))
        except ValueError as error:
            outcomes.append(str(error))

    pages = [threading.Thread(target=start, args=(index,)) for index in range(6)]
    for page in pages:
        page.start()
    for page in pages:
        page.join()
    assert len([outcome for outcome in outcomes if outcome.startswith("run-")]) == 1
    assert len(list_runs()) == 1


def test_a_stop_ends_the_training_between_two_steps_and_the_next_can_start(trainer: Callable[[Trainer], None]) -> None:
    trainer(endless)
    jobs.start_training(preset("debug"), "a")
    assert jobs.stop() == "a"
    assert jobs.wait(30)
    assert open_run("a").status().state == "stopped"
    assert jobs.stop() is None
    assert jobs.start_training(preset("debug"), "b") == "b"


def test_the_run_folder_stops_it_just_as_well(trainer: Callable[[Trainer], None]) -> None:
    trainer(endless)
    jobs.start_training(preset("debug"), "a")
    open_run("a").send("stop")
    assert jobs.wait(30)
    assert open_run("a").status().state == "stopped"


def test_a_stopped_run_is_resumed_with_its_own_config(trainer: Callable[[Trainer], None]) -> None:
    trainer(endless)
    jobs.start_training(preset("tiny"), "a")
    jobs.stop()
    jobs.wait(30)
    trainer(steps)
    assert jobs.start_training(None, "a", resume=True) == "a"
    assert jobs.wait(30)
    assert open_run("a").status().attempt == 2
    assert open_run("a").config() == preset("tiny")


class OutOfMemoryError(RuntimeError):
    """By the name and the text of torch's own."""


MEMORY = "lower recipe.batch_size, or raise recipe.micro_batches or set recipe.gradient_checkpointing=true"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ValueError("data.size 64 must be divisible by 7: try 63"), "data.size 64 must be divisible by 7: try 63"),
        (MemoryError(), f"out of memory on this machine: {MEMORY}"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"),
            f"out of memory on this machine: {MEMORY}",
        ),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"), f"out of memory on the GPU: {MEMORY}"),
        (OSError(28, "No space left on device", "/data/x"), "No space left on device: /data/x"),
        (KeyError("width"), "KeyError: 'width'"),
        (RuntimeError(), "RuntimeError"),
        (SystemExit(3), "SystemExit: 3"),
    ],
)
def test_a_failure_becomes_one_sentence_and_a_traceback_in_the_run_folder(
    trainer: Callable[[Trainer], None], error: BaseException, sentence: str
) -> None:
    trainer(failing(error))
    jobs.start_training(preset("debug"), "a")
    assert jobs.wait(30)
    status = open_run("a").status()
    assert (status.state, status.error, status.step) == ("failed", sentence, 7)
    assert "in train" in (open_run("a").path / "error.log").read_text()


def test_torchs_own_out_of_memory_error_is_named() -> None:
    torch = pytest.importorskip("torch")
    from vidapp.failures import describe_failure

    assert describe_failure(torch.OutOfMemoryError("HIP out of memory")).startswith("out of memory on the GPU: lower recipe.batch_size")


def test_a_failure_holds_on_to_nothing_and_the_next_training_starts(trainer: Callable[[Trainer], None]) -> None:
    class Network:
        pass

    networks: list[weakref.ref[Network]] = []

    def train(config: Config, run: RunWriter, *, tokenizer: Path | None = None) -> Iterator[dict[str, Any]]:
        network = Network()
        networks.append(weakref.ref(network))
        yield {"step": 1}
        try:
            raise OutOfMemoryError("CUDA out of memory")
        except OutOfMemoryError as error:
            raise RuntimeError("while handling it") from error

    trainer(train)
    jobs.start_training(preset("debug"), "a")
    assert jobs.wait(30)
    gc.collect()
    assert networks[0]() is None
    trainer(steps)
    assert jobs.start_training(preset("debug"), "b") == "b"


def test_the_next_training_starts_even_where_no_memory_could_be_given_back(
    trainer: Callable[[Trainer], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(jobs, "_release_memory", broken)
    trainer(steps)
    jobs.start_training(preset("debug"), "a")
    assert jobs.wait(30)
    assert jobs._job is not None
    assert jobs._job.over.wait(30), "else whoever starts the next one would wait for ever"
    assert jobs.start_training(preset("debug"), "b") == "b"


def test_a_trainer_that_cannot_be_imported_is_a_failed_run(trainer: Callable[[Trainer], None], monkeypatch: pytest.MonkeyPatch) -> None:
    trainer(steps)
    monkeypatch.setitem(sys.modules, "vidapp.train", None)
    jobs.start_training(preset("debug"), "a")
    assert jobs.wait(30)
    assert open_run("a").status().state == "failed"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"config": None, "name": "a"}, "a new run needs a config"),
        ({"config": None, "resume": True}, "which run is to be resumed"),
        ({"config": None, "name": "a", "resume": True}, "there is no run 'a'"),
        ({"config": preset("debug"), "name": "../a"}, "run name '../a' is not usable"),
        ({"config": preset("debug").replace({"run.tracker": "trackio"}), "name": "a"}, "trackio is not installed: pip install trackio"),
    ],
)
@pytest.mark.parametrize("start", [jobs.start_training, jobs.start_or_enqueue])
def test_what_cannot_be_started_is_said_and_nothing_runs(
    start: Callable[..., str], arguments: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(ValueError, match=message):
        start(**arguments)
    assert jobs.running() is None
    assert list_runs() == []


def test_a_process_that_ends_stops_its_training_first(tmp_path: Path) -> None:
    code = f"""
import sys, types
sys.path.insert(0, {str(ROOT / "tests")!r})
from test_jobs import endless
from vidapp import jobs
from vidapp.presets import preset
sys.modules["vidapp.train"] = types.SimpleNamespace(train=endless)
sys.modules["vidapp.preflight"] = types.SimpleNamespace(refuse_too_large=lambda *_, **__: types.SimpleNamespace(line=""))
jobs.start_training(preset("debug"), "a")
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    assert open_run("a").status().state == "stopped"


def test_what_a_run_will_take_stands_in_its_status(trainer: Callable[[Trainer], None]) -> None:
    trainer(steps)
    jobs.start_training(preset("debug"), "a")
    assert jobs.wait(30)
    assert open_run("a").status().extra["preflight"] == "about 1 min"


def test_what_is_left_of_a_run_that_goes_on_stands_there_too(trainer: Callable[[Trainer], None]) -> None:
    with RunWriter.create("a", preset("debug")) as run:
        run.commit(2, checkpoint=lambda path: path.write_bytes(b"x"), tensors=lambda path: path.write_bytes(b"x"), state={})
    trainer(steps)
    jobs.start_training(None, "a", resume=True)
    assert jobs.wait(30)
    assert open_run("a").status().extra["preflight"] == "from step 2 on"


# The queue


def test_runs_of_the_queue_start_one_after_another_in_their_order(trainer: Callable[[Trainer], None]) -> None:
    began: list[str] = []

    def train(config: Config, run: RunWriter, *, tokenizer: Path | None = None) -> Iterator[dict[str, Any]]:
        began.append(f"{run.name} {tokenizer} {run.resumed}")
        yield from (endless if run.name == "a" else steps)(config, run, tokenizer=tokenizer)

    trainer(train)
    given = Path("assets/x.safetensors").resolve()
    for name, tokenizer in (("a", None), ("c", given), ("b", None)):
        jobs.start_or_enqueue(preset("debug"), name, tokenizer=tokenizer)
    assert (jobs.running(), jobs.queue()) == ("a", ["c", "b"])
    assert [open_run(name).status().state for name in "bc"] == ["queued", "queued"]
    jobs.stop()
    assert jobs.wait(30)
    assert began == ["a None False", f"c {given} False", "b None False"]
    assert [open_run(name).status().sentence for name in "bc"] == ["finished at step 3 of 3"] * 2
    assert jobs.queue() == []


def test_a_run_that_fails_does_not_hold_up_the_queue(trainer: Callable[[Trainer], None]) -> None:
    trainer(lambda config, run, tokenizer=None: failing(ValueError("no"))(config, run) if run.name == "a" else steps(config, run))
    enqueue(preset("debug"), "a")
    enqueue(preset("debug"), "b")
    assert jobs.start_queued() == "a"
    assert jobs.wait(30)
    assert [open_run(name).status().state for name in "ab"] == ["failed", "finished"]


def test_a_damaged_run_does_not_hold_up_the_queue(trainer: Callable[[Trainer], None]) -> None:
    trainer(steps)
    enqueue(preset("debug"), "a")
    enqueue(preset("debug"), "b")
    samples = open_run("a").path / "samples"
    samples.rmdir()
    samples.write_text("no folder")
    assert jobs.start_queued() == "b"
    assert jobs.wait(30)
    assert open_run("b").status().state == "finished"


def test_what_is_taken_out_of_the_queue_while_it_is_being_started_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    enqueue(preset("debug"), "a")
    kept_for_us = run_writer._kept_for_us
    press = threading.Thread(target=lambda: open_run("a").send("stop"))

    def meanwhile(status: RunStatus) -> bool:
        press.start()
        press.join(0.3)
        return kept_for_us(status)

    monkeypatch.setattr(run_writer, "_kept_for_us", meanwhile)
    with RunWriter.resume("a", waiting=True) as run:
        press.join(30)
        assert run.poll_control().stop


def test_a_run_whose_folder_is_deleted_trains_no_longer_and_does_not_hold_up_the_queue(
    trainer: Callable[[Trainer], None], caplog: pytest.LogCaptureFixture
) -> None:
    def train(config: Config, run: RunWriter, *, tokenizer: Path | None = None) -> Iterator[dict[str, Any]]:
        yield from (endless if run.name == "a" else steps)(config, run)

    trainer(train)
    jobs.start_training(preset("debug"), "a")
    jobs.start_or_enqueue(preset("debug"), "b")
    path = open_run("a").path
    while path.exists():  # its heartbeat may put a file there meanwhile
        shutil.rmtree(path, ignore_errors=True)
    assert jobs.wait(30)
    assert not path.exists()
    assert open_run("b").status().state == "finished"
    assert f"run a: the run folder was deleted while it was trained; the training has ended: {path}" in caplog.text


def test_a_run_that_is_taken_out_of_the_queue_as_it_should_start_does_not(
    trainer: Callable[[Trainer], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer(steps)
    enqueue(preset("debug"), "a")

    def too_late() -> list[RunReader]:
        waiting = queued()
        open_run("a").send("stop")
        return waiting

    monkeypatch.setattr(jobs, "queued", too_late)
    assert jobs.start_queued() is None
    assert open_run("a").status().state == "stopped"


def test_a_waiting_run_is_cancelled_by_a_stop_and_can_be_started_later(trainer: Callable[[Trainer], None]) -> None:
    trainer(steps)
    enqueue(preset("debug"), "a")
    open_run("a").send("stop")
    assert open_run("a").status().sentence == "stopped at step 0 of 1000"
    assert jobs.queue() == []
    assert jobs.start_queued() is None
    with pytest.raises(ValueError, match="there is nothing to pause"):
        open_run("a").send("pause")
    assert jobs.start_or_enqueue(None, "a", resume=True) == "a"
    assert jobs.wait(30)
    assert open_run("a").status().state == "finished"


def test_the_queue_outlives_the_process_that_made_it(trainer: Callable[[Trainer], None]) -> None:
    code = "from vidapp.presets import preset; from vidapp.run_queue import enqueue; enqueue(preset('debug'), 'a')"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    assert open_run("a").status().sentence == "queued"
    trainer(steps)
    assert jobs.start_queued() == "a"
    assert jobs.wait(30)
    assert open_run("a").status().state == "finished"


def test_a_stopped_run_can_wait_for_its_turn_too(trainer: Callable[[Trainer], None]) -> None:
    trainer(steps)
    jobs.start_training(preset("debug"), "old")
    assert jobs.wait(30)
    trainer(endless)
    jobs.start_training(preset("debug"), "a")
    jobs.start_or_enqueue(None, "old", resume=True)
    assert jobs.queue() == ["old"]
    assert open_run("old").status().step == 3
    jobs.stop()
    assert wait_for(lambda: jobs.running() == "old")
    assert open_run("old").status().attempt == 2
    jobs.stop()


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> bool:
    pause = threading.Event()
    for _ in range(int(seconds / 0.01)):
        if condition():
            return True
        pause.wait(0.01)
    return False


def test_of_two_who_take_the_same_run_one_gets_it(trainer: Callable[[Trainer], None]) -> None:
    trainer(steps)
    enqueue(preset("debug"), "a")
    taken = RunWriter.resume("a")
    assert jobs.start_queued() is None
    taken.close()
