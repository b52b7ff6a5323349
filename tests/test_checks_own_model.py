"""A function of somebody's own, and the command line of the checklist."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vidapp.checks.own_model import OwnModel, check_own_model, load_function, read_tokens
from vidapp.checks.verdict import Check
from vidapp.cli import main

V = 16


@pytest.fixture
def ids(tmp_path: Path) -> Path:
    """Clips that mostly stand still: copying is a good prediction."""
    rng = np.random.default_rng(0)
    still = np.repeat(rng.integers(0, V, (6, 1, 4, 4)), 6, axis=1)
    np.save(tmp_path / "ids.npy", still.astype(np.uint16))
    return tmp_path / "ids.npy"


def checked(name: str, ids: Path, causal: bool = False) -> dict[str, Check]:
    own = OwnModel(load_function(f"tests.own_models:{name}"), read_tokens(ids, V), V, causal)
    return {check.name: check for check in check_own_model(own)}


def failing(name: str, ids: Path, causal: bool = False) -> set[str]:
    return {check.name for check in checked(name, ids, causal).values() if check.failed}


def test_a_healthy_function_passes(ids: Path) -> None:
    found = checked("copies", ids, causal=True)
    assert not [check for check in found.values() if check.failed]
    assert found["gradient_reaches_all"].status == "not_applicable"
    assert {"temperature", "decodes", "causality"} <= set(found)


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("forgets", "sees_the_past"),
        ("mixes", "batch_independent"),
        ("undefined", "logits_finite"),
        ("misshapen", "answers"),
        ("leaves", "answers"),
        ("frozen", "gradient_reaches_all"),
        ("frozen", "better_than_frequencies"),
    ],
)
def test_what_is_wrong_is_named(ids: Path, name: str, named: str) -> None:
    assert named in failing(name, ids)


def test_an_id_that_is_never_predicted_is_no_other_fault(ids: Path) -> None:
    assert failing("forbids", ids, causal=True) == {"logits_finite", "better_than_frequencies"}  # it does occur


def test_seeing_later_frames_fails_only_where_promised_otherwise(ids: Path) -> None:
    assert "causality" in failing("peeks", ids, causal=True)
    assert checked("peeks", ids)["causality"].status == "not_applicable"


def test_a_long_recording_is_cut_into_clips(tmp_path: Path) -> None:
    np.save(tmp_path / "long.npy", np.arange(50 * 4).reshape(50, 2, 2) % V)
    assert tuple(read_tokens(tmp_path / "long.npy", V).shape) == (3, 16, 2, 2)
    assert tuple(read_tokens(tmp_path / "long.npy", V, frames=5).shape) == (4, 5, 2, 2)


def run(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["check", *map(str, argv)])
    out, err = capsys.readouterr()
    return code, out, err


def own(ids: Path, name: str = "copies", size: int = V) -> list[object]:
    return ["--model", f"tests.own_models:{name}", "--tokens", ids, "--codebook-size", size]


def test_the_command_answers_with_an_exit_code_and_one_json_object(capsys: pytest.CaptureFixture[str], ids: Path) -> None:
    code, out, _ = run(capsys, *own(ids), "--json")
    answer: dict[str, Any] = json.loads(out)
    assert (code, answer["ok"]) == (0, True)
    assert all({"name", "status", "figure", "threshold", "advice"} <= set(check) for check in answer["checks"])
    code, out, _ = run(capsys, *own(ids, "forgets"))
    assert code == 1
    assert "sees_the_past" in out.splitlines()[-1]


def test_what_a_model_prints_does_not_mix_with_the_answer(capsys: pytest.CaptureFixture[str], ids: Path) -> None:
    code, out, err = run(capsys, *own(ids, "talks"), "--json")
    assert (code, json.loads(out)["ok"]) == (0, True)
    assert "called" in err


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("print('loaded')", "module 'odd' has no attribute 'model'"),
        ("def model(", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_a_module_that_cannot_be_imported_is_refused_with_what_went_wrong(
    capsys: pytest.CaptureFixture[str], ids: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, said: str
) -> None:
    (tmp_path / "odd.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "odd", raising=False)
    code, out, err = run(capsys, "--model", "odd:model", "--tokens", ids, "--codebook-size", V)
    assert (code, out) == (2, "")
    assert "--model odd:model cannot be imported" in err
    assert said in err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--model", "tests.own_models:copies"], "--tokens"),
        (["--only", "nonsense"], "nonsense"),
        (["--preset", "nonsense"], "nonsense"),
        (["--causal"], "--model"),
    ],
)
def test_what_cannot_be_checked_is_refused(capsys: pytest.CaptureFixture[str], argv: list[str], said: str) -> None:
    code, out, err = run(capsys, *argv)
    assert (code, out) == (2, "")
    assert said in err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "nothing"}, "cannot be imported"),
        ({"name": "NUMBER"}, "nothing that can be called"),
        ({"size": 8}, "[0, 8)"),
    ],
)
def test_a_model_or_ids_that_do_not_fit_are_refused(
    capsys: pytest.CaptureFixture[str], ids: Path, change: dict[str, Any], said: str
) -> None:
    code, _, err = run(capsys, *own(ids, **change))
    assert code == 2
    assert said in err


def test_a_file_that_holds_no_ids_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for content in (np.zeros((2, 2)), np.zeros((1, 2, 2, 2)), np.zeros((0, 2, 2), int)):
        np.save(tmp_path / "ids.npy", content)
        assert run(capsys, *own(tmp_path / "ids.npy"))[0] == 2
    (tmp_path / "ids.npy").write_bytes(b"nothing")
    assert run(capsys, *own(tmp_path / "ids.npy"))[0] == 2


def test_a_config_is_checked_from_the_shell(capsys: pytest.CaptureFixture[str]) -> None:
    small = ["model.width=16", "model.layers=1", "model.heads=2", "tokenizer.levels=4,4", "tokenizer.channels=8", "data.size=32"]
    small += ["data.clip_frames=4", "data.context_frames=2", "recipe.tokenizer_steps=2", "recipe.tokenizer_batch_size=4", "run.threads=1"]
    code, out, err = run(capsys, "--only", "sampler", "loss", "--set", *small, "run.device=cpu", "sampling.top_k=4")
    assert code == 0, (out, err)
    assert "tokenizer trained for 2 steps just now" in out
    assert out.splitlines()[-1] == "nothing failed"
