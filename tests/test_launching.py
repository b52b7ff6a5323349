"""A run on several GPUs, started from the page: by real processes, which outlive the app, stop when asked and say why they fail."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny import tiny

from vidapp import jobs, launching
from vidapp.config import Config
from vidapp.failures import STRANGERS
from vidapp.run_folder import KEEPER, LAUNCH_LOG
from vidapp.run_queue import enqueue, processes_of
from vidapp.run_reader import RunReader, open_run
from vidapp.run_writer import RunWriter

ROOT = Path(__file__).parents[1]
PATIENCE_S = 240.0  # for a busy machine
ENDLESS = tiny(run__steps=10**6, run__log_every=20, run__validate_every=10**6, run__sample_every=10**6, run__checkpoint_every=10**6)
SHORT = tiny(run__steps=2, recipe__tokenizer_steps=1)
APP = """
import sys, time
from vidapp import jobs
from vidapp.config import load_config
from vidapp.run_reader import open_run
name = jobs.start_or_enqueue(load_config(sys.argv[1]), "a", processes=2)
assert open_run(name).status().state == "starting", open_run(name).status()
while open_run(name).status().live and open_run(name).status().extra.get("phase") != "transformer":
    time.sleep(0.1)
"""


def log_of(name: str) -> str:
    return (open_run(name).path / LAUNCH_LOG).read_text()


def test_the_processes_outlive_the_app_and_the_next_app_watches_them_and_queues_behind_them(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(ENDLESS.to_json())
    subprocess.run([sys.executable, "-c", APP, str(tmp_path / "config.json")], cwd=ROOT, check=True, timeout=PATIENCE_S)
    status = open_run("a").status()
    assert status.live, (status, log_of("a"))
    assert "2 processes, each: " in log_of("a")
    enqueue(SHORT, "b")
    assert jobs.start_queued() is None
    assert (jobs.running(), jobs.queue()) == ("a", ["b"])
    assert jobs.stop() is None, "ending this app must not end them"
    open_run("a").send("stop")
    assert jobs.wait(PATIENCE_S)
    status = open_run("a").status()
    assert (status.state, status.attempt) == ("stopped", 1), log_of("a")
    assert open_run("a").checkpoints()[0][0] == status.step
    assert open_run("b").status().state == "finished"


def says(words: str, code: int) -> Callable[[str, int, Path | None], list[str]]:
    """In place of the launcher: a process that says something and ends."""
    return lambda name, processes, tokenizer: [sys.executable, "-c", f"import sys; print({words!r}); sys.exit({code})"]


def test_what_ends_them_early_is_told_in_the_runs_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "launch_command", says("loading\nvidapp: there is no such folder: /clips\nTraceback", 2))
    jobs.start_or_enqueue(SHORT, "a", processes=2)
    assert jobs.wait(PATIENCE_S)
    status = open_run("a").status()
    assert (status.state, jobs.running()) == ("failed", None)
    assert status.error == (
        "the 2 processes ended before the training began (exit code 2): there is no such folder: /clips; "
        "all of it is in launch.log in the run's folder"
    )
    assert "loading" in log_of("a")


def test_a_launcher_that_cannot_be_started_is_a_failed_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "launch_command", lambda *_: ["/no/such/program"])
    jobs.start_or_enqueue(SHORT, "a", processes=2)
    assert jobs.wait(PATIENCE_S)
    assert open_run("a").status().state == "failed"
    assert "No such file" in str(open_run("a").status().error)


def test_a_run_on_several_gpus_waits_in_the_queue_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "launch_command", says("vidapp: no", 2))
    enqueue(SHORT, "a", processes=2)
    assert processes_of(open_run("a").path) == 2
    assert jobs.start_queued() == "a"
    assert jobs.wait(PATIENCE_S)
    assert open_run("a").status().state == "failed"


def test_the_processes_know_that_strangers_may_see_what_they_say(tmp_path: Path) -> None:
    assert launching.environment(tmp_path)[STRANGERS] == "1"


def test_a_stop_while_they_are_being_started_is_kept_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    app = RunWriter.create("a", SHORT)
    app.hand_over()
    assert open_run("a").status().state == "starting"
    with pytest.raises(ValueError, match="stop it first"):
        RunWriter.resume("a")
    open_run("a").send("stop")
    monkeypatch.setenv(KEEPER, str(os.getpid()))
    first = RunWriter.resume("a")
    assert (first.attempt, first.poll_control().stop) == (1, True)
    first.close()
    app.close()


def test_who_was_taken_over_from_does_not_speak_for_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    app = RunWriter.create("a", SHORT)
    app.hand_over()
    monkeypatch.setenv(KEEPER, str(os.getpid()))
    code = "from vidapp.run_writer import RunWriter; run = RunWriter.resume('a'); run.status('stopped', 1, 2); run.close()"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    assert not app.take_back()
    app.close()
    assert open_run("a").status().state == "stopped"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("$ accelerate\nvidapp: no room\nW1 torchrun\nChildFailedError: it failed", "no room"),
        ("$ accelerate\n  File x\ntorch.OutOfMemoryError: CUDA out of memory\nsubprocess.CalledProcessError: it failed", "torch.OutOfMemoryError: CUDA out of memory"),
        ("$ accelerate\none\n\n two \nthree\nfour\n", "two / three / four"),
        ("$ accelerate\n", ""),
    ],
)  # fmt: skip
def test_of_what_they_printed_the_reason_is_found(text: str, words: str) -> None:
    assert launching.last_words(text) == words


def test_a_long_log_keeps_its_end_while_it_is_written(tmp_path: Path) -> None:
    with (tmp_path / LAUNCH_LOG).open("ab", buffering=0) as file:
        for number in range(launching.LOG_BYTES // 10 + 100):
            file.write(b"%010d\n" % number)
        launch = launching.Launch(tmp_path, 2, launching.this_process())
        launch.shorten_log()
        file.write(b"the end\n")
    kept = (tmp_path / LAUNCH_LOG).read_bytes()
    assert len(kept) <= launching.LOG_KEPT + 100
    assert kept.endswith(b"%010d\nthe end\n" % number)
    assert kept.splitlines()[0].isdigit()


@pytest.mark.parametrize(("config", "processes", "message"), [(tiny(), 1, "no second GPU"), (tiny(recipe__batch_size=3), 2, "batch_size 3 does not divide by 2")])  # fmt: skip
def test_what_several_cannot_train_is_refused_before_a_name_is_taken(config: Config, processes: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        launching.refuse_processes(config, processes)


def test_the_page_offers_all_gpus_where_there_are_several(monkeypatch: pytest.MonkeyPatch) -> None:
    import gradio as gr

    from vidapp.ui import drafts, estimates, new_run, train

    monkeypatch.setattr(launching, "launch_command", says("vidapp: no", 2))
    with gr.Blocks():
        tab = train.build(drafts.build())
    new, held = tab.new, {"preset": "debug", "changes": {"run.device": "cpu"}}
    assert new is not None
    for count in (1, 2):
        monkeypatch.setattr(estimates, "devices", lambda count=count: count)
        monkeypatch.setattr(new_run, "devices", lambda count=count: count)
        monkeypatch.setattr(new_run, "ESTIMATES", estimates.Estimates())
        assert new.measure(held)[new.start_all].visible is (count > 1)
    assert new.measure(held)[new.start_all].value == "Start on all 2 GPUs"
    assert "--num_processes 2" in new.measure(held)[new.launch]
    said = list(tab.start_on_all("a", held, "debug", "moving-mnist", 5))[-1]
    assert "Run a has started" in said[new.message]
    assert jobs.wait(PATIENCE_S)
    assert processes_of(open_run("a").path) == 2
    assert RunReader(open_run("a").path).config().run.steps == 5
