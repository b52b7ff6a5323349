"""What a run's metrics say is wrong with it: a pure function over metric lines, with advice that is not followed yet by its settings."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .config import Config
from .metric_lines import (
    RECENT,
    Line,
    extreme,
    having,
    in_words,
    is_number,
    lately,
    mean_of,
    newest,
    of_transformer,
    skipped_lately,
    skipped_steps,
    stepped,
    validated,
)

SETTLED = 200  # steps: before that nothing can be expected of a model
DIVERGED = 3.0  # times the first loss, or what the tokens' frequencies cost
EXPLODED = 20.0  # times the median norm of the run so far
ENORMOUS = 1e4  # a norm that is no use before clipping, whatever came before
VANISHED = 1e-5
LEARNT = 0.98  # of the unigram entropy: a loss above that has learnt nothing but frequencies
WORSE = 1.1  # times the best validation loss
FEWEST_CODES = 0.05  # share of the codebook in use
FEWEST_PERPLEXITY = 4.0
POORLY_REDRAWN = 0.5  # of the squared error that the mean image leaves: a tokenizer with more shows next to nothing of its frames
TOO_GOOD = 0.75  # of the validation loss with half of the future masked, which training masks like
BLOCKED = 1e-6  # of the largest layer's gradient: nothing arrives there
LARGE_STEP = 0.3  # of a layer's weights moved in one step
GROWN = 300.0  # RMS of the residual stream: with AdamW healthy ones stay below ten; weights of Muon grow, and 167 still learnt
EMPTY = 0.1  # of the truth's edges: a sample with fewer shows next to nothing
RARE = 0.01  # share of the newest steps that may be skipped without harm
FLAT = 0.01  # share by which the loss of the later half is below that of the first
RATE_IS_MEASURED = "Find the cause (in Debug) measures which rate fits."  # one number, and not a second one here

NORM_FIRST = {"model.norm": "pre"}
UNFINISHED = ("not_below_copying",)  # remarks on a run that only needs more steps

SYMPTOMS = {  # alarm -> what a person would say they see: where Debug begins to look
    "not_a_number": "nan",
    "diverged": "nan",
    "exploding": "nan",
    "large_steps": "nan",
    "activations": "loss-flat",
    "vanishing": "loss-flat",
    "blocked": "loss-flat",
    "not_below_entropy": "loss-flat",
    "flat": "loss-flat",
    "stalled": "loss-flat",
    "not_below_copying": "nothing-moves",
    "gap": "samples-bad",
    "too_good": "samples-bad",
    "dead_codes": "one-colour",
    "redraws_poorly": "blurry",
    "empty_samples": "one-colour",
}


@dataclass(frozen=True)
class Alarm:
    """Something wrong. step: where it shows. serious: the run is wasted unless something changes. change: settings by dotted key."""

    name: str
    title: str
    advice: str
    step: int
    serious: bool = True
    change: Mapping[str, Any] = field(default_factory=dict)

    @property
    def symptom(self) -> str:
        """The name of the symptom to look under."""
        return SYMPTOMS[self.name]

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "symptom": self.symptom}


def alarms(lines: Iterable[Line], error: str = "", config: Config | None = None) -> list[Alarm]:
    """Alarms of a run, serious ones first. lines: of metrics.jsonl, in order; error: what ended the run, where something did; config: its
    settings, so that nobody is advised what is set already; where they are not known, advice names what it is for."""
    every = stepped(lines)
    main = of_transformer(every)
    first = [line for line in every if line.get("phase") == "tokenizer"]
    training, validation = having("loss", main), having("validation_loss_full", main)
    found = [
        not_a_number(every, error, config),
        diverged(training, config),
        exploding(training, config),
        large_steps(training),
        activations(training),
        vanishing(training, config),
        blocked(training, config),
        not_below_entropy(training, validation),
        not_below_copying(validation, config),
        flat(training),
        stalled(validation, config),
        gap(training, validation, config),
        too_good(training, main, config),
        dead_codes(first, config),
        redraws_poorly(first) if main else None,
        empty_samples(main),
    ]
    raised = sorted((alarm for alarm in found if alarm), key=lambda alarm: not alarm.serious)
    wasted = any(alarm.serious for alarm in raised)  # beside which it would be wrong to advise more steps
    return [alarm for alarm in raised if not (wasted and alarm.name in UNFINISHED)]


def untried(config: Config | None, change: Mapping[str, Any]) -> dict[str, Any]:
    """What of a change the settings do not have yet; all of it where they are not known."""
    return {key: value for key, value in change.items() if config is None or config.value(key) != value}


def clipping(config: Config | None) -> str:
    """The advice to clip gradients, to be added to another; empty where they are clipped as tightly already."""
    if config is None:
        return ", and set recipe.gradient_clip=1 where it is not"
    return "" if 0 < config.recipe.gradient_clip <= 1 else ", and set recipe.gradient_clip=1"


def norm_first(config: Config | None) -> str:
    """The advice of norm before each branch, to be added to another; empty where it is there already."""
    return "; with model.norm=post try pre" if untried(config, NORM_FIRST) else ""


def not_a_number(lines: Sequence[Line], error: str, config: Config | None) -> Alarm | None:
    """A loss or gradient that is not finite: written as null, counted as a skipped step, or what ended the run.

    A few skipped steps are a remark: whoever has them skipped (run.on_nonfinite=skip) may log one of them as null, too.
    """
    training = [line for line in lines if "loss" in line]
    bad = next((line for line in lines if any(key in line and not is_number(line[key]) for key in ("loss", "grad_norm"))), None)
    lost = bad is not None and not skipped_steps(bad)
    skipped = next((line for line in reversed(lines) if skipped_steps(line)), None)
    if bad is None and skipped is None and "not finite" not in error:
        return None
    if skipped is None or lost:
        what, where = "training cannot go on from there", bad or (lines[-1] if lines else {"step": 0})
    else:
        count = skipped_steps(skipped)
        what = f"{count:,} step{' was' if count == 1 else 's were'} skipped because of it"
        where = next(line for line in lines if line.get("phase") == skipped.get("phase") and skipped_steps(line) == count)
    serious = lost or "not finite" in error or skipped_lately(training) > RARE
    advice = f"Lower recipe.learning_rate{clipping(config)}. {RATE_IS_MEASURED}"
    if not serious:
        advice = "So few do no harm: the weights were left as they were. Should there be many, lower recipe.learning_rate."
    return Alarm("not_a_number", f"A loss or gradient was not finite; {what}", advice, int(where["step"]), serious)


def diverged(training: Sequence[Line], config: Config | None) -> Alarm | None:
    """A loss far above what it was before anything was learnt: known after a few steps."""
    if len(training) < 3:
        return None
    known = max(float(training[0]["loss"]), newest(training, "unigram_entropy") or 0.0)
    if min(float(line["loss"]) for line in training[-2:]) <= DIVERGED * known:
        return None
    step = next(int(line["step"]) for line in training if line["loss"] > DIVERGED * known)
    title = f"The loss went up instead of down: {float(training[0]['loss']):.3g} at first, {float(training[-1]['loss']):.3g} now"
    advice = f"Its steps throw it off: begin anew with a lower recipe.learning_rate{clipping(config)}. {RATE_IS_MEASURED}"
    return Alarm("diverged", title, advice, step)


def exploding(training: Sequence[Line], config: Config | None) -> Alarm | None:
    """A gradient that has grown many times over, or that is enormous."""
    lines = having("grad_norm", training)
    if len(lines) < RECENT:
        return None
    norms = [float(line["grad_norm"]) for line in lines]
    usual = statistics.median(norms)
    recent = statistics.median(norms[-RECENT // 2 :])
    early = statistics.median(norms[: max(RECENT // 2, len(norms) // 2)])
    if recent <= EXPLODED * max(early, 1e-12) and usual <= ENORMOUS:
        return None
    advice = f"Lower recipe.learning_rate{clipping(config)}{norm_first(config)}. {RATE_IS_MEASURED}"
    where = extreme(training, "gradient_norm", max)
    most = where and f", most of it in {where}"
    if recent > EXPLODED * max(early, 1e-12):
        title = f"The gradient explodes{most}: norm {recent:.3g} lately, {early:.3g} before"
    elif recent > ENORMOUS:  # from the beginning on: it may even have fallen
        title = f"The gradient is enormous{most}: norm {recent:.3g} lately"
    else:
        title = f"The gradient was enormous for most of the run: norm {usual:.3g} by the median, {recent:.3g} lately"
    step = next(int(line["step"]) for line, norm in zip(lines, norms, strict=True) if norm > min(EXPLODED * early, ENORMOUS))
    return Alarm("exploding", title, advice, step)


def vanishing(training: Sequence[Line], config: Config | None) -> Alarm | None:
    lines = having("grad_norm", training)
    if len(lines) < RECENT or statistics.median(float(line["grad_norm"]) for line in lines[-RECENT // 2 :]) > VANISHED:
        return None
    advice = (
        f"Nothing moves any more: use fewer model.layers{norm_first(config)}. The gradient check shows in which block it stops, "
        "where it does so in a newly made model, too."
    )
    where = extreme(training, "gradient_norm", min)
    return Alarm(
        "vanishing",
        f"The gradient has vanished{where and f', most of all in {where}'}",
        advice,
        int(lines[-1]["step"]),
        change=untried(config, NORM_FIRST),
    )


def large_steps(training: Sequence[Line]) -> Alarm | None:
    """A step that moves a good part of a layer's weights undoes what the steps before have learnt."""
    ratios = lately(training, "update_ratio")
    found = {layer: ratio for layer, ratio in ratios.items() if ratio > LARGE_STEP}
    if not found or training[-1]["step"] < SETTLED:
        return None
    worst = max(found, key=lambda layer: found[layer])
    title = f"Steps are too large: each moves {in_words(worst)} by {found[worst]:.0%} of its weights"
    advice = f"A hundredth and less is usual: lower recipe.learning_rate (and recipe.muon_learning_rate as much). {RATE_IS_MEASURED}"
    return Alarm("large_steps", title, advice, int(training[-1]["step"]))


