"""(a) A model that cannot learn eight clips by heart will not learn anything else; and what it knows, it must be able to say."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..baselines import unigram
from ..config import Config
from ..randomness import torch_generator
from ..rollout import future_tokens
from ..sampling import anywhere, decode
from ..schedules import never_hides_all
from ..transformer import VideoTransformer, clip_view
from .subject import CLIPS, ONLY, Subject
from .verdict import Check, Progress, judge, not_applicable, points

STEPS = 300
SINGLE_STEPS = 120
TARGET = 0.05  # nats per masked token
SAID_BACK = 0.99  # share of tokens
LEAST = 0.1  # nats of entropy in the tokens of single frames
UNDERCUT = 0.75  # of what the tokens' frequencies alone cost
SMOOTHED = 10  # steps
VISIBLE = 0.5  # of a single frame: with less of it given, which of the clips it is from can be unknowable
FAST = {"recipe.learning_rate": 2e-3, "recipe.muon_learning_rate": 0.02, "recipe.warmup_steps": 20, "recipe.schedule": "cosine"}


@dataclass(frozen=True)
class Learnt:
    """A model after a short training. loss: mean of the last steps."""

    model: VideoTransformer
    config: Config
    losses: tuple[float, ...]

    @property
    def loss(self) -> float:
        return float(np.mean(self.losses[-SMOOTHED:]))


def learn(subject: Subject, config: Config, steps: int, target: float, progress: Progress) -> Learnt:
    """Train a fresh phase until the loss, with masks drawn anew at every step, has been at `target` for some steps."""
    phase = subject.phase(config)
    losses: list[float] = []
    for step in range(steps):
        losses.append(phase.train_step(step, True)["loss"])
        progress((step + 1) / steps)
        if len(losses) >= SMOOTHED and np.mean(losses[-SMOOTHED:]) <= target:
            break
    return Learnt(phase.model.eval(), config, tuple(losses))


def overfit_config(subject: Subject) -> Config:
    """Short clips, the future objective alone; single frames where there is no past that the model looks at."""
    if subject.sees_time:
        return subject.short.replace({**FAST, **ONLY["future"], "run.steps": STEPS})
    return single_frames(subject, STEPS)


def single_frames(subject: Subject, steps: int) -> Config:
    half = {"recipe.mask_schedule": "fixed", "recipe.mask_ratio": 1 - VISIBLE, "recipe.mask_pattern": "random"}
    return subject.short.replace({**FAST, **ONLY["individual"], **half, "run.steps": steps})


def overfits(subject: Subject, progress: Progress) -> list[Check]:
    """Two checks: masked loss on eight fixed clips, and how many of their tokens sampling gives back."""
    config = overfit_config(subject)
    learnt = learn(subject, config, STEPS, 0.5 * TARGET, lambda share: progress(0.95 * share))
    overrides = subject.overrides(config)
    first = judge(
        "overfit_one_batch",
        f"Learns {CLIPS} clips by heart",
        learnt.loss,
        at_most=TARGET,
        unit="nats per masked token",
        good=f"after {len(learnt.losses)} steps with fresh masks at each: data, loss, gradients and optimiser work together",
        bad=f"{len(learnt.losses)} steps on {CLIPS} clips should suffice: look at gradient_flow, loss_masked_only and rate_range first; if "
        "those pass, the model is too small for these tokens (model.width, model.layers) or two clips begin alike and go on differently",
        curve=points(learnt.losses),
        axes=("step", "masked loss (nats per token)"),
        overrides=overrides,
        details={"steps": len(learnt.losses), "first_loss": learnt.losses[0]},
    )
    share, per_clip = said_back(subject, learnt)
    second = judge(
        "samples_it_back",
        "Samples back what it learnt by heart",
        share,
        at_least=SAID_BACK,
        unit="share of tokens",
        good="decoding finds what the model knows",
        bad=blame_decoding(first, config),
        curve=points(per_clip),
        axes=("clip", "share of tokens given back"),
        overrides=(*overrides, "sampling.choice=drawn", "sampling.temperature=0"),
    )
    progress(1.0)
    return [first, second]


def blame_decoding(learnt: Check, config: Config) -> str:
    if learnt.failed:
        return "it has not learnt them to begin with (overfit_one_batch): see to that first"
    if never_hides_all(config.recipe):
        return (
            f"recipe.mask_schedule=fixed never masks more than {config.recipe.mask_ratio:g} of a frame, but decoding starts from nothing: "
            "use recipe.mask_schedule=cosine"
        )
    return (
        "the loss is low, so decoding is to blame: it feeds the model other tokens than training did (training_matches_sampling), commits "
        "the wrong ones first (commits_most_confident) or draws committed ones again (committed_stay)"
    )


@torch.no_grad()
def said_back(subject: Subject, learnt: Learnt) -> tuple[float, list[float]]:
    """Share of the future's tokens (of the hidden half of single frames) decoded right, over all and clip by clip."""
    greedy = dataclasses.replace(learnt.config.sampling, choice="drawn", temperature=0.0, noise=0.0)
    truth = subject.tokens_BTHW
    if subject.sees_time:
        context = learnt.config.data.context_frames
        future = future_tokens(learnt.model, truth[:, :context], truth.shape[1] - context, greedy, 0, range(len(truth)))
        right = (future == truth[:, context:]).flatten(1)
        return float(right.float().mean()), right.float().mean(dim=1).tolist()
    masked = hidden_half(truth)

    def logits(tokens: Tensor) -> Tensor:
        alone = torch.ones(len(tokens), dtype=torch.bool, device=tokens.device)
        view = clip_view(tokens.shape[1], learnt.model.config.causal, tokens.device, alone)
        return learnt.model.logits(learnt.model(tokens, view)).unflatten(2, tokens.shape[2:])

    generators = [torch_generator(0, "said back", clip) for clip in range(len(truth))]
    for step in decode(anywhere(logits), truth, masked, greedy, generators, learnt.model.mask_id):
        tokens = step.tokens
    right = tokens == truth
    per_clip = [float(clip[hidden].float().mean()) for clip, hidden in zip(right, masked, strict=True)]
    return float(right[masked].float().mean()), per_clip


