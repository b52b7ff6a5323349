"""What each strategy buys: short trainings of equal budget, one change each, beside a baseline that shares their seed.

Every trial is an ordinary run: what is finished is found again and not trained twice. A change is said to help or to hurt only
where its difference exceeds the spread between the seeds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .config import Config
from .experiment import LOSSES, Change, Planned, Training, look_up, quarters, seconds_per_step
from .files import plain
from .metric_lines import newest
from .presets import preset
from .run_reader import RunReader

BASELINE = "baseline"
FREE_RUNNING = "free_running_mse"
STEPS, SEEDS = 200, 3
HELPS, HURTS, WITHIN, UNKNOWN = "helps", "hurts", "within the spread", "one seed: no spread"


def changes(frames: int) -> tuple[Change, ...]:
    """Every change that is measured, for clips of so many frames."""
    lengths = quarters(frames)
    future_only = {"recipe.objective_future": 1.0, "recipe.objective_joint": 0.0, "recipe.objective_individual": 0.0}
    listed: list[tuple[str, str, dict[str, Any]]] = [
        ("dropout", "dropout 0.1", {"model.dropout": 0.1}),
        ("constant", "constant rate, no warm-up and cosine", {"recipe.schedule": "constant"}),
        ("post-ln", "post-LN", {"model.norm": "post"}),
        ("muon", "Muon on the hidden matrices", {"recipe.optimizer": "muon"}),
        ("no-code-embedding", "no code embedding", {"model.code_embedding": False}),
        ("pixels", "pixel embedding", {"model.pixel_embedding": True}),
        ("stem", "a stem over 3 frames", {"model.stem_frames": 3}),
        ("stem-pixels", "a stem over 3 frames and pixel embedding", {"model.stem_frames": 3, "model.pixel_embedding": True}),
        ("relative", "relative positions", {"model.positions": "relative"}),
        ("full-attention", "full attention", {"model.attention": "full"}),
        ("one-stream", "no clean past", {"recipe.clean_past": False}),
        ("own-past", "own past in half of the clips", {"recipe.own_past": 0.5}),
        ("corruption", "context corruption 0.1", {"recipe.context_corruption": 0.1}),
        ("random-context", "random context", {"recipe.random_context": True}),
        ("future-only", "objective: future only", future_only),
        ("growing", "objectives: growing", {"recipe.objective_schedule": "growing"}),
        ("mask-fixed", "masking: fixed 0.75", {"recipe.mask_schedule": "fixed", "recipe.mask_ratio": 0.75}),
        ("mask-all", "masking: everything", {"recipe.mask_schedule": "fixed", "recipe.mask_ratio": 1.0}),
        ("mask-random", "masking: random (uniform)", {"recipe.mask_schedule": "uniform"}),
        ("mask-progressive", "masking: progressive", {"recipe.mask_schedule": "progressive"}),
        ("mask-progressive-range", "masking: progressive-range", {"recipe.mask_schedule": "progressive-range"}),
        ("flip", "flips of half of the clips", {"recipe.horizontal_flip": 0.5}),
        ("rotation", "rotation up to 10 degrees", {"recipe.rotation": 10.0}),
        ("brightness", "brightness by up to 0.2", {"recipe.brightness": 0.2}),
        ("contrast", "contrast by up to 0.2", {"recipe.contrast": 0.2}),
        ("curriculum", f"curriculum {lengths}", {"recipe.curriculum": lengths}),
        ("no-ema", "no averaged weights (EMA)", {"recipe.ema_decay": 0.0}),
    ]
    return tuple(Change(name=name, title=title, settings=settings) for name, title, settings in listed)


OWN_FLAGS = {"run.steps": "--steps", "run.seed": "--seeds"}  # what a plan decides, whatever the settings of all runs say
NAMES = tuple(change.name for change in changes(20))


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One training: a change (the baseline has none) under one seed."""

    change: str
    seed: int
    planned: Planned


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is trained. only: names of changes, all of them where empty. settings: to every trial, by dotted key.

    ValueError for unknown names, or settings that cannot be.
    """

    steps: int = STEPS
    seeds: int = SEEDS
    only: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if unknown := [name for name in self.only if name not in NAMES]:
            raise ValueError(f"unknown changes {', '.join(unknown)}: use {', '.join(NAMES)}")
        for key, flag in OWN_FLAGS.items():
            if key in self.settings:
                raise ValueError(f"{key} is what {flag} sets: use that")

    def base(self) -> Config:
        """The shared baseline: `tiny`, on clips of 10 frames, validated on 32 clips at its end."""
        shared = {
            "model.attention": "factorized",
            "data.clip_frames": 10,
            "data.context_frames": 5,
            "recipe.learning_rate": 1e-3,
            "recipe.precision": "float32",  # what is measured as faster could differ from run to run
            "run.compile": "off",  # its time would count, and short runs do not earn it back
            "run.validation_clips": 32,
            "run.keep_checkpoints": 1,
            **self.settings,
        }
        end = ("run.validate_every", "run.sample_every", "run.checkpoint_every")
        rhythm = dict(zip(end, (self.steps, self.steps, max(1, self.steps // 4)), strict=True))
        return preset("tiny").replace({**rhythm, **shared, "run.steps": self.steps})

    def wanted(self) -> list[Change]:
        """The changes that were asked for."""
        return [change for change in changes(self.base().data.clip_frames) if not self.only or change.name in self.only]

    def impossible(self) -> dict[str, str]:
        """The changes that these settings rule out, by name, and why. ValueError for one that was asked for by name."""
        base, found = self.base(), dict[str, str]()
        for change in self.wanted():
            try:
                base.replace(dict(change.settings))
            except ValueError as error:
                if self.only:
                    raise ValueError(f"{change.name} cannot be measured with these settings: {error}") from error
                found[change.name] = f"{error}"
        return found

    def changes(self) -> tuple[Change, ...]:
        """The changes that are one and can be: what the settings of every trial ask for already is none."""
        base, out = self.base(), self.impossible()
        return tuple(change for change in self.wanted() if change.name not in out and base.replace(dict(change.settings)) != base)

    def trials(self) -> list[Trial]:
        """Seed by seed, the baseline first: after the first seed every change has been seen once."""
        base = self.base()
        every = (Change(name=BASELINE, title=BASELINE, settings={}), *self.changes())
        return [
            Trial(
                change=change.name,
                seed=seed,
                planned=Planned(
                    name=f"ablate-{self.steps}-{change.name}-seed{seed}",
                    title=f"{change.title}, seed {seed}",
                    config=base.replace({**change.settings, "run.seed": seed}),
                ),
            )
            for seed in range(self.seeds)
            for change in every
        ]


def look_up_trial(trial: Trial, runs: Mapping[str, RunReader]) -> Training:
    """How a trial stands; ValueError where its run was begun with other settings: its budget would not be the same."""
    training = look_up(trial.planned, runs)
    if training.differs:
        listed = ", ".join(f"{key} {found!r} instead of {wanted!r}" for key, (wanted, found) in training.differs.items())
        raise ValueError(f"run {training.name!r} was begun with {listed}: give the same settings, or set VIDAPP_RUNS to another folder")
    return training


def results(plan: Plan, runs: Iterable[RunReader], free_running: Mapping[str, float] | None = None) -> dict[str, Any]:
    """What the finished trials of a plan measured, as plain values for JSON. free_running: run name -> MSE of generated frames."""
    found = {run.name: run for run in runs}
    base = plan.base()
    trials = []
    for trial in plan.trials():
        training = look_up_trial(trial, found)
        if training.finished:
            extra = {FREE_RUNNING: free_running[training.name]} if free_running and training.name in free_running else {}
            trials.append(measured(trial, training) | extra)
    named = [{"name": change.name, "title": change.title, "settings": dict(change.settings)} for change in plan.changes()]
    values: dict[str, Any] = plain({"steps": plan.steps, "config": base.to_dict(), "changes": named, "trials": trials})
    return values  # as they come back from a JSON file


def measured(trial: Trial, training: Training) -> dict[str, Any]:
    seconds = seconds_per_step(training.lines)
    figures = {key: newest(training.lines, key) for key in (*LOSSES, "validation_changed_accuracy")}
    clock = {"seconds_per_step": seconds, "seconds": None if seconds is None else seconds * training.total}
    return {"change": trial.change, "seed": trial.seed, "run": training.name, **figures, **clock}


def merged(before: Mapping[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Results with those from before that are not among them; ValueError where they are of another budget or baseline."""
    try:
        baseline = plain(Config.from_dict(before["config"]).to_dict())  # with today's defaults for settings that are newer than the file
    except ValueError:
        baseline = None
    if before.get("steps") != now["steps"] or baseline != now["config"]:
        raise ValueError("the file holds results of another budget or baseline: choose another --out, or move it away")
    known = {trial["run"] for trial in now["trials"]}
    names = {change["name"] for change in now["changes"]}
    return {
        **now,
        "changes": [*now["changes"], *(change for change in before["changes"] if change["name"] not in names)],
        "trials": [*now["trials"], *(trial for trial in before["trials"] if trial["run"] not in known)],
    }


