"""(b) Gradients reach every weight, neither vanishing nor exploding on the way, and the optimiser moves every weight."""

import math
from typing import Any

import torch

from .subject import Subject
from .verdict import Check, Progress, judge, points

VANISHED = 1e-4  # a block's RMS gradient against the largest of the blocks
EXPLODED = 1e3  # the same from the other end: against the median
TOTAL = 1e3  # gradient norm of a fresh model, before clipping
NEW = "in a newly made model with these settings; what training has made of a run's weights is not looked at"


def gradient_flow(subject: Subject, progress: Progress) -> list[Check]:
    """Three checks after one real step of a newly made model: no weight without a gradient, blocks of like size, and every weight moved."""
    config = subject.short.replace({"recipe.gradient_clip": 0.0, "recipe.warmup_steps": 0, "recipe.schedule": "constant"})
    phase = subject.phase(config)
    before = {name: parameter.detach().clone() for name, parameter in phase.model.named_parameters()}
    figures = phase.train_step(0, True)
    progress(0.8)
    norms = {name: gradient_figures(parameter) for name, parameter in phase.model.named_parameters()}
    idle = idle_by_design(subject)
    silent = tuple(name for name, (rms, _) in norms.items() if rms == 0.0 and name not in idle)
    facts: dict[str, Any] = {"overrides": subject.overrides(config)}
    blocks = block_figures({name: rms for name, (rms, _) in norms.items()}, before)
    largest = max(norms, key=lambda name: norms[name][1])
    progress(1.0)
    return [
        judge(
            "gradient_reaches_all",
            "Every weight has a gradient",
            len(silent),
            at_most=0,
            unit="weights without gradient",
            good=f"the loss reaches every weight, {NEW}",
            bad=f"no gradient in {listed(silent)}: frozen (requires_grad), cut off by a detach or no_grad, or not used at all",
            names=silent,
            details={f"{kind} {name}": value for name, pair in norms.items() for kind, value in zip(("rms", "max"), pair, strict=True)},
            **facts,
        ),
        flow(blocks, figures["grad_norm"], largest, norms[largest][1], facts),
        moved(phase.model, before, idle, facts),
    ]


def gradient_figures(parameter: torch.nn.Parameter) -> tuple[float, float]:
    """(RMS, largest absolute value) of a parameter's gradient; zeros where it has none."""
    gradient = parameter.grad
    if gradient is None:
        return 0.0, 0.0
    return float(gradient.float().square().mean().sqrt()), float(gradient.abs().max())


def idle_by_design(subject: Subject) -> set[str]:
    """Weights that this config cannot use: of what lies between frames, where a frame sees no other, and between places, where there is
    one."""
    recipe = subject.config.recipe
    alone = subject.frames == 1 or not (recipe.objective_future or recipe.objective_joint)
    between_frames = [*(["time_bias"] if alone or not subject.sees_time else []), *(["stem.before.weight"] if alone else [])]
    return {*between_frames, *(["place_bias"] if subject.short.grid == 1 else [])}


def block_figures(rms: dict[str, float], weights: dict[str, torch.Tensor]) -> list[float]:
    """RMS gradient of every block, from the first to the last."""
    sums: dict[int, list[float]] = {}
    for name, value in rms.items():
        if name.startswith("blocks."):
            pair = sums.setdefault(int(name.split(".")[1]), [0.0, 0.0])
            pair[0] += value**2 * weights[name].numel()
            pair[1] += weights[name].numel()
    return [math.sqrt(squares / count) for _, (squares, count) in sorted(sums.items())]


def flow(blocks: list[float], total: float, largest: str, most: float, facts: dict[str, Any]) -> Check:
    """Vanishing and exploding, over the depth and in total; the figure is the smallest block's share of the largest."""
    median = sorted(blocks)[len(blocks) // 2]
    vanished = tuple(f"blocks.{place}" for place, value in enumerate(blocks) if value < VANISHED * max(blocks))
    exploded = tuple(f"blocks.{place}" for place, value in enumerate(blocks) if not value <= EXPLODED * median)
    share = min(blocks) / max(blocks) if max(blocks) > 0 and all(map(math.isfinite, blocks)) else 0.0
    if not total <= TOTAL:  # blown up everywhere
        share, exploded = 0.0, exploded or ("the whole model",)
    bad = [f"vanishing in {listed(vanished)}"] if vanished else []
    bad += [f"exploding in {listed(exploded)} (norm {total:.3g}, largest in {largest})"] if exploded else []
    return judge(
        "gradient_flow",
        "Gradients neither vanish nor explode",
        share,
        at_least=VANISHED,
        unit="smallest block's RMS gradient / largest block's",
        good=f"norm {total:.3g} in all, alike over the depth, {NEW}",
        bad=f"{'; '.join(bad) or 'no gradient in the blocks'}: use model.norm=pre, fewer layers, and look at what was changed in these blocks",
        names=vanished + exploded,
        curve=points(blocks, 0),
        axes=("block", "RMS gradient"),
        details={"grad_norm": total, "largest_gradient": most},
        **facts,
    )


def moved(model: torch.nn.Module, before: dict[str, torch.Tensor], idle: set[str], facts: dict[str, Any]) -> Check:
    ratios = {name: update_ratio(before[name], parameter.detach()) for name, parameter in model.named_parameters()}
    still = tuple(name for name, ratio in ratios.items() if ratio == 0.0 and name not in idle)
    return judge(
        "every_weight_moves",
        "The optimiser moves every weight",
        len(still),
        at_most=0,
        unit="weights that did not move",
        good=f"one step moves them all, {NEW}",
        bad=f"{listed(still)} stayed as it was: it is not among the optimiser's parameters, has no gradient, or recipe.learning_rate is 0",
        names=still,
        details={f"update/weight {name}": ratio for name, ratio in ratios.items() if math.isfinite(ratio)},
        **facts,
    )


def update_ratio(before: torch.Tensor, after: torch.Tensor) -> float:
    """RMS of the update over RMS of the weight; infinite where the weight was zero and moved."""
    update, weight = float((after - before).float().square().mean().sqrt()), float(before.float().square().mean().sqrt())
    return update / weight if weight else (math.inf if update else 0.0)


def listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
