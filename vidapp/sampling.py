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

COLDEST = 1e-6  # a temperature below it is taken as 0: logits divided by it would leave the range of float32
NOT_NUMBERS = "the model's logits are no numbers (NaN): its training has diverged, or its weights are damaged: take an earlier checkpoint"
ALIKE = 1e-3  # squared distance up to which two codes are drawn alike

LogitsFn = Callable[[Tensor, Tensor], Tensor]
"""(tokens (B, ...), places (B, M) in each clip's flattened tokens) -> logits (B, M, V) there."""


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


def still_masked(begun: int, step: int, steps: int) -> int:
    """How many of the places that were masked to begin with are still masked after `step`."""
    return math.floor(begun * masked_share(step, steps))


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
    if temperature < COLDEST or settings.top_k == 1:
        return logits.argmax(dim=-1)
    choices, ids = sharpen(logits, temperature, settings.top_k, settings.top_p)
    return ids.gather(-1, inverse(choices, uniform)[..., None])[..., 0]


def inverse(logits: Tensor, uniform: Tensor) -> Tensor:
    """Where the cumulative distribution of softmax(logits (..., V)) reaches uniform (...) in [0, 1): int64 (...) in [0, V)."""
    cumulative = logits.softmax(dim=-1).cumsum(dim=-1)
    found = torch.searchsorted(cumulative, uniform[..., None] * cumulative[..., -1:], right=True)[..., 0]
    return found.clamp_max_(logits.shape[-1] - 1)


def expected(logits: Tensor, codes_VK: Tensor) -> Tensor:
    """Ids (...) of the codes nearest to the mean of all codes under softmax(logits (..., V)): of all ids those with the least expected
    squared distance to what is drawn; of codes that are alike the likeliest. Minimum Bayes risk decoding (Kumar and Byrne, 2004), for
    patches."""
    codes_VK, probabilities = codes_VK.to(logits), logits.softmax(dim=-1)
    mean = probabilities @ codes_VK
    return (2 * mean @ codes_VK.t() - codes_VK.square().sum(dim=-1) + ALIKE * probabilities).argmax(dim=-1)


def choose(logits: Tensor, settings: SamplingConfig, step: int, uniform: Tensor, codes_VK: Tensor | None) -> Tensor:
    """Ids (...) from logits (..., V) in a decode step, as `settings.choice` says."""
    if settings.choice == "drawn":
        return draw(logits, settings, temperature_at(settings, step), uniform)
    assert codes_VK is not None, "what is expected of a patch is a mean of codes: pass them"
    assert codes_VK.shape[1], "the transformer knows no codes yet: take_codes"
    return expected(logits, codes_VK)


def every_place(tokens: Tensor) -> Tensor:
    """All places (B, N) of tokens (B, ...)."""
    return torch.arange(tokens[0].numel(), device=tokens.device).expand(len(tokens), -1)


def rows_at(places_BM: Tensor, places: int) -> Tensor:
    """The rows (B M) of these places where clips of so many places follow one another."""
    return (places_BM + places * torch.arange(len(places_BM), device=places_BM.device)[:, None]).flatten()


def at_places(values_BNX: Tensor, places_BM: Tensor) -> Tensor:
    """Each clip's values (B, M, X) at its places."""
    return values_BNX.flatten(0, 1).index_select(0, rows_at(places_BM, values_BNX.shape[1])).unflatten(0, places_BM.shape)


def anywhere(logits_fn: Callable[[Tensor], Tensor]) -> LogitsFn:
    """Of a function from tokens (B, ...) to the logits (B, ..., V) of all of them."""
    return lambda tokens, places_BM: at_places(logits_fn(tokens).flatten(1, -2), places_BM)


