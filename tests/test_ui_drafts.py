"""The run that is yet to be started: what differs from its preset, as a command and as a page holds it."""

import json
import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import gradio as gr
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidapp.config import Config, field_of, parse_assignments
from vidapp.preflight import Sizes
from vidapp.presets import PRESETS, preset
from vidapp.ui import cases, configure, drafts, form, new_run, sources
from vidapp.ui.drafts import Draft
from vidapp.ui.estimates import ESTIMATES, Estimates, at_once, figures_html, launch_command
from vidapp.ui.takeaway import takeaway_value

CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "recipe.learning_rate": st.sampled_from([1e-4, 3e-4, 0.5]),
        "recipe.curriculum": st.sampled_from(["", "5,10", "5, 10, 20"]),
        "model.dropout": st.sampled_from(["0", "0.1"]),
        "model.norm": st.sampled_from(["pre", "post"]),
        "recipe.random_context": st.booleans(),
        "run.steps": st.integers(1, 10**6),
        "tokenizer.levels": st.sampled_from(["4,4,4", [8, 5, 5, 5]]),
    },
)


@given(name=st.sampled_from(sorted(PRESETS)), changes=CHANGES)
@settings(max_examples=40, deadline=None)
def test_the_command_trains_the_very_same_config(name: str, changes: dict[str, Any]) -> None:
    draft = Draft.of(name, changes)
    words = shlex.split(draft.command())
    assert words[:6] == ["python", "-m", "vidapp", "train", "--preset", name]
    assert preset(name).replace(parse_assignments(words[7:])) == draft.config == preset(name).replace(changes)
    assert len(words[7:]) == len(draft.changes) == len(draft.chips())


@given(name=st.sampled_from(sorted(PRESETS)), changes=CHANGES)
@settings(max_examples=40, deadline=None)
def test_a_page_gives_back_what_it_was_given(name: str, changes: dict[str, Any]) -> None:
    draft = Draft.of(name, changes)
    assert Draft.of_value(json.loads(json.dumps(draft.value))) == draft


def test_what_equals_the_preset_is_no_change() -> None:
    draft = Draft.of("small", {"recipe.learning_rate": "3e-4", "model.width": 192, "run.steps": 7})
    assert draft.changes == {"run.steps": 7}
    assert draft.command() == "python -m vidapp train --preset small --set run.steps=7"


def test_a_chip_says_what_was_and_what_is_and_can_be_taken_away() -> None:
    draft = Draft.of("debug", {"recipe.learning_rate": 1e-4, "recipe.clean_past": False})
    assert {
        "key": "recipe.learning_rate",
        "label": "Learning rate",
        "before": "0.002",
        "after": "0.0001",
        "refused": False,
    } in draft.chips()
    assert draft.without("recipe.learning_rate").changes == {"recipe.clean_past": False}