def hidden_half(tokens_BTHW: Tensor) -> Tensor:
    order = torch.rand(tokens_BTHW.shape, generator=torch_generator(0, "hidden half")).flatten(2).argsort(dim=2).argsort(dim=2)
    return (order < round((1 - VISIBLE) * order.shape[2])).reshape(tokens_BTHW.shape).to(tokens_BTHW.device)


def learns_single_frames(subject: Subject, progress: Progress) -> list[Check]:
    """(d) Every frame alone: what is learnt without any motion."""
    config = single_frames(subject, SINGLE_STEPS)
    marginal = unigram(subject.tokens_BTHW, subject.tokenizer.codebook_size)["unigram_entropy"]
    if marginal < LEAST:
        why = "nearly all tokens are the same: there is nothing to learn, see codebook_use and the data"
        return [not_applicable("frame_wise_learns", "Learns single frames", why)]
    target = UNDERCUT * marginal
    learnt = learn(subject, config, SINGLE_STEPS, 0.9 * target, progress)
    progress(1.0)
    return [
        judge(
            "frame_wise_learns",
            "Learns single frames",
            learnt.loss,
            at_most=target,
            unit="nats per masked token",
            good=f"well below what the tokens' frequencies alone cost ({marginal:.2f}), without looking at any other frame",
            bad=f"it does not get well below what the tokens' frequencies alone cost ({marginal:.2f}): attention within a frame learns "
            "nothing; look at gradient_flow and place_embedding, and whether tokens depend on more than their patch",
            curve=points(learnt.losses),
            axes=("step", "masked loss (nats per token)"),
            overrides=subject.overrides(config),
            details={"marginal_entropy": marginal},
        )
    ]