def random_like(tokens: Tensor, generators: Sequence[torch.Generator], draws: int) -> Tensor:
    """Uniform [0, 1), so many of the tokens' shape (draws, B, ...), each clip's from its own generator: a clip's future does not depend on
    its batch. Drawn where the generator lives, so that a seed means the same on every device."""
    drawn = [torch.rand((draws, *tokens.shape[1:]), generator=one, device=one.device) for one in generators]
    return torch.stack(drawn, dim=1).to(tokens.device)


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

    generators: one for each clip. tokens: int64 (B, ...); masked: bool of the same shape. logits_fn is given the tokens, with the mask id
    where masked, and asked at the M masked places alone (clips with fewer of them are asked at others too), and no more once nothing is
    masked. Committed tokens are never drawn again. Neither argument is changed. ValueError where the logits are no numbers. codes_VK: what
    the choice `expected` compares ids by.
    draws: where given, one for each clip: its temperature, top-k and top-p replace those of `settings`, which decides everything else.
    """
    shape, masked_BN = tokens.shape, masked.flatten(1)
    tokens_BN = torch.where(masked_BN, mask_id, tokens.flatten(1))
    left = begun = masked_BN.sum(dim=1).tolist()
    alike = len(set(begun)) == 1  # the clips, in how many places are masked: they are after every step then
    places_BM = masked_BN.sort(dim=1, descending=True, stable=True).indices[:, : max(left)]
    chances_SBN = random_like(tokens, generators, 2 * settings.steps).flatten(2)
    for step in range(settings.steps):
        tokens_BN, confidence_BN = tokens_BN.clone(), torch.ones(tokens_BN.shape, device=tokens.device)
        if any(left):
            logits = logits_fn(tokens_BN.view(shape), places_BM).float()
            uniform, noise = chances_SBN[2 * step : 2 * step + 2].gather(2, places_BM.expand(2, -1, -1))
            if draws:
                drawn_BM = torch.stack([choose(logits[i], one, step, uniform[i], codes_VK) for i, one in enumerate(draws)])
            else:
                drawn_BM = choose(logits, settings, step, uniform, codes_VK)
            confidence_BM = logits.softmax(dim=-1).gather(-1, drawn_BM[..., None])[..., 0]
            priority_BM = order_scores(settings, confidence_BM, noise, places_BM, step)
            if not alike:  # what some were asked at in vain stays as it is
                decided_BM = ~masked_BN.gather(1, places_BM)
                drawn_BM = torch.where(decided_BM, tokens_BN.gather(1, places_BM), drawn_BM)
                confidence_BM, priority_BM = confidence_BM.masked_fill(decided_BM, 1.0), priority_BM.masked_fill(decided_BM, float("inf"))
            confidence_BN.scatter_(1, places_BM, confidence_BM)
            left = [still_masked(count, step, settings.steps) for count in begun]
            if not any(left) and bool(confidence_BM.isnan().any()):  # once, at the last of them: a GPU has to be waited for
                raise ValueError(NOT_NUMBERS)
            order_BM = priority_BM.argsort(dim=1, stable=True)
            places_BM, still_BM = places_BM.gather(1, order_BM), first(left, order_BM)
            tokens_BN.scatter_(1, places_BM, drawn_BM.gather(1, order_BM).masked_fill_(still_BM, mask_id))
            masked_BN = torch.zeros_like(masked_BN).scatter_(1, places_BM, still_BM)
            places_BM = places_BM[:, : max(left)].sort(dim=1).values
        yield DecodeStep(tokens_BN.view(shape), masked_BN.view(shape), confidence_BN.view(shape), step, settings.steps)
    assert not masked_BN.any(), "the schedule ends with nothing masked"


def first(counts: Sequence[int], like_BM: Tensor) -> Tensor:
    """True for the first so many places of each clip: bool (B, M)."""
    if len(set(counts)) > 1:
        return torch.arange(like_BM.shape[1], device=like_BM.device) < torch.tensor(counts, device=like_BM.device)[:, None]
    found = torch.zeros(like_BM.shape, dtype=torch.bool, device=like_BM.device)
    found[:, : counts[0]] = True
    return found


def order_scores(settings: SamplingConfig, confidence: Tensor, uniform: Tensor, places: Tensor, step: int) -> Tensor:
    """Higher is committed earlier. Where the choice is what is expected, no chance has a part in it."""
    if settings.order == "fixed":
        return -places.to(confidence)
    if settings.choice == "expected":
        return confidence
    if settings.order == "random":
        return uniform
    gumbel = -(-(uniform.clamp(1e-9, 1 - 1e-7)).log()).log()
    return confidence.clamp_min(1e-30).log() + settings.noise * (1.0 - (step + 1) / settings.steps) * gumbel
