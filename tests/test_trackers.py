"""Other places that metrics go to: only where asked for, named as installed, and never the end of a training."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from tiny import TINY, tiny
from tiny_checkpoint import write_tiny_checkpoint

from vidapp.config import Config
from vidapp.run_writer import RunWriter
from vidapp.runs import open_run
from vidapp.train import train


def run_training(config: Config) -> list[dict[str, Any]]:
    with RunWriter.create("a", config) as run:
        return list(train(config, run, tokenizer=write_tiny_checkpoint(run.path / "given.safetensors", TINY)))


class Recorder:
    """Stands in for a tracker's package and remembers what it was told."""

    def __init__(self, fail: bool = False) -> None:
        self.logged: list[dict[str, float]] = []
        self.settings: dict[str, Any] = {}
        self.finished = 0
        self.fail = fail

    def init(self, **settings: Any) -> "Recorder":
        self.settings = settings
        return self

    def log(self, figures: dict[str, float]) -> None:
        if self.fail:
            raise ConnectionError("no route to host")
        self.logged.append(figures)

    def finish(self) -> None:
        self.finished += 1


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_every_line_goes_to_the_tracker_under_the_runs_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    monkeypatch.setitem(sys.modules, name, recorder)
    lines = run_training(tiny(run__tracker=name))
    assert recorder.settings["name"] == "a"
    assert recorder.settings["config"]["run"]["tracker"] == name
    assert [figures["transformer/step"] for figures in recorder.logged] == [line["step"] for line in lines]
    assert recorder.logged[0]["transformer/loss"] == lines[0]["loss"]
    assert recorder.finished == 1


def test_tensorboard_writes_below_the_run_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    scalars: list[tuple[str, float, int]] = []
    folders: list[str] = []

    def writer(log_dir: str) -> Any:
        folders.append(log_dir)
        return SimpleNamespace(add_scalar=lambda *scalar: scalars.append(scalar), close=lambda: None)

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=writer))
    run_training(tiny(run__tracker="tensorboard"))
    assert folders == [str(open_run("a").path / "tensorboard")]
    assert ("transformer/loss", 1) in [(name, step) for name, _, step in scalars]


def test_a_tracker_that_fails_is_given_up_with_a_notice_and_the_training_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", Recorder(fail=True))
    run_training(tiny(run__tracker="wandb"))
    status = open_run("a").status()
    assert status.state == "finished"
    assert [notice for notice in status.extra["notices"] if "wandb" in notice] == [
        "wandb failed at step 1 and gets no more metrics (no route to host); the run folder has them all"
    ]


def test_one_that_is_not_installed_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(ValueError, match="trackio is not installed: pip install trackio, or run.tracker=none"):
        run_training(tiny(run__tracker="trackio"))


def test_none_is_imported_unless_asked_for() -> None:
    before = {name for name in ("wandb", "trackio", "tensorboard") if name in sys.modules}
    run_training(TINY)
    assert {name for name in ("wandb", "trackio", "tensorboard") if name in sys.modules} == before