def activations(training: Sequence[Line]) -> Alarm | None:
    """A residual stream so large that what a block adds to it is lost: weights that were thrown far off."""
    scales = lately(training, "activation_rms")
    worst = max(scales, key=lambda block: scales[block], default="")
    if not worst or scales[worst] < GROWN:
        return None
    title = f"Activations have grown to an RMS of {scales[worst]:.3g} behind block {worst}"
    advice = (
        "The weights were thrown far off, which no later step repairs: begin anew with a lower recipe.learning_rate, or a longer warm-up. "
        + RATE_IS_MEASURED
    )
    return Alarm("activations", title, advice, int(training[-1]["step"]))


def blocked(training: Sequence[Line], config: Config | None) -> Alarm | None:
    """Layers that no gradient reaches while others have one."""
    norms = lately(training, "gradient_norm")
    largest = max(norms.values(), default=0.0)
    found = [layer for layer, norm in norms.items() if norm < BLOCKED * largest]
    if not found:
        return None
    title = f"No gradient reaches {', '.join(map(in_words, found[:3]))}{' and others' if len(found) > 3 else ''}"
    advice = (
        "These weights learn nothing any more: too high a learning rate has likely killed their units, and no later step revives them. Begin anew "
        f"with a lower recipe.learning_rate{norm_first(config)}. {RATE_IS_MEASURED} The gradient check is of a newly made model: it sees only "
        "what is cut off there, too."
    )
    return Alarm("blocked", title, advice, int(training[-1]["step"]), change=untried(config, NORM_FIRST))


