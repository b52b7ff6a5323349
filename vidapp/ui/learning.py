"""Does it learn? A run's validation held against what needs no model, in words."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..alarms import EMPTY
from .history import TOKENIZER, TRANSFORMER, Curve, History
from .words import short

CLOSE = 0.02  # share of a loss that counts as no difference
FEWEST = 3  # validations before anything stands still
TREND = 4  # validations that a trend is told from


@dataclass(frozen=True)
class Learning:
    """tone: good, bad or info."""

    tone: str
    text: str


def learning(history: History, phase: str, *, validate_every: int, live: bool) -> Learning:
    """The verdict on a phase of a run, from its newest figures."""
    newest = history.newest.get(phase, {})
    if phase == TOKENIZER:
        return tokenizer_verdict(newest)
    if "validation_loss_full" not in newest:
        when = f"after {validate_every:,} steps" if validate_every else "later"
        return Learning(
            "info", f"Too early to say: the first validation comes {when}." if live else "It ended before its first validation."
        )
    losses, right = (history.curves.get(f"{TRANSFORMER}/validation_{name}", Curve()) for name in ("loss_full", "changed_accuracy"))
    return transformer_verdict(newest, losses, right)


def transformer_verdict(newest: Mapping[str, float], curve: Curve, right: Curve) -> Learning:
    """curve: validation loss. right: share of the changing tokens that is guessed."""
    loss, unigram, copied = newest["validation_loss_full"], newest.get("unigram_entropy"), newest.get("copy_entropy")
    trend = trend_of(curve)
    figure = f"validation loss {short(loss)} nats a token"
    if unigram is not None and loss > unigram * (1 - CLOSE):
        known = f"the frequency of the tokens alone gives {short(unigram)}"
        return Learning("bad", f"It has not learnt anything yet: {figure}, and {known}.{trend}")
    if copied is not None and loss > copied * (1 - CLOSE):
        beaten = f"below the {short(unigram)} of the tokens' frequency" if unigram is not None else "falling"
        beside = f"but copying the frame before gives {short(copied)}"
        if loss < copied:
            beside = f"but hardly below the {short(copied)} of copying the frame before"
        return Learning("info", f"It is learning: {figure}, {beaten}, {beside}.{trend}")
    ahead = " and ".join(
        f"{short(value)} of {name}" for name, value in (("the tokens' frequency", unigram), ("copying the frame before", copied)) if value
    )
    better = f"{figure}, better than the {ahead}" if ahead else figure
    share, copied_share = newest.get("validation_accuracy"), newest.get("validation_copy_accuracy")
    if share is not None and copied_share is not None and share < copied_share:
        return Learning(
            "info",
            f"It is learning: {better}, but it gets {share:.0%} of the tokens right, and copying the frame before {copied_share:.0%}.{trend}",
        )
    if stands_still(curve, right):
        return Learning(
            "info",
            f"It does not get on: {better}, but the loss hardly falls any more, and of the tokens that change it guesses "
            f"{right.values[-1]:.0%}, where it began with {right.values[0]:.0%}: no motion has been learnt since.",
        )
    if newest.get("sample_sharpness", 1.0) < EMPTY:
        return Learning("info", f"It has learnt the background: {better}, but the frames that it generates are almost empty.{trend}")
    return Learning(
        "good", f"It learns: {figure}, better than the {ahead}.{changed_words(newest)}{trend}" if ahead else f"It learns: {figure}.{trend}"
    )


def stands_still(curve: Curve, right: Curve) -> bool:
    """Whether the newest loss is not below the best before it, and no more of the changing tokens are right than at first."""
    losses, shares = curve.values, right.values
    if len(losses) < FEWEST or len(shares) < FEWEST:
        return False
    return losses[-1] > min(losses[:-1]) * (1 - CLOSE) and shares[-1] <= shares[0] * (1 + CLOSE)


def changed_words(newest: Mapping[str, float]) -> str:
    changed = newest.get("validation_changed_accuracy")
    return "" if changed is None else f" Of the tokens that change it guesses {changed:.0%}; copying gets none of them."


def tokenizer_verdict(newest: Mapping[str, float]) -> Learning:
    error = newest.get("validation_reconstruction_mse", newest.get("reconstruction_mse"))
    if error is None:
        return Learning("info", "Too early to say: the tokenizer has just begun.")
    use, mean = newest.get("codebook_use"), newest.get("validation_mean_image_mse")
    codes = f" {use:.0%} of the codes are in use." if use is not None else ""
    beside = f" (the mean image: {short(mean)})" if mean is not None else ""
    return Learning(
        "info", f"The tokenizer draws a frame with a squared error of {short(error)}{beside}: no prediction can be closer than that.{codes}"
    )


def trend_of(curve: Curve) -> str:
    """` It still falls.` or the like, from the newest validations; empty where there are too few."""
    values = curve.values
    if len(values) < TREND:
        return ""
    best = min(range(len(values)), key=values.__getitem__)
    before = sum(values[-TREND:-1]) / (TREND - 1)
    if values[-1] > values[best] * (1 + CLOSE):
        risen = " and has risen since" if best < len(values) - TREND else ""
        return f" It was best at step {curve.steps[best]:,} ({short(values[best])}){risen}."
    falls = values[-1] < before * (1 - CLOSE / 4) and best == len(values) - 1
    return " It still falls." if falls else " It hardly falls any more."
