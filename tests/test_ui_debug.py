"""Debug's handlers: what can be looked at, what is asked of it, and what a page may not ask for."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
from tiny_checkpoint import tiny_config, write_tiny_checkpoint

from vidapp.runs import RunReader, RunWriter
from vidapp.ui import cases, debug, drafts
from vidapp.ui.drafts import FIRST, Draft
from vidapp.ui.examiner import DONE, EXAMINER, RUNNING, Order, Report
from vidapp.ui.report_view import EMPTY_READONLY, answer


@pytest.fixture
def run() -> str:
    with RunWriter.create("sick", tiny_config(recipe__learning_rate=0.01)) as writer:
        for step in range(10, 400, 10):
            writer.log({"step": step, "phase": "transformer", "loss": 4.5, "grad_norm": 1.0, "unigram_entropy": 4.0})
        write_tiny_checkpoint(writer.checkpoint_path(390))
    return "sick"


def built(*, readonly: bool = False) -> debug.DebugTab:
    with gr.Blocks():
        return debug.build(drafts.build(), gr.Dropdown(["sick"], value="sick"), readonly=readonly)


@pytest.fixture
def kept() -> Iterator[Report]:
    """The finished report of the quick checks of the preset `debug`, which somebody has asked for a while ago."""
    case = cases.case_of("preset:debug", None)
    change = {"diagnosis": {"change": {"recipe.learning_rate": 0.0022}}}
    report = Report(Order(case.key("public"), "Quick checks", case.config, ()), DONE, result=change, begun=time.monotonic() - 50, seconds=5)
    EXAMINER.reports[report.order.key] = report
    yield report
    del EXAMINER.reports[report.order.key]


def test_runs_are_offered_before_presets_and_the_new_run_first(run: str) -> None:
    found = [value for _, value in cases.choices()]
    assert found[:2] == ["draft", "run:sick"]
    assert "preset:debug" in found
    assert "draft" not in [value for _, value in cases.choices(readonly=True)]


def test_a_run_is_looked_at_with_its_own_settings_and_checkpoint(run: str) -> None:
    case = cases.case_of("run:sick", None)
    assert case.config.recipe.learning_rate == 0.01
    assert case.trained.name == "step-00000390.safetensors"
    assert case.check == ("--run=sick",)


def test_the_new_run_is_looked_at_as_the_page_holds_it() -> None:
    case = cases.case_of("draft", Draft.of("tiny", {"model.layers": 7}).value)
    assert case.config.model.layers == 7
    with pytest.raises(ValueError, match="no checkpoint to look at"):
        _ = case.trained


@pytest.mark.parametrize("choice", [None, "", "run:../../etc", "run:gone", "preset:none", "/etc/passwd", "file:x"])
def test_what_is_not_offered_is_refused(choice: str | None) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  each for a reason of its own
        cases.case_of(choice, FIRST.value)


def test_the_new_run_cannot_name_a_path() -> None:
    with pytest.raises(ValueError, match="not offered here"):
        cases.case_of("draft", {"preset": "debug", "changes": {"data.source": "/etc"}})


def test_the_same_question_has_the_same_key_and_other_settings_another(run: str) -> None:
    one, other = cases.case_of("draft", FIRST.value), cases.case_of("draft", Draft.of("debug", {"model.layers": 3}).value)
    assert one.key("checks", "all") == cases.case_of("draft", FIRST.value).key("checks", "all")
    assert len({one.key("checks", "all"), one.key("checks", "brief"), other.key("checks", "all")}) == 3


def test_alarms_of_a_run_are_shown_with_their_advice(run: str) -> None:
    text = debug.alarms_html(run_of("run:sick"))
    assert 'data-alarm="not_below_entropy"' in text


def test_a_run_is_not_advised_what_it_has_set() -> None:
    with RunWriter.create("wild", tiny_config()) as writer:
        for step in range(10, 400, 10):
            writer.log({"step": step, "phase": "transformer", "loss": 4.5, "grad_norm": 60.0 if step > 200 else 1.0})
    text = debug.alarms_html(run_of("run:wild"))
    assert "Lower recipe.learning_rate. Find the cause" in text
    assert "gradient_clip" not in text
    (writer.path / "config.json").unlink()
    assert "gradient_clip=1 where it is not" in debug.alarms_html(run_of("run:wild")), "whatever it has set, it cannot be read"


def test_a_run_without_metrics_says_so() -> None:
    with RunWriter.create("new", tiny_config()):
        pass
    assert "has not logged anything yet" in debug.alarms_html(run_of("run:new"))


def run_of(choice: str) -> RunReader:
    run = cases.run_of(choice)
    assert run is not None
    return run


def test_an_example_is_looked_at_like_a_run_and_the_command_line_finds_it() -> None:
    case = cases.case_of("run:example:no-time-attention", None)
    assert case.config.model.attention == "framewise"
    assert case.check == ("--run=example:no-time-attention",)
    assert "Bundled example: A healthy run" in [label for label, _ in cases.choices(readonly=True)]


def test_without_a_run_of_ones_own_the_healthy_example_is_looked_at() -> None:
    assert debug.first_of([value for _, value in cases.choices()]) == "run:example:healthy"


@pytest.mark.parametrize("choice", [None, "draft", "run:gone", "run:example:gone", "run:example:../../runs", "preset:debug"])
def test_what_is_no_run_has_no_alarms(choice: str | None) -> None:
    assert cases.run_of(choice) is None


def test_a_run_that_is_started_in_train_is_looked_at_until_another_is_chosen_here(run: str) -> None:
    tab = built()
    assert tab.seen not in tab.refresh("draft", "sick", "sick"), "nothing else was chosen in Train"
    with RunWriter.create("newer", tiny_config()):
        pass
    updates = tab.refresh("run:sick", "sick", "newer")
    assert (updates[tab.subject].value, updates[tab.seen]) == ("run:newer", "newer")
    assert tab.chosen("newer") == {tab.seen: "newer"}
    stays = tab.refresh("run:sick", "newer", "newer")
    assert "value" not in stays[tab.subject].constructor_args, "the person's choice stays"
    assert tab.seen not in tab.refresh("run:sick", "newer", "gone"), "what is no run is not looked at"


def test_the_run_that_trains_is_looked_at_first(run: str) -> None:
    tab, opened = built(), gr.Request(query_params={})
    with RunWriter.create("live", tiny_config()) as writer:
        writer.status("running", 1, 100)
        with RunWriter.create("newest", tiny_config()):
            pass
        assert tab.open(opened)[tab.subject].value == "run:live"
    assert tab.open(opened)[tab.subject].value == "run:newest"


def test_alarms_are_looked_up_again_when_a_report_has_come_to_its_end(run: str) -> None:
    tab = built()
    assert 'data-alarm="not_below_entropy"' in tab.settled({"key": "gone"}, "run:sick")[tab.alarms]


def test_a_strangers_report_is_not_shown_to_who_opens_a_read_only_page(kept: Report) -> None:
    assert answer({"key": ""}, readonly=True) == {"words": EMPTY_READONLY}
    assert answer({"key": ""})["title"] == "Quick checks"
    tab = built(readonly=True)
    assert tab.report not in tab.open(gr.Request(query_params={}))


def test_a_result_that_is_shared_says_how_old_it_is(kept: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    now = kept.begun + 50
    monkeypatch.setattr("vidapp.ui.examiner.time", SimpleNamespace(monotonic=lambda: now))  # however long the page takes
    tab = built(readonly=True)
    updates = tab.run_public("preset:debug")
    assert updates[tab.report]["key"] == kept.order.key
    assert "The same settings were checked 45 s ago" in updates[tab.message]
    kept.begun -= 600
    assert "10 min 45 s ago" in tab.run_public("preset:debug")[tab.message]


def test_a_report_that_is_shared_before_its_end_says_for_how_long_it_has_been_on_its_way(kept: Report) -> None:
    kept.state, kept.seconds = RUNNING, 0.0
    assert debug.shared(kept).startswith("The same settings have been under examination for 50 s: ")


def test_an_examination_that_another_one_ends_is_named(run: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "fake" / "vidapp").mkdir(parents=True)
    (tmp_path / "fake" / "vidapp" / "__main__.py").write_text("import time; time.sleep(600)")
    monkeypatch.setattr("vidapp.ui.examiner.PACKAGE_PARENT", tmp_path / "fake")
    tab = built()
    try:
        assert tab.message not in tab.run_checks("run:sick", None, "brief"), "nothing was ended"
        second = tab.find("run:sick", None, "blurry")
        assert re.search(r"the one before was ended after \d+ s: Checklist: .*sick", second[tab.message])
        tab.stop()
        assert tab.message not in tab.locate("run:sick", None, 2), "what a person has stopped was not ended by this one"
    finally:
        EXAMINER.stop()
        EXAMINER.reports.clear()


def test_the_same_question_once_more_is_news_to_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or its report would stay that of before, and Stop looking would be left enabled."""
    monkeypatch.setattr(EXAMINER, "start", lambda order, **_: Report(order))
    tab = built()
    first, second = (tab.run_checks("preset:debug", None, "brief")[tab.report] for _ in range(2))
    assert first["key"] == second["key"]
    assert first != second


def test_the_setting_of_a_report_becomes_the_new_run_but_not_on_a_read_only_page(kept: Report) -> None:
    key = kept.order.key
    assert answer({"key": key})["change"] == {"recipe.learning_rate": 0.0022}
    assert answer({"key": key}, readonly=True)["change"] == {}
    assert built().advised(key).config.recipe.learning_rate == 0.0022
    with pytest.raises(ValueError, match="no setting is suggested"):
        built().advised("")
