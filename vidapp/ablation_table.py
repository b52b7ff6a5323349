"""The results of an ablation as a Markdown table, what did not help included."""

from collections.abc import Mapping, Sequence
from typing import Any

from .ablation import BASELINE, FREE_RUNNING, HELPS, HURTS, UNKNOWN, WITHIN, Difference, Effect, effects
from .experiment import LOSSES
from .markdown import table

MARKERS = "ablation"
COMMAND = "python -m vidapp ablate --out assets/ablation.json --readme README.md"
TITLES = {**LOSSES, FREE_RUNNING: "free-running MSE"}
PARTS = {
    HELPS: "Helps",
    HURTS: "Hurts",
    WITHIN: "Within the spread, so that nothing can be said for or against it",
    UNKNOWN: "Seen with one seed only",
}


def render(found: Mapping[str, Any]) -> str:
    """The table of what `ablation.results` returns, with what was measured above it and a summary below."""
    listed = effects(found)
    if not listed:
        return f"Not measured yet: `{COMMAND}` trains what is missing and writes the table here."
    measured = [key for key in TITLES if any(key in effect.differences for effect in listed)]
    header = ["change", *(part for key in measured for part in (TITLES[key], "verdict")), "time a step"]
    rows = [baseline_row(found, measured), *(effect_row(effect, measured) for effect in listed)]
    return "\n\n".join([caption(found), table(header, rows), summary(listed)])


def caption(found: Mapping[str, Any]) -> str:
    config, seeds = found["config"], len({trial["seed"] for trial in found["trials"]})
    data, model, recipe = config["data"], config["model"], config["recipe"]
    minutes = sum(trial["seconds"] or 0.0 for trial in found["trials"]) / 60
    future = data["clip_frames"] - data["context_frames"]
    return (
        f"{len(found['trials'])} trainings, {seeds} {'seed' if seeds == 1 else 'seeds'}, {found['steps']} steps of {recipe['batch_size']} clips "
        f"each ({minutes:.0f} minutes of training in all): {model['width']} wide, {model['layers']} layers, {model['attention']} attention, "
        f"{data['context_frames']} frames given and {future} predicted, {recipe['optimizer']}. Losses are of validation clips, in nats per "
        "masked token of the future. A row is one change to the baseline: its mean difference to the baseline of the same seed, and in "
        "brackets the spread, the largest less the smallest difference between the seeds. Less is better."
        + (" With three seeds a change that does nothing exceeds its spread once in twelve times, in a column." if seeds == 3 else "")
    )


def baseline_row(found: Mapping[str, Any], measured: Sequence[str]) -> list[str]:
    trials = [trial for trial in found["trials"] if trial["change"] == BASELINE]
    cells = []
    for key in measured:
        values = [trial[key] for trial in trials if trial.get(key) is not None]
        spread = f" ({max(values) - min(values):.3f})" if len(values) > 1 else ""
        cells += [f"{sum(values) / len(values):.3f}{spread}" if values else "", ""]
    return [f"**{BASELINE}**", *cells, "1.00"]


def effect_row(effect: Effect, measured: Sequence[str]) -> list[str]:
    cells = [part for key in measured for part in difference_cells(effect.differences.get(key))]
    return [effect.title, *cells, "" if effect.step_time is None else f"{effect.step_time:.2f}"]


def difference_cells(one: Difference | None) -> list[str]:
    if one is None:
        return ["", ""]
    spread = "" if one.spread is None else f" ({one.spread:.3f})"
    return [f"{one.mean:+.3f}{spread}", one.verdict]


def summary(listed: Sequence[Effect]) -> str:
    """Who helps in every figure, who hurts, and about whom nothing can be said."""
    lines = []
    for verdict, words in PARTS.items():
        titles = [effect.title for effect in listed if all(one.verdict == verdict for one in effect.differences.values())]
        if titles:
            lines.append(f"- {words}: {', '.join(titles)}.")
    mixed = [effect.title for effect in listed if len({one.verdict for one in effect.differences.values()}) > 1]
    if mixed:
        lines.append(f"- Not the same in every column: {', '.join(mixed)}.")
    return "\n".join(lines)
