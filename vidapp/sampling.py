"""Iterative masked decoding: tokens -> logits is all that it knows of a network.

MaskGIT (Chang et al., 2022): at each step every masked token is sampled, the most confident are committed, the rest
is masked again; a cosine schedule says how many stay masked. Noise on the confidence keeps still background from
always being committed first.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .config import SamplingConfig

ALIKE = 1e-3  # squared distance up to which two codes are drawn alike

LogitsFn = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class DecodeStep:
    """tokens: ids after this step, the mask id where not decided. masked: what is still masked. confidence: probability
    of the sampled token where one was sampled in this step, 1 elsewhere. All have the shape of the decoded tokens (B, ...)."""

    tokens: Tensor
    masked: Tensor
    confidence: Tensor
    step: int
    steps: int


def temperature_at(settings: SamplingConfig, step: int) -> float:
    """Temperature of a decode step: falls linearly to a tenth at the last one if annealed."""
    if not settings.anneal or settings.steps == 1:
        return settings.temperature
    return settings.temperature * (1.0 - 0.9 * step / (settings.steps - 1))


def masked_share(step: int, steps: int) -> float:
    """Share still masked after `step` (0-based): cos(pi/2 (step + 1)/steps), 0 after the last."""
    return 0.0 if step + 1 >= steps else math.cos(0.5 * math.pi * (step + 1) / steps)


def sharpen(logits: Tensor, temperature: float, top_k: int, top_p: float) -> tuple[Tensor, Tensor]:
    """The choices that remain of logits (..., V): (logits (..., K) divided by the temperature (above 0), their ids (..., K)).

    They are the top k, likeliest first, with -inf for those beyond probability top_p; where neither is asked for, all of them.
    """
    vocabulary = logits.shape[-1]
    if 0 < top_k < vocabulary or top_p < 1.0:
        logits, ids = logits.topk(min(top_k or vocabulary, vocabulary), dim=-1)
    else:
        ids = torch.arange(vocabulary, device=logits.device).expand_as(logits)
    logits = logits / temperature
    if top_p < 1.0:
        probability = logits.softmax(dim=-1)
        beyond = probability.cumsum(dim=-1) - probability >= top_p  # the first is always kept
        logits = logits.masked_fill(beyond, float("-inf"))
    return logits, ids


def draw(logits: Tensor, settings: SamplingConfig, temperature: float, uniform: Tensor) -> Tensor:
    """Ids (...) from logits (..., V) by inverting the cumulative distribution at uniform (...) in [0, 1)."""
    if temperature == 0.0 or settings.top_k == 1:
        return logits.argmax(dim=-1)
    choices, ids = sharpen(logits, temperature, settings.top_k, settings.top_p)
    cumulative = choices.softmax(dim=-1).cumsum(dim=-1)
    place = (cumulative <= uniform[..., None] * cumulative[..., -1:]).sum(dim=-1).clamp_max(choices.shape[-1] - 1)
    return ids.gather(-1, place[..., None])[..., 0]


def expected(logits: Tensor, codes_VK: Tensor) -> Tensor:
    """Ids (...) of the codes nearest to the mean of all codes under softmax(logits (..., V)): of all ids those with the least expected
    squared distance to what is drawn; of codes that are alike the likeliest. Minimum Bayes risk decoding (Kumar and Byrne, 2004), for
    patches."""
    codes_VK, probabilities = codes_VK.to(logits), logits.softmax(dim=-1)
    mean = probabilities @ codes_VK
    return (2 * mean @ codes_VK.t() - codes_VK.square().sum(dim=-1) + ALIKE * probabilities).argmax(dim=-1)


def choose(logits: Tensor, settings: SamplingConfig, temperature: float, uniform: Tensor, codes_VK: Tensor | None) -> Tensor:
    """Ids (...) from logits (..., V), as `settings.choice` says."""
    if settings.choice == "drawn":
        return draw(logits, settings, temperature, uniform)
    assert codes_VK is not None, "what is expected of a patch is a mean of codes: pass them"
    assert codes_VK.shape[1], "the transformer knows no codes yet: take_codes"
    return expected(logits, codes_VK)


def random_like(tokens: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """Uniform [0, 1) of the tokens' shape, each clip from its own generator: a clip's future does not depend on its batch.
    Drawn where the generator lives, so that a seed means the same on every device."""
    return torch.stack([torch.rand(tokens.shape[1:], generator=one, device=one.device) for one in generators]).to(tokens.device)


def decode(
    logits_fn: LogitsFn,
    tokens: Tensor,
    masked: Tensor,
    settings: SamplingConfig,
    generators: Sequence[torch.Generator],
    mask_id: int,
    *,
    codes_VK: Tensor | None = None,
    draws: Sequence[SamplingConfig] = (),
) -> Iterator[DecodeStep]:
    """Decide the masked tokens in `settings.steps` steps, yielding each.

    generators: one for each clip. tokens: int64 (B, ...); masked: bool of the same shape. logits_fn maps tokens, with the mask id where masked, to
    logits (B, ..., V). Committed tokens are never drawn again. Neither argument is changed. codes_VK: what the choice `expected` compares
    ids by. draws: where given, one for each clip:
    its temperature, top-k and top-p replace those of `settings`, which decides everything else.
    """
    tokens = torch.where(masked, mask_id, tokens)
    masked = masked.clone()
    begun_B = masked.flatten(1).sum(dim=1)
    fixed_order = torch.arange(masked[0].numel(), device=tokens.device).reshape(masked.shape[1:])
    for step in range(settings.steps):
        logits = logits_fn(tokens).float()
        uniform = random_like(tokens, generators)
        if draws:
            each = [choose(logits[i], one, temperature_at(one, step), uniform[i], codes_VK) for i, one in enumerate(draws)]
            drawn = torch.stack(each)
        else:
            drawn = choose(logits, settings, temperature_at(settings, step), uniform, codes_VK)
        confidence = logits.log_softmax(dim=-1).gather(-1, drawn[..., None])[..., 0].exp()
        noise = random_like(tokens, generators)
        priority = order_scores(settings, confidence, noise, fixed_order, step).masked_fill(~masked, float("inf"))
        keep_masked_B = (begun_B * masked_share(step, settings.steps)).floor().long()
        rank = priority.flatten(1).argsort(dim=1, stable=True).argsort(dim=1)
        still_masked = (rank < keep_masked_B[:, None]).reshape(masked.shape) & masked
        tokens = torch.where(masked & ~still_masked, drawn, tokens)
        confidence = torch.where(masked, confidence, 1.0)
        masked = still_masked
        yield DecodeStep(tokens, masked, confidence, step, settings.steps)
    assert not masked.any(), "the schedule ends with nothing masked"


def order_scores(settings: SamplingConfig, confidence: Tensor, uniform: Tensor, fixed_order: Tensor, step: int) -> Tensor:
    """Higher is committed earlier. Where the choice is what is expected, no chance has a part in it."""
    if settings.order == "fixed":
        return -fixed_order.to(confidence).expand_as(confidence)
    if settings.choice == "expected":
        return confidence
    if settings.order == "random":
        return uniform
    gumbel = -(-(uniform.clamp(1e-9, 1 - 1e-7)).log()).log()
    return confidence.clamp_min(1e-30).log() + settings.noise * (1.0 - (step + 1) / settings.steps) * gumbel