# ------------------------------------------------------------------ what it says


@dataclass(frozen=True)
class Difference:
    """A change's figure less the baseline's of the same seed. spread: largest less smallest difference; None with one seed."""

    mean: float
    spread: float | None
    seeds: int

    @property
    def verdict(self) -> str:
        """Lower is better. Only a difference beyond the spread of the seeds is one."""
        if self.spread is None:
            return UNKNOWN
        if abs(self.mean) <= self.spread:
            return WITHIN
        return HELPS if self.mean < 0 else HURTS


@dataclass(frozen=True)
class Effect:
    """What a change did: differences by figure, and its time a step over the baseline's."""

    name: str
    title: str
    differences: Mapping[str, Difference]
    step_time: float | None


def effects(found: Mapping[str, Any]) -> list[Effect]:
    """The effect of every change with at least one seed in which it and the baseline are finished, the most helpful first."""
    by_change: dict[str, dict[int, Mapping[str, Any]]] = {}
    for trial in found["trials"]:
        by_change.setdefault(trial["change"], {})[trial["seed"]] = trial
    base = by_change.get(BASELINE, {})
    listed = []
    for change in found["changes"]:
        own = by_change.get(change["name"], {})
        pairs = [(own[seed], base[seed]) for seed in sorted(own.keys() & base.keys())]
        differences = {key: one for key in (*LOSSES, FREE_RUNNING) if (one := difference(pairs, key)) is not None}
        if differences:
            listed.append(Effect(change["name"], change["title"], differences, ratio(pairs, "seconds_per_step")))
    return sorted(listed, key=lambda effect: next(iter(effect.differences.values())).mean)


def difference(pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], key: str) -> Difference | None:
    """Of one figure over (change, baseline) pairs of one seed each; None where no pair has it."""
    values = [own[key] - base[key] for own, base in pairs if own.get(key) is not None and base.get(key) is not None]
    if not values:
        return None
    return Difference(sum(values) / len(values), max(values) - min(values) if len(values) > 1 else None, len(values))


def ratio(pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], key: str) -> float | None:
    ratios = [own[key] / base[key] for own, base in pairs if own.get(key) and base.get(key)]
    return sum(ratios) / len(ratios) if ratios else None
