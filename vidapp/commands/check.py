"""Go through the debugging checklist, or find the cause of a symptom; exit code 0 only when no check fails and the symptom has no cause."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..config import as_argument, load_config, parse_assignments
from ..presets import PRESETS, preset
from .common import (
    add_json,
    check_output,
    given_path,
    not_empty,
    number,
    open_data,
    positive,
    print_json,
    refuse_early,
    refuse_missing,
    replaced,
    share_bar,
    wants_json,
)
from .evaluate import STRIP_FORMATS
from .stream import Stream, add_json_lines

if TYPE_CHECKING:
    from ..checks.subject import Subject
    from ..checks.verdict import Check
    from ..diagnosis import Diagnosis, Report
    from .patient import Case

DEFAULT_PRESET = "tiny"
DEFAULT_CLIPS = 8
MARKS = {"pass": "pass", "fail": "FAIL", "not_applicable": "  - "}
OWN = ("model", "tokens", "codebook_size")
OF_A_SYMPTOM = ("clips", "strip")
OF_A_CONFIG = ("preset", "config", "run", "checkpoint", "data", "tokenizer", "only", "symptom", *OF_A_SYMPTOM)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--preset", metavar="NAME", help=f"Settings to check: {', '.join(PRESETS)}. Default: {DEFAULT_PRESET}.")
    start.add_argument("--config", type=not_empty, metavar="FILE.json", help="Check the settings in this file instead.")
    start.add_argument("--run", metavar="NAME", help="Check this run: its settings, tokenizer, metrics and newest checkpoint.")
    start.add_argument("--checkpoint", type=given_path, metavar="FILE", help="Check the settings and the tokenizer of this checkpoint.")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="Change settings, as in train.")
    parser.add_argument(
        "--data", type=not_empty, metavar="moving-mnist|PATH", help="What to train on: moving-mnist, moving-mnist-full or your own clips."
    )
    parser.add_argument("--tokenizer", type=given_path, metavar="CHECKPOINT", help="Use this checkpoint's tokenizer.")
    parser.add_argument("--only", nargs="+", metavar="GROUP", help="Groups of checks, e.g. sampler data gradient overfit. Default: all.")
    parser.add_argument("--symptom", metavar="NAME", help="Find the cause of what you see, e.g. blurry, nothing-moves, loss-flat, nan.")
    parser.add_argument(
        "--clips", type=positive, metavar="N", help=f"With --symptom: clips that a checkpoint is judged on. Default: {DEFAULT_CLIPS}."
    )
    parser.add_argument(
        "--strip", type=given_path, metavar="FILE.png", help="With --symptom: draw a clip at every stage into this picture."
    )
    parser.add_argument(
        "--model", metavar="PACKAGE.MODULE:FUNCTION", help="Check your own function from ids to logits; this runs its module."
    )
    parser.add_argument("--tokens", type=given_path, metavar="IDS.npy", help="With --model: ids (N, T, h, w) or (T, h, w).")
    parser.add_argument("--codebook-size", type=positive, metavar="V", help="With --model: ids lie in [0, V), the mask is V.")
    parser.add_argument(
        "--frames", type=positive, metavar="N", help="With --model: frames of a clip. Default: all, or 16 of a long recording."
    )
    parser.add_argument("--causal", action="store_true", help="With --model: it promises that no frame sees a later one.")
    add_json(parser)
    add_json_lines(parser)


def execute(arguments: argparse.Namespace) -> int:
    if any(getattr(arguments, name) is not None for name in OWN) or arguments.frames or arguments.causal:
        return own_model(arguments)
    refuse_flags(arguments)
    refuse_settings(arguments)
    from ..checks.checklist import GROUPS, checklist

    unknown = [name for name in arguments.only or () if name not in GROUPS]
    if unknown:
        raise ValueError(f"unknown checks {', '.join(unknown)}: use {', '.join(GROUPS)}")
    from ..device import cpu_threads

    case = asked_case(arguments)
    with cpu_threads(case.config.run.threads):
        if arguments.symptom:
            return diagnosed(arguments, case)
        subject, notes = opened(arguments, case)
        left = [group.title for group in GROUPS.values() if arguments.only and group.name not in arguments.only]
        return answer(arguments, lambda report: checklist(subject, arguments.only, report), notes, left)


def refuse_flags(arguments: argparse.Namespace) -> None:
    """ValueError for what only a diagnosis uses where none is asked for, for one that is not known, and for a picture that could not be written."""
    unused = [f"--{name}" for name in OF_A_SYMPTOM if getattr(arguments, name) is not None]
    if unused and not arguments.symptom:
        raise ValueError(
            f"{', '.join(unused)} {'go' if len(unused) > 1 else 'goes'} with --symptom only: add --symptom NAME or leave it out"
        )
    if arguments.symptom:
        from ..symptoms import symptom_of

        symptom_of(arguments.symptom)
        if arguments.only:
            raise ValueError("--only does not go with --symptom, which chooses its checks itself")
    if arguments.strip:
        check_output("--strip", arguments.strip, STRIP_FORMATS)
    refuse_missing({"--checkpoint": arguments.checkpoint, "--data": arguments.data, "--tokenizer": arguments.tokenizer})


def refuse_settings(arguments: argparse.Namespace) -> None:
    """ValueError for settings that cannot be; those of a run or a checkpoint are known later."""
    changes: dict[str, Any] = parse_assignments(arguments.set)
    if not arguments.run and not arguments.checkpoint:
        start = load_config(arguments.config) if arguments.config else preset(arguments.preset or DEFAULT_PRESET)
        refuse_early(start, changes | ({"data.source": arguments.data} if arguments.data else {}))


def asked_case(arguments: argparse.Namespace) -> "Case":
    """The settings asked for, with what belongs to them where they are those of a run or of a checkpoint."""
    from .patient import Case, case_of_checkpoint, case_of_run

    if arguments.run:
        case = case_of_run(arguments.run)
    elif arguments.checkpoint:
        case = case_of_checkpoint(arguments.checkpoint)
    else:
        case = Case(load_config(arguments.config) if arguments.config else preset(arguments.preset or DEFAULT_PRESET))
    changes: dict[str, Any] = parse_assignments(arguments.set)
    return case.with_config(replaced(case.config, changes | ({"data.source": arguments.data} if arguments.data else {})))


def opened(arguments: argparse.Namespace, case: "Case") -> "tuple[Subject, list[str]]":
    """What the checks need; a tokenizer is trained for a moment where there is none."""
    from ..checks.opening import open_subject

    tokenizer = case.tokenizer(arguments.tokenizer)
    source = open_data(case.config.data)
    stream = Stream(arguments.json_lines)
    with share_bar("training a tokenizer") as bar:

        def told(share: float) -> None:
            advance(bar, share)
            stream.progress("training a tokenizer for a moment", 0.0)

        return open_subject(case.config, source, tokenizer, told)


def diagnosed(arguments: argparse.Namespace, case: "Case") -> int:
    """From the symptom to its cause; 0 where nothing speaks for any, and no check that was made on the way failed."""
    from ..alarms import alarms
    from ..diagnosis import Diagnosis, Patient, diagnose

    found = alarms(case.lines, case.error, case.config)
    evaluate = case.evaluation(arguments.clips or DEFAULT_CLIPS, arguments.strip) if case.checkpoint else None
    patient = Patient(case.config, lambda: opened(arguments, case)[0], found, evaluate, case.lines, case.error)
    stream = Stream(arguments.json_lines)
    checks: list[Check] = []
    for alarm in found:
        stream.line("alarm", alarm.to_dict())
    with share_bar("looking", delay_s=0) as bar:
        for event in diagnose(arguments.symptom, patient, reporter(bar, stream)):
            if isinstance(event, Diagnosis):
                break
            checks.append(event)
            stream.line("check", event.to_dict())
            if not wants_json(arguments) and not stream.wanted:
                bar.write(lines_of(event), file=sys.stdout)
        advance(bar, 1.0)
    assert isinstance(event, Diagnosis)
    ok = not event.findings and not any(check.failed for check in checks)
    result = {"ok": ok, "checks": [check.to_dict() for check in checks], "alarms": [one.to_dict() for one in found]}
    result["diagnosis"] = event.to_dict()
    return ended(arguments, stream, result, words_of(event))


def words_of(diagnosis: "Diagnosis") -> str:
    lines = [*filter(None, [diagnosis.doubt, diagnosis.support]), diagnosis.words]
    for place, finding in enumerate(diagnosis.findings, start=1):
        setting = " ".join(f"{key}={as_argument(value)}" for key, value in finding.change.items())
        lines.append(f"{place}. {finding.title}\n   {finding.why}" + (f"\n   try --set {setting}" if setting else ""))
    return "\n".join(lines)


def own_model(arguments: argparse.Namespace) -> int:
    missing = [f"--{name.replace('_', '-')}" for name in OWN if getattr(arguments, name) is None]
    if missing:
        raise ValueError(f"{', '.join(missing)} is missing: check --model package.module:function --tokens ids.npy --codebook-size V")
    strangers = [f"--{name}" for name in OF_A_CONFIG if getattr(arguments, name) is not None] + (["--set"] if arguments.set else [])
    if strangers:
        raise ValueError(f"{', '.join(strangers)} does not go with --model, which has no config")
    from ..checks.own_model import OwnModel, check_own_model, load_function, read_tokens

    sys.path.insert(0, "")  # a module beside the person, however the command was started
    tokens = read_tokens(arguments.tokens, arguments.codebook_size, frames=arguments.frames)
    own = OwnModel(load_function(arguments.model), tokens, arguments.codebook_size, arguments.causal)
    return answer(arguments, lambda report: check_own_model(own, report), [f"{arguments.model} on {arguments.tokens}"])


def answer(arguments: argparse.Namespace, run: Any, notes: list[str], left_out: Sequence[str] = ()) -> int:
    """Make the checks, print each as it is known (or all of them as JSON), and return the exit code. left_out: titles of those not made."""
    from ..checks.checklist import summary

    found: list[Check] = []
    stream = Stream(arguments.json_lines)
    in_words = not wants_json(arguments) and not stream.wanted
    with share_bar("checking", delay_s=0) as bar:
        for note in notes:
            stream.line("note", note)
            if in_words:
                bar.write(note, file=sys.stdout)
        for check in run(reporter(bar, stream)):
            found.append(check)
            stream.line("check", check.to_dict())
            if in_words:
                bar.write(lines_of(check), file=sys.stdout)
        advance(bar, 1.0)
    result = summary(found) | {"notes": notes, "left_out": list(left_out)}
    return ended(arguments, stream, result, closing(found))


def reporter(bar: Any, stream: Stream) -> "Report":
    """What tells the bar and the stream how far the checks are."""

    def report(what: str, share: float) -> None:
        bar.set_description_str(what, refresh=False)
        advance(bar, share)
        stream.progress(what, share)

    return report


def ended(arguments: argparse.Namespace, stream: Stream, result: dict[str, Any], words: str) -> int:
    """Give the result in the form that was asked for, and return the exit code."""
    if stream.wanted:
        stream.line("result", result)
    elif wants_json(arguments):
        print_json(result)
    else:
        print(words)
    return 0 if result["ok"] else 1


def advance(bar: Any, share: float) -> None:
    bar.update(max(0.0, min(share, 1.0) - bar.n))


def lines_of(check: "Check") -> str:
    """A check for a person's eyes: verdict, figure and bound, and what to make of it."""
    bound = f" ({check.direction} {number(check.threshold)})" if check.direction else ""
    figure = f": {number(check.figure)}{bound} {check.unit}" if check.figure is not None else ""
    changed = f"\n      checked with {', '.join(check.overrides)}" if check.overrides else ""
    return f"{MARKS[check.status]}  {check.title}{figure}\n      {check.advice} [{check.name}]{changed}"


def closing(found: "Iterable[Check]") -> str:
    failed = [check.name for check in found if check.failed]
    return f"{len(failed)} failed: {', '.join(failed)}" if failed else "nothing failed"
