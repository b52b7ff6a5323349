"""(g) The sampler on known logits: temperature, top-k, top-p and order do what they say, and what is committed stays."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from ..config import SamplingConfig
from ..randomness import torch_generator
from ..sampling import DecodeStep, anywhere, decode, masked_share
from .verdict import Check, Progress, judge

Decode = Callable[..., Iterator[DecodeStep]]
"""What `sampling.decode` is; tests put bugs in its place."""

CODES = 8
SIDE = 100  # of the grid that a distribution is measured on
FAR = 0.03  # total variation; 10,000 draws stay below 0.02
TEMPERATURES = (0.5, 1.0, 2.0)
STEPS = 6
PLAIN = SamplingConfig(temperature=1.0, anneal=False, top_k=0, top_p=1.0, steps=1, noise=0.0)


def sampler(progress: Progress, decode: Decode = decode) -> list[Check]:
    """All checks of the sampler; they need no model."""
    checks = []
    parts = (temperature, truncation, committed_stay, most_confident_first, seed_decides)
    for place, part in enumerate(parts):
        checks.append(part(decode))
        progress((place + 1) / len(parts))
    return checks


def last_tokens(
    decode: Decode, logits_fn: Callable[[Tensor], Tensor], shape: tuple[int, ...], settings: SamplingConfig, seeds: Sequence[int]
) -> Tensor:
    """Decode a grid of which everything is masked."""
    start = torch.zeros(shape, dtype=torch.long)
    generators = [torch_generator(seed, "check") for seed in seeds]
    for step in decode(anywhere(logits_fn), start, torch.ones(shape, dtype=torch.bool), settings, generators, CODES):
        tokens = step.tokens
    return tokens


def known_logits() -> Tensor:
    return torch.linspace(1.5, -1.5, CODES)


def distance(decode: Decode, settings: SamplingConfig, expected: Tensor) -> float:
    """Total variation between what is drawn and `expected` (CODES,)."""
    logits = known_logits()
    drawn = last_tokens(decode, lambda tokens: logits.expand(*tokens.shape, CODES), (1, SIDE, SIDE), settings, [0])
    share = torch.bincount(drawn.flatten().clamp(0, CODES), minlength=CODES + 1)[: CODES + 1].double() / drawn.numel()
    return float(0.5 * (share - torch.nn.functional.pad(expected.double(), (0, 1))).abs().sum())


def temperature(decode: Decode) -> Check:
    """Draws at three temperatures against softmax(logits / temperature); at 0 the most likely token."""
    off = [(at, distance(decode, changed(temperature=at), (known_logits() / at).softmax(0))) for at in TEMPERATURES]
    off.insert(0, (0.0, distance(decode, changed(temperature=0.0), torch.eye(CODES)[0])))
    return judge(
        "temperature",
        "Temperature divides the logits",
        max(gap for _, gap in off),
        at_most=FAR,
        unit="total variation from softmax(logits / temperature)",
        good="draws follow softmax(logits / temperature); at 0 the most likely token",
        bad="draws do not follow softmax(logits / temperature): divide logits, not probabilities (which does nothing once they are normalised)",
        curve=tuple(off),
        axes=("temperature", "total variation"),
    )


def truncation(decode: Decode) -> Check:
    """Top-k and top-p keep the most likely tokens, in their proportions."""
    whole = known_logits().softmax(0)
    expected = {"top_k": whole * (torch.arange(CODES) < 3), "top_p": whole * (whole.cumsum(0) - whole < 0.6)}
    off = {
        "top_k": distance(decode, changed(top_k=3), expected["top_k"] / expected["top_k"].sum()),
        "top_p": distance(decode, changed(top_p=0.6), expected["top_p"] / expected["top_p"].sum()),
    }
    worst = max(off, key=lambda name: off[name])
    return judge(
        "top_k_top_p",
        "Top-k and top-p keep the most likely tokens",
        off[worst],
        at_most=FAR,
        unit="total variation from the truncated softmax",
        good="nothing else is drawn",
        bad=f"sampling.{worst} does not keep exactly the most likely tokens in their proportions: look at sampling.sharpen",
        details=off,
    )


def committed_stay(decode: Decode) -> Check:
    """Logits that change their mind at every step must not move what is given or committed; and the schedule is kept."""
    shape, calls = (2, 6, 6), []

    def fickle(tokens: Tensor) -> Tensor:
        calls.append(tokens)
        return 4 * torch.randn((*tokens.shape, CODES), generator=torch_generator(len(calls), "fickle"))

    given = torch.arange(36).reshape(6, 6).expand(shape) % CODES
    masked = (torch.arange(36).reshape(6, 6) % 3 > 0).expand(shape)
    return stays("committed_stay", decode, fickle, given, masked, changed(steps=STEPS, noise=1.0), CODES)


def stays(
    name: str, decode: Decode, logits_fn: Callable[[Tensor], Tensor], given: Tensor, masked: Tensor, settings: SamplingConfig, mask_id: int
) -> Check:
    """Decode and count: tokens that moved though given or committed, ids outside the codebook, steps off the schedule."""
    moved, outside, off_schedule, curve = 0, 0, 0, []
    before, hidden = torch.where(masked, mask_id, given), masked
    generators = [torch_generator(0, name, clip) for clip in range(len(given))]
    begun = int(masked[0].sum())
    for place, step in enumerate(decode(anywhere(logits_fn), given, masked, settings, generators, mask_id)):
        moved += int((~hidden & (step.tokens != before)).sum())
        before, hidden = step.tokens, step.tokens == mask_id
        off_schedule += int(abs(int(hidden[0].sum()) - begun * masked_share(place, settings.steps)) > 1)
        curve.append((float(place + 1), float(hidden[0].sum())))
    outside = int(((before < 0) | (before >= mask_id)).sum())
    wrong = [f"{moved} given or committed tokens were drawn again"] if moved else []
    wrong += [f"{outside} tokens are left masked or outside the codebook"] if outside else []
    wrong += [f"{off_schedule} steps commit more or fewer than the schedule"] if off_schedule else []
    return judge(
        name,
        "Committed tokens stay",
        moved + outside + off_schedule,
        at_most=0,
        unit="violations",
        good="what is given or committed never moves, and as many are committed as the schedule says",
        bad=f"{'; '.join(wrong)}: write only where the mask still is, and shrink the mask at every step",
        curve=tuple(curve),
        axes=("decode step", "tokens still masked"),
    )


def most_confident_first(decode: Decode) -> Check:
    """With order=confidence and no noise the most confident are committed first; with order=fixed, in reading order."""
    places = 36
    strength = torch.randperm(places, generator=torch_generator(0, "strength")).float().reshape(1, 6, 6) / 6  # all different
    by_strength = overlap(decode, changed(steps=STEPS, temperature=0.0, order="confidence"), strength, strength)
    reading = -torch.arange(places).float().reshape(1, 6, 6)
    in_order = overlap(decode, changed(steps=STEPS, temperature=0.0, order="fixed"), strength, reading)
    worst = "confidence" if by_strength <= in_order else "fixed"
    return judge(
        "commits_most_confident",
        "The most confident tokens are committed first",
        min(by_strength, in_order),
        at_least=1.0,
        unit="share of commits in the right step",
        good="order=confidence and order=fixed commit as they say",
        bad=f"sampling.order={worst} commits other tokens first (most of them: the order is upside down): look at sampling.order_scores",
        details={"confidence": by_strength, "fixed": in_order},
    )


def overlap(decode: Decode, settings: SamplingConfig, strength: Tensor, priority: Tensor) -> float:
    """Share of the commits of each step that were the highest in `priority` of those still masked, over all steps but the last."""
    peaks = torch.nn.functional.pad(strength[..., None], (0, CODES - 1))
    masked, right, counted = torch.ones_like(strength, dtype=torch.bool), 0, 0
    for step in decode(
        anywhere(lambda tokens: peaks), torch.zeros_like(strength).long(), masked, settings, [torch_generator(0, "order")], CODES
    ):
        committed = (masked & ~step.masked).flatten()
        count = int(committed.sum())
        if int(step.masked.sum()) and count:
            best = priority.masked_fill(~masked, float("-inf")).flatten().topk(count).indices
            right, counted = right + int(committed[best].sum()), counted + count
        masked = step.masked
    return right / counted if counted else 0.0


def seed_decides(decode: Decode) -> Check:
    """The same seed gives the same tokens, whatever else is in the batch; another seed gives others."""

    def flat(tokens: Tensor) -> Tensor:
        return torch.zeros(*tokens.shape, CODES)

    settings = changed(steps=STEPS, noise=1.0)
    pair = last_tokens(decode, flat, (2, 6, 6), settings, [1, 2])
    again = last_tokens(decode, flat, (2, 6, 6), settings, [1, 2])
    alone = last_tokens(decode, flat, (1, 6, 6), settings, [2])
    wrong = int((pair != again).sum()) + int((pair[1] != alone[0]).sum()) + (0 if (pair[0] != pair[1]).any() else 36)
    return judge(
        "seed_decides",
        "The seed decides, and nothing else",
        wrong,
        at_most=0,
        unit="tokens",
        good="the same seed gives the same tokens in any batch, another seed gives others",
        bad="draws depend on more than the clip's seed, or not on it: draw from the generator of each clip, and from no other",
    )


def changed(**settings: object) -> SamplingConfig:
    return SamplingConfig(**{name: settings.get(name, getattr(PLAIN, name)) for name in PLAIN.__dataclass_fields__})  # type: ignore[arg-type]
