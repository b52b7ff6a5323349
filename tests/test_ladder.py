"""The experiment ladder: what each rung asks for, and what it says of runs whose figures are known."""

import argparse
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from vidapp.checks.checklist import GROUPS
from vidapp.ladder import FULL, QUICK, RUNGS, Budget, RungState, ladder_state, next_rung
from vidapp.run_reader import RunReader
from vidapp.runs import RunWriter, list_runs, open_run

BUDGETS = pytest.mark.parametrize("budget", [FULL, QUICK], ids=["full", "quick"])
LEARNT = {"validation_loss_full": 2.0, "validation_loss_half": 1.8, "unigram_entropy": 3.8, "validation_changed_accuracy": 0.15}


def rung(number: int, budget: Budget = FULL) -> RungState:
    return ladder_state(list_runs(), budget)[number - 1]


def write(state: RungState, which: int, lines: Iterable[Mapping[str, Any]], end: str = "finished") -> RunReader:
    """A run of a rung, with these metrics, in this state."""
    planned = state.rung.runs[which]
    with RunWriter.create(planned.name, planned.config) as run:
        for step, line in enumerate(lines, start=1):
            run.log({"step": step, "phase": "transformer", **line})
        run.status(end, planned.config.run.steps if end == "finished" else 1, planned.config.run.steps)
    return open_run(planned.name)


def losses(full: float | None, half: float | None) -> list[dict[str, Any]]:
    return [{"validation_loss_full": full, "validation_loss_half": half, "seconds_per_step": 0.5}]


def overfitted(*values: float | None) -> list[dict[str, Any]]:
    return [{"loss": value} for value in values]


def finish_small(**changes: float | None) -> None:
    write(rung(2), 0, [{**LEARNT, **changes}])


# ------------------------------------------------------------------ the plan


def test_the_rungs_are_the_experiments_that_the_ladder_is_made_of() -> None:
    one, two, three, four = (state.rung for state in ladder_state([]))
    overfit = one.runs[0].config
    assert (one.runs[0].name, overfit.model.width, overfit.model.layers, overfit.run.training_clips) == ("ladder-1-overfit", 128, 2, 100)
    assert (overfit.recipe.objective_future, overfit.recipe.objective_joint, overfit.recipe.objective_individual) == (1, 0, 0)
    off = (
        overfit.model.dropout,
        overfit.recipe.rotation,
        overfit.recipe.brightness,
        overfit.recipe.contrast,
        overfit.recipe.horizontal_flip,
    )
    assert off == (0, 0, 0, 0, 0)
    small = two.runs[0].config
    assert (small.model.width, small.run.training_clips) == (192, 0)
    assert (small.recipe.objective_future, small.recipe.objective_joint, small.recipe.objective_individual) == (0.5, 0.4, 0.1)
    assert [run.name.removeprefix("ladder-3-") for run in three.runs] == [
        "plain",
        "dropout",
        "schedule",
        "augmentation",
        "masking",
        "curriculum",
    ]
    assert [(run.config.model.width, run.config.model.layers) for run in four.runs] == [(256, 4), (256, 6)]
    assert all(run.config.run.steps > small.run.steps for run in four.runs), "longer"


@BUDGETS
def test_improvements_have_the_budget_of_the_plain_run_and_change_one_thing(budget: Budget) -> None:
    plain, *others = ladder_state([], budget)[2].rung.runs
    allowed = {
        "dropout": {"model.dropout"},
        "schedule": {"recipe.schedule"},
        "augmentation": {"recipe.rotation", "recipe.brightness", "recipe.contrast"},
        "masking": {"recipe.mask_schedule"},
        "curriculum": {"recipe.curriculum"},
    }
    found = {run.name.split("-")[-1]: set(plain.config.differences(run.config)) for run in others}
    assert found == allowed


@BUDGETS
def test_every_rung_has_a_criterion_and_run_names_of_its_own(budget: Budget) -> None:
    states = ladder_state([], budget)
    assert [state.rung.number for state in states] == list(range(1, RUNGS + 1))
    names = [run.name for state in states for run in state.rung.runs]
    assert len(set(names)) == len(names)
    assert all(name.startswith(f"{budget.prefix}-") for name in names)
    assert all(state.rung.criterion and state.rung.why for state in states)


