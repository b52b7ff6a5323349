"""Runs beside one another."""

from tiny_checkpoint import tiny_config

from vidapp.run_compare import Figures, differing_settings, newest_figures
from vidapp.runs import RunWriter, open_run


def test_the_best_validation_loss_is_remembered_with_its_step() -> None:
    with RunWriter.create("one", tiny_config()) as run:
        figures = Figures()
        for step, loss in ((10, 3.0), (20, 2.0), (30, 2.5)):
            run.log({"step": step, "phase": "transformer", "validation_loss_full": loss})
            figures.follow(open_run("one"))
        run.log({"step": 40, "phase": "transformer", "validation_loss_full": float("nan"), "loss": 1.0})
        figures.follow(open_run("one"))
    assert figures.best == (20, 2.0)
    assert figures.newest["transformer"] == {"validation_loss_full": 2.5, "loss": 1.0}
    assert newest_figures(open_run("one")) == figures.newest


def test_a_long_file_is_read_in_parts_and_known_to_be_read_half() -> None:
    with RunWriter.create("one", tiny_config()) as run:
        for step in range(1, 101):
            run.log({"step": step, "phase": "transformer", "validation_loss_full": 1 / step})
    figures, reads = Figures(), []
    while figures.behind:
        reads.append(figures.follow(open_run("one"), 1000).read)
    assert figures.best == (100, 0.01)
    assert 0 < max(reads) <= 1000
    assert sum(reads) == (run.path / "metrics.jsonl").stat().st_size


def test_a_file_that_was_cut_is_read_anew() -> None:
    with RunWriter.create("one", tiny_config()) as run:
        run.log({"step": 10, "phase": "transformer", "validation_loss_full": 1.0})
        run.log({"step": 20, "phase": "transformer", "validation_loss_full": 0.5})
        figures = Figures().follow(open_run("one"))
        run.cut_metrics(10, "transformer")
    assert figures.follow(open_run("one")).best == (10, 1.0)


def test_only_settings_that_differ_are_listed_and_a_run_without_a_config_has_none() -> None:
    for name, config in (("one", tiny_config()), ("two", tiny_config(model__layers=3)), ("none", None)):
        with RunWriter.create(name, config):
            pass
    runs = [open_run(name) for name in ("one", "two", "none")]
    assert differing_settings(runs) == {"model.layers": [1, 3, None]}
