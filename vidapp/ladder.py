"""The experiment ladder: from overfitting a hundred clips on purpose to a wider model, each rung with a criterion that figures decide.

A rung is one or more ordinary runs. How the ladder stands is a function of the runs folder alone (`ladder_state`), so it can be
left at any moment and taken up again; a rung that is not finished claims nothing.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .config import Config
from .experiment import LOSSES, Change, Lines, Planned, Training, look_up, newest_mean, quarters, seconds_per_step
from .metric_lines import newest
from .presets import preset
from .run_reader import RunReader

OVERFIT_LOSS = 0.05  # nats per masked token
OVERFIT_LINES = 10  # logged steps over which it is the mean: one of them alone is luck
CHANGED = 0.05  # share of changed tokens predicted, of which copying gets none: more than chance finds
RUNGS = 4
CHECK = "python -m vidapp check"


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much the rungs may cost: clips to learn by heart, and steps of each rung's runs. changes: to every run's settings. command: what
    climbs them."""

    prefix: str = "ladder"
    command: str = "python -m vidapp ladder"
    overfit_clips: int = 100
    overfit_steps: int = 6000
    small_steps: int = 4000
    improvement_steps: int = 1000
    scale_steps: int = 8000
    changes: Mapping[str, Any] = field(default_factory=dict)


FULL = Budget()
QUICK = Budget(
    prefix="ladder-quick",
    command="python -m vidapp ladder --quick",
    overfit_clips=10,
    overfit_steps=600,
    small_steps=300,
    improvement_steps=100,
    scale_steps=600,
    changes={"data.clip_frames": 10, "data.context_frames": 5, "model.attention": "factorized", "recipe.batch_size": 8},
)
"""A rehearsal: the same rungs on short clips, few steps and a hundredth of the time. Its verdicts are about those."""


@dataclass(frozen=True)
class Verdict:
    """Whether a criterion is met, in one sentence with its figures; where it is not, advice says what to look at next."""

    passed: bool
    sentence: str
    figures: dict[str, Any]
    advice: str = ""


