"""Where is it lost? From the truth to free running in four stages; the largest loss on the way names what is to blame.

Each stage gives the model less help than the one before: the tokenizer alone, one pass with the true past, full decoding
with the true past, and free running on its own frames.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .config import Config
from .schedules import own_past, progress_of

TITLES = {
    "reconstruction": "Tokenizer alone",
    "one_pass_true_past": "One pass, true past",
    "true_past": "Decoding, true past",
    "prediction": "Free running",
}
PARTS = ("tokenizer", "transformer", "sampler", "drift")
LITTLE = 0.1  # of the error of repeating the last frame: below that nothing is badly lost
BLURRED = 0.6  # of the truth's sharpness

SAID = {
    "tokenizer": "Most is lost in the tokenizer: what it redraws of the true frames is already {own:.0f} squared error a frame away from them.",
    "transformer": "Most is lost in the transformer: even with the true past it is at {own:.0f} squared error a frame, where the tokenizer alone "
    "has {before:.0f}.",
    "sampler": "Most is lost in the sampler: decoding in steps makes {own:.0f} squared error a frame out of the {before:.0f} that one pass with "
    "the same past had.",
    "drift": "Most is lost to drift: on its own frames it is at {own:.0f} squared error a frame, with the true past at {before:.0f}.",
}
ADVICE = {
    "tokenizer": "Train the tokenizer longer (recipe.tokenizer_steps) or lower tokenizer.downsampling: nothing after it can be better.",
    "transformer": "Train longer (run.steps), or a larger model: it does not know yet what comes next.",
    "sampler": "Try a lower sampling.temperature or sampling.top_k, or more decode steps: the model knows more than decoding makes of it.",
    "drift": "Train with recipe.own_past=0.5, so that it learns to go on from its own frames.",
    "": "Little is lost at any stage.",
}
SAMPLER_EXPECTS = "Compare with sampling.choice=drawn, or with more decode steps: the model knows more than decoding makes of it."
DRIFT_THOUGH_TRAINED = (
    "It was trained on its own frames already (recipe.own_past={share:g}): what is left is longer training (run.steps) or a larger model."
)
EMPTY = 0.05  # of the truth's edges: nothing can be seen


@dataclass(frozen=True)
class Stage:
    """mse: squared error a frame. sharpness: of the truth's 1, None where the truth has no edge. lost: error that this stage added, at least 0."""

    name: str
    title: str
    part: str
    mse: float
    sharpness: float | None
    lost: float


@dataclass(frozen=True)
class Lost:
    """blame: one of PARTS, or empty where little is lost anywhere. words: for a person. own_past: the share of clips with their own past
    that the checkpoint was last trained on."""

    stages: tuple[Stage, ...]
    blame: str
    words: str
    advice: str
    own_past: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return {"blame": self.blame, "words": self.words, "advice": self.advice, "stages": [vars(stage) for stage in self.stages]}


def lost(scores: Mapping[str, Any], config: Config | None = None) -> Lost:
    """What `evaluate(..., stages=True)` found, as stages with what each of them lost. config: that the checkpoint was trained with.

    ValueError where the scores hold no stages.
    """
    parts: dict[str, Mapping[str, Any]] = {name: scores if name == "prediction" else scores.get(name) or {} for name in TITLES}
    if not all(parts.values()):
        raise ValueError("these scores hold no stages: evaluate with stages=True")
    found: dict[str, float] = {name: float(part["mse"]) for name, part in parts.items()}
    drops = losses(found)
    blame = max(PARTS, key=lambda part: drops[part])
    if found["prediction"] <= LITTLE * float(scores["repeat_last"]["mse"]):
        blame = ""
    stages = tuple(
        Stage(name, TITLES[name], part, found[name], parts[name]["sharpness"], drops[part])
        for name, part in zip(TITLES, PARTS, strict=True)
    )
    expected = (scores.get("sampling") or {}).get("choice") == "expected"
    trained_on = own_past(config, config.data.clip_frames, progress_of(int(scores["step"]), config.run.steps)) if config else 0.0
    return Lost(stages, blame, words(blame, found, stages), advice(blame, trained_on, expected), trained_on)


def advice(blame: str, trained_on: float, expected: bool) -> str:
    """What to do about it, as far as the training on own frames, or the sampling by what is `expected`, has not done it already."""
    if blame == "sampler" and expected:
        return SAMPLER_EXPECTS
    if blame == "drift" and trained_on:
        return DRIFT_THOUGH_TRAINED.format(share=trained_on)
    return ADVICE[blame]


def losses(mse: Mapping[str, float]) -> dict[str, float]:
    """Squared error that each part added. What one pass makes worse than decoding does is not the transformer's fault."""
    best = min(mse["one_pass_true_past"], mse["true_past"])
    added = {
        "tokenizer": mse["reconstruction"],
        "transformer": best - mse["reconstruction"],
        "sampler": mse["true_past"] - best,
        "drift": mse["prediction"] - mse["true_past"],
    }
    return {part: max(0.0, value) for part, value in added.items()}


def words(blame: str, mse: Mapping[str, float], stages: tuple[Stage, ...]) -> str:
    if not blame:
        return f"Little is lost: free running is at {mse['prediction']:.0f} squared error a frame, a tenth of repeating the last frame or less."
    names = list(TITLES)
    place = PARTS.index(blame)
    own = min(mse["one_pass_true_past"], mse["true_past"]) if blame == "transformer" else mse[names[place]]
    said = SAID[blame].format(own=own, before=mse[names[place - 1]])
    sharpness = stages[place].sharpness
    if sharpness is not None and sharpness < EMPTY:
        return said + f" Its frames are almost empty there: they have {sharpness:.0%} of the truth's edges."
    if sharpness is not None and sharpness < BLURRED:
        said += f" It is blurred there: {sharpness:.0%} of the truth's edges."
    return said