@BUDGETS
def test_improvements_that_the_settings_rule_out_are_left_out_and_named(budget: Budget) -> None:
    ids = {"tokenizer.quantizer": "ids", "tokenizer.downsampling": 1, "data.size": 8, "data.channels": 3, "data.source": "ids.npy"}
    third = ladder_state([], replace(budget, changes={**budget.changes, **ids}))[2].rung
    assert [run.name.rpartition("-")[2] for run in third.runs] == ["plain", "dropout", "schedule", "masking", "curriculum"]
    assert "Left out: rotation, brightness, contrast (given ids cannot be augmented" in third.why
    assert "each of 4 improvements" in third.criterion
    assert "Left out" not in ladder_state([], budget)[2].rung.why


def test_settings_that_cannot_be_in_any_run_are_refused() -> None:
    with pytest.raises(ValueError, match=r"data\.size"):
        ladder_state([], replace(FULL, changes={"data.size": 60}))


def test_the_rehearsal_shares_no_run_with_the_ladder() -> None:
    full, quick = ({run.name for state in ladder_state([], budget) for run in state.rung.runs} for budget in (FULL, QUICK))
    assert not full & quick


# ------------------------------------------------------------------ no verdict before the end


def test_an_empty_folder_has_every_rung_ready_and_nothing_said() -> None:
    states = ladder_state([])
    assert [state.state for state in states] == ["ready"] * RUNGS
    assert all(state.verdict is None for state in states)
    following = next_rung(states)
    assert following is not None
    assert following.rung.number == 1


@pytest.mark.parametrize("end", ["stopped", "failed", "running"])
def test_an_unfinished_run_claims_nothing_however_good_its_figures(end: str) -> None:
    write(rung(1), 0, overfitted(*[0.01] * 20), end)
    assert rung(1).state == "under way"
    assert rung(1).verdict is None
    assert "no verdict yet" in rung(1).sentence


def test_improvements_are_judged_when_all_of_them_are_finished() -> None:
    state = rung(3)
    for which in range(len(state.rung.runs) - 1):
        write(state, which, losses(3.0 - which, 3.0 - which))
    assert rung(3).verdict is None
    assert "5 of 6 runs finished" in rung(3).sentence
    write(state, 5, losses(9.0, 9.0))
    assert rung(3).state == "passed"


def test_a_wider_model_is_judged_beside_the_small_one_only() -> None:
    state = rung(4)
    for which in range(2):
        write(state, which, losses(1.0, 1.0))
    assert rung(4).verdict is None
    assert "ladder-2-small" in rung(4).sentence
    finish_small()
    assert rung(4).state == "passed"


# ------------------------------------------------------------------ verdicts


@pytest.mark.parametrize(
    ("values", "passed"),
    [
        ([5.0, *[0.05] * 10], True),
        ([*[0.01] * 9, 0.5], False),  # their mean is above
        ([0.01] * 9, False),  # too few to say
        ([None] * 12, False),
    ],
)
def test_overfitting_is_the_mean_of_the_last_losses(values: list[float | None], passed: bool) -> None:
    write(rung(1), 0, overfitted(*values))
    assert rung(1).state == ("passed" if passed else "failed")
    assert "0.05" in rung(1).sentence or not passed


@pytest.mark.parametrize(
    ("changes", "passed", "words"),
    [
        ({}, True, "loss 2.000 below the unigram entropy 3.800"),
        ({"validation_loss_full": 3.9}, False, "not below the unigram entropy"),
        ({"validation_changed_accuracy": 0.01}, False, "not below copying's"),
        ({"validation_loss_full": None}, False, "no finite validation"),
    ],
)
def test_small_must_beat_frequencies_and_copying(changes: dict[str, Any], passed: bool, words: str) -> None:
    finish_small(**changes)
    assert rung(2).state == ("passed" if passed else "failed")
    assert words in rung(2).sentence


