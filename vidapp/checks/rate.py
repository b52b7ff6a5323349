"""(h) The learning-rate range test (Smith, 2017): the rate grows at every step until the loss does."""

import math
from typing import Any

import numpy as np

from ..config import Config
from ..schedules import muon_rate, rates_at
from .overfit import FAST
from .subject import ONLY, Subject
from .verdict import Check, Progress, failure, judge, rounded

STEPS = 40
LOWEST, HIGHEST = 1e-5, 1.0
BLOWN_UP = 1.3  # times the lowest loss so far, and above the first
SMOOTHING = 0.7
SAFETY = 3.0  # between the rate of the lowest loss and the peak suggested
TOO_LOW = 100.0  # times below the suggested peak: not wrong, but nothing will be seen to happen


def rate_range(subject: Subject, progress: Progress) -> list[Check]:
    """Suggests a peak; fails where the config's is beyond the rate at which the loss was lowest, or far below any use."""
    objective = ONLY["future" if subject.sees_time else "individual"]
    config = subject.short.replace(
        {**FAST, **objective, "recipe.schedule": "constant", "recipe.learning_rate": HIGHEST, "run.training_clips": 0, "run.steps": STEPS}
    )
    rates, losses = sweep(subject, config, progress)
    overrides = subject.overrides(config.replace({"recipe.learning_rate": subject.config.recipe.learning_rate}))
    facts: dict[str, Any] = {
        "curve": tuple(zip(rates, losses, strict=True)),
        "axes": ("learning rate", "loss (nats per masked token)"),
        "overrides": overrides,
    }
    name, title = "rate_range", "The learning rate is in the range that learns"
    smooth = smoothed(losses)
    lowest = int(np.argmin(smooth))
    if not smooth[lowest] < 0.95 * smooth[0]:
        return [
            failure(name, title, "the loss falls at no rate: the rate is not to blame; look at gradient_flow and loss_masked_only", **facts)
        ]
    suggested = rounded(rates[lowest] / SAFETY)  # as it is read is as it is taken
    recipe = subject.config.recipe
    peak, wanted = recipe.learning_rate, f"{suggested:g}"
    if muon := rates_at(recipe, suggested).get("recipe.muon_learning_rate"):
        wanted += f" with recipe.muon_learning_rate {muon:g}"
    facts |= {"details": {"suggested_peak": suggested, "lowest_loss_at": rates[lowest], "tried_up_to": rates[-1]}, "unit": "learning rate"}
    if peak < suggested / TOO_LOW:
        words = f"recipe.learning_rate {peak:g} is far below where the loss falls fastest: try {wanted}"
        return [judge(name, title, peak, at_least=suggested / TOO_LOW, bad=words, **facts)]
    return [
        judge(
            name,
            title,
            peak,
            at_most=rates[lowest],
            good=f"the loss was lowest at {rates[lowest]:.2g}; a peak near {wanted} is suggested, less for long runs",
            bad=f"at recipe.learning_rate {peak:g} the loss rises again (it was lowest at {rates[lowest]:.2g}): try {wanted}",
            **facts,
        )
    ]


def sweep(subject: Subject, config: Config, progress: Progress) -> tuple[list[float], list[float]]:
    """(rates of AdamW, losses), until the loss blows up. Muon's rate grows in step with it."""
    phase = subject.phase(config)
    peaks = phase.optimizers.all
    base = subject.config.recipe
    rates: list[float] = []
    losses: list[float] = []
    for step in range(STEPS):
        rate = LOWEST * (HIGHEST / LOWEST) ** (step / (STEPS - 1))
        phase.optimizers.all = [(optimizer, rate if place == 0 else muon_rate(base, rate)) for place, (optimizer, _) in enumerate(peaks)]
        try:
            loss = phase.train_step(step, True)["loss"]
        except ValueError:  # not finite: blown up, which is what was looked for
            break
        rates.append(rate)
        losses.append(loss)
        progress((step + 1) / STEPS)
        smooth = smoothed(losses)
        if not math.isfinite(loss) or (smooth[-1] > BLOWN_UP * min(smooth) and smooth[-1] > losses[0]):
            break
    return rates, losses


def smoothed(losses: list[float]) -> list[float]:
    """Running mean without the bias to its start."""
    mean, weight, found = 0.0, 0.0, []
    for loss in losses:
        mean, weight = SMOOTHING * mean + (1 - SMOOTHING) * loss, SMOOTHING * weight + (1 - SMOOTHING)
        found.append(mean / weight)
    return found