@pytest.mark.parametrize(
    "value",
    [None, [], {}, {"preset": "debug"}, {"preset": "huge", "changes": {}}, {"preset": "debug", "changes": {"model.wings": 2}},
     {"preset": "debug", "changes": {"run.steps": 0}}, {"preset": ["debug"], "changes": {}},
     {"preset": "debug", "changes": {}, "refused": 3}, {"preset": "debug", "changes": {}, "refused": {"model.wings": 2}}],
)  # fmt: skip
def test_what_a_page_holds_is_checked(value: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        Draft.of_value(value)
    assert Draft.held(value) == drafts.FIRST


@pytest.mark.parametrize("name", PRESETS)
def test_a_whole_config_is_told_from_the_preset_it_is_closest_to(name: str) -> None:
    assert Draft.of_config(preset(name)) == Draft(name, {})


def test_own_clips_are_a_choice_here_and_a_path_in_the_command() -> None:
    folder = sources.own_folder() / "my walks"
    folder.mkdir(parents=True)
    draft = Draft.of_config(preset("tiny").replace({"data.source": str(folder)}))
    assert draft.changes["data.source"] == "own/my walks"
    assert shlex.split(draft.command())[-1] == f"data.source={folder.resolve()}"


def test_a_source_that_is_not_offered_is_marked_as_one_that_cannot_be_and_not_taken_away() -> None:
    draft = Draft.of("debug", {"data.source": "/etc", "model.layers": 3})
    assert {chip["key"]: chip["refused"] for chip in draft.chips()} == {"data.source": True, "model.layers": False}
    away = takeaway_value(draft)
    assert away["json"] == "", "which greys the export"
    assert away["command"].startswith("# None while a setting cannot be: data.source '/etc' is not offered here: choose from the list")
    assert away["launch"] == away["command"]
    offered = Draft.of("debug", {"data.source": "moving-mnist-full"})
    assert [chip["refused"] for chip in offered.chips()] == [False]
    assert takeaway_value(offered)["json"]


def test_the_help_of_the_source_promises_on_the_page_what_the_page_does_and_in_the_shell_what_the_shell_does() -> None:
    tab = configuring()
    assert tab.source.info == f"What it trains on. Your own clips are offered when they lie in {sources.own_folder()}."
    assert new_run_form().source.info in tab.source.info
    assert "the path of your own clips" in field_of("data.source").metadata["help"]


def test_a_config_file_with_an_unknown_setting_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text('{"recipe": {"learning_speed": 1}}')
    with pytest.raises(ValueError, match=r"mine\.json was not taken: .*'learning_speed'"):
        configure.read_config(str(path))


def test_what_is_no_text_is_told_so_without_the_words_of_a_decoder(tmp_path: Path) -> None:
    path = tmp_path / "picture.json"
    path.write_bytes(b"\x89PNG\r\n\xff\xfe")
    with pytest.raises(ValueError, match=r"^picture\.json is not a text file: give a config in JSON$"):
        configure.read_config(str(path))


def test_a_config_of_data_that_are_not_offered_is_refused_whole(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text('{"data": {"source": "/etc"}, "model": {"layers": 7}}')
    with pytest.raises(ValueError, match=r"data\.source '/etc' is not offered here"):
        configuring().take_file(str(path))


@pytest.mark.parametrize("content", [b"\xff\xfe", b"{", b"[]", b" " * (configure.LARGEST_FILE + 1)])
def test_a_file_that_is_no_config_is_refused_in_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"mine\.json"):
        configure.read_config(str(path))


def test_what_a_run_takes_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from vidapp import preflight

    looked: list[Config] = []
    real = preflight.preflight
    monkeypatch.setattr(preflight, "preflight", lambda config, **how: looked.append(config) or real(config, **how))
    estimates = Estimates()
    config = Draft.of("debug", {"data.size": 32, "recipe.batch_size": 1}).config
    first = estimates.of(config)
    assert estimates.of(config) is first
    assert len(looked) == 1
    assert "none is bundled" in first.new_tokenizer, "the bundled one is for 64 pixels"
    assert first.found.parameters > first.found.blocks
    assert first.time.startswith(("about", "a few"))


def test_figures_that_are_on_their_way_are_never_those_of_other_settings() -> None:
    config = Draft.of("debug", {"model.layers": 3}).config
    sizes = Sizes.of(config)
    shown = figures_html(at_once(config))
    assert 'aria-busy="true"' in shown
    assert f"<dd>{sizes.parameters / 1e6:.1f} M</dd>" in shown
    assert shown.count("<dd>…</dd>") == 4  # memory, time, work and arithmetic


def test_of_two_looks_that_cross_the_newest_settings_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    tab = configuring()
    page = SimpleNamespace(session_hash="crossing")
    old, new = ({"preset": "debug", "changes": {"model.layers": layers}} for layers in (3, 4))
    asked: list[int] = []

    def of(config: Config) -> Any:
        if not asked:
            tab.look(new, page)  # type: ignore[arg-type]  # while the first one is being looked at
        asked.append(config.model.layers)
        return SimpleNamespace(values={"Time": f"{config.model.layers} layers"}, problem=None, notices=[])

    monkeypatch.setattr(configure.ESTIMATES, "of", of)
    tab.look(old, page)  # type: ignore[arg-type]
    assert tab.measure(page) == {}  # type: ignore[arg-type]
    assert "4 layers" in tab.measure(page)[tab.figures]  # type: ignore[arg-type]
    assert tab.measure(page) == {}  # type: ignore[arg-type]
    assert asked == [3, 4]


def test_a_page_that_is_read_only_leads_to_no_training() -> None:
    assert configuring(readonly=True).go is None


def test_a_chip_keeps_the_steps_that_were_just_typed() -> None:
    new = new_run_form()
    held = Draft.of("debug", {"model.layers": 3}).value
    updates = new.reset(gr.EventData(None, {"key": "model.layers"}), held, "debug", "moving-mnist", 7)
    assert Draft.of_value(updates[new.draft]).changes == {"run.steps": 7}


def test_a_chip_that_is_pressed_while_another_preset_is_on_its_way_leaves_that_preset() -> None:
    new, held = new_run_form(), Draft.of("debug", {"run.steps": 50, "model.dropout": 0.2}).value
    updates = new.reset(gr.EventData(None, {"key": "run.steps"}), held, "base", "moving-mnist", 50)
    draft = Draft.of_value(updates[new.draft])
    assert (draft.preset, draft.changes) == ("base", {"model.dropout": 0.2})
    assert updates[new.steps] == preset("base").run.steps


def test_steps_that_are_left_and_a_start_while_another_preset_is_on_its_way_go_by_that_preset() -> None:
    new, held = new_run_form(), Draft.of("debug", {"model.dropout": 0.2}).value
    untouched = preset("debug").run.steps
    assert Draft.of_value(new.edited(held, "base", "moving-mnist", 7)[new.draft]) == Draft.of(
        "base", {"model.dropout": 0.2, "run.steps": 7}
    )
    assert new.chosen(held, "base", "moving-mnist", untouched) == Draft.of("base", {"model.dropout": 0.2})
    with pytest.raises(ValueError, match=r"model\.heads 3"):  # goes with base, and not with debug
        new.chosen(Draft.of("base", {"model.heads": 3}).value, "debug", "moving-mnist", preset("base").run.steps)


def test_the_preset_that_is_there_already_changes_nothing() -> None:
    new, tab = new_run_form(), configuring()
    held = Draft.of("debug", {"model.layers": 3}).value
    assert list(new.choose("debug", held)) == [new.message]
    assert list(tab.choose("debug", held)) == [tab.message]


def test_until_a_time_is_estimated_the_start_button_shows_none_of_another_draft(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_run, "ESTIMATES", Estimates())
    new, held = new_run_form(), Draft.of("debug", {}).value
    draft = Draft.of("tiny", {})
    pending = "Start training (estimating the time)"
    assert new.choose("tiny", held)[new.start].value == pending
    assert new.edited(held, "tiny", "moving-mnist", draft.config.run.steps)[new.start].value == pending
    assert new.start not in new.edited(draft.value, "tiny", "moving-mnist", draft.config.run.steps), (
        "no estimate follows on what did not change"
    )
    page: Any = SimpleNamespace(session_hash="pending")
    assert new.look(draft.value, page)[new.start].value == pending
    assert re.fullmatch(r"Start training \(.+ on this .+\)", new.newest(page)[new.start].value)
    assert new.newest(page) == {}, "of drafts that follow on one another the newest alone is estimated"
    assert new.start not in new.choose("tiny", held), "what was estimated a moment ago is shown at once"


def test_data_that_is_not_offered_is_told_beside_a_button_that_starts_nothing() -> None:
    new = new_run_form()
    held = {"preset": "debug", "changes": {"data.source": "own/nothing"}}
    updates = new.measure(held)
    assert updates[new.start].interactive is False
    assert "own/nothing" in updates[new.notices]


def typed(**values: Any) -> list[Any]:
    """The form of the preset debug with other values in some of its fields: `model_layers=3`."""
    given = {key.replace("_", ".", 1): value for key, value in values.items()}
    return ["debug", *(given.get(key, form.shown(preset("debug"), key)) for key in configure.KEYS)]


def test_a_page_without_a_memory_leaves_what_was_typed_while_it_opened() -> None:
    tab, new = configuring(), new_run_form()
    held = drafts.FIRST.edited({"run.steps": 7}).value
    for one, steps in ((tab, tab.fields[configure.KEYS.index("run.steps")]), (new, new.steps)):
        assert set(one.open(drafts.FIRST.value)) == {one.source}
        assert one.open(held)[steps] == 7
        assert "value" not in one.offered()[one.source].constructor_args, (
            "clips that were kept meanwhile are offered, and nothing else is chosen"
        )


class TestAFieldThatCannotBe:
    """A value that no config takes stays in the form; the others are taken, and nothing is trained until it is corrected."""

    SHOWN: ClassVar[dict[str, Any]] = {"model_layers": 3, "model_width": 7, "run_steps": 3, "recipe_batch_size": 2}
    OTHERS: ClassVar[dict[str, Any]] = {"model.layers": 3, "run.steps": 3, "recipe.batch_size": 2}

    @pytest.fixture(autouse=True)
    def _without_a_page(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(gr, "Warning", lambda text: None)

    def test_keeps_the_others_and_stands_in_the_form_and_among_the_chips(self) -> None:
        tab = configuring()
        made = tab.edited(*typed(**self.SHOWN))
        draft = Draft.of_value(json.loads(json.dumps(made[tab.draft])))
        assert draft.changes == self.OTHERS
        assert draft.refused == {"model.width": 7}
        assert "model.width is 7: it must lie between" in made[tab.message]
        assert tab.follow(draft.value)[tab.fields[configure.KEYS.index("model.width")]] == 7
        assert [chip["key"] for chip in draft.chips() if chip["refused"]] == ["model.width"]

    def test_leads_neither_to_train_nor_to_a_start_nor_to_a_diagnosis(self) -> None:
        tab, new = configuring(), new_run_form()
        held = tab.edited(*typed(**self.SHOWN))[tab.draft]
        said = r"Configure holds a value that cannot be: model\.width is 7"
        with pytest.raises(ValueError, match=r"^model\.width is 7"):
            tab.refuse(*typed(**self.SHOWN))
        with pytest.raises(ValueError, match=said):
            new.go("", held, "debug", "moving-mnist", 3)
        with pytest.raises(ValueError, match=said):
            cases.case_of(cases.DRAFT, held)
        assert new.measure(held)[new.start].interactive is False

    def test_is_not_taken_away_either(self) -> None:
        away = takeaway_value(Draft.of_form("debug", {"model.width": 7, "run.steps": 3}))
        assert away["command"].startswith("# ")
        assert "model.width is 7" in away["command"]
        assert away["json"] == ""

    def test_survives_an_edit_in_train(self) -> None:
        tab, new = configuring(), new_run_form()
        held = tab.edited(*typed(**self.SHOWN))[tab.draft]
        draft = Draft.of_value(new.edited(held, "debug", "moving-mnist", 5)[new.draft])
        assert draft.changes == {**self.OTHERS, "run.steps": 5}
        assert draft.refused == {"model.width": 7}

    def test_that_is_corrected_leaves_everything_as_the_form_shows_it(self) -> None:
        tab, new = configuring(), new_run_form()
        tab.edited(*typed(**self.SHOWN))
        tab.refuse(*typed(**{**self.SHOWN, "model_width": 64}))
        held = tab.edited(*typed(**{**self.SHOWN, "model_width": 64}))[tab.draft]
        assert held == {"preset": "debug", "changes": {**self.OTHERS, "model.width": 64}}
        config = new.chosen(held, "debug", "moving-mnist", 3).config
        assert (config.model.width, config.model.layers, config.run.steps, config.recipe.batch_size) == (64, 3, 3, 2)

    def test_is_named_beside_every_other_one(self) -> None:
        draft = Draft.of_form("debug", {"model.width": 7, "model.layers": 2.5, "run.seed": None})
        for said in ("model.width is 7", "model.layers is 2.5: it must be a whole number", "run.seed is empty"):
            assert said in draft.refusal

    def test_may_be_two_that_do_not_go_together(self) -> None:
        draft = Draft.of_form("debug", {"model.heads": 3, "run.steps": 3})
        assert draft.changes == {"run.steps": 3}
        assert draft.refusal.startswith("model.width 128 must be divisible by model.heads 3")
        assert draft.edited({"model.width": 96}).changes == {"model.heads": 3, "run.steps": 3, "model.width": 96}

    def test_goes_with_its_chip(self) -> None:
        draft = Draft.of_form("debug", {"model.width": 7, "run.steps": 3})
        assert draft.without("model.width") == Draft("debug", {"run.steps": 3})

    def test_is_looked_at_again_on_another_preset(self) -> None:
        draft = Draft.of_form("debug", {"sampling.top_k": 1001, "run.steps": 3})
        assert draft.on("tiny").refused == {"sampling.top_k": 1001}

    @given(
        given_=st.dictionaries(
            st.sampled_from([key for key in configure.KEYS if key != "data.source"]),
            st.one_of(
                st.none(), st.integers(-5, 300), st.floats(-2, 40, allow_nan=False), st.booleans(), st.sampled_from(["", "5,10", "fsq"])
            ),
            max_size=8,
        )
    )
    @settings(max_examples=60, deadline=None)
    def test_or_any_number_of_them_leave_a_draft_that_means_what_the_form_shows(self, given_: dict[str, Any]) -> None:
        draft = Draft.of_form("debug", given_)
        assert Draft.of_value(json.loads(json.dumps(draft.value))).config is not None
        assert bool(draft.refused) == bool(draft.refusal)
        try:
            whole = form.changed(preset("debug"), list(given_), given_.values())
        except ValueError:
            with pytest.raises(ValueError, match="Configure holds"):
                draft.sound()
        else:
            assert draft.sound().config == whole


def new_run_form() -> new_run.NewRun:
    with gr.Blocks():
        return new_run.build(drafts.build())


def configuring(**how: bool) -> configure.ConfigureTab:
    with gr.Blocks():
        return configure.build(drafts.build(), **how)


def test_clips_that_are_not_offered_are_not_looked_at() -> None:
    with pytest.raises(ValueError, match="not offered here"):
        ESTIMATES.of(Draft.of("debug", {"data.source": "/etc"}).config)


def test_a_run_starts_on_clips_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = sources.own_folder() / "mine"
    folder.mkdir(parents=True)
    started: list[Config] = []
    named: list[str | None] = []
    monkeypatch.setattr(
        new_run.jobs, "start_or_enqueue", lambda config, name, **how: (started.append(config), named.append(name)) and "mine"
    )
    held = Draft.of("debug", {"run.device": "cpu"}).value
    with pytest.raises(ValueError, match="mine holds no clips"):
        new_run_form().go("", held, "debug", "own/mine", 5)
    assert started == []
    painted = np.zeros((25, 20, 20, 3), np.uint8)
    painted[..., 0] = 200
    np.save(folder / "film.npy", painted)
    form = new_run_form()
    assert "These clips are in colour" in form.measure(Draft.of("debug", {"data.source": "own/mine"}).value)[form.notices]
    assert new_run_form().go("my first run ", held, "debug", "own/mine", 5) == ("mine", False)
    assert named == ["my-first-run"]
    (config,) = started
    assert config.data.source == str(folder.resolve())
    with pytest.raises(ValueError, match="not offered here"):
        new_run_form().go("", held, "debug", "/etc", 5)


def test_all_gpus_are_used_by_the_same_command_behind_accelerate() -> None:
    command = Draft.of("base", {"run.steps": 5}).command()
    assert launch_command(command, 4) == "accelerate launch --multi_gpu --num_processes 4 -m vidapp train --preset base --set run.steps=5"


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "debug.json"),
        ({"model.layers": 4, "model.dropout": 0.1}, "debug-layers-4-dropout-0.1.json"),
        ({"recipe.curriculum": [5, 10, 20]}, "debug-curriculum-5-10-20.json"),
    ],
)
def test_a_file_of_settings_is_named_after_what_is_in_it(changes: dict[str, Any], name: str) -> None:
    assert takeaway_value(Draft.of("debug", changes))["name"] == name


