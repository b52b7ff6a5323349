"""What can be wrong: each cause knows what speaks for it, and which setting to change.

A cause looks at the evidence that there is so far (settings, checks, alarms, the stages of an evaluation) and says how
strongly that speaks for it. What was not looked at speaks for nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .alarms import Alarm
from .checks.verdict import Check, rounded
from .config import Config
from .schedules import never_hides_all, rates_at
from .stages import Lost

CERTAIN = 1.0  # a check failed, or the settings rule out anything else
LIKELY = 0.6  # what was measured points there
POSSIBLE = 0.2  # often so; nothing seen speaks for or against it

# Alarms of weights that too large steps have thrown off, or whose units they have killed.
THROWN_OFF = ("not_a_number", "exploding", "activations", "large_steps", "blocked")
SAMPLER_CHECKS = ("temperature", "top_k_top_p", "committed_stay", "commits_most_confident", "seed_decides")


@dataclass(frozen=True)
class Evidence:
    """What is known so far. checks and alarms by name; lost: where an evaluation of a checkpoint loses most."""

    config: Config
    checks: Mapping[str, Check] = field(default_factory=dict)
    alarms: Mapping[str, Alarm] = field(default_factory=dict)
    lost: Lost | None = None

    def failed(self, *names: str) -> Check | None:
        """The first of these checks that failed."""
        return next((self.checks[name] for name in names if name in self.checks and self.checks[name].failed), None)

    def alarm(self, *names: str) -> Alarm | None:
        return next((self.alarms[name] for name in names if name in self.alarms), None)

    def emergency(self, *names: str) -> Alarm | None:
        """The first of these alarms that is serious."""
        return next((self.alarms[name] for name in names if name in self.alarms and self.alarms[name].serious), None)

    def blamed(self, part: str) -> str:
        """The words of the evaluation where it blames that part; else empty."""
        return self.lost.words if self.lost and self.lost.blame == part else ""


@dataclass(frozen=True)
class Finding:
    """A cause that something speaks for. why: what. change: the one setting that is suggested, by dotted key; empty where none helps."""

    name: str
    title: str
    weight: float
    why: str
    change: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "title": self.title, "weight": self.weight, "why": self.why, "change": dict(self.change)}


Cause = Callable[[Evidence], Finding | None]


def no_time_attention(seen: Evidence) -> Finding | None:
    name, title = "no_time_attention", "The model cannot see other frames"
    if seen.config.model.attention == "framewise":
        why = "model.attention=framewise looks at one frame at a time: no motion can be learnt, and each frame is drawn anew."
        return Finding(name, title, CERTAIN, why, {"model.attention": "factorized"})
    if check := seen.failed("sees_the_past"):
        return Finding(name, title, CERTAIN, check.advice, {"model.attention": "full"} if seen.config.model.attention != "full" else {})
    return None


def no_future_objective(seen: Evidence) -> Finding | None:
    recipe = seen.config.recipe
    if recipe.objective_future > 0 or recipe.objective_schedule == "growing":
        return None
    why = "recipe.objective_future=0: it is never asked to go on from given frames, which is what sampling asks of it."
    return Finding("no_future_objective", "It is not trained to predict the future", CERTAIN, why, {"recipe.objective_future": 1.0})


def data_broken(seen: Evidence) -> Finding | None:
    check = seen.failed("data_not_constant", "data_in_range", "data")
    return Finding("data_broken", "The clips hold nothing to learn", CERTAIN, check.advice) if check else None


def data_still(seen: Evidence) -> Finding | None:
    check = seen.failed("data_moves")
    return Finding("data_still", "The clips themselves stand still", CERTAIN, check.advice) if check else None


def data_repeats(seen: Evidence) -> Finding | None:
    check = seen.failed("data_distinct", "splits_disjoint")
    return Finding("data_repeats", "The same clips come again", LIKELY, check.advice) if check else None


def codebook_collapsed(seen: Evidence) -> Finding | None:
    tokenizer = seen.config.tokenizer
    slower = {"recipe.tokenizer_learning_rate": rounded(seen.config.recipe.tokenizer_learning_rate / 3)}
    change = slower if tokenizer.quantizer == "fsq" else {"tokenizer.quantizer": "fsq"}
    name, title = "codebook_collapsed", "The codebook has collapsed"
    if check := seen.failed("codebook_use"):
        return Finding(name, title, CERTAIN, check.advice, change)
    if alarm := seen.alarm("dead_codes"):
        return Finding(name, title, CERTAIN, alarm.title, change)
    return None


def tokenizer_blurs(seen: Evidence) -> Finding | None:
    name, title = "tokenizer_blurs", "The tokenizer loses it"
    tokenizer, recipe = seen.config.tokenizer, seen.config.recipe
    change: dict[str, Any] = {"recipe.tokenizer_steps": 3 * recipe.tokenizer_steps}
    if seen.lost and tokenizer.downsampling > 4 and seen.config.grid < 32:  # it is trained already: finer tokens are what is left
        change = {"tokenizer.downsampling": tokenizer.downsampling // 2}
    if check := seen.failed("reconstruction"):
        return Finding(name, title, CERTAIN, check.advice, change)
    if words := seen.blamed("tokenizer"):
        return Finding(name, title, CERTAIN, words, change)
    return None


def ids_ambiguous(seen: Evidence) -> Finding | None:
    """Ids that do not come back from their own frames: what the decoder draws is not what the encoder means."""
    name, title = "ids_ambiguous", "The same picture has many ids"
    if check := seen.failed("code_round_trip"):
        return Finding(name, title, CERTAIN, check.advice)
    check = seen.checks.get("code_round_trip")
    kept = check.details.get("ids_after_a_frame", 1.0) if check else 1.0
    if kept >= 0.5:
        return None
    why = f"Only {kept:.0%} of the ids come back after ids -> frame -> ids, so unchanged pixels change their ids from frame to frame."
    return Finding(name, title, LIKELY, why, {"recipe.tokenizer_steps": 3 * seen.config.recipe.tokenizer_steps})


def learning_rate_high(seen: Evidence) -> Finding | None:
    name, title = "learning_rate_high", "The learning rate is too high"
    rate, check = seen.config.recipe.learning_rate, seen.failed("rate_range")
    if check and check.direction == "at most":
        return Finding(name, title, CERTAIN, check.advice, rates_at(seen.config.recipe, check.details["suggested_peak"]))
    if alarm := seen.emergency(*THROWN_OFF):
        why = f"{alarm.title} (from step {alarm.step:,})."
        measured = seen.checks["rate_range"].details.get("suggested_peak", rate) if "rate_range" in seen.checks else rate
        return Finding(name, title, LIKELY, why, rates_at(seen.config.recipe, measured if measured < rate else rounded(rate / 3)))
    return None


def learning_rate_low(seen: Evidence) -> Finding | None:
    name, title = "learning_rate_low", "The learning rate is too low"
    rate, check = seen.config.recipe.learning_rate, seen.failed("rate_range")
    if rate == 0:
        return Finding(name, title, CERTAIN, "recipe.learning_rate is 0: no weight moves.", {"recipe.learning_rate": 3e-4})
    if check and check.direction == "at least":
        return Finding(name, title, CERTAIN, check.advice, rates_at(seen.config.recipe, check.details["suggested_peak"]))
    return None


def gradient_blocked(seen: Evidence) -> Finding | None:
    check = seen.failed("gradient_reaches_all", "every_weight_moves")
    return Finding("gradient_blocked", "Part of the model does not learn", CERTAIN, check.advice) if check else None


def gradient_unhealthy(seen: Evidence) -> Finding | None:
    name, title, model = "gradient_unhealthy", "Gradients vanish or explode on their way", seen.config.model
    change: dict[str, Any] = {"model.norm": "pre"} if model.norm == "post" else {"model.layers": max(1, model.layers // 2)}
    if check := seen.failed("gradient_flow"):
        return Finding(name, title, CERTAIN, check.advice, change)
    if alarm := seen.alarm("vanishing"):
        return Finding(name, title, LIKELY, alarm.title, change)
    return None


def not_clipped(seen: Evidence) -> Finding | None:
    clip = seen.config.recipe.gradient_clip
    if 0 < clip <= 10:
        return None
    why = f"recipe.gradient_clip={clip:g} lets a single bad batch throw the weights off."
    return Finding("not_clipped", "Gradients are not clipped", LIKELY, why, {"recipe.gradient_clip": 1.0})


def half_precision(seen: Evidence) -> Finding | None:
    if seen.config.recipe.precision == "float32":
        return None
    why = f"recipe.precision={seen.config.recipe.precision}: bf16 has three digits; float32 shows whether that is it."
    return Finding("half_precision", "bf16 may be too coarse here", POSSIBLE, why, {"recipe.precision": "float32"})


def loss_wrong(seen: Evidence) -> Finding | None:
    check = seen.failed("loss_masked_only", "targets_are_ids", "loss_sees_masked")
    return Finding("loss_wrong", "The loss measures something else", CERTAIN, check.advice) if check else None


def mask_leaks(seen: Evidence) -> Finding | None:
    check = seen.failed("hidden_tokens_stay_hidden", "causality", "frame_wise_isolation")
    return Finding("mask_leaks", "The model sees what it is to predict", CERTAIN, check.advice) if check else None


def past_mismatch(seen: Evidence) -> Finding | None:
    """Trained on a past that is partly masked, sampled with one that is whole."""
    name, title, config = "past_mismatch", "Training and sampling show the model different pasts", seen.config
    change: dict[str, Any] = {"recipe.clean_past": True} if config.model.causal and not config.recipe.clean_past else {}
    if check := seen.failed("training_matches_sampling"):
        return Finding(name, title, CERTAIN, check.advice, change)
    if change:
        why = "recipe.clean_past=false: in training the past is partly masked, in sampling it is whole."
        return Finding(name, title, LIKELY, why, change)
    return None


def never_all_masked(seen: Evidence) -> Finding | None:
    recipe = seen.config.recipe
    if not never_hides_all(recipe):
        return None
    why = f"recipe.mask_schedule=fixed never hides more than {recipe.mask_ratio:.0%} of a frame, but decoding starts with all of it hidden."
    return Finding("never_all_masked", "It has never seen a frame wholly masked", CERTAIN, why, {"recipe.mask_schedule": "cosine"})


def never_half_masked(seen: Evidence) -> Finding | None:
    recipe = seen.config.recipe
    change: dict[str, Any]
    if recipe.mask_pattern == "frame":
        setting, change = "recipe.mask_pattern=frame", {"recipe.mask_pattern": "random"}
    elif recipe.mask_schedule == "fixed" and recipe.mask_ratio == 1:
        setting, change = "recipe.mask_ratio=1", {"recipe.mask_schedule": "cosine"}
    else:
        return None
    why = f"{setting}: it never sees a half-revealed frame, which all decode steps but the first are made of."
    return Finding("never_half_masked", "It has never seen a frame half decoded", LIKELY, why, change)


def sampler_broken(seen: Evidence) -> Finding | None:
    check = seen.failed(*SAMPLER_CHECKS, "samples_it_back")
    return Finding("sampler_broken", "Decoding does not do what it says", CERTAIN, check.advice) if check else None


def too_hot(seen: Evidence) -> Finding | None:
    sampling = seen.config.sampling
    if sampling.choice == "expected":  # nothing is drawn
        return None
    if sampling.temperature > 1:
        why = f"sampling.temperature={sampling.temperature:g}: above 1, unlikely tokens are drawn more often than was learnt."
        return Finding("too_hot", "Tokens are drawn too freely", CERTAIN, why, {"sampling.temperature": 0.8})
    if words := seen.blamed("sampler"):
        return Finding("too_hot", "Tokens are drawn too freely", LIKELY, words, {"sampling.temperature": rounded(sampling.temperature / 2)})
    if sampling.temperature >= 0.8 and (sampling.top_k == 0 or sampling.top_k > 50):
        why = f"sampling.top_k={sampling.top_k} lets any token be drawn at temperature {sampling.temperature:g}."
        return Finding("too_hot", "Tokens are drawn too freely", LIKELY, why, {"sampling.top_k": 5})
    return None


def compromise(seen: Evidence) -> Finding | None:
    """What is nearest to the mean of several futures need be none of them."""
    if seen.config.sampling.choice == "drawn":
        return None
    why = "sampling.choice=expected takes the token nearest to the mean of all futures, where they differ a compromise between them."
    words = seen.blamed("sampler")
    return Finding(
        "compromise", "It is a compromise between futures", LIKELY if words else POSSIBLE, words or why, {"sampling.choice": "drawn"}
    )


def background_first(seen: Evidence) -> Finding | None:
    """Most confident first without any noise commits the still background everywhere, and the rest follows it."""
    sampling = seen.config.sampling
    if sampling.order != "confidence" or sampling.noise > 0 or sampling.choice == "expected":  # to which noise is nothing
        return None
    why = "sampling.noise=0 with order=confidence commits the still background first, until no room is left for anything else."
    return Finding("background_first", "Still background is committed first", LIKELY, why, {"sampling.noise": 1.0})


def few_decode_steps(seen: Evidence) -> Finding | None:
    steps = seen.config.sampling.steps
    if steps >= 4 or seen.config.sampling.choice == "expected":  # measured: one step is then as good as more
        return None
    why = f"sampling.steps={steps}: tokens that are decided together do not know of each other."
    return Finding("few_decode_steps", "Too few decode steps", LIKELY, why, {"sampling.steps": 8})


def own_frames_unknown(seen: Evidence) -> Finding | None:
    name, title, config = "own_frames_unknown", "It goes astray on its own frames", seen.config
    if config.model.attention == "framewise":  # which sees no frame before, true or its own
        return None
    share = seen.lost.own_past if seen.lost else config.recipe.own_past
    change: dict[str, object] = {}  # nothing to lower where what is expected is chosen
    if config.recipe.clean_past and config.data.clip_frames > 2:
        change = {"recipe.own_past": 0.5}
    elif config.sampling.choice == "drawn":
        change = {"sampling.temperature": rounded(config.sampling.temperature / 2)}
    if share > 0:  # it knows its own frames: what is left is more of the same
        change = {"run.steps": 3 * config.run.steps}
    if words := seen.blamed("drift"):
        learnt = not seen.alarm("not_below_entropy", "not_below_copying")  # else the drift is that of a model that knows nothing yet
        return Finding(name, title, CERTAIN if share == 0 and learnt else LIKELY, words, change)
    if not seen.lost and config.recipe.own_past == 0 and config.recipe.context_corruption == 0:
        why = "recipe.own_past=0 and recipe.context_corruption=0: in training every past is true, in sampling it is its own."
        return Finding(name, title, LIKELY, why, change)
    return None


def clips_too_short(seen: Evidence) -> Finding | None:
    recipe, data = seen.config.recipe, seen.config.data
    if not recipe.curriculum or recipe.curriculum[-1] >= data.clip_frames:
        return None
    why = f"recipe.curriculum ends at {recipe.curriculum[-1]} frames, but clips of {data.clip_frames} are asked for."
    return Finding("clips_too_short", "It has never seen clips that long", LIKELY, why, {"recipe.curriculum": []})


def learns_by_heart(seen: Evidence) -> Finding | None:
    clips = seen.config.run.training_clips
    name, title, more = "learns_by_heart", "It learns its clips by heart", {"run.training_clips": 0}
    if alarm := seen.alarm("gap"):
        return Finding(name, title, LIKELY, alarm.title, more if clips else alarm.change)
    if clips:
        return Finding(name, title, LIKELY, f"run.training_clips={clips}: it never sees another clip.", more)
    return None


def model_too_small(seen: Evidence) -> Finding | None:
    check, model = seen.failed("overfit_one_batch", "frame_wise_learns"), seen.config.model
    return (
        Finding("model_too_small", "It cannot even learn eight clips", LIKELY, check.advice, {"model.width": 2 * model.width})
        if check
        else None
    )


def motion_beside(seen: Evidence) -> Finding | None:
    """Attention along time looks at one place, and what moves comes from beside it."""
    model = seen.config.model
    if model.attention != "factorized" or model.stem_frames > 1 or seen.config.data.clip_frames == 1:
        return None
    why = "model.attention=factorized looks along time at one place only; what moves comes from beside it, and a stem shows that to the first layer."
    weight = LIKELY if seen.blamed("transformer") or seen.alarm("not_below_copying") else POSSIBLE
    return Finding("motion_beside", "It is hard for it to see what moves", weight, why, {"model.stem_frames": 3})


def undertrained(seen: Evidence) -> Finding | None:
    """The usual cause, and the last one to believe. No training is long enough for weights that were thrown off."""
    if seen.emergency(*THROWN_OFF):
        return None
    change = {"run.steps": 3 * seen.config.run.steps}
    name, title = "undertrained", "It has not been trained for long enough"
    if words := seen.blamed("transformer"):
        return Finding(name, title, LIKELY, words, change)
    if alarm := seen.alarm("not_below_copying", "not_below_entropy"):
        return Finding(name, title, LIKELY, f"{alarm.title}.", change)
    why = "Nothing else was found so far; sharpness comes late, long after the loss has begun to fall."
    return Finding(name, title, POSSIBLE, why, change)
