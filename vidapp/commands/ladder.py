"""Climb the experiment ladder: overfit, learn, improve, scale up; each rung an experiment with a verdict. Goes on where it was left."""

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

from ..ladder import FULL, QUICK, RUNGS, Budget, RungState, ladder_state, next_rung
from ..run_reader import list_runs
from .common import add_json, number, print_json, table, wants_json
from .experiments import add_shared, chosen_tokenizer, refuse_clips, shared_changes, take_to_its_end

MARKS = {"passed": "pass", "failed": "FAIL", "under way": " .. ", "ready": "  - "}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rung",
        type=int,
        choices=range(1, RUNGS + 1),
        metavar="N",
        help=f"Which rung, 1 to {RUNGS}. Default: the lowest that has not passed.",
    )
    parser.add_argument("--status", action="store_true", help="Say how the ladder stands and train nothing.")
    parser.add_argument("--quick", action="store_true", help="A rehearsal on short clips and few steps, in runs of its own.")
    add_shared(parser)
    add_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    budget = asked_budget(arguments)
    before = ladder_state(list_runs(), budget)
    asked = before[arguments.rung - 1] if arguments.rung else next_rung(before)
    code = 0 if asked is None or arguments.status else climb(asked, before, arguments.tokenizer)
    states = ladder_state(list_runs(), budget)
    following = next_rung(states)
    if wants_json(arguments):
        print_json({"rungs": [state.to_dict() for state in states], "next": following.rung.number if following else None})
    else:
        print("\n\n".join(described(state) for state in states))
        print(f"\n{closing(following, arguments)}")
    failed = asked is not None and not arguments.status and states[asked.rung.number - 1].state == "failed"
    return code or int(failed)


def asked_budget(arguments: argparse.Namespace) -> Budget:
    budget = QUICK if arguments.quick else FULL
    return dataclasses.replace(budget, changes={**budget.changes, **shared_changes(arguments)})


def climb(state: RungState, states: list[RungState], given: Path | None) -> int:
    """Train what is still to be trained of a rung; returns the exit code."""
    before = [str(other.rung.number) for other in states if other.rung.number < state.rung.number and other.state != "passed"]
    if before:
        print(f"note: not passed yet: rung {', '.join(before)}; what this one says may mean little before that", file=sys.stderr)
    left = [training for training in state.trainings if not training.finished]
    refuse_clips(training.planned for training in left)
    for training in left:
        tokenizer = chosen_tokenizer(training.planned.config, given) or first_tokenizer(states, training.name)
        code = take_to_its_end(training.planned, tokenizer)
        if code:
            return code
    return 0


def first_tokenizer(states: list[RungState], name: str) -> Path | None:
    """The tokenizer of a run of the ladder that trained one: all others build on the same."""
    others = {training.name for state in states for training in state.trainings if training.name != name}
    checkpoints = [run.checkpoints() for run in reversed(list_runs()) if run.name in others]
    return next((found[0][1] for found in checkpoints if found), None)


def described(state: RungState) -> str:
    """A rung for a person's eyes."""
    rung = state.rung
    lines = [f"{MARKS[state.state]}  {rung.number}. {rung.title}", f"      {rung.why}", f"      criterion: {rung.criterion}"]
    lines.append(f"      {state.state}: {state.sentence}")
    if state.verdict and "bought" in state.verdict.figures:
        lines += [f"      {row}" for row in bought_table(state.verdict.figures["bought"]).splitlines()]
    if state.verdict and state.verdict.advice:
        lines.append(f"      next: {state.verdict.advice}")
    for training in state.trainings:
        for key, (wanted, found) in training.differs.items():
            lines.append(f"      {training.name} was begun with {key}={found}, not {wanted}")
    return "\n".join(lines)


def bought_table(bought: dict[str, dict[str, Any]]) -> str:
    """What each improvement bought, against the plainest recipe: losses in nats per masked token."""
    rows = [["change", "all masked", "difference", "half masked", "difference", "s a step"]]
    keys = (
        "validation_loss_full",
        "validation_loss_full_difference",
        "validation_loss_half",
        "validation_loss_half_difference",
        "seconds_per_step",
    )
    rows += [[title, *(number(figures[key]) for key in keys)] for title, figures in bought.items()]
    return table(rows)


def closing(following: RungState | None, arguments: argparse.Namespace) -> str:
    """What to do next."""
    if following is None:
        return "every rung has passed"
    rung, budget = following.rung, QUICK if arguments.quick else FULL
    if following.state != "failed":
        return f"next is rung {rung.number} ({rung.title}): {rung.command}"
    onward = f"; to go on all the same: {budget.command} --rung {rung.number + 1}" if rung.number < RUNGS else ""
    return f"rung {rung.number} ({rung.title}) has failed: see what it says to do next{onward}"