def test_the_name_of_a_file_of_many_settings_stays_short() -> None:
    changes = {
        "model.layers": 3,
        "model.dropout": 0.1,
        "recipe.batch_size": 4,
        "recipe.learning_rate": 1e-4,
        "recipe.mask_schedule": "uniform",
    }
    assert len(takeaway_value(Draft.of("debug", changes))["name"]) <= 65


def test_a_fraction_reaches_whoever_refuses_it() -> None:
    with gr.Blocks():
        control = form.control("model.layers", Config())
    assert isinstance(control, gr.Number)
    with pytest.raises(ValueError, match=r"model.layers is 2.5: it must be a whole number"):
        form.changed(Config(), ["model.layers"], [control.preprocess(2.5)])


@pytest.mark.parametrize("key", [key for key in form.all_keys() if form.kind_of(key) is float])
def test_an_arrow_key_changes_a_number_by_a_little(key: str) -> None:
    with gr.Blocks():
        control = form.control(key, Config())
    assert isinstance(control, gr.Number)
    assert 0 < control.step <= max(0.1 * form.field_of(key).default, form.field_of(key).metadata["high"] / 10)
    assert form.read(Config(), key, control.value - control.step if control.value else control.step) != control.value


def test_the_learning_rate_has_fine_steps() -> None:
    assert form.step_of(3e-4, 1.0) == 1e-5
    assert form.step_of(0.999, 1.0) == 1e-4
    assert form.step_of(0.0, 45.0) == 1.0