def not_below_entropy(training: Sequence[Line], validation: Sequence[Line]) -> Alarm | None:
    """After SETTLED steps the loss must be below what the tokens' frequencies alone cost."""
    lines, key = (validation, "validation_loss_full") if validation else (training, "loss")
    if not lines or lines[-1]["step"] < SETTLED:
        return None
    entropy = newest([*training, *validation], "unigram_entropy")
    loss = min(float(line[key]) for line in lines[-3:]) if validation else mean_of(lines[-RECENT:], key)
    if entropy is None or loss < LEARNT * entropy:
        return None
    title = f"Nothing learnt but frequencies: loss {loss:.2f} after {lines[-1]['step']:,} steps, the tokens' entropy is {entropy:.2f}"
    return Alarm(
        "not_below_entropy", title, "Look under The loss stays flat: the learning rate first, then the gradient.", int(lines[-1]["step"])
    )


def not_below_copying(validation: Sequence[Line], config: Config | None) -> Alarm | None:
    """Guessing right must be more frequent than it is by copying the token one frame before."""
    lines = [line for line in validation if is_number(line.get("validation_accuracy")) and is_number(line.get("validation_copy_accuracy"))]
    if not lines or lines[-1]["step"] < SETTLED or lines[-1]["validation_accuracy"] > lines[-1]["validation_copy_accuracy"]:
        return None
    own, copied = lines[-1]["validation_accuracy"], lines[-1]["validation_copy_accuracy"]
    title = f"No better than copying the frame before: {own:.0%} of the tokens right, copying has {copied:.0%}"
    advice = "It has not learnt motion yet: train longer"
    if config is None:
        advice += ", and see that model.attention is not framewise and recipe.objective_future above 0"
    elif config.model.attention == "framewise":
        advice = "It cannot learn motion: model.attention=framewise sees no other frame, use factorized"
    elif config.recipe.objective_future == 0:
        advice += ", with recipe.objective_future=1"
    advice += "."
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


def stalled(validation: Sequence[Line], config: Config | None) -> Alarm | None:
    """The validation loss has not fallen over the later half of the run."""
    if len(validation) < 8 or validation[-1]["step"] < SETTLED:
        return None
    losses = [float(line["validation_loss_full"]) for line in validation]
    half = len(losses) // 2
    if min(losses[half:]) < (1 - FLAT / 2) * min(losses[:half]):
        return None
    best = losses.index(min(losses[:half]))
    title = f"Validation has not fallen since step {validation[best]['step']:,}: {losses[best]:.3g} then, {losses[-1]:.3g} now"
    framewise = config is None or config.model.attention == "framewise"
    unseen = "what the model cannot know (model.attention=framewise sees no motion), its size" if framewise else "the model's size"
    advice = f"More steps will not help: see {unseen} and its rate."
    return Alarm("stalled", title, advice, int(validation[best]["step"]), serious=False)