@dataclass(frozen=True, kw_only=True)
class Rung:
    """judge: verdict over the metric lines of finished runs, by name: the rung's own and those of `beside`, earlier rungs' runs."""

    number: int
    command: str
    title: str
    why: str
    criterion: str
    runs: tuple[Planned, ...]
    judge: Callable[[Mapping[str, Lines]], Verdict]
    beside: tuple[Planned, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RungState:
    """A rung as the runs folder shows it. verdict: None until all of its runs, and those it is compared with, are finished."""

    rung: Rung
    trainings: tuple[Training, ...]
    missing: tuple[str, ...]  # runs of earlier rungs that it is compared with and that are not finished
    verdict: Verdict | None

    @property
    def state(self) -> str:
        """`passed` or `failed` where it is judged; before that `under way`, or `ready` where nothing is begun."""
        if self.verdict is not None:
            return "passed" if self.verdict.passed else "failed"
        return "under way" if any(training.begun for training in self.trainings) else "ready"

    @property
    def sentence(self) -> str:
        """The verdict, or what is still to be done before there can be one."""
        if self.verdict is not None:
            return self.verdict.sentence
        done = [training.finished for training in self.trainings]
        if all(done):
            return f"trained, and to be compared with {', '.join(self.missing)}, which is not finished"
        if not any(training.begun for training in self.trainings):
            return "nothing trained yet"
        current = next((training for training in self.trainings if training.begun and not training.finished), None)
        at = f"; {current.name} is {current.state} at step {current.step} of {current.total}" if current else ""
        return f"{sum(done)} of {len(done)} runs finished{at}: no verdict yet"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        runs = [
            {
                "name": training.name,
                "title": training.planned.title,
                "state": training.state,
                "step": training.step,
                "steps": training.total,
                "differs": {key: list(pair) for key, pair in training.differs.items()},
            }
            for training in self.trainings
        ]
        verdict = self.verdict
        return {
            "rung": self.rung.number,
            "title": self.rung.title,
            "why": self.rung.why,
            "criterion": self.rung.criterion,
            "state": self.state,
            "passed": None if verdict is None else verdict.passed,
            "verdict": self.sentence,
            "figures": {} if verdict is None else verdict.figures,
            "advice": "" if verdict is None else verdict.advice,
            "runs": runs,
            "command": self.rung.command,
        }


def ladder_state(runs: Iterable[RunReader], budget: Budget = FULL) -> list[RungState]:
    """How every rung stands, from the runs there are (`list_runs()`). Reads their metrics; changes nothing."""
    found = {run.name: run for run in runs}
    states: list[RungState] = []
    for make in (overfit, everything, improvements):
        states.append(state_of(make(budget), found))
    small = states[1].rung.runs[0]
    return [*states, state_of(scale_up(budget, kept_settings(states[-1]), small), found)]


def state_of(rung: Rung, found: Mapping[str, RunReader]) -> RungState:
    trainings = tuple(look_up(run, found) for run in rung.runs)
    others = tuple(look_up(run, found) for run in rung.beside)
    missing = tuple(other.name for other in others if not other.finished)
    verdict = None
    if not missing and all(training.finished for training in trainings):
        verdict = rung.judge({training.name: training.lines for training in (*trainings, *others)})
    return RungState(rung=rung, trainings=trainings, missing=missing, verdict=verdict)


def next_rung(states: list[RungState]) -> RungState | None:
    """The lowest rung that has not passed; None at the top."""
    return next((state for state in states if state.state != "passed"), None)


def planned(budget: Budget, name: str, title: str, start: Config, steps: int, changes: Mapping[str, Any]) -> Planned:
    """A run of the ladder. `changes` by dotted key; the budget's own win."""
    rhythm = {"run.steps": steps, "run.validate_every": max(1, steps // 20), "run.checkpoint_every": max(1, steps // 20)}
    rhythm["run.sample_every"] = max(1, steps // 5)
    config = start.replace({**rhythm, **changes, **budget.changes})
    return Planned(name=f"{budget.prefix}-{name}", title=title, config=config)


# ------------------------------------------------------------------ 1: overfit


def overfit(budget: Budget) -> Rung:
    run = planned(
        budget,
        "1-overfit",
        f"{budget.overfit_clips} clips by heart",
        preset("debug"),
        budget.overfit_steps,
        {
            "run.training_clips": budget.overfit_clips,
            "run.log_every": 10,
            "model.dropout": 0.0,
            "recipe.rotation": 0.0,
            "recipe.brightness": 0.0,
            "recipe.contrast": 0.0,
            "recipe.horizontal_flip": 0.0,
        },
    )

    def judge(lines: Mapping[str, Lines]) -> Verdict:
        loss = newest_mean(lines[run.name], "loss", OVERFIT_LINES)
        if loss is None:
            return Verdict(False, f"fewer than {OVERFIT_LINES} finite losses were logged", {}, f"{CHECK} --preset debug")
        sentence = f"masked loss {loss:.3g} over the last {OVERFIT_LINES} logged steps (asked for: at most {OVERFIT_LOSS})"
        advice = (
            f"{CHECK} --preset debug --only loss gradient rate overfit: eight clips by heart come before {budget.overfit_clips}; if those "
            "pass, give this run more steps (python -m vidapp train --run NAME --resume --steps N) before a larger model"
        )
        return Verdict(loss <= OVERFIT_LOSS, sentence, {"loss": loss, "at_most": OVERFIT_LOSS}, "" if loss <= OVERFIT_LOSS else advice)

    return Rung(
        number=1,
        command=f"{budget.command} --rung 1",
        title="Overfit on purpose",
        why="A model that cannot learn a few clips by heart will not learn many: data, masks, loss and optimiser are tried together.",
        criterion=f"`debug`, future only, dropout and augmentation off: masked loss at most {OVERFIT_LOSS} on {budget.overfit_clips} clips",
        runs=(run,),
        judge=judge,
    )


# ------------------------------------------------------------------ 2: all data, all objectives


def everything(budget: Budget) -> Rung:
    weights = {"recipe.objective_future": 0.5, "recipe.objective_joint": 0.4, "recipe.objective_individual": 0.1}
    run = planned(budget, "2-small", "all data, all objectives", preset("small"), budget.small_steps, weights)
    return Rung(
        number=2,
        command=f"{budget.command} --rung 2",
        title="Learn from all data",
        why="Most tokens equal the one a frame before: only those that changed show whether motion is learnt, and not just copied.",
        criterion=f"`small`, objectives 50/40/10, validation with all of the future masked: loss below the unigram entropy, and on tokens that "
        f"changed an error at least {CHANGED} below that of copying, which is always wrong there",
        runs=(run,),
        judge=lambda lines: judge_small(lines[run.name]),
    )


def judge_small(lines: Lines) -> Verdict:
    loss, entropy = newest(lines, "validation_loss_full"), newest(lines, "unigram_entropy")
    changed = newest(lines, "validation_changed_accuracy")
    if loss is None or entropy is None or changed is None:
        return Verdict(False, "no finite validation was logged", {}, f"{CHECK} --preset small")
    below, moved = loss < entropy, changed >= CHANGED
    sentence = (
        f"loss {loss:.3f} {'below' if below else 'not below'} the unigram entropy {entropy:.3f}; error on changed tokens {1 - changed:.3f} "
        f"{'below' if moved else 'not below'} copying's 1 less {CHANGED}"
    )
    figures = {"loss": loss, "unigram_entropy": entropy, "changed_error": 1 - changed}
    advice = ""
    if not below:
        advice = f"{CHECK} --preset small --only tokens loss gradient rate: it has not even learnt how frequent each token is"
    elif not moved:
        advice = f"{CHECK} --preset small --only data hidden causality agreement: it copies the frame before, and sees no motion"
    return Verdict(below and moved, sentence, figures, advice)


# ------------------------------------------------------------------ 3: one change at a time


def improvements_of(frames: int) -> tuple[Change, ...]:
    """One change each to the plainest recipe, for clips of so many frames. Flips are left out: a mirrored digit is none."""
    lengths = quarters(frames)
    augmentation = {"recipe.rotation": 10.0, "recipe.brightness": 0.2, "recipe.contrast": 0.2}
    listed: list[tuple[str, str, dict[str, Any]]] = [
        ("dropout", "dropout 0.1", {"model.dropout": 0.1}),
        ("schedule", "warm-up and cosine", {"recipe.schedule": "cosine"}),
        ("augmentation", "rotation, brightness, contrast", augmentation),
        ("masking", "progressive-range masking", {"recipe.mask_schedule": "progressive-range"}),
        ("curriculum", f"curriculum {lengths}", {"recipe.curriculum": lengths}),
    ]
    return tuple(Change(name=name, title=title, settings=settings) for name, title, settings in listed)


def improvements(budget: Budget) -> Rung:
    def run(name: str, title: str, settings: Mapping[str, Any]) -> Planned:
        return planned(budget, f"3-{name}", title, preset("seed-before"), budget.improvement_steps, settings)

    plain = run("plain", "nothing: the plainest recipe", {})
    runs, left_out = [plain], []
    for one in improvements_of(plain.config.data.clip_frames):
        try:
            runs.append(run(one.name, one.title, one.settings))
        except ValueError as error:  # not with the settings that every run has
            left_out.append(f" Left out: {one.title} ({error}).")
    return Rung(
        number=3,
        command=f"{budget.command} --rung 3",
        title="One improvement at a time",
        why="What a change buys shows only beside the same run without it. One run each has no spread: `python -m vidapp ablate` has."
        + "".join(left_out),
        criterion=f"`seed-before` and one run for each of {len(runs) - 1} improvements, {budget.improvement_steps} steps each: at least one has a "
        "lower validation loss than none, with all and with half of the future masked",
        runs=tuple(runs),
        judge=lambda lines: judge_improvements(runs, lines),
    )


def judge_improvements(runs: Sequence[Planned], lines: Mapping[str, Lines]) -> Verdict:
    """The table of what each bought is in `figures["bought"]`: title -> losses, differences to the plain run, seconds a step."""
    plain = {key: newest(lines[runs[0].name], key) for key in LOSSES}
    bought: dict[str, dict[str, float | None]] = {}
    for run in runs:
        own = {key: newest(lines[run.name], key) for key in LOSSES}
        differences = {f"{key}_difference": difference(own[key], plain[key]) for key in LOSSES}
        bought[run.title] = {**own, **differences, "seconds_per_step": seconds_per_step(lines[run.name])}
    helped = [run.title for run in runs[1:] if lower(bought[run.title])]
    sentence = f"{len(helped)} of {len(runs) - 1} lowered both losses" + (f": {', '.join(helped)}" if helped else "")
    advice = (
        "" if helped else f"{CHECK} --preset seed-before --only rate masks gradient, and more steps: differences need a model that learns"
    )
    return Verdict(bool(helped), sentence, {"bought": bought, "helped": helped}, advice)


def difference(own: float | None, other: float | None) -> float | None:
    return None if own is None or other is None else own - other


def lower(figures: Mapping[str, float | None]) -> bool:
    found = [figures[f"{key}_difference"] for key in LOSSES]
    return all(value is not None and value < 0 for value in found)


def kept_settings(state: RungState) -> dict[str, Any]:
    """The settings of the improvements that lowered both losses; none before rung 3 has its verdict."""
    helped = state.verdict.figures["helped"] if state.verdict else []
    frames = state.rung.runs[0].config.data.clip_frames
    return {key: value for one in improvements_of(frames) if one.title in helped for key, value in one.settings.items()}


# ------------------------------------------------------------------ 4: wider and longer


def scale_up(budget: Budget, kept: Mapping[str, Any], small: Planned) -> Rung:
    """`kept`: settings of the improvements that rung 3 found to help. small: the run that is to be beaten."""
    runs = tuple(
        planned(
            budget,
            f"4-scale-{layers}",
            f"256 wide, {layers} layers",
            preset("scale-up"),
            budget.scale_steps,
            {**kept, "model.layers": layers},
        )
        for layers in (4, 6)
    )
    return Rung(
        number=4,
        command=f"{budget.command} --rung 4",
        title="Wider and longer",
        why="Only what has learnt at a small size is worth a larger one. The recipe takes over what helped in rung 3.",
        criterion=f"256 wide, 4 and 6 layers, {budget.scale_steps} steps: the better of them has a lower validation loss than rung 2's `small`, "
        "with all and with half of the future masked",
        runs=runs,
        judge=lambda lines: judge_scale(runs, small.name, lines),
        beside=(small,),
    )


def judge_scale(runs: tuple[Planned, ...], small: str, lines: Mapping[str, Lines]) -> Verdict:
    before = {key: newest(lines[small], key) for key in LOSSES}
    found = {run.title: {key: newest(lines[run.name], key) for key in LOSSES} for run in runs}
    known = {title: losses for title, losses in found.items() if None not in losses.values()}
    if not known or None in before.values():
        return Verdict(False, "no finite validation was logged", {}, f"{CHECK} --preset scale-up")
    best = min(known, key=lambda title: known[title]["validation_loss_full"] or 0.0)
    pairs = [(word, known[best][key] or 0.0, before[key] or 0.0) for key, word in LOSSES.items()]
    passed = all(own < other for _, own, other in pairs)
    figures = " and ".join(f"{own:.3f} ({word}; small {other:.3f})" for word, own, other in pairs)
    advice = (
        "" if passed else f"{CHECK} --preset scale-up --only rate gradient: a larger model wants a lower learning rate, and longer training"
    )
    return Verdict(passed, f"{best} is the better one: loss {figures}", {"small": before, **found}, advice)
