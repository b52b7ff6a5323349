"""Attention over one axis, by the backend that is the fastest where it runs. L queries, K keys, d the width of a head."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import ModelConfig
from .dropout import dropped
from .linear import Linear, linear

PLAIN_SCORES = 1 << 16
HALF_LANES = 32


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, dropout: float) -> Tensor:
    """Attention of q (..., L, d), scaled already, over k and v (..., K, d); bias broadcasts to (..., L, K), -inf where not allowed.

    On a CPU plain matrix products are the fastest backend for sequences this short (measured: the fused kernel's backward
    pass dominates a training step, and its forward pass takes twice as long); elsewhere torch chooses, and where no
    gradient is needed and the scores of a head would not fit into a cache.
    """
    if q.device.type != "cpu" or not (torch.is_grad_enabled() or q.shape[-2] * k.shape[-2] <= PLAIN_SCORES):
        return fused(q, k, v, bias, dropout)
    if torch.is_grad_enabled():
        k = k.contiguous()  # else the product copies it transposed, at five times the cost
    scores = q @ k.transpose(-2, -1)
    if bias is not None:
        scores += bias  # in place: no pass keeps what a product gave
    return dropped(softmax(scores), dropout) @ v


def fused(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, dropout: float) -> Tensor:
    """As `attend`, by torch's own choice of kernel. The fast ones know one axis of sequences, besides those of heads, rows and d."""
    lead = q.shape[:-3]
    if bias is not None:
        own = bias.shape[:-3].numel() > 1  # for each sequence, or for some of their axes
        bias = (bias.expand(*lead, -1, -1, -1) if own else bias).reshape(-1, *bias.shape[-3:])
    y = F.scaled_dot_product_attention(q.flatten(0, -4), k.flatten(0, -4), v.flatten(0, -4), attn_mask=bias, dropout_p=dropout, scale=1.0)
    return y.unflatten(0, lead)


def softmax(scores: Tensor) -> Tensor:
    """Over the last axis. Few half-precision scores do not fill a CPU's vectors: in float32 they take a third of the time."""
    if scores.element_size() == 2 and scores.shape[-1] < HALF_LANES:
        return scores.softmax(dim=-1, dtype=torch.float32).to(scores.dtype)
    return scores.softmax(dim=-1)


class Projection(Linear):
    """To queries, keys and values, the 1 / sqrt(d) of the scores in the queries' weight: no pass over the queries is made for it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, 3 * width)
        self.width, self.scale = width, 1 / math.sqrt(width // heads)

    def scaled(self) -> Tensor:
        """The weight (3 D, D) that is applied."""
        return torch.cat([self.weight[: self.width] * self.scale, self.weight[self.width :]])

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.scaled())


class Attention(nn.Module):
    """Multi-head attention over the axis -2 of x, with the projections and nothing else."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.dropout = config.dropout
        self.qkv = Projection(config.width, config.heads)
        self.out = Linear(config.width, config.width)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """q (scaled), k and v, each (..., heads, d) of x (..., D)."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        return q, k, v

    def forward(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
        return attend(q, k, v, bias, self.dropout if self.training else 0.0)
