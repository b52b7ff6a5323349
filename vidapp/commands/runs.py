"""List the runs, show one, compare several, bring one back from the trash, or say how long one took to reach an error."""

import argparse
import time

from ..config import as_argument
from ..files import printable
from ..run_compare import differing_settings, known_config, newest_figures, standing
from ..speedrun import TARGETS, minutes, render, row, speedrun
from .common import add_json, number, positive, print_json, progress_bar, table, wants_json

SPEEDRUN_CLIPS = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_json(parser)
    parser.set_defaults(action=list_all)
    actions = parser.add_subparsers(metavar="list|show|compare|trash|restore|speedrun")
    listing = actions.add_parser("list", help="All runs, newest first (also without a word).")
    listing.set_defaults(action=list_all)
    showing = actions.add_parser("show", help="One run: state, newest figures, checkpoints, settings.")
    showing.add_argument("name", metavar="NAME")
    showing.set_defaults(action=show)
    comparing = actions.add_parser("compare", help="Newest figures side by side, and the settings that differ.")
    comparing.add_argument("names", metavar="NAME", nargs="+", help="Runs, also bundled examples: example:healthy.")
    comparing.set_defaults(action=compare)
    binned = actions.add_parser("trash", help="What is in the trash, moved last first.")
    binned.set_defaults(action=list_trash)
    restoring = actions.add_parser("restore", help="Bring a run back from the trash.")
    restoring.add_argument("name", metavar="NAME", help="Its name, or its place as `runs trash` lists it.")
    restoring.set_defaults(action=bring_back)
    racing = actions.add_parser(
        "speedrun", help="How long a run trained until its generated frames were this good: every kept checkpoint is evaluated."
    )
    racing.set_defaults(action=race)
    racing.add_argument("name", metavar="NAME", help="A run with checkpoints on the way: train it with --set run.keep_every=250, say.")
    racing.add_argument("--clips", type=positive, default=SPEEDRUN_CLIPS, metavar="N", help=f"Test clips. Default: {SPEEDRUN_CLIPS}.")
    racing.add_argument("--hardware", default="", metavar="TEXT", help="What it was trained on. Default: what the run recorded.")
    for action in (listing, showing, comparing, binned, restoring, racing):
        add_json(action)


def execute(arguments: argparse.Namespace) -> int:
    code: int = arguments.action(arguments)
    return code


def list_all(arguments: argparse.Namespace) -> int:
    from ..runs import list_runs, runs_folder

    runs = [standing(run) for run in list_runs()]
    if wants_json(arguments):
        print_json({"folder": str(runs_folder()), "runs": runs})
    elif runs:
        header = ["name", "state", "step", "total", "started"]
        rows = [[run["name"], run["state"], str(run["step"]), str(run["total"]), local_time(run["created"])] for run in runs]
        print(table([header, *rows]))
    else:
        print(f"no runs in {runs_folder()} yet: start one with `python -m vidapp train --preset debug`")
    return 0


def list_trash(arguments: argparse.Namespace) -> int:
    from ..run_trash import trashed

    places = trashed()
    if wants_json(arguments):
        print_json({"trash": places})
    else:
        print("\n".join(map(printable, places)) or "the trash is empty")
    return 0


def bring_back(arguments: argparse.Namespace) -> int:
    from ..run_trash import newest_of, restore

    name = restore(newest_of(arguments.name))
    print_json({"restored": name}) if wants_json(arguments) else print(f"run {name} is back in the list")
    return 0


def show(arguments: argparse.Namespace) -> int:
    from ..runs import open_run

    run = open_run(arguments.name)
    facts = standing(run) | {"path": str(run.path), "error": run.status().error, "figures": newest_figures(run)}
    facts["checkpoints"] = [str(path) for _, path in run.checkpoints()]
    facts["notices"] = run.status().notices
    config = known_config(run)
    facts["config"] = config.to_dict() if config else None
    if wants_json(arguments):
        print_json(facts)
        return 0
    print(f"{printable(facts['name'])}: {printable(run.status().sentence)}\nfolder: {printable(facts['path'])}")
    for phase, figures in facts["figures"].items():
        print(f"\n{printable(phase)}\n{table([[key, number(value)] for key, value in figures.items()])}")
    print("\ncheckpoints" + "".join(f"\n{printable(path)}" for path in facts["checkpoints"] or ["none yet"]))
    if facts["notices"]:
        print("\nnotes" + "".join(f"\n{printable(notice)}" for notice in facts["notices"]))
    if config:
        settings = [[f"{section}.{key}", as_argument(value)] for section, part in facts["config"].items() for key, value in part.items()]
        print(f"\nsettings\n{table(settings)}")
    else:
        print("\nsettings\nnone that can be read: its config.json is missing or damaged, or of another version")
    return 0


def compare(arguments: argparse.Namespace) -> int:
    from ..sick_runs import open_any

    if len(arguments.names) < 2:
        raise ValueError("compare needs two runs or more: runs compare A B")
    runs = [open_any(name) for name in arguments.names]
    settings = differing_settings(runs)
    facts = [standing(run) | {"name": name, "figures": newest_figures(run)} for name, run in zip(arguments.names, runs, strict=True)]
    if wants_json(arguments):
        print_json({"runs": facts, "settings": settings})
        return 0
    rows = [["", *arguments.names], ["state", *(run["state"] for run in facts)], ["step", *(str(run["step"]) for run in facts)]]
    rows += figure_rows([run["figures"] for run in facts])
    rows += [[key, *map(as_argument, values)] for key, values in settings.items()]
    print(table(rows))
    return 0


def race(arguments: argparse.Namespace) -> int:
    from ..run_scores import score
    from ..runs import open_run

    run = open_run(arguments.name)
    steps = sorted(step for step, _ in run.checkpoints() if step)
    if not steps:
        raise ValueError(
            f"run {run.name!r} has no checkpoint to evaluate yet: train it with --set run.keep_every=250, so that some are kept"
        )
    scores = {}
    with progress_bar(len(steps) * arguments.clips, "evaluating", "clip") as bar:
        for place, step in enumerate(steps):

            def show(done: int, total: int, before: int = place * arguments.clips) -> None:
                bar.update(before + done - bar.n)

            scores[step] = score(run, step, arguments.clips, progress=show)
    found = speedrun(run, scores, arguments.hardware)
    marks = [{"step": mark.step, "seconds": mark.seconds, **mark.score} for mark in found.marks]
    if wants_json(arguments):
        reached = {f"{target:g}": mark.seconds if (mark := found.reached(target)) else None for target in TARGETS}
        facts = {"run": found.run, "hardware": found.hardware, "tokenizer_given": found.tokenizer_given}
        print_json(facts | {"seconds_to_mse": reached, "checkpoints": marks})
        return 0
    rows = [[str(mark.step), minutes(mark.seconds), f"{mark.mse:.1f}", bounds(mark.score["mse_confidence_95"])] for mark in found.marks]
    print(table([["step", "trained", "MSE", "95%"], *rows]))
    print(f"\n{render([row(found)])}")
    return 0


def bounds(interval: list[float] | None) -> str:
    return "-" if interval is None else f"{interval[0]:.1f} to {interval[1]:.1f}"


def figure_rows(figures: list[dict[str, dict[str, float]]]) -> list[list[str]]:
    """A row for every figure that any of the runs has, the phase before its name."""
    names = {(phase, key): None for run in figures for phase, part in run.items() for key in part}
    return [[f"{phase} {key}", *(number(run.get(phase, {}).get(key)) for run in figures)] for phase, key in names]


def local_time(unix_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(unix_s)) if unix_s else "-"
