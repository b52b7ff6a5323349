"""Measure what each strategy buys: short runs of equal budget, one change each, several seeds. Goes on where it was left."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..ablation import BASELINE, FREE_RUNNING, NAMES, SEEDS, STEPS, Plan, Trial, effects, look_up_trial, merged, results
from ..ablation_table import MARKERS, render
from ..failures import BrokenOffError, describe_failure
from ..files import read_json, write_json, write_text
from ..markdown import put_between
from ..run_reader import list_runs, open_run
from .common import add_json, check_folder, given_path, number, page_text, positive, print_json, table, wants_json
from .experiments import add_shared, chosen_tokenizer, refuse_clips, shared_changes, take_to_its_end

STEP_S = 0.75  # of the baseline, measured on one core of a busy CPU, the other changes about the same
RUNS = (len(NAMES) + 1) * SEEDS
COST = (
    f"With the defaults {RUNS} runs of {STEPS} steps are trained; at {STEP_S} s a step, as measured on one core of a busy CPU, that is about "
    f"{RUNS * STEPS * STEP_S / 3600:.0f} hours. Stop it at any moment: the same command goes on from there."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = f"{COST} Changes: {', '.join(NAMES)}."
    parser.add_argument("--steps", type=positive, default=STEPS, metavar="N", help=f"Steps of each run. Default: {STEPS}.")
    parser.add_argument("--seeds", type=positive, default=SEEDS, metavar="N", help=f"Runs of each change, a seed each. Default: {SEEDS}.")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="Train these changes only, and the baseline. Default: all.")
    parser.add_argument(
        "--clips", type=positive, metavar="N", help="Also measure the free-running MSE of each run on so many validation clips. Slow."
    )
    parser.add_argument("--out", type=given_path, metavar="FILE.json", help="Write the results here; those already there are kept.")
    parser.add_argument("--readme", type=given_path, metavar="FILE.md", help=f"Write the table between this page's {MARKERS} markers.")
    parser.add_argument("--status", action="store_true", help="Gather what is finished and train nothing.")
    add_shared(parser)
    add_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    settings = shared_changes(arguments)
    if arguments.out:
        check_folder("--out", arguments.out)
    if arguments.readme:
        page_text(arguments.readme, MARKERS)  # hours before there is anything to write
    plan = Plan(steps=arguments.steps, seeds=arguments.seeds, only=tuple(arguments.only), settings=settings)
    everything = replace(plan, only=())
    for name, trouble in plan.impossible().items():
        print(f"note: {name} is left out: {trouble}", file=sys.stderr)
    before = read_results(arguments.out)
    if before is not None:
        merged(before, results(plan, []))  # what does not go together is refused before anything is trained
    code = 0 if arguments.status else train_missing(plan, arguments.tokenizer)
    scores = free_running(everything, arguments.clips, measure=not arguments.status and code in (0, 1)) if arguments.clips else {}
    found = results(everything, list_runs(), scores)
    found = found if before is None else merged(before, found)
    write(found, arguments)
    return code


def read_results(path: Path | None) -> dict[str, Any] | None:
    """What an earlier call wrote to --out; None where there is nothing. ValueError for a file that is something else."""
    if path is None or not path.exists():
        return None
    found = read_json(path)
    if found is None or not {"steps", "config", "changes", "trials"} <= found.keys():
        raise ValueError(f"--out {path} is there and holds no results of an ablation: choose another name")
    return found


def train_missing(plan: Plan, given: Path | None) -> int:
    """Train the trials that are not finished, one after the other; returns the exit code."""
    tokenizer = chosen_tokenizer(plan.base(), given)
    if tokenizer is None:
        raise ValueError("the runs need one tokenizer to share: give a checkpoint that has one with --tokenizer")
    runs = {run.name: run for run in list_runs()}
    trials = plan.trials()
    missing = [trial for trial in trials if not look_up_trial(trial, runs).finished]
    refuse_clips(trial.planned for trial in missing)
    broken = 0
    for count, trial in enumerate(missing, start=len(trials) - len(missing) + 1):
        print(f"{count} of {len(trials)}", file=sys.stderr)
        try:
            if code := take_to_its_end(trial.planned, tokenizer):
                return code
        except (ValueError, BrokenOffError) as error:  # a loss that is not finite, say: the others can still be measured
            if isinstance(error.__cause__, OSError):  # a full disk is no better for them
                raise
            broken += 1
            print(f"{trial.planned.name} broke off and is left out: {describe_failure(error)}", file=sys.stderr)
    return 1 if broken else 0


def free_running(plan: Plan, clips: int, *, measure: bool) -> dict[str, float]:
    """Run name -> MSE of the frames that its last checkpoint generates, for finished runs; `measure`: also where it is not known yet."""
    from ..run_scores import known_score, score

    runs = {run.name: run for run in list_runs()}
    found = {}
    for trial in finished(plan, runs):
        run = open_run(trial.planned.name)
        known = known_score(run, plan.steps, clips, "validation")
        if known is None and measure:
            print(f"generating with {run.name}", file=sys.stderr)
            known = score(run, plan.steps, clips, "validation")
        if known is not None:
            found[run.name] = float(known["mse"])
    return found


def finished(plan: Plan, runs: dict[str, Any]) -> list[Trial]:
    return [trial for trial in plan.trials() if look_up_trial(trial, runs).finished]


def write(found: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Results to where they were asked for: file, page, and stdout."""
    if arguments.out:
        write_json(arguments.out, found)
    if arguments.readme:
        write_text(arguments.readme, put_between(page_text(arguments.readme, MARKERS), MARKERS, render(found)))
    if wants_json(arguments):
        listed = {effect.name: {key: summary(one) for key, one in effect.differences.items()} for effect in effects(found)}
        print_json(found | {"effects": listed})
    else:
        print(as_text(found))


def summary(one: Any) -> dict[str, Any]:
    return {"mean_difference": one.mean, "spread": one.spread, "seeds": one.seeds, "verdict": one.verdict}


def as_text(found: dict[str, Any]) -> str:
    """The effects for a person's eyes."""
    listed = effects(found)
    done = f"{len(found['trials'])} runs finished"
    if not listed:
        return f"{done}: nothing to compare yet"
    keys = [key for key in (*listed[0].differences, FREE_RUNNING) if any(key in effect.differences for effect in listed)]
    keys = list(dict.fromkeys(keys))
    rows = [["change", *(part for key in keys for part in (key, "spread", "verdict")), "time a step"]]
    for effect in listed:
        cells = []
        for key in keys:
            one = effect.differences.get(key)
            cells += ["-", "-", "-"] if one is None else [f"{one.mean:+.4f}", number(one.spread), one.verdict]
        rows.append([effect.name, *cells, number(effect.step_time)])
    return f"{table(rows)}\n{done}; differences to the {BASELINE} of the same seed, less is better"
