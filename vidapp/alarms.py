"""What a run's metrics alone say is wrong with it: a pure function over metric lines, one sentence of advice each."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Line = Mapping[str, Any]

SETTLED = 200  # steps: before that nothing can be expected of a model
RECENT = 20  # lines that a present state is judged by
EXPLODED = 20.0  # times the median norm of the run so far
ENORMOUS = 1e4  # a norm that is no use before clipping, whatever came before
VANISHED = 1e-5
LEARNT = 0.98  # of the unigram entropy: a loss above that has learnt nothing but frequencies
WORSE = 1.1  # times the best validation loss
FEWEST_CODES = 0.05  # share of the codebook in use
FEWEST_PERPLEXITY = 4.0
FLAT = 0.01  # share by which the loss of the later half is below that of the first


@dataclass(frozen=True)
class Alarm:
    """Something wrong. step: where it shows. serious: the run is wasted unless something changes. change: settings by dotted key."""

    name: str
    title: str
    advice: str
    step: int
    serious: bool = True
    change: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "title": self.title,
            "advice": self.advice,
            "step": self.step,
            "serious": self.serious,
            "change": self.change,
        }


def alarms(lines: Iterable[Line], error: str = "") -> list[Alarm]:
    """Alarms of a run, serious ones first. lines: of metrics.jsonl, in order; error: what ended the run, where something did."""
    every = [line for line in lines if isinstance(line.get("step"), int)]
    main = [line for line in every if line.get("phase", "transformer") == "transformer"]
    first = [line for line in every if line.get("phase") == "tokenizer"]
    training, validation = having("loss", main), having("validation_loss_full", main)
    found = [
        not_a_number(every, error),
        exploding(training),
        vanishing(training),
        not_below_entropy(training, validation),
        not_below_copying(validation),
        flat(training),
        gap(training, validation),
        dead_codes(first),
    ]
    return sorted((alarm for alarm in found if alarm), key=lambda alarm: not alarm.serious)


def having(key: str, lines: Sequence[Line]) -> list[Line]:
    """The lines on which that figure is a finite number."""
    return [line for line in lines if is_number(line.get(key))]


def is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def not_a_number(lines: Sequence[Line], error: str) -> Alarm | None:
    """A loss or gradient that is not finite: written as null, counted as a skipped step, or what ended the run."""
    bad = next((line for line in lines if any(key in line and not is_number(line[key]) for key in ("loss", "grad_norm"))), None)
    skipped = next((line for line in reversed(lines) if line.get("skipped_steps")), None)
    if bad is None and skipped is None and "not finite" not in error:
        return None
    where = bad or skipped or (lines[-1] if lines else {"step": 0})
    what = f"{skipped['skipped_steps']} steps were skipped because of it" if skipped and not bad else "training cannot go on from there"
    rate = next((line["learning_rate"] for line in reversed(lines) if is_number(line.get("learning_rate"))), None)
    change = {"recipe.learning_rate": rounded(rate / 3)} if rate else {}
    advice = "Lower recipe.learning_rate to a third, and keep recipe.gradient_clip at 1."
    return Alarm("not_a_number", f"A loss or gradient was not finite; {what}", advice, int(where["step"]), change=change)


def exploding(training: Sequence[Line]) -> Alarm | None:
    lines = having("grad_norm", training)
    if len(lines) < RECENT:
        return None
    norms = [float(line["grad_norm"]) for line in lines]
    usual = statistics.median(norms)
    recent = statistics.median(norms[-RECENT // 2 :])
    early = statistics.median(norms[: max(RECENT // 2, len(norms) // 2)])
    if recent <= EXPLODED * max(early, 1e-12) and usual <= ENORMOUS:
        return None
    advice = "Lower recipe.learning_rate to a third, and set recipe.gradient_clip=1; with model.norm=post try pre."
    title = f"The gradient explodes: norm {recent:.3g} lately, {early:.3g} before"
    step = next(int(line["step"]) for line, norm in zip(lines, norms, strict=True) if norm > min(EXPLODED * early, ENORMOUS))
    rate = lines[-1].get("learning_rate")
    return Alarm("exploding", title, advice, step, change={"recipe.learning_rate": rounded(rate / 3)} if is_number(rate) and rate else {})


def vanishing(training: Sequence[Line]) -> Alarm | None:
    lines = having("grad_norm", training)
    if len(lines) < RECENT or statistics.median(float(line["grad_norm"]) for line in lines[-RECENT // 2 :]) > VANISHED:
        return None
    advice = "Nothing moves any more: use model.norm=pre or fewer layers, and run the gradient check to see which block it stops in."
    return Alarm("vanishing", "The gradient has vanished", advice, int(lines[-1]["step"]), change={"model.norm": "pre"})


def not_below_entropy(training: Sequence[Line], validation: Sequence[Line]) -> Alarm | None:
    """After SETTLED steps the loss must be below what the tokens' frequencies alone cost."""
    lines, key = (validation, "validation_loss_full") if validation else (training, "loss")
    if not lines or lines[-1]["step"] < SETTLED:
        return None
    entropy = next((line["unigram_entropy"] for line in reversed([*training, *validation]) if is_number(line.get("unigram_entropy"))), None)
    loss = min(float(line[key]) for line in lines[-3:]) if validation else mean_of(lines[-RECENT:], key)
    if entropy is None or loss < LEARNT * entropy:
        return None
    title = f"Nothing learnt but frequencies: loss {loss:.2f} after {lines[-1]['step']:,} steps, the tokens' entropy is {entropy:.2f}"
    return Alarm(
        "not_below_entropy", title, "Look under The loss stays flat: the learning rate first, then the gradient.", int(lines[-1]["step"])
    )


