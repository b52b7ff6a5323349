"""The Runs tab without a browser: what goes away and comes back, and when the table knows of it."""

import gradio as gr
import pytest
from tiny_checkpoint import tiny_config

from vidapp.run_folder import LIVE_STATES, QUEUED
from vidapp.run_trash import trashed
from vidapp.runs import RunReader, RunWriter, list_runs, open_run
from vidapp.ui import run_table, runs_tab
from vidapp.ui.run_table import Rows
from vidapp.ui.runs_tab import RunsTab
from vidapp.ui.theme import STATIC


def ended(name: str) -> None:
    with RunWriter.create(name, tiny_config()) as run:
        run.log({"step": 1, "phase": "transformer", "loss": 2.0})


@pytest.fixture
def tab() -> RunsTab:
    with gr.Blocks():
        return runs_tab.build()


def test_of_several_runs_those_come_back_that_can_and_the_others_may_be_asked_for_again(tab: RunsTab) -> None:
    assert tab.discarding
    ended("a")
    ended("b")
    gone = tab.discard(["a", "b"])[tab.discarding.gone]
    ended("b")
    updates = tab.restore(gone)
    assert updates[tab.table] == {"chosen": ["a"]}
    assert "a back in the list. Not put back: there is another run" in updates[tab.message].replace("&#x27;", "'")
    assert [place.partition("/")[2] for place in updates[tab.discarding.gone]] == ["b"]
    assert sorted(run.name for run in list_runs()) == ["a", "b"]
    assert trashed() == updates[tab.discarding.gone]


def test_runs_of_other_clips_or_tokens_are_said_not_to_be_comparable() -> None:
    configs = {
        "a": tiny_config(), "wider": tiny_config(model__width=64), "colour": tiny_config(data__channels=3),
        "coarse": tiny_config(data__channels=3, tokenizer__levels=(3, 3)),
    }  # fmt: skip
    for name, config in configs.items():
        with RunWriter.create(name, config):
            pass
    said = {name: runs_tab.settings_html([open_run("a"), open_run(name)]) for name in configs if name != "a"}
    assert "cannot be compared" not in said["wider"]
    assert "cannot be compared: data.channels differs." in said["colour"]
    assert "cannot be compared: tokenizer.levels, data.channels differ." in said["coarse"]


def test_rows_are_kept_for_a_moment_and_forgotten_when_runs_come_or_go() -> None:
    rows = Rows()
    ended("a")
    assert [row["name"] for row in rows.answer("")["rows"]] == ["a"]
    ended("b")
    rows.forget()
    assert {row["name"] for row in rows.answer("")["rows"]} == {"a", "b"}


def test_a_look_reads_a_bounded_part_of_the_metrics_and_no_figure_of_a_run_read_half_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("old", "new"):
        with RunWriter.create(name, tiny_config()) as run:
            for step in range(1, 101):
                run.log({"step": step, "phase": "transformer", "loss": 100 / step, "validation_loss_full": 100 / step})
    monkeypatch.setattr(run_table, "READ_BYTES", 1500)
    monkeypatch.setattr(run_table, "PART_BYTES", 1000)
    rows, shown = Rows(), [[("…", "…"), ("…", "…")]]
    while not shown[1:] or rows.behind:
        shown.append([(row["best"], row["loss"]) for row in rows.answer("")["rows"]])
        assert rows.left > -1000
    assert sorted(shown, reverse=True) == shown, "the newest run is read to its end first"
    assert shown[-1] == [("1", "1"), ("1", "1")]
    assert len(shown) > 5


def test_the_size_of_a_run_is_that_of_its_config_which_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, config in (("none", None), ("deep", tiny_config(model__layers=3))):
        with RunWriter.create(name, config):
            pass
    read: list[str] = []
    config_of = RunReader.config
    monkeypatch.setattr(RunReader, "config", lambda run: read.append(run.name) or config_of(run))
    rows = Rows()
    for _ in range(3):
        rows.forget()
        assert [row["size"] for row in rows.answer("")["rows"]] == ["32x3", ""]
    assert read == ["deep"]


@pytest.mark.parametrize("state", [QUEUED, *LIVE_STATES, "finished", "failed", "interrupted"])
def test_a_state_has_one_colour_in_every_tab(state: str) -> None:
    assert [path.name for path in STATIC.glob("*.css") if f'.badge[data-state="{state}"]' in path.read_text()] == ["page.css"]


@pytest.mark.parametrize(("curve", "log", "axis", "offered"), [
    ("validation", False, "linear", True),
    ("validation", True, "log", True),
    ("tokenizer", True, "log", True),
    ("gradient", False, "log", False),
])  # fmt: skip
def test_losses_are_compared_on_a_logarithmic_axis_where_that_is_asked_for(
    tab: RunsTab, curve: str, log: bool, axis: str, offered: bool
) -> None:
    line = {"validation_loss_full": 3000.0, "grad_norm": 2.0} if curve != "tokenizer" else {"reconstruction_mse": 40.0}
    with RunWriter.create("diverged", tiny_config()) as run:
        run.log({"step": 1, "phase": "tokenizer" if curve == "tokenizer" else "transformer", **line})
    updates = tab.redraw({"chosen": ["diverged"]}, curve, log)
    assert updates[tab.plot]["layout"]["yaxis"]["type"] == axis
    assert updates[tab.log].visible is offered, "the gradient norm has no other axis"


def test_a_comparison_begins_with_a_linear_axis(tab: RunsTab) -> None:
    assert (tab.log.value, tab.log.label) == (False, "log scale")
