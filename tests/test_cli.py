"""The command line as somebody at a shell meets it: what it prints, where, and with which exit code."""

import argparse
import errno
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shell import SMALLEST, Shell, clips_of
from tiny_checkpoint import write_tiny_checkpoint

from vidapp import run_checkpoints
from vidapp.cli import COMMANDS, build_parser, main
from vidapp.commands import evaluate
from vidapp.commands.unheeded import Unheeded
from vidapp.config import Config
from vidapp.data.clips import first_clip
from vidapp.data.glance import IN_GREY
from vidapp.failures import STRANGERS
from vidapp.presets import preset
from vidapp.run_trash import discard
from vidapp.runs import RunReader, RunWriter, list_runs, open_run
from vidapp.tokenizer_choice import BUNDLED
from vidapp.transformer_phase import TransformerPhase

TINY = [*SMALLEST, "run.validate_every=4", "run.sample_every=4", "run.checkpoint_every=4"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with one tiny training in it, made by the command line."""
    runs = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDAPP_RUNS", str(runs))
        assert main(["train", "--preset", "debug", "--run", "tiny", "--steps", "4", "--set", *TINY]) == 0
    return runs


@pytest.fixture
def tiny(trained: Path, monkeypatch: pytest.MonkeyPatch) -> RunReader:
    monkeypatch.setenv("VIDAPP_RUNS", str(trained))
    return open_run("tiny")


@pytest.fixture
def short(tiny: RunReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Arguments of a training of four steps, in a runs folder of its own."""
    monkeypatch.setenv("VIDAPP_RUNS", str(tmp_path / "runs"))
    return ["train", "--run", "short", "--steps", "4", "--tokenizer", str(checkpoint_of(tiny)), "--set", *TINY]


def checkpoint_of(run: RunReader) -> Path:
    return run.checkpoints()[0][1]


def python(code: str, *argv: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    command = [sys.executable, "-c", code, *map(str, argv)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240, check=False)


def test_help_names_the_commands_without_importing_torch_or_gradio() -> None:
    code = "import sys; sys.modules.update(torch=None, gradio=None); from vidapp.cli import main; main(['--help'])"
    answer = python(code)
    assert answer.returncode == 0
    for command in ("train", "sample", "evaluate", "ladder", "ablate", "runs"):
        assert command in answer.stdout
    assert answer.stderr == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_and_its_flags(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = build_parser()
    (subparsers,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert (COMMANDS[command].__doc__ or "").splitlines()[0] in said.replace("- ", "-")
    for action in subparsers.choices[command]._actions:
        assert action.help or action.choices, f"{command}: {action.option_strings or action.dest}"
        assert all(flag in said for flag in action.option_strings)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "COMMAND"),
        (["dance"], "dance"),
        (["train", "--preset", "huge"], "debug, tiny, small, base, scale-up"),
        (["train", "--preset", "tiny", "--config", "a.json"], "not allowed with"),
        (["train", "--config", "missing.json"], "missing.json"),
        (["train", "--set", "recipe.learning_rat=1"], "learning_rat"),
        (["train", "--set", "recipe.learning_rate"], "section.name=value"),
        (["train", "--set", "recipe.learning_rate=7"], "must lie between"),
        (["train", "--set", "data.size=60"], "tokenizer.downsampling"),
        (["train", "--steps", "0"], "--steps"),
        (["train", "--seed", "-1"], "--seed"),
        (["train", "--resume"], "--run NAME"),
        (["train", "--resume", "--run", "missing"], "missing"),
        (["train", "--run", "../up"], "../up"),
        (["train", "--run", "a/b"], "a/b"),
        (["train", "--data", "no/such/folder"], "folder"),
        (["train", "--data", ""], "argument --data: the path is empty"),
        (["train", "--config", ""], "argument --config: the path is empty"),
        (["train", "--set", "data.source="], "data.source is empty: give moving-mnist or the path of your clips"),
        (["evaluate", str(BUNDLED), "--data", ""], "argument --data: the path is empty"),
        (["sample", str(BUNDLED), "--input", "", "--out", "a.gif"], "argument --input: the path is empty"),
        (["ladder", "--data", ""], "argument --data: the path is empty"),
        (["train", "--tokenizer", "missing.safetensors"], "missing.safetensors"),
        (["train", "--data", "/no/such/clips"], "--data /no/such/clips is not there"),
        (["train", "--tokenizer", "/no/such/weights"], "--tokenizer /no/such/weights is not there"),
        (["train", "--init", "no/such/weights"], "--init no/such/weights is not there"),
        (["train", "--config", "LICENSE"], "cannot use the config LICENSE: this is not JSON"),
        (["sample", "/no/such/weights", "--out", "a.gif"], "CHECKPOINT /no/such/weights is not there"),
        (["sample", str(BUNDLED), "--input", "/no/clip.gif", "--out", "a.gif"], "--input /no/clip.gif is not there"),
        (["sample", "missing.safetensors", "--out", "a.gif"], "missing.safetensors"),
        (["sample", "missing.safetensors", "--out", "a.txt"], ".gif, .mp4, .npy"),
        (["sample", "missing.safetensors", "--out", "no/such/a.gif"], "does not exist"),
        (["sample", "missing.safetensors"], "--out"),
        (["evaluate", "missing.safetensors"], "missing.safetensors"),
        (["evaluate", "missing.safetensors", "--clips", "none"], "--clips"),
        (["evaluate", "missing.safetensors", "--strip", "a.gif"], "--strip a.gif has no known ending: use .png"),
        (["evaluate", "missing.safetensors", "--strip", "no/such/a.png"], "does not exist"),
        (["runs", "show", "missing"], "missing"),
        (["runs", "show", "../up"], "../up"),
        (["runs", "compare", "one"], "two runs"),
    ],
)
def test_a_wrong_request_is_one_sentence_and_exit_code_2(shell: Shell, argv: list[str], said: str) -> None:
    assert said in shell.refuses(*argv)
    assert list_runs() == [], "a refused request takes no run name"


def test_processes_that_a_page_has_started_name_no_folder_of_the_server(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    for asked in (["train", "--tokenizer"], ["evaluate"], ["check", "--symptom", "loss-flat", "--checkpoint"]):
        assert "/no/such/weights is not there" in shell.refuses(*asked, "/no/such/weights")
    monkeypatch.setenv(STRANGERS, "1")
    for asked in (["train", "--tokenizer"], ["evaluate"], ["check", "--symptom", "loss-flat", "--checkpoint"]):
        assert "/no/such" not in shell.refuses(*asked, "/no/such/weights")


def test_a_mistake_of_ours_is_one_line_too(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("some\nbug")

    monkeypatch.setattr("vidapp.runs.list_runs", fail)
    code, out, err = shell.run("runs")
    assert (code, out) == (1, "")
    assert err.startswith("vidapp: RuntimeError: some bug")


def test_a_reader_that_leaves_early_causes_no_complaint() -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    answer = subprocess.run(
        ["bash", "-c", f"'{sys.executable}' -m vidapp runs --json | true"],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        check=False,
    )
    assert answer.stderr == ""


@pytest.mark.parametrize(("output", "argv", "code"), [("stdout", ["runs", "list"], 0), ("stderr", ["dance"], 2)])
def test_what_is_said_to_a_closed_output_goes_nowhere(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, output: str, argv: list[str], code: int
) -> None:
    monkeypatch.setattr(sys, output, None)
    assert main(argv) == code
    assert capsys.readouterr() == ("", "")


def test_letters_that_the_output_cannot_hold_are_escaped_and_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    heard = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(heard, encoding="ascii"))
    checkpoint = write_tiny_checkpoint(tmp_path / "tiny.safetensors")
    assert main(["sample", str(checkpoint), "--frames", "1", "--out", str(tmp_path / "é.gif")]) == 0
    assert b"\\xe9.gif" in heard.getvalue()


# --- runs


def write_run(name: str, preset_name: str, loss: float) -> None:
    with RunWriter.create(name, preset(preset_name)) as run:
        run.log({"step": 1, "phase": "tokenizer", "loss": 9.0})
        run.log({"step": 1, "phase": "transformer", "loss": loss + 1, "validation_loss_full": 5.0})
        run.log({"step": 2, "phase": "transformer", "loss": loss})
        run.status("running", 2, 10)


def test_runs_without_a_word_lists_them_newest_first(shell: Shell) -> None:
    assert "no runs" in shell.run("runs")[1]
    assert shell.json("runs")["runs"] == []
    write_run("first", "debug", 2.0)
    write_run("second", "small", 3.0)
    assert [run["name"] for run in shell.json("runs")["runs"]] == ["second", "first"]
    assert shell.run("runs") == shell.run("runs", "list")
    assert "first" in shell.run("runs")[1]


def test_json_may_stand_before_or_behind_the_word(shell: Shell) -> None:
    write_run("first", "debug", 2.0)
    assert json.loads(shell.run("runs", "--json", "show", "first")[1]) == json.loads(shell.run("runs", "show", "first", "--json")[1])


def test_show_gives_the_newest_of_every_figure_by_phase(shell: Shell) -> None:
    write_run("first", "debug", 2.0)
    facts = shell.json("runs", "show", "first")
    assert facts["figures"] == {"tokenizer": {"loss": 9.0}, "transformer": {"loss": 2.0, "validation_loss_full": 5.0}}
    assert Config.from_dict(facts["config"]) == preset("debug")
    assert (facts["state"], facts["step"], facts["total"]) == ("finished", 2, 10)
    text = shell.run("runs", "show", "first")[1]
    assert "validation_loss_full" in text
    assert "recipe.learning_rate" in text


def test_a_run_of_another_training_loop_is_shown_without_a_config(shell: Shell) -> None:
    with RunWriter.create("foreign", None) as run:
        run.log({"step": 1, "loss": 1.0})
    write_run("own", "debug", 2.0)
    assert shell.json("runs", "show", "foreign")["config"] is None
    assert shell.run("runs", "show", "foreign")[0] == 0
    assert shell.run("runs", "compare", "own", "foreign")[0] == 0


def test_a_run_in_the_trash_comes_back_by_its_name(shell: Shell) -> None:
    with RunWriter.create("gone", None):
        pass
    place = discard("gone")
    assert shell.json("runs", "trash") == {"trash": [place]}
    assert shell.run("runs", "restore", "gone")[0] == 0
    assert [run["name"] for run in shell.json("runs")["runs"]] == ["gone"]
    assert shell.run("runs", "trash")[1].strip() == "the trash is empty"


def test_compare_shows_where_runs_differ_and_nothing_else(shell: Shell) -> None:
    write_run("first", "debug", 2.0)
    write_run("second", "small", 3.0)
    answer = shell.json("runs", "compare", "first", "second")
    assert answer["settings"]["model.width"] == [128, 192]
    assert "data.size" not in answer["settings"]
    assert [run["figures"]["transformer"]["loss"] for run in answer["runs"]] == [2.0, 3.0]
    assert "model.width" in shell.run("runs", "compare", "first", "second")[1]
    assert [run["name"] for run in shell.json("runs", "compare", "first", "example:healthy")["runs"]] == ["first", "example:healthy"]


# --- train


def test_a_training_leaves_a_finished_run_that_can_be_sampled_from(tiny: RunReader) -> None:
    assert tiny.status().state == "finished"
    assert tiny.checkpoints()[0][0] == 4
    phases = {line["phase"] for line in tiny.metrics()[0]}
    assert phases == {"tokenizer", "transformer"}, "the bundled tokenizer is for other frames, so one was trained first"


def test_a_run_name_that_exists_is_refused_and_untouched(shell: Shell, tiny: RunReader) -> None:
    before = {path: path.stat().st_mtime_ns for path in tiny.path.rglob("*")}
    assert "tiny" in shell.refuses("train", "--preset", "debug", "--run", "tiny")
    assert "run.seed" in shell.refuses("train", "--run", "tiny", "--resume", "--seed", "7")
    assert {path: path.stat().st_mtime_ns for path in tiny.path.rglob("*")} == before


def test_what_a_resume_would_leave_out_is_refused(shell: Shell, tiny: RunReader) -> None:
    bundled = str(BUNDLED)
    assert "--init is for a new run" in shell.refuses("train", "--run", "tiny", "--resume", "--init", bundled)
    assert "leave --tokenizer out" in shell.refuses("train", "--run", "tiny", "--resume", "--tokenizer", bundled)
    assert "stands at step 4" in shell.refuses("train", "--run", "tiny", "--resume", "--steps", "3")


def test_weights_to_begin_with_that_are_not_there_leave_no_run(shell: Shell, tiny: RunReader) -> None:
    assert "gone.safetensors" in shell.refuses("train", "--preset", "debug", "--run", "begun", "--init", "gone.safetensors")
    assert "begun" not in shell.run("runs")[1]


def test_weights_of_another_model_are_refused_before_a_tokenizer_is_trained(shell: Shell, tiny: RunReader) -> None:
    said = shell.refuses("train", "--preset", "debug", "--run", "begun", "--init", checkpoint_of(tiny))
    assert "holds another model" in said
    assert "model.width 16" in said
    assert "begun" not in shell.run("runs")[1]


def test_a_resume_goes_on_with_the_runs_own_settings(shell: Shell, tiny: RunReader) -> None:
    code, out, err = shell.run("train", "--run", "tiny", "--resume", "--steps", "6")
    assert code == 0, err
    assert "6 of 6" in out
    assert tiny.status().state == "finished"
    assert tiny.config().model.width == 16
    assert [line["step"] for line in tiny.metrics()[0] if "loss" in line and line["phase"] == "transformer"] == [1, 2, 3, 4, 5, 6]


def test_a_resume_says_how_much_is_left_and_not_the_whole(shell: Shell, short: list[str]) -> None:
    assert "4 steps over 8 clips" in shell.run(*short)[2]
    code, _, err = shell.run("train", "--run", "short", "--resume", "--steps", "6")
    assert code == 0, err
    assert "2 of 6 steps are left, over 4 clips" in err
    assert "6 steps over" not in err


def test_a_resume_of_what_is_finished_says_that_nothing_is_left_and_succeeds_as_ladder_and_ablate_do(
    shell: Shell, short: list[str]
) -> None:
    shell.run(*short)
    code, out, err = shell.run("train", "--run", "short", "--resume")
    assert (code, out.partition(";")[0]) == (0, "finished at step 4 of 4")
    assert err.splitlines()[1:] == ["nothing is left to do: give --steps more than 4"]


def test_what_goes_wrong_on_the_way_is_said_in_the_shell_too(shell: Shell, short: list[str]) -> None:
    shell.run(*short)
    for _, path in open_run("short").checkpoints():
        os.truncate(path, 500)
    code, _, err = shell.run("train", "--run", "short", "--resume", "--steps", "5")
    assert code == 0, err
    assert "note: The checkpoint of step 4 cannot be used" in err
    assert "going on from the one before" in err
    assert "note: The checkpoint of step 0 cannot be used" in err
    assert "the transformer's training begins anew" in err
    notices = shell.json("runs", "show", "short")["notices"]
    assert [notice for notice in notices if "cannot be used" in notice] == [
        line[6:] for line in err.splitlines() if "cannot be used" in line
    ]
    assert notices[0] in shell.run("runs", "show", "short")[1]


def test_a_training_whose_last_weights_could_not_be_saved_is_no_success(
    shell: Shell, short: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = run_checkpoints.commit

    def full(folder: Path, step: int, phase: str, **more: Any) -> None:
        if step == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        commit(folder, step, phase, **more)

    monkeypatch.setattr(run_checkpoints, "commit", full)
    code, out, err = shell.run(*short)
    assert code == 1
    assert "finished at step 4 of 4" in out
    assert "note: the checkpoint of step 4 could not be saved: No space left on device; training goes on" in err
    assert "vidapp: the weights of step 4 could not be saved: make room" in err
    monkeypatch.undo()


def test_a_training_that_breaks_off_is_told_from_one_that_is_refused(
    shell: Shell, short: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any, **named: Any) -> None:
        raise ValueError("the loss of step 1 is not finite")

    monkeypatch.setattr(TransformerPhase, "backward", broken)
    code, _, err = shell.run(*short)
    assert code == 1
    assert err.splitlines()[-1] == "vidapp: the loss of step 1 is not finite"
    assert open_run("short").status().error == "the loss of step 1 is not finite"
    assert "exists" in shell.refuses(*short)


def test_a_run_with_a_damaged_config_can_be_looked_at(shell: Shell, short: list[str]) -> None:
    shell.run(*short)
    (open_run("short").path / "config.json").write_text("garbage")
    found = shell.json("runs", "show", "short")
    assert found["config"] is None
    assert found["figures"]["transformer"]["loss"] > 0
    assert "none that can be read" in shell.run("runs", "show", "short")[1]
    assert shell.run("runs", "compare", "short", "short")[0] == 0


def test_a_training_without_a_name_gets_a_readable_one(
    shell: Shell, tiny: RunReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDAPP_RUNS", str(tmp_path / "runs"))
    arguments = ["train", "--steps", 1, "--tokenizer", checkpoint_of(tiny), "--set", *TINY]
    assert shell.run(*arguments)[0] == 0
    (run,) = list_runs()
    assert "moving-mnist" in run.name
    assert {line["phase"] for line in run.metrics()[0]} == {"transformer"}, "the given tokenizer is used as it is"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_a_training_so_that_it_can_go_on(
    shell: Shell, tiny: RunReader, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    import vidapp.train

    train = vidapp.train.train

    def interrupted(*arguments: Any, **named: Any) -> Iterator[dict[str, Any]]:
        for line in train(*arguments, **named):
            if line["step"] == 2:
                os.kill(os.getpid(), number)
            yield line

    monkeypatch.setattr("vidapp.train.train", interrupted)
    before = signal.getsignal(number)
    name = f"signal-{number.value}"
    arguments = ["--run", name, "--steps", "1000", "--tokenizer", checkpoint_of(tiny), "--set", *TINY]
    code, out, err = shell.run("train", *arguments)
    assert code == 128 + number
    assert "stopped at step" in out
    assert f"--run {name} --resume" in err
    assert open_run(name).status().state == "stopped"
    assert open_run(name).checkpoints(), "what was learnt is kept"
    assert signal.getsignal(number) is before


class Left(io.StringIO):
    """A stream whose reader has left, which it learns of as soon as it writes."""

    def write(self, text: str) -> int:
        raise OSError(errno.EIO, "Input/output error")


def test_a_training_goes_on_and_stops_as_asked_when_nobody_reads_what_it_says(
    shell: Shell, tiny: RunReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", Left())
    monkeypatch.setattr(sys, "stdout", Left())
    arguments = ["--run", "unread", "--steps", "3", "--tokenizer", checkpoint_of(tiny), "--set", *TINY]
    assert main([str(part) for part in ("train", *arguments)]) == 0
    assert open_run("unread").status().state == "finished"


def test_what_nobody_reads_any_more_is_lost_and_nothing_fails_for_that() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as file:  # closing it writes what is left: that must not fail either
        stream = Unheeded(file)
        print("read", file=stream, flush=True)
        assert os.read(reader, 99) == b"read\n"
        os.close(reader)
        for _ in range(2):
            print("lost", file=stream, flush=True)


# --- sample and evaluate


@pytest.mark.parametrize("ending", [".gif", ".mp4", ".npy"])
def test_sample_writes_the_format_of_the_name(shell: Shell, tiny: RunReader, tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"future{ending}"
    code, printed, err = shell.run("sample", checkpoint_of(tiny), "--frames", 3, "--out", out)
    assert code == 0, err
    assert printed.strip() == str(out)
    frames = first_clip(out, 32, 1, 100)[0].frames
    assert len(frames) == (3 if ending == ".npy" else 2 + 3), "pictures and videos show what was given, too"


def test_a_npy_holds_the_generated_frames_alone_and_the_seed_decides_them(shell: Shell, tiny: RunReader, tmp_path: Path) -> None:
    def frames(seed: int) -> np.ndarray:
        out = tmp_path / "future.npy"
        assert shell.run("sample", checkpoint_of(tiny), "--temperature", 1, "--top-k", 0, "--seed", seed, "--out", out)[0] == 0
        return np.load(out)

    first = frames(0)
    assert first.shape == (2, 32, 32)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, frames(0))
    assert (first != frames(1)).any()


def test_a_name_that_cannot_be_printed_is_written_all_the_same(shell: Shell, tiny: RunReader, tmp_path: Path) -> None:
    out = tmp_path / os.fsdecode(b"clip-\xff.npy")
    code, said, _ = shell.run("sample", checkpoint_of(tiny), "--out", out)
    assert (code, said) == (0, f"{tmp_path}/clip-?.npy\n")
    assert out.is_file()


def test_what_is_expected_is_one_future_whatever_the_seed(shell: Shell, tiny: RunReader, tmp_path: Path) -> None:
    out, found = tmp_path / "future.npy", []
    for seed in (0, 1):
        assert shell.run("sample", checkpoint_of(tiny), "--choice", "expected", "--seed", seed, "--out", out)[0] == 0
        found.append(np.load(out))
    np.testing.assert_array_equal(*found)
    code, printed, err = shell.run("evaluate", checkpoint_of(tiny), "--choice", "expected", "--clips", 2, "--samples", 2)
    assert code == 0, err
    assert "the 2 samples are alike" in err
    assert "tokens as expected" in printed
    assert "sampling.choice" in shell.refuses("sample", checkpoint_of(tiny), "--choice", "likeliest", "--out", out)


def test_sample_continues_a_clip_of_ones_own(shell: Shell, tiny: RunReader, tmp_path: Path) -> None:
    clip, out = tmp_path / "clip.npy", tmp_path / "future.npy"
    np.save(clip, np.random.default_rng(0).integers(0, 256, (5, 40, 50), dtype=np.uint8))
    assert shell.run("sample", checkpoint_of(tiny), "--input", clip, "--context", 4, "--frames", 1, "--out", out)[0] == 0
    assert np.load(out).shape == (1, 32, 32)
    assert "--context 5" in shell.refuses("sample", checkpoint_of(tiny), "--input", clip, "--context", 6, "--out", out)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--temperature", "-1"], "sampling.temperature"),
        (["--top-k", "17"], "16"),
        (["--steps", "0"], "sampling.steps"),
        (["--input", "missing.gif"], "missing.gif"),
        (["--frames", "0"], "--frames"),
    ],
)
def test_what_a_checkpoint_cannot_do_is_refused(shell: Shell, tiny: RunReader, tmp_path: Path, flags: list[str], said: str) -> None:
    assert said in shell.refuses("sample", checkpoint_of(tiny), *flags, "--out", tmp_path / "a.gif")
    assert not (tmp_path / "a.gif").exists()


def test_a_damaged_checkpoint_is_refused_by_name(shell: Shell, tiny: RunReader, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(checkpoint_of(tiny).read_bytes()[:-10])
    for argv in (["sample", damaged, "--out", tmp_path / "a.gif"], ["evaluate", damaged], ["train", "--tokenizer", damaged]):
        assert "damaged.safetensors" in shell.refuses(*argv)


def test_a_tokenizer_of_another_kind_is_refused_by_setting(shell: Shell, tiny: RunReader) -> None:
    assert "tokenizer.levels" in shell.refuses("train", "--preset", "debug", "--tokenizer", checkpoint_of(tiny))


def test_given_frames_beyond_the_trained_length_are_noted(shell: Shell, tiny: RunReader, tmp_path: Path) -> None:
    note = "note: the model sees the last 3 of 6 given frames: it was trained on clips of 4"
    assert note in shell.run("sample", checkpoint_of(tiny), "--context", 6, "--frames", 1, "--out", tmp_path / "a.npy")[2]
    code, out, err = shell.run("evaluate", checkpoint_of(tiny), "--clips", 1, "--context", 6, "--frames", 1, "--no-stages", "--json")
    assert (code, note in err, json.loads(out)["context"]) == (0, True, 6)
    assert "note" not in shell.run("sample", checkpoint_of(tiny), "--frames", 1, "--out", tmp_path / "a.npy")[2]


def test_evaluate_prints_one_json_object(shell: Shell, tiny: RunReader) -> None:
    scores = shell.json("evaluate", checkpoint_of(tiny), "--clips", 2)
    assert scores["clips"] == 2
    for part in (scores, *(scores[name] for name in ("black", "repeat_last", "pixel_mean", "reconstruction"))):
        assert {"mse", "mae", "ssim", "psnr"} <= set(part)
    assert len(scores["per_frame"]["mse"]) == 2


def test_evaluate_prints_a_table_for_people(shell: Shell, tiny: RunReader) -> None:
    code, out, err = shell.run("evaluate", checkpoint_of(tiny), "--clips", 2, "--frames", 1)
    assert code == 0, err
    for words in ("MSE", "SSIM", "prediction", "all black", "tokenizer alone"):
        assert words in out


def test_clips_shorter_than_those_trained_on_are_evaluated_where_they_reach(shell: Shell, tiny: RunReader, tmp_path: Path) -> None:
    evaluation = ["evaluate", checkpoint_of(tiny), "--clips", 1, "--no-stages", "--data", clips_of(tmp_path / "clips", 3)]
    for context, frames in ((2, 1), (1, 2), (1, 1)):
        scores = shell.json(*evaluation, "--context", context, "--frames", frames)
        assert (scores["source"], scores["context"], scores["frames"]) == ("clips", context, frames)
    for asked in ([], ["--context", 5]):
        assert "lower --context and --frames to 3 in all, or give longer clips" in shell.refuses(*evaluation, *asked)


def test_clips_of_ones_own_are_found_from_any_folder_and_a_checkpoint_without_them_says_so(
    shell: Shell, tiny: RunReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = clips_of(tmp_path / "clips", 5)
    (folder / "notes.txt").write_text("x")
    np.save(folder / "short.npy", np.zeros((2, 32, 32), np.uint8))
    monkeypatch.chdir(tmp_path)
    arguments = ["train", "--steps", 1, "--tokenizer", checkpoint_of(tiny), "--set", *TINY]
    code, _, err = shell.run(*arguments, "--run", "own", "--data", "clips")
    assert code == 0, err
    assert "note: 2 left out of clips:\n  short.npy: it has 2 of the 4 frames needed\n  notes.txt: it is of an unknown type\n" in err
    assert shell.run(*arguments, "data.source=clips", "--run", "same")[0] == 0
    (tmp_path / "config.json").write_text(open_run("own").config().replace({"data.source": "clips"}).to_json())
    assert shell.run(*arguments[:5], "--config", "config.json", "--run", "written")[0] == 0
    assert [open_run(name).config().data.source for name in ("own", "same", "written")] == [str(folder)] * 3
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert shell.run("train", "--run", "own", "--resume", "--steps", 2)[0] == 0
    folder.rename(tmp_path / "gone")
    checkpoint = checkpoint_of(open_run("own"))
    absent = "this checkpoint was trained on clips that are not here (clips): give"
    assert f"{absent} a clip to continue with --input" in shell.refuses("sample", checkpoint, "--out", "a.gif")
    assert f"{absent} clips to test on with --data" in shell.refuses("evaluate", checkpoint)
    others = ["evaluate", checkpoint, "--clips", 1, "--no-stages", "--data"]
    assert "copies of what was trained on" in shell.run(*others, tmp_path / "gone")[2]
    assert "copies of what was trained on" not in shell.run(*others, "moving-mnist")[2]


def test_colours_that_a_training_would_lose_are_noted_there_and_nowhere_else(shell: Shell, tiny: RunReader, tmp_path: Path) -> None:
    folder = clips_of(tmp_path / "clips", 5)
    for path in folder.iterdir():
        np.save(path, np.stack([np.load(path), *np.zeros((2, 5, 32, 32), np.uint8)], axis=-1))
    arguments = ["train", "--steps", 1, "--tokenizer", checkpoint_of(tiny), "--run", "red", "--data", folder, "--set", *TINY]
    assert shell.run(*arguments)[2].count(f"note: {IN_GREY}") == 1
    code, _, err = shell.run("evaluate", checkpoint_of(open_run("red")), "--clips", 1, "--no-stages")
    assert code == 0
    assert IN_GREY not in err


def test_a_checkpoint_that_would_take_more_memory_than_is_free_is_refused_before_it_is_loaded(
    shell: Shell, tiny: RunReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidapp.preflight.free_memory", lambda: 1000)
    monkeypatch.setattr("vidapp.checkpoint.load_checkpoint", None)
    for command in (["sample", checkpoint_of(tiny), "--out", tmp_path / "a.gif"], ["evaluate", checkpoint_of(tiny)]):
        assert "GiB of memory for a future, and 0.0 are free here" in shell.refuses(*command)


def test_names_in_files_of_strangers_steer_no_terminal(shell: Shell, tiny: RunReader, tmp_path: Path) -> None:
    folder = clips_of(tmp_path / "clips", 5)
    (folder / "a\x1b]0;PWN\x07\x1b[2J\nvidapp: all is well.txt").write_text("x")
    arguments = ["train", "--steps", 1, "--tokenizer", checkpoint_of(tiny), "--set", *TINY]
    err = shell.run(*arguments, "--run", "steered", "--data", folder)[2]
    assert "\x1b" not in err
    assert "\nvidapp: all is well" not in err
    assert "\x1b" not in shell.refuses(*arguments, "--data", f"{folder}\x1b[2J")


@pytest.mark.parametrize("written", ["{}", "{}/", "{}/../clips"])
def test_the_clips_that_were_trained_on_stay_split_as_they_were_however_their_path_is_written(tmp_path: Path, written: str) -> None:
    own = Config().replace({"data.source": str(clips_of(tmp_path / "clips", 3)), "data.clip_frames": 20}).data
    assert evaluate.data_for(own, written.format(own.source), 8) == own
    elsewhere = clips_of(tmp_path / "others", 3)
    assert evaluate.data_for(own, str(elsewhere), 8).clip_frames == 8
    assert evaluate.data_for(own, "moving-mnist", 8).source == "moving-mnist"


def test_scores_are_printed_even_where_the_picture_cannot_be_written(
    shell: Shell, tiny: RunReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise ValueError("the disk is full")

    monkeypatch.setattr(evaluate, "draw", full)
    for flags in ([], ["--json"], ["--json-lines"]):
        code, out, err = shell.run("evaluate", checkpoint_of(tiny), "--clips", 1, "--strip", tmp_path / "a.png", *flags)
        assert (code, err) == (2, "vidapp: the disk is full\n")
        assert "mse" in out.lower()


def test_evaluate_labels_what_several_futures_are_scored_by(shell: Shell, tiny: RunReader) -> None:
    code, out, err = shell.run("evaluate", checkpoint_of(tiny), "--clips", 2, "--samples", 2, "--temperature", 1, "--split", "validation")
    assert code == 0, err
    for words in (
        "best of 2 (truth known)",
        "mean of 2",
        "diversity",
        "one greedy pass, true past",
        "2 validation clips",
        "temperature 1,",
    ):
        assert words in out
    assert "--samples N" in shell.run("evaluate", checkpoint_of(tiny), "--clips", 2)[1]


def test_a_top_k_above_the_codebook_is_refused_with_what_to_do(shell: Shell, tiny: RunReader, tmp_path: Path) -> None:
    for command in (["evaluate", checkpoint_of(tiny)], ["sample", checkpoint_of(tiny), "--out", tmp_path / "a.gif"]):
        assert "sampling.top_k 1000 is above the codebook size 16: use 0 for all codes" in shell.refuses(*command, "--top-k", 1000)


def test_all_of_it_works_where_gradio_cannot_be_imported(tiny: RunReader, tmp_path: Path) -> None:
    code = """
import json, sys
sys.modules["gradio"] = None
from vidapp.cli import main
sys.exit(max(main(argv) for argv in json.loads(sys.argv[1])))
"""
    checkpoint = str(checkpoint_of(tiny))
    commands = [
        ["train", "--run", "without-gradio", "--steps", "1", "--tokenizer", checkpoint, "--set", *TINY],
        ["sample", checkpoint, "--frames", "1", "--out", str(tmp_path / "a.npy")],
        ["evaluate", checkpoint, "--clips", "1", "--frames", "1", "--json"],
    ]
    answer = python(code, json.dumps(commands))
    assert answer.returncode == 0, answer.stderr
