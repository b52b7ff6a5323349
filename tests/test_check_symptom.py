"""`check --symptom` and `--json-lines` at the shell: what is found, line by line, and what is refused."""

import json

import pytest
from shell import Shell
from tiny_checkpoint import tiny_config

from vidapp.checks.verdict import Check
from vidapp.cli import main
from vidapp.commands.check import lines_of
from vidapp.runs import RunWriter

BLIND = ["check", "--preset", "debug", "--set", "model.attention=framewise", "--symptom", "nothing-moves"]


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_symptom_ends_in_a_cause_and_a_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(BLIND) == 1
    said = capsys.readouterr().out
    assert "The cause: the model cannot see other frames." in said
    assert "try --set model.attention=factorized" in said


def test_the_last_line_of_a_stream_is_what_json_prints(capsys: pytest.CaptureFixture[str]) -> None:
    main([*BLIND, "--json"])
    whole = json.loads(capsys.readouterr().out)
    main([*BLIND, "--json-lines"])
    assert lines(capsys)[-1] == {"result": whole}


def test_a_check_that_passes_says_what_it_was_made_with() -> None:
    passed = Check(name="overfit", title="One batch by heart", status="pass", overrides=("model.dropout=0",))
    assert "checked with model.dropout=0" in lines_of(passed)


def test_checks_come_one_by_one_before_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--preset", "debug", "--only", "sampler", "--json-lines"]) == 0
    found = lines(capsys)
    checks = [line["check"]["name"] for line in found if "check" in line]  # type: ignore[index]
    assert len(checks) == 5
    assert "learning-rate range" in found[-1]["result"]["left_out"]  # type: ignore[index]
    assert [check["name"] for check in found[-1]["result"]["checks"]] == checks  # type: ignore[index]


def test_the_metrics_of_a_run_are_evidence(capsys: pytest.CaptureFixture[str]) -> None:
    with RunWriter.create("sick", tiny_config(model__attention="framewise")) as run:
        for step in range(10, 600, 10):
            run.log({"step": step, "phase": "transformer", "loss": 4.5, "grad_norm": 1.0, "unigram_entropy": 4.0})
    main(["check", "--run", "sick", "--symptom", "nothing-moves", "--json-lines"])
    found = lines(capsys)
    assert next(line["alarm"]["name"] for line in found if "alarm" in line) == "not_below_entropy"  # type: ignore[index]
    assert "metrics" in found[-1]["result"]["diagnosis"]["looked"]  # type: ignore[index]


def test_a_run_is_not_advised_what_it_has_set(capsys: pytest.CaptureFixture[str]) -> None:
    with RunWriter.create("wild", tiny_config(model__attention="framewise")) as run:
        for step in range(10, 400, 10):
            run.log({"step": step, "phase": "transformer", "loss": 500 / step, "grad_norm": 60.0 if step > 200 else 1.0})
    main(["check", "--run", "wild", "--symptom", "nothing-moves", "--json-lines"])
    (alarm,) = [line["alarm"] for line in lines(capsys) if "alarm" in line]
    assert alarm["advice"].startswith("Lower recipe.learning_rate. Find the cause")  # type: ignore[index]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--symptom", "sad"], "unknown symptom 'sad'"),
        (["--symptom", "sad", "--json"], "unknown symptom 'sad'"),
        (["--symptom", "sad", "--json-lines"], "unknown symptom 'sad'"),
        (["--symptom", "sad", "--run", "example:no-time-attention"], "unknown symptom 'sad'"),
        (["--symptom", "blurry", "--only", "data"], "--only does not go with --symptom"),
        (["--clips", "4"], "--clips goes with --symptom only"),
        (["--strip", "a.png", "--clips", "4"], "--clips, --strip go with --symptom only"),
        (["--symptom", "blurry", "--strip", "a.gif"], "--strip a.gif has no known ending: use .png"),
        (["--run", "gone"], "there is no run 'gone'"),
        (["--run", "../etc"], "is not usable"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert words in Shell(capsys).refuses("check", *arguments)
