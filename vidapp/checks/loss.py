"""(e) The loss counts masked positions and no other, and no mask id is ever a target."""

from typing import Any

import torch

from ..batches import TokenBatch
from ..config import Config
from ..objective import masked_logits
from ..transformer import VideoTransformer
from .subject import ONLY, Subject, other_ids
from .verdict import Check, Progress, judge


def masked_only(subject: Subject, progress: Progress) -> list[Check]:
    """The loss that training reports, with a model made blind, so that tokens can reach it as targets alone."""
    config = subject.short.replace(ONLY["future"] if subject.sees_time else ONLY["individual"])
    phase = subject.phase(config)
    batch = phase.batch(0, range(config.recipe.batch_size))
    masked = torch.from_numpy(batch.masked_BTHW).to(batch.tokens_BTHW.device)
    other = other_ids(batch.tokens_BTHW, config.tokenizer.codebook_size)
    loss = blind_loss(subject, config, batch)
    visible_gap = abs(loss - blind_loss(subject, config, TokenBatch(torch.where(masked, batch.tokens_BTHW, other), batch.masks)))
    progress(0.5)
    masked_gap = abs(loss - blind_loss(subject, config, TokenBatch(torch.where(masked, other, batch.tokens_BTHW), batch.masks)))
    progress(0.8)
    wrong = wrong_targets(phase.model, batch, config.recipe.clean_past)
    progress(1.0)
    facts: dict[str, Any] = {"overrides": subject.overrides(config)}
    return [
        judge(
            "loss_masked_only",
            "The loss counts masked tokens alone",
            visible_gap,
            at_most=0.0,
            unit="nats",
            good="other ids at visible positions leave the loss bit-identical",
            bad="the loss counts visible tokens: it falls fast while nothing is learnt; take it at masked positions only",
            **facts,
        ),
        judge(
            "loss_sees_masked",
            "The loss depends on the masked tokens",
            masked_gap,
            at_least=1e-6,
            unit="nats",
            good="other ids at masked positions change the loss",
            bad="other ids at masked positions leave the loss as it was: it does not look at what is to be predicted",
            **facts,
        ),
        judge(
            "targets_are_ids",
            "Targets are the tokens behind the masks",
            wrong,
            at_most=0,
            unit="targets",
            good="one target for every masked position, none of them the mask id",
            bad="targets are missing, belong to other positions or are the mask id: the mask id must lie outside the codebook, and targets be "
            "taken before masking",
            **facts,
        ),
    ]


def blind_loss(subject: Subject, config: Config, batch: TokenBatch) -> float:
    """The loss of a first training step on `batch` when the model's input holds nothing but masks."""
    phase = subject.phase(config)
    see = phase.model.forward

    def blind(tokens: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
        return see(torch.full_like(tokens, phase.model.mask_id), *arguments, **named)

    phase.model.forward = blind  # type: ignore[method-assign,assignment]
    phase.batch = lambda step, samples: batch  # type: ignore[method-assign]
    return phase.train_step(0, True)["loss"]


@torch.no_grad()
def wrong_targets(model: VideoTransformer, batch: TokenBatch, clean_past: bool) -> int:
    """How many targets are not the token at a masked position of their own, plus masked positions without a target."""
    found = masked_logits(model, batch, clean_past=clean_past)
    masked = torch.from_numpy(batch.masked_BTHW).to(batch.tokens_BTHW.device)
    expected = batch.tokens_BTHW[masked]
    if found.targets_P.shape != expected.shape:
        return abs(len(found.targets_P) - len(expected)) or 1
    outside = (found.targets_P < 0) | (found.targets_P >= model.codebook_size)
    return int(((found.targets_P != expected) | outside).sum())
