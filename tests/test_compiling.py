"""torch.compile: when it is used, that it changes no result, and that nothing fails for want of it."""

from pathlib import Path

import pytest
import torch
from tiny import tiny
from trainings import left_behind, train_to_end

from vidapp import compiling
from vidapp.compiling import compile_choice, obstacle_to_compiling
from vidapp.config import Config
from vidapp.files import read_json
from vidapp.run_folder import resume_paths
from vidapp.run_reader import RunReader

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def complete(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that lacks nothing; what is captured runs as it is, since compiling it would take a minute."""
    monkeypatch.setattr(compiling, "obstacle_to_compiling", lambda device: None)
    monkeypatch.setattr(compiling, "BACKEND", "eager")


@pytest.mark.parametrize(
    ("asked", "device", "seconds", "before", "compiled"),
    [
        ("off", CUDA, 1e6, None, False),
        ("on", CPU, 1.0, None, True),
        ("on", CUDA, 1.0, False, True),
        ("auto", CPU, 1e6, None, False),
        ("auto", CUDA, 60.0, None, False),
        ("auto", CUDA, 1e5, None, True),
        ("auto", CUDA, 1e5, False, False),
        ("auto", CUDA, 60.0, True, True),
    ],
)
@pytest.mark.usefixtures("complete")
def test_it_is_used_where_asked_for_or_where_a_long_run_on_cuda_earns_it_back(
    asked: str, device: torch.device, seconds: float, before: object, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ahead:
        def __init__(self, config: Config) -> None:
            self.seconds = seconds

    monkeypatch.setattr(compiling, "preflight", Ahead)
    assert compile_choice(tiny(run__compile=asked), device, before) == (compiled, None)


def test_without_a_compiler_a_run_says_so_and_trains(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "no C++ compiler" in str(obstacle_to_compiling(CPU))
    train_to_end("a", tiny(run__compile="on", run__steps=1), tmp_path)
    assert "run.compile=on trains without torch.compile: there is no C++ compiler" in " ".join(said(tmp_path))


def said(folder: Path) -> list[str]:
    status = RunReader(folder / "a").status()
    assert status.state == "finished"
    return list(status.extra.get("notices", []))


@pytest.mark.usefixtures("complete")
def test_it_learns_the_same_and_a_resume_knows_of_it(tmp_path: Path) -> None:
    plain = tiny(recipe__curriculum="2,4", recipe__gradient_checkpointing=True, model__positions="relative")
    train_to_end("plain", plain, tmp_path)
    train_to_end("a", plain.replace({"run.compile": "on"}), tmp_path)
    one, other = left_behind(tmp_path / "plain", 6), left_behind(tmp_path / "a", 6)
    assert one.keys() == other.keys()
    assert all(torch.allclose(one[name].float(), other[name].float(), atol=1e-4) for name in one)
    state = read_json(resume_paths(tmp_path / "a", 6)[1])
    assert state is not None
    assert state["compile"] is True
    assert not any("failed" in notice for notice in said(tmp_path))


@pytest.mark.usefixtures("complete")
def test_a_compiler_that_fails_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(graph: object, inputs: object) -> None:
        raise RuntimeError("cannot write machine code")

    torch._dynamo.reset()
    monkeypatch.setattr(compiling, "BACKEND", broken)
    train_to_end("a", tiny(run__compile="on", run__steps=2), tmp_path)
    assert "torch.compile failed at step 1" in " ".join(said(tmp_path))
