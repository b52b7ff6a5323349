"""Models of somebody's own: functions from ids (B, T, h, w) to logits (B, T, h, w, 16), healthy and sick."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CODES = 16


def copies(tokens: Tensor) -> Tensor:
    """Looks at the frame before: causal, and right where nothing moves."""
    before = torch.cat([tokens[:, :1], tokens[:, :-1]], dim=1)
    known = torch.where(tokens < CODES, tokens, torch.where(before < CODES, before, 0))
    return 6.0 * F.one_hot(known, CODES).float()


def peeks(tokens: Tensor) -> Tensor:
    """Sees the frame after as well."""
    return copies(tokens) + 0.1 * F.one_hot(tokens.roll(-1, dims=1) % CODES, CODES)


def forgets(tokens: Tensor) -> Tensor:
    return 6.0 * F.one_hot(tokens % CODES, CODES).float()


def mixes(tokens: Tensor) -> Tensor:
    logits = copies(tokens)
    return logits + logits.mean(dim=0)


def misshapen(tokens: Tensor) -> Tensor:
    return torch.zeros(*tokens.shape, CODES + 1)


def undefined(tokens: Tensor) -> Tensor:
    return copies(tokens) * float("nan")


def forbids(tokens: Tensor) -> Tensor:
    """One id is never predicted."""
    return copies(tokens).index_fill(-1, torch.tensor([CODES - 1]), float("-inf"))


def talks(tokens: Tensor) -> Tensor:
    print("called")
    return copies(tokens)


def leaves(tokens: Tensor) -> Tensor:
    raise SystemExit(3)


class Frozen(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Embedding(CODES + 1, 8), nn.Linear(8, CODES)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.second(self.first(tokens).detach())


frozen = Frozen()
NUMBER = 3
