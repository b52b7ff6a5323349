"""The ablation: trials of equal budget beside a baseline of the same seed, and verdicts that ask for more than the spread."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import TINY, tiny

from vidapp.ablation import (
    BASELINE,
    HELPS,
    HURTS,
    NAMES,
    UNKNOWN,
    WITHIN,
    Difference,
    Plan,
    difference,
    effects,
    merged,
    results,
)
from vidapp.ablation_table import COMMAND, MARKERS, render
from vidapp.config import Config
from vidapp.experiment import LOSSES
from vidapp.markdown import between
from vidapp.runs import RunWriter, list_runs

FULL, HALF = LOSSES


def finish(plan: Plan, change: str, seed: int, full: float, half: float | None = 1.0, end: str = "finished") -> None:
    (planned,) = (trial.planned for trial in plan.trials() if (trial.change, trial.seed) == (change, seed))
    with RunWriter.create(planned.name, planned.config) as run:
        run.log({"step": 10, "phase": "transformer", "seconds_per_step": 0.5 if change == BASELINE else 1.0})
        run.log({"step": plan.steps, "phase": "transformer", FULL: full, HALF: half})
        run.status(end, plan.steps if end == "finished" else 1, plan.steps)


def pairs(*values: tuple[float, float]) -> list[tuple[dict[str, float], dict[str, float]]]:
    return [({FULL: own}, {FULL: base}) for own, base in values]


# ------------------------------------------------------------------ the plan


def test_every_strategy_of_the_recipe_book_is_a_change() -> None:
    asked = {
        "dropout",
        "constant",
        "post-ln",
        "muon",
        "no-code-embedding",
        "own-past",
        "corruption",
        "random-context",
        "future-only",
        "growing",
        "mask-fixed",
        "mask-random",
        "mask-progressive",
        "mask-progressive-range",
        "flip",
        "rotation",
        "brightness",
        "contrast",
        "curriculum",
        "no-ema",
        "relative",
        "full-attention",
    }
    assert asked <= set(NAMES)
    assert Plan().base().recipe.mask_schedule == "cosine", "the masking that the others are compared with"


def test_trials_have_one_budget_and_differ_in_their_change_and_seed_alone() -> None:
    plan = Plan(steps=50, seeds=2)
    base, trials = plan.base(), plan.trials()
    assert len({trial.planned.name for trial in trials}) == len(trials) == 2 * (len(NAMES) + 1)
    for trial in trials:
        own = set(next((change.settings for change in plan.changes() if change.name == trial.change), {}))
        differing = set(base.differences(trial.planned.config))
        assert differing - {"run.seed"} <= own
        assert trial.change == BASELINE or differing - {"run.seed"}
        assert trial.planned.config.run.seed == trial.seed
        assert trial.planned.config.run.steps == 50
        assert trial.planned.config.recipe.precision == "float32", "a precision that is measured could differ from run to run"


def test_after_the_first_seed_every_change_has_been_seen_once() -> None:
    seeds = [trial.seed for trial in Plan(seeds=3).trials()]
    assert seeds == sorted(seeds)
    assert Plan(seeds=3).trials()[0].change == BASELINE


def test_a_run_is_validated_at_its_end_and_saved_on_the_way() -> None:
    run = Plan(steps=200).base().run
    assert (run.steps, run.validate_every, run.checkpoint_every) == (200, 200, 50)


def test_what_the_baseline_has_already_is_no_change() -> None:
    plan = Plan(settings={"model.attention": "full", "recipe.ema_decay": 0})
    assert not {"full-attention", "no-ema"} & {change.name for change in plan.changes()}


def test_only_some_changes_still_have_the_baseline() -> None:
    assert [trial.change for trial in Plan(seeds=1, only=("muon", "dropout")).trials()] == [BASELINE, "dropout", "muon"]
    with pytest.raises(ValueError, match="unknown changes magic"):
        Plan(only=("magic",))


@pytest.mark.parametrize(("key", "flag"), [("run.steps", "--steps"), ("run.seed", "--seeds")])
def test_what_has_a_flag_of_its_own_is_no_setting_of_all_runs(key: str, flag: str) -> None:
    with pytest.raises(ValueError, match=f"{key} is what {flag} sets"):
        Plan(settings={key: 7})


@given(st.integers(2, 64))
def test_the_curriculum_fits_clips_of_any_length(frames: int) -> None:
    plan = Plan(settings={"data.clip_frames": frames, "data.context_frames": 1})
    (trial,) = (trial for trial in plan.trials() if (trial.change, trial.seed) == ("curriculum", 0))
    assert trial.planned.config.recipe.curriculum[-1] == frames


# ------------------------------------------------------------------ verdicts


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([(2.0, 3.0), (2.1, 3.0), (1.9, 3.0)], HELPS),
        ([(3.0, 2.0), (3.0, 2.1), (3.0, 1.9)], HURTS),
        ([(2.0, 3.0), (3.5, 3.0), (2.9, 3.0)], WITHIN),
        ([(2.0, 3.0), (3.0, 3.0)], WITHIN),
        ([(1.0, 3.0)], UNKNOWN),
        ([(2.0, 2.0), (2.0, 2.0)], WITHIN),
    ],
)
def test_only_a_difference_beyond_the_spread_is_one(values: list[tuple[float, float]], verdict: str) -> None:
    found = difference(pairs(*values), FULL)
    assert found is not None
    assert found.verdict == verdict


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10)), min_size=2, max_size=5))
def test_what_helps_does_so_under_every_seed(values: list[tuple[float, float]]) -> None:
    found = difference(pairs(*values), FULL)
    assert found is not None
    assert found.seeds == len(values)
    if found.verdict == HELPS:
        assert all(own < base for own, base in values)
    if found.verdict == HURTS:
        assert all(own > base for own, base in values)


def test_the_baseline_of_the_same_seed_is_what_a_change_is_compared_with() -> None:
    found = difference(pairs((2.5, 3.0), (7.5, 8.0)), FULL)
    assert found == Difference(mean=-0.5, spread=0.0, seeds=2)
    assert found.verdict == HELPS, "that the second seed is harder for both says nothing about the change"


# ------------------------------------------------------------------ results


def test_results_are_of_finished_runs_alone() -> None:
    plan = Plan(steps=20, seeds=2)
    finish(plan, BASELINE, 0, 3.0)
    finish(plan, "muon", 0, 2.0)
    finish(plan, "dropout", 0, 1.0, end="stopped")
    finish(plan, "dropout", 1, 1.0)
    found = results(plan, list_runs())
    assert {(trial["change"], trial["seed"]) for trial in found["trials"]} == {(BASELINE, 0), ("muon", 0), ("dropout", 1)}
    assert [effect.name for effect in effects(found)] == ["muon"], "dropout has no baseline of its seed yet"
    (effect,) = effects(found)
    assert (effect.differences[FULL].mean, effect.step_time) == (-1.0, 2.0)
    assert found["trials"][0]["seconds"] == 10.0
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert Config.from_dict(found["config"]) == plan.base()


def test_a_run_of_another_budget_is_refused_by_setting() -> None:
    plan = Plan(steps=20, seeds=1)
    other = Plan(steps=20, seeds=1, settings={"recipe.batch_size": 2})
    finish(other, BASELINE, 0, 3.0)
    with pytest.raises(ValueError, match="recipe.batch_size 2 instead of 8"):
        results(plan, list_runs())


@pytest.mark.parametrize(
    "settings",
    [
        {"model.attention": "framewise"},
        {"model.code_embedding": False},
        {"model.pixel_embedding": True},
        {"model.stem_frames": 3, "model.pixel_embedding": True},
    ],
)
def test_changes_that_shared_settings_rule_out_are_left_out_and_named(settings: dict[str, Any]) -> None:
    plan = Plan(steps=20, seeds=1, settings=settings)
    out = plan.impossible()
    assert out
    assert not set(out) & {trial.change for trial in plan.trials()}
    assert {trial.change for trial in plan.trials()} >= {BASELINE, "dropout", "muon"}
    with pytest.raises(ValueError, match="cannot be measured with these settings"):
        Plan(steps=20, seeds=1, settings=settings, only=(next(iter(out)),)).trials()


def test_a_file_from_before_a_setting_was_there_is_of_the_same_baseline() -> None:
    plan = Plan(steps=20, seeds=1)
    now = results(plan, [])
    older = {**now, "config": {**now["config"], "model": {k: v for k, v in now["config"]["model"].items() if k != "stem_frames"}}}
    assert merged(older, now)["config"] == now["config"]
    with pytest.raises(ValueError, match="another budget"):
        merged({**now, "config": {"model": {"no_such_setting": 1}}}, now)


def test_results_from_elsewhere_are_kept_and_new_ones_win() -> None:
    plan = Plan(steps=20, seeds=1)
    finish(plan, BASELINE, 0, 3.0)
    now = results(plan, list_runs())
    elsewhere = {**now["trials"][0], "change": "muon", "run": "ablate-20-muon-seed0", FULL: 1.0}
    before = {**now, "trials": [{**now["trials"][0], FULL: 9.0}, elsewhere]}
    found = merged(before, now)
    assert {trial["change"]: trial[FULL] for trial in found["trials"]} == {BASELINE: 3.0, "muon": 1.0}
    with pytest.raises(ValueError, match="another budget"):
        merged({**before, "steps": 21}, now)


# ------------------------------------------------------------------ the table


def made_up(**values: list[tuple[float, float]]) -> dict[str, Any]:
    """Results with these (all masked, half masked) losses, a seed each; `_` for `-` in names."""
    named = {name.replace("_", "-"): losses for name, losses in values.items()}
    trials = [
        {"change": name, "seed": seed, "run": f"{name}{seed}", FULL: full, HALF: half, "seconds_per_step": 1.0, "seconds": 60.0}
        for name, losses in named.items()
        for seed, (full, half) in enumerate(losses)
    ]
    return {**results(Plan(), []), "trials": trials}


def test_the_table_is_honest_about_what_did_not_help() -> None:
    text = render(
        made_up(
            baseline=[(3.0, 2.0), (3.1, 2.1), (2.9, 1.9)],
            muon=[(2.5, 1.5), (2.6, 1.6), (2.4, 1.4)],
            dropout=[(3.5, 2.5), (3.6, 2.6), (3.4, 2.4)],
            flip=[(3.0, 2.0), (3.3, 2.1), (2.7, 1.9)],
            post_ln=[(2.6, 2.5), (2.7, 2.6), (2.5, 2.4)],
        )
    )
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert rows[2].startswith("| **baseline** | 3.000 (0.200) |")
    assert [row.split(" | ")[0] for row in rows[3:]] == [
        "| Muon on the hidden matrices",
        "| post-LN",
        "| flips of half of the clips",
        "| dropout 0.1",
    ]
    assert "| Muon on the hidden matrices | -0.500 (0.000) | helps | -0.500 (0.000) | helps | 1.00 |" in rows
    assert "- Helps: Muon on the hidden matrices." in text
    assert "- Hurts: dropout 0.1." in text
    assert "for or against it: flips of half of the clips." in text
    assert "- Not the same in every column: post-LN." in text
    assert "15 trainings, 3 seeds, 200 steps of 8 clips each (15 minutes of training in all)" in text


def test_one_seed_says_so_instead_of_judging() -> None:
    text = render(made_up(baseline=[(3.0, 2.0)], muon=[(1.0, 1.0)]))
    assert UNKNOWN in text
    assert "helps" not in text.replace("helped", "")


def test_nothing_measured_is_said_and_not_made_up() -> None:
    assert "Not measured yet" in render(results(Plan(), []))


def test_the_smallest_config_can_be_ablated_too() -> None:
    settings = {
        f"{section}.{key}": value
        for section, part in TINY.to_dict().items()
        for key, value in part.items()
        if section in ("model", "tokenizer", "data") and value != getattr(getattr(Config(), section), key)
    }
    base = Plan(steps=4, settings=settings).base()
    assert (base.model, base.tokenizer, base.data) == (tiny().model, tiny().tokenizer, tiny().data)
    assert all(trial.planned.config.recipe.curriculum[:1] in ((), (2,)) for trial in Plan(steps=4, settings=settings).trials())


# ------------------------------------------------------------------ the page

ROOT = Path(__file__).resolve().parent.parent
MEASURED = ROOT / "assets" / "ablation.json"


def test_the_readme_shows_what_was_measured_and_nothing_else() -> None:
    found = json.loads(MEASURED.read_text(encoding="utf-8")) if MEASURED.exists() else results(Plan(), [])
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert between(readme, MARKERS) == render(found), f"write it with `{COMMAND}`"
    assert COMMAND in readme