def test_the_newest_validation_counts_not_the_best() -> None:
    write(rung(2), 0, [LEARNT, {**LEARNT, "validation_loss_full": 4.0}])
    assert rung(2).state == "failed"


def test_the_table_of_improvements_says_what_each_bought() -> None:
    state = rung(3)
    for which, (full, half) in enumerate([(3.0, 2.0), (2.5, 1.5), (2.5, 2.5), (3.5, 1.5), (3.0, 2.0), (None, 1.0)]):
        write(state, which, losses(full, half))
    verdict = rung(3).verdict
    assert verdict is not None
    assert verdict.figures["helped"] == ["dropout 0.1"], "both losses must be lower"
    bought = list(verdict.figures["bought"].values())
    assert [figures["validation_loss_full_difference"] for figures in bought] == [0, -0.5, -0.5, 0.5, 0, None]


def test_the_last_rung_takes_over_what_helped() -> None:
    assert rung(4).rung.runs[0].config.model.dropout == 0
    state = rung(3)
    for which, (full, half) in enumerate([(3.0, 2.0), (2.5, 1.5), *[(3.5, 3.5)] * 3, (2.9, 1.9)]):
        write(state, which, losses(full, half))
    config = rung(4).rung.runs[1].config
    assert (config.model.dropout, config.recipe.curriculum, config.recipe.rotation) == (0.1, (5, 10, 15, 20), 0)


@pytest.mark.parametrize(("full", "half", "passed"), [(1.9, 1.7, True), (2.1, 1.7, False), (1.9, 1.9, False)])
def test_a_wider_model_must_be_better_in_both_losses(full: float, half: float, passed: bool) -> None:
    finish_small()
    write(rung(4), 0, losses(2.5, 2.5))
    write(rung(4), 1, losses(full, half))
    assert rung(4).state == ("passed" if passed else "failed")
    assert "6 layers is the better one" in rung(4).sentence


def test_a_failed_criterion_names_checks_that_exist() -> None:
    write(rung(1), 0, overfitted(*[1.0] * 10))
    finish_small(validation_loss_full=9.0)
    for which in range(6):
        write(rung(3), which, losses(5.0 + which, 5.0))
    for which in range(2):
        write(rung(4), which, losses(10.0, 10.0))
    for state in ladder_state(list_runs()):
        assert state.state == "failed"
        assert state.verdict is not None
        check, _, rest = state.verdict.advice.partition(" --only ")
        assert "python -m vidapp check" in check
        assert rest
        named = rest.split(":")[0].split(",")[0].split()
        assert set(named) <= set(GROUPS), named


# ------------------------------------------------------------------ going on


def test_the_next_rung_is_the_lowest_that_has_not_passed() -> None:
    finish_small()
    assert next_rung(ladder_state(list_runs())).rung.number == 1  # type: ignore[union-attr]
    write(rung(1), 0, overfitted(*[0.01] * 10))
    assert next_rung(ladder_state(list_runs())).rung.number == 3  # type: ignore[union-attr]


def test_a_run_begun_with_other_settings_is_shown_as_that() -> None:
    write(rung(1, replace(FULL, changes={"model.width": 64})), 0, overfitted(*[0.01] * 10))
    (training,) = rung(1).trainings
    assert training.differs == {"model.width": (128, 64)}
    assert rung(1).to_dict()["runs"][0]["differs"] == {"model.width": [128, 64]}


def test_the_state_is_plain_json() -> None:
    finish_small()
    values = json.loads(json.dumps([state.to_dict() for state in ladder_state(list_runs())], allow_nan=False))
    assert [value["state"] for value in values] == ["ready", "passed", "ready", "ready"]
    assert values[1]["figures"]["unigram_entropy"] == 3.8
    assert values[2]["command"] == "python -m vidapp ladder --rung 3"


def test_the_command_knows_every_rung() -> None:
    from vidapp.commands.ladder import add_arguments

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert [parser.parse_args(["--rung", str(number)]).rung for number in range(1, RUNGS + 1)] == [1, 2, 3, 4]
