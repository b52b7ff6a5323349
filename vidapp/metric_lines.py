"""Metric lines, read: what of them are numbers, what a figure is lately, and which layer stands out."""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Line = Mapping[str, Any]
RECENT = 20  # lines that a present state is judged by
LOOKS = 5  # newest lines with layers that a layer is judged by


def of_transformer(lines: Iterable[Line]) -> list[Line]:
    """The lines of the transformer phase; a training loop of one's own need not name phases."""
    return [line for line in lines if line.get("phase", "transformer") == "transformer"]


def stepped(lines: Iterable[Line]) -> list[Line]:
    """The lines that say at which step they are: those of a file that was edited may not."""
    return [line for line in lines if isinstance(line.get("step"), int)]


def having(key: str, lines: Sequence[Line]) -> list[Line]:
    """The lines on which that figure is a finite number."""
    return [line for line in lines if is_number(line.get(key))]


def layer_figures(line: Line) -> dict[str, dict[str, float]]:
    """Figure -> layer -> value of a line of metrics, as far as they are finite numbers: lines may come from anywhere."""
    found = line.get("layers")
    return {
        str(figure): {str(name): float(value) for name, value in layers.items() if is_number(value)}
        for figure, layers in (found.items() if isinstance(found, Mapping) else ())
        if isinstance(layers, Mapping)
    }


def is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def skipped_steps(line: Line) -> int:
    """How many steps of its phase a line says were skipped so far."""
    count = line.get("skipped_steps")
    return int(count) if count is not None and is_number(count) else 0


def skipped_lately(training: Sequence[Line]) -> float:
    """Share of the steps of the newest RECENT training lines that were skipped; each phase counts its own."""
    own = [line for line in training if line.get("phase") == training[-1].get("phase")]
    if not own:
        return 0.0
    before: Line = own[-RECENT - 1] if len(own) > RECENT else {"step": 0}
    return (skipped_steps(own[-1]) - skipped_steps(before)) / max(1, own[-1]["step"] - before["step"])


def lately(training: Sequence[Line], figure: str) -> dict[str, float]:
    """Layer -> median of a figure over the newest LOOKS lines that have layers; empty where there are fewer."""
    looks = [layer_figures(line).get(figure, {}) for line in training[-2 * LOOKS :] if "layers" in line][-LOOKS:]
    layers = {layer for look in looks for layer in look} if len(looks) == LOOKS else set()
    return {layer: statistics.median(look[layer] for look in looks if layer in look) for layer in sorted(layers)}


def extreme(training: Sequence[Line], figure: str, which: Callable[..., str]) -> str:
    """The layer with the largest or smallest figure lately, in words; empty where layers are not known."""
    found = lately(training, figure)
    return in_words(which(found, key=lambda layer: found[layer])) if found else ""


def in_words(layer: str) -> str:
    """`time of block 2` for `2 time`."""
    block, _, part = layer.partition(" ")
    return f"{part} of block {block}" if part else f"the {layer}"


def newest(lines: Sequence[Line], key: str) -> float | None:
    """The newest finite value of a figure; None where there is none."""
    return next((float(line[key]) for line in reversed(lines) if is_number(line.get(key))), None)


def validated(line: Line, key: str) -> float | None:
    """The figure of validation clips, else that of training; None where neither is a number."""
    return next((line[name] for name in (f"validation_{key}", key) if is_number(line.get(name))), None)


def mean_of(lines: Sequence[Line], key: str) -> float:
    return statistics.fmean(float(line[key]) for line in lines)
