"""What a person sees when something is wrong, with the causes that it can have and where to look for them. Needs no torch."""

from collections.abc import Sequence
from dataclasses import dataclass

from . import causes
from .alarms import LEARNT, alarms
from .causes import Cause
from .metric_lines import Line, having, newest, of_transformer, stepped

FALLS = 0.02  # share by which a validation loss has to be below its earlier half's best
STAGES = "stages"  # a checkpoint, stage by stage; the other looks are groups of the checklist


@dataclass(frozen=True)
class Symptom:
    """What a person sees. causes: the likelier ones first, which decides between equals. looks: names of check groups, or `stages`."""

    name: str
    title: str
    causes: tuple[Cause, ...]
    looks: tuple[str, ...]


SYMPTOMS: dict[str, Symptom] = {
    symptom.name: symptom
    for symptom in (
        Symptom(
            "blurry",
            "Future frames are blurry",
            (
                causes.learning_rate_high,
                causes.tokenizer_blurs,
                causes.few_decode_steps,
                causes.own_frames_unknown,
                causes.compromise,
                causes.model_too_small,
                causes.undertrained,
            ),
            ("tokens", STAGES),
        ),
        Symptom(
            "one-colour",
            "Everything is one colour",
            (
                causes.data_broken,
                causes.codebook_collapsed,
                causes.background_first,
                causes.tokenizer_blurs,
                causes.never_all_masked,
                causes.gradient_blocked,
                causes.learning_rate_low,
                causes.learning_rate_high,
                causes.undertrained,
            ),
            ("data", "tokens", "gradient", "rate", STAGES),
        ),
        Symptom(
            "nothing-moves",
            "Nothing moves",
            (
                causes.learning_rate_high,
                causes.no_time_attention,
                causes.no_future_objective,
                causes.data_still,
                causes.background_first,
                causes.never_all_masked,
                causes.motion_beside,
                causes.undertrained,
            ),
            ("data", "causality", "agreement", STAGES),
        ),
        Symptom(
            "flicker",
            "It flickers",
            (
                causes.learning_rate_high,
                causes.no_time_attention,
                causes.too_hot,
                causes.few_decode_steps,
                causes.ids_ambiguous,
                causes.sampler_broken,
                causes.undertrained,
            ),
            ("sampler", "tokens", "causality", STAGES),
        ),
        Symptom(
            "loss-flat",
            "The loss stays flat",
            (
                causes.data_broken,
                causes.learning_rate_low,
                causes.learning_rate_high,
                causes.gradient_blocked,
                causes.gradient_unhealthy,
                causes.loss_wrong,
                causes.codebook_collapsed,
                causes.model_too_small,
                causes.motion_beside,
                causes.undertrained,
            ),
            ("data", "tokens", "loss", "gradient", "rate", "frames", "overfit"),
        ),
        Symptom(
            "samples-bad",
            "The loss falls, but samples are bad",
            (
                causes.learning_rate_high,
                causes.loss_wrong,
                causes.mask_leaks,
                causes.never_all_masked,
                causes.past_mismatch,
                causes.no_future_objective,
                causes.sampler_broken,
                causes.too_hot,
                causes.compromise,
                causes.background_first,
                causes.never_half_masked,
                causes.learns_by_heart,
                causes.data_repeats,
                causes.tokenizer_blurs,
                causes.own_frames_unknown,
                causes.motion_beside,
                causes.undertrained,
            ),
            ("sampler", "masks", "hidden", "causality", "frames_alone", "agreement", "loss", "tokens", "data", STAGES, "overfit"),
        ),
        Symptom(
            "drift",
            "It begins well, then falls apart",
            (
                causes.no_time_attention,
                causes.learning_rate_high,
                causes.own_frames_unknown,
                causes.clips_too_short,
                causes.too_hot,
                causes.compromise,
                causes.mask_leaks,
                causes.past_mismatch,
                causes.undertrained,
            ),
            ("causality", "agreement", STAGES),
        ),
        Symptom(
            "nan",
            "The loss explodes, or is not a number",
            (
                causes.learning_rate_high,
                causes.not_clipped,
                causes.gradient_unhealthy,
                causes.data_broken,
                causes.half_precision,
            ),
            ("data", "gradient", "rate"),
        ),
    )
}


def support(symptom: str, lines: Sequence[Line]) -> str:
    """What a run's metrics say for the symptom though its curve may look otherwise, in a sentence; empty where they say nothing for it."""
    main = of_transformer(stepped(lines))
    found, entropy = having("validation_loss_full", main), newest(main, "unigram_entropy")
    if symptom != "loss-flat" or not found or entropy is None or found[-1]["validation_loss_full"] < LEARNT * entropy:
        return ""
    loss = f"the validation loss is {found[-1]['validation_loss_full']:.3g} at step {found[-1]['step']:,}"
    return f"Whatever the curve does, nothing is learnt so far: {loss}, where knowing only the tokens' frequencies gives {entropy:.3g}."


def symptom_of(name: str) -> Symptom:
    """The symptom of that name; ValueError for an unknown one."""
    if name not in SYMPTOMS:
        raise ValueError(f"unknown symptom {name!r}: use one of {', '.join(SYMPTOMS)}")
    return SYMPTOMS[name]


def doubt(symptom: str, lines: Sequence[Line], error: str = "") -> str:
    """What a run's metrics say against the symptom itself, in a sentence; empty where they say nothing against it."""
    main = of_transformer(stepped(lines))
    raised = {alarm.name for alarm in alarms(lines, error)}
    if symptom == "loss-flat" and not support(symptom, lines) and not raised & {"flat", "stalled", "not_below_entropy"}:
        found = having("validation_loss_full", main)
        losses = [float(line["validation_loss_full"]) for line in found]
        if len(losses) > 1 and losses[-1] < (1 - FALLS) * min(losses[: max(1, len(losses) // 2)]):
            span = f"{losses[0]:.3g} at step {found[0]['step']:,} to {losses[-1]:.3g} at step {found[-1]['step']:,}"
            return f"Its metrics say otherwise: the validation loss has fallen from {span}, and it is not flat lately."
    if symptom == "nan" and main and not error and not raised & {"not_a_number", "diverged", "exploding"}:
        return "Its metrics say otherwise: every loss and gradient that was logged is a number, and no error ended the run."
    return ""