def gap(training: Sequence[Line], validation: Sequence[Line], config: Config | None) -> Alarm | None:
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
    change = untried(config, {"model.dropout": 0.1}) if config is None or config.model.dropout < 0.1 else {}
    ways = [f"more clips{fresh_clips(config)}", *(["model.dropout=0.1"] if change else [])]
    advice = f"It learns its clips by heart: use {', '.join(ways)} or the checkpoint of the best step."
    return Alarm("gap", title, advice, int(best["step"]), serious=False, change=change)


def fresh_clips(config: Config | None) -> str:
    """How to have more clips, in brackets; empty where none are held back."""
    return " (run.training_clips=0)" if untried(config, {"run.training_clips": 0}) else ""


def too_good(training: Sequence[Line], main: Sequence[Line], config: Config | None) -> Alarm | None:
    """A training loss far below that of validation under the same kind of masks: learnt by heart, or not what is meant."""
    validation = having("validation_loss_half", main)
    if not validation or not training or validation[-1]["step"] < SETTLED:
        return None
    key = "loss_future" if having("loss_future", training[-RECENT:]) else "loss"
    own, truth = mean_of(having(key, training[-RECENT:]), key), float(validation[-1]["validation_loss_half"])
    if own > TOO_GOOD * truth:
        return None
    title = f"Training loss {own:.2f} is far below validation's {truth:.2f}, half masked"
    fresh = " (run.training_clips=0 takes fresh ones)" if untried(config, {"run.training_clips": 0}) else ""
    advice = f"Either it learns its clips by heart{fresh} or the loss counts tokens that are not masked: run the checks."
    return Alarm("too_good", title, advice, int(validation[-1]["step"]), serious=False)


def dead_codes(tokenizer: Sequence[Line], config: Config | None) -> Alarm | None:
    lines = [line for line in tokenizer if validated(line, "codebook_use") is not None]
    if not lines or lines[-1]["step"] < SETTLED:
        return None
    newest = lines[-1]
    use, perplexity = validated(newest, "codebook_use"), validated(newest, "perplexity")
    assert use is not None, "lines without it were left out"
    few_used = use < FEWEST_CODES and not (
        perplexity is not None and perplexity >= 4 * FEWEST_PERPLEXITY
    )  # of a large codebook few are much
    if not few_used and not (perplexity is not None and perplexity < FEWEST_PERPLEXITY):
        return None
    title = f"Dead codes: {use:.1%} of the codebook in use" + (f", perplexity {perplexity:.1f}" if perplexity is not None else "")
    change = untried(config, {"tokenizer.quantizer": "fsq"})
    other = "tokenizer.quantizer=fsq, or " if change else ""
    advice = f"Frames are told apart by a handful of ids: use {other}a third of recipe.tokenizer_learning_rate."
    return Alarm("dead_codes", title, advice, int(newest["step"]), change=change)


def redraws_poorly(tokenizer: Sequence[Line]) -> Alarm | None:
    """A tokenizer that is done, and whose reconstructions are not much nearer than the mean image."""
    lines = having("validation_mean_image_mse", having("validation_reconstruction_mse", tokenizer))
    error, mean = (float(lines[-1][f"validation_{key}_mse"]) if lines else 0.0 for key in ("reconstruction", "mean_image"))
    if error <= POORLY_REDRAWN * mean:
        return None
    title = f"The tokenizer hardly redraws its frames: squared error {error:.3g}, the mean image {mean:.3g}"
    advice = (
        "Tokens that do not show the clips cannot be learnt from: train the tokenizer for longer (recipe.tokenizer_steps) in a new run."
    )
    return Alarm("redraws_poorly", title, advice, int(lines[-1]["step"]))


def empty_samples(main: Sequence[Line]) -> Alarm | None:
    """The two newest samples show next to nothing where the true frames show something."""
    lines = having("sample_sharpness", main)
    if len(lines) < 2 or any(line["sample_sharpness"] >= EMPTY for line in lines[-2:]):
        return None
    newest = lines[-1]
    title = f"What it generates is an almost empty frame: {max(0.0, newest['sample_sharpness']):.0%} of the true frames' edges"
    early = newest["step"] < SETTLED
    advice = (
        "That is usual this early: the background is the commonest token. It has to change within the next hundreds of steps."
        if early
        else "The background is the commonest token, and it has learnt little more: look under Everything is one colour."
    )
    return Alarm("empty_samples", title, advice, int(newest["step"]), serious=not early)