def not_below_copying(validation: Sequence[Line]) -> Alarm | None:
    """Guessing right must be more frequent than it is by copying the token one frame before."""
    lines = [line for line in validation if is_number(line.get("validation_accuracy")) and is_number(line.get("validation_copy_accuracy"))]
    if not lines or lines[-1]["step"] < SETTLED or lines[-1]["validation_accuracy"] > lines[-1]["validation_copy_accuracy"]:
        return None
    own, copied = lines[-1]["validation_accuracy"], lines[-1]["validation_copy_accuracy"]
    title = f"No better than copying the frame before: {own:.0%} of the tokens right, copying has {copied:.0%}"
    advice = (
        "It has not learnt motion yet: train longer, and see that model.attention is not framewise and recipe.objective_future above 0."
    )
    return Alarm("not_below_copying", title, advice, int(lines[-1]["step"]), serious=False)


def flat(training: Sequence[Line]) -> Alarm | None:
    """The loss of the later half is no lower than that of the first."""
    if len(training) < 2 * RECENT or training[-1]["step"] < SETTLED:
        return None
    half = len(training) // 2
    before, after = mean_of(training[: min(half, 5 * RECENT)], "loss"), mean_of(training[-min(half, 5 * RECENT) :], "loss")
    if after < (1 - FLAT) * before:
        return None
    title = f"The loss does not fall: {before:.3g} at first, {after:.3g} lately"
    return Alarm("flat", title, "Look under The loss stays flat: the learning rate first, then the gradient.", int(training[-1]["step"]))


def gap(training: Sequence[Line], validation: Sequence[Line]) -> Alarm | None:
    """Validation gets worse while training gets better: what is learnt is these clips, not how clips go on."""
    if len(validation) < 4:
        return None
    best = min(validation, key=lambda line: float(line["validation_loss_full"]))
    now = statistics.median(float(line["validation_loss_full"]) for line in validation[-3:])
    then = [line for line in training if line["step"] <= best["step"]][-RECENT:]
    since = [line for line in training if line["step"] > best["step"]][-RECENT:]
    if now < WORSE * best["validation_loss_full"] or not then or not since or mean_of(since, "loss") >= mean_of(then, "loss"):
        return None
    title = f"Validation is {now / best['validation_loss_full'] - 1:.0%} above its best (step {best['step']:,}) while the training loss still falls"
    advice = "It learns its clips by heart: use more clips (run.training_clips=0), model.dropout=0.1, or the checkpoint of the best step."
    return Alarm("gap", title, advice, int(best["step"]), serious=False, change={"model.dropout": 0.1})


def dead_codes(tokenizer: Sequence[Line]) -> Alarm | None:
    lines = [line for line in tokenizer if any(is_number(line.get(key)) for key in ("codebook_use", "validation_codebook_use"))]
    if not lines or lines[-1]["step"] < SETTLED:
        return None
    newest = lines[-1]
    use = newest.get("validation_codebook_use", newest.get("codebook_use"))
    perplexity = newest.get("validation_perplexity", newest.get("perplexity"))
    few_used = use < FEWEST_CODES and not (
        is_number(perplexity) and perplexity >= 4 * FEWEST_PERPLEXITY
    )  # of a large codebook few are much
    if not few_used and not (is_number(perplexity) and perplexity < FEWEST_PERPLEXITY):
        return None
    title = f"Dead codes: {use:.1%} of the codebook in use" + (f", perplexity {perplexity:.1f}" if is_number(perplexity) else "")
    advice = "Frames are told apart by a handful of ids: use tokenizer.quantizer=fsq, or a third of recipe.tokenizer_learning_rate."
    return Alarm("dead_codes", title, advice, int(newest["step"]), change={"tokenizer.quantizer": "fsq"})


def mean_of(lines: Sequence[Line], key: str) -> float:
    return statistics.fmean(float(line[key]) for line in lines)


def rounded(rate: float) -> float:
    """Two significant digits."""
    return float(f"{rate:.2g}")
