"""What predicting tokens without a model gives: the figures that stand beside a transformer's loss and accuracy."""

import torch
from torch import Tensor

HALVINGS = 50  # of an interval in which a single number is looked for
TINY = 1e-300  # in place of a probability of 0 whose term counts nothing


def unigram(tokens: Tensor, codebook_size: int) -> dict[str, float]:
    """What knowing nothing but the tokens' frequencies gives: entropy in nats, and the share of the most frequent token."""
    share = counts(tokens, codebook_size) / tokens.numel()
    entropy = -(share * share.clamp_min(TINY).log()).sum()
    return {"unigram_entropy": float(entropy), "most_frequent_accuracy": float(share.max())}


def copying(tokens_NTHW: Tensor, codebook_size: int) -> dict[str, float]:
    """What copying the token one frame before gives, in nats a token of the frames after the first: the cross-entropy of the best mixture
    (1 - m) [copy] + m [frequency of the tokens]. Empty where there is a single frame."""
    if tokens_NTHW.shape[1] < 2:
        return {}
    now, stays = tokens_NTHW[:, 1:], tokens_NTHW[:, 1:] == tokens_NTHW[:, :-1]
    share = counts(tokens_NTHW, codebook_size) / tokens_NTHW.numel()
    same, changed = counts(now[stays], codebook_size), counts(now[~stays], codebook_size)
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):  # the likelihood is concave in m: its slope falls through 0 once, if at all
        m = (low + high) / 2
        slope = changed.sum() / m - (same * (1 - share) / (1 - m + m * share)).sum()
        low, high = (m, high) if slope > 0 else (low, m)
    nats = (same * (1 - m + m * share).clamp_min(TINY).log()).sum() + (changed * (m * share).clamp_min(TINY).log()).sum()
    return {"copy_entropy": float(-nats / now.numel())}


def counts(tokens: Tensor, codebook_size: int) -> Tensor:
    """How often each id occurs: float64 (V), on the CPU: a Mac's GPU knows no float64."""
    return torch.bincount(tokens.flatten(), minlength=codebook_size).cpu().double()
