"""The passes of cached sampling in as few operations as there can be: one masked frame behind decided ones, factorized attention.

What `VideoTransformer.forward` computes, to the last few bits. Ten frames in eight steps are eighty passes of one frame, so
short that starting the operations takes as long as the products; here are no module calls, a third of the operations, and nothing is
prepared twice. Axes: B clips, F frames passed, N positions, H heads, D width, d width of a head, K frames seen.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .transformer import Attention, Block, VideoTransformer, clip_view, compute_dtype, squared_relu


@dataclass(frozen=True)
class Branch:
    """Weights of one branch: into its function and out of it, transposed for a plain product. Queries come out scaled."""

    norm: tuple[Tensor, Tensor]
    into: Tensor
    out: Tensor

    @staticmethod
    def of(norm: nn.LayerNorm, into: nn.Linear, out: nn.Linear) -> "Branch":
        return Branch((norm.weight, norm.bias), into.weight.t(), out.weight.t())

    @staticmethod
    def of_attention(norm: nn.LayerNorm, attention: Attention) -> "Branch":
        width = attention.qkv.in_features
        scaled = attention.qkv.weight.detach().clone()
        scaled[:width] *= 1.0 / math.sqrt(width // attention.heads)
        return Branch((norm.weight, norm.bias), scaled.t(), attention.out.weight.t())


def branches(block: Block) -> tuple[Branch, Branch, Branch]:
    """Of attention over space, of attention over time, and the feed-forward one."""
    return (
        Branch.of_attention(block.space_norm, block.space),
        Branch.of_attention(block.time_norm, block.time),
        Branch.of(block.mlp_norm, block.mlp_in, block.mlp_out),
    )


@dataclass(frozen=True)
class Sight:
    """What passes of the same frames share, in every layer: biases, and where keys and values are read and written."""

    space_bias: Tensor | None  # (H, N, N), the same for all clips and frames; None where nothing is added
    time_bias: Tensor | None  # (B N H, F, K); None where nothing is added and nothing hidden
    written: Tensor  # (2, B, N, H, F, d)
    keys: Tensor  # (B N H, d, K)
    values: Tensor  # (B N H, K, d)


class FramePass:
    """Logits of a masked frame behind the decided frames of some clips, which it keeps as keys and values.

    For one rollout: the weights are taken as they are when it is made. Never makes gradients nor drops out.
    """

    def __init__(self, transformer: VideoTransformer, clips: int, table: Tensor) -> None:
        assert self.fits(transformer)
        self.transformer, self.clips, self.table = transformer, clips, table
        config = transformer.config
        self.heads, self.width, self.places = config.heads, config.width, transformer.grid**2
        self.shape = (config.width,)
        self.pre, self.relative = config.norm == "pre", config.positions == "relative"
        self.layers = [branches(block) for block in transformer.blocks if isinstance(block, Block)]
        self.final = (transformer.final_norm.weight, transformer.final_norm.bias)
        self.head = table[: transformer.codebook_size].t()
        weight = transformer.place_embedding
        shape = (config.layers, 2, clips, self.places, self.heads, transformer.max_frames, config.width // config.heads)
        self.kept = torch.empty(shape, dtype=compute_dtype(weight), device=weight.device)
        self.biases = transformer.prepared(clip_view(transformer.max_frames, True, weight.device)).biases  # of all frames: some are a part
        self.frames = 0  # decided ones that are kept
        self.stem = transformer.stem
        self.narrow = self.stem.table(table) if self.stem else table
        self.tokens_BKN = torch.empty(clips, 0, self.places, dtype=torch.int64, device=weight.device)  # of the decided frames
        self.seen: tuple[Tensor, list[Sight]] | None = None  # of one masked frame behind those that are kept: the same for all its passes

    @staticmethod
    def fits(transformer: VideoTransformer) -> bool:
        """Whether this computes what the transformer would."""
        config = transformer.config
        return config.attention == "factorized" and config.causal and not (transformer.training and config.dropout)

    def restart(self) -> None:
        """Keep no frame any more."""
        self.frames, self.seen, self.tokens_BKN = 0, None, self.tokens_BKN[:, :0]

    @torch.inference_mode()
    def logits(self, decided_BPHW: Tensor, masked_B1HW: Tensor) -> Tensor:
        """Logits (B, 1, h, w, V) of the masked frame behind those kept and `decided_BPHW` (any number), which are kept from now on."""
        count = decided_BPHW.shape[1]
        if count:
            self.tokens_BKN = torch.cat([self.tokens_BKN, decided_BPHW.flatten(2)], dim=1)
            start, sights = self.sights(count + 1)
            tokens = torch.cat([decided_BPHW, masked_B1HW], dim=1)
        else:
            self.seen = self.seen or self.sights(1)
            (start, sights), tokens = self.seen, masked_B1HW
        x_BFND = F.embedding(tokens.flatten(2), self.table) + start
        if self.stem:
            x_BFND += self.stem.own_frame(tokens.flatten(2), self.narrow)
        x = x_BFND.to(self.kept.dtype).view(-1, self.width)
        for number, (layer, sight) in enumerate(zip(self.layers, sights, strict=True), start=1):
            x = self.layer(x, layer, sight, count + 1, last=number == len(self.layers))
        if count:
            self.frames, self.seen = self.frames + count, None
        hidden = torch.layer_norm(x, self.shape, *self.final)
        return torch.mm(hidden, self.head).add_(self.transformer.head_bias).view(*masked_B1HW.shape, -1)

    def layer(self, x: Tensor, weights: tuple[Branch, Branch, Branch], sight: Sight, frames: int, last: bool) -> Tensor:
        """x (B F N, D) of so many frames -> the same; after the last layer the last frame's alone."""
        space, time, mlp = weights
        x = self.plus(x, self.over_space(self.entered(x, space), sight), space)
        qkv = self.entered(x, time)
        if last and frames > 1:
            x = x.view(self.clips, frames, -1, self.width)[:, -1].flatten(0, 1)
        x = self.plus(x, self.over_time(qkv, sight, frames, last), time)
        return self.plus(x, squared_relu(self.entered(x, mlp)), mlp)

    def entered(self, x: Tensor, branch: Branch) -> Tensor:
        return torch.mm(torch.layer_norm(x, self.shape, *branch.norm) if self.pre else x, branch.into)

    def plus(self, x: Tensor, y: Tensor, branch: Branch) -> Tensor:
        x.addmm_(y, branch.out)  # x is this pass's own
        return x if self.pre else torch.layer_norm(x, self.shape, *branch.norm)

    def over_space(self, qkv: Tensor, sight: Sight) -> Tensor:
        parts = qkv.view(-1, self.places, 3, self.heads, self.width // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = parts.flatten(1, 2)  # each (B F H, N, d)
        scores = torch.bmm(q, k.transpose(1, 2))
        if sight.space_bias is not None:
            scores.view(-1, *sight.space_bias.shape).add_(sight.space_bias)
        y = torch.bmm(scores.softmax(-1), v)
        return y.view(-1, self.heads, self.places, y.shape[-1]).transpose(1, 2).reshape(-1, self.width)

    def over_time(self, qkv: Tensor, sight: Sight, frames: int, last: bool) -> Tensor:
        parts = qkv.view(self.clips, frames, self.places, 3, self.heads, -1).permute(3, 0, 2, 4, 1, 5)  # (3, B, N, H, F, d)
        sight.written.copy_(parts[1:])
        q, bias = parts[0], sight.time_bias
        if last and frames > 1:
            q, bias, frames = q[..., -1:, :], self.all_seen(bias), 1
        q = q.flatten(0, 2)
        scores = torch.bmm(q, sight.keys) if bias is None else torch.baddbmm(bias, q, sight.keys)
        y = torch.bmm(scores.softmax(-1), sight.values)  # (B N H, F, d)
        if frames == 1:
            return y.view(-1, self.width)
        return y.view(self.clips, self.places, self.heads, frames, -1).permute(0, 3, 1, 2, 4).reshape(-1, self.width)

    def all_seen(self, bias: Tensor | None) -> Tensor | None:
        """What is added to the scores (B N H, 1, K) of the last frame alone, which sees all frames."""
        return bias[:, -1:] if bias is not None and self.relative else None

    def sights(self, frames: int) -> tuple[Tensor, list[Sight]]:
        """What is added to the embeddings, (B or none, F, N, D), and every layer's sight, for so many frames, the last of them masked."""
        end = self.frames + frames
        start: Tensor = self.transformer.place_embedding
        if self.transformer.config.positions == "learned":
            start = start + self.transformer.time_embedding[self.frames : end][:, None]
        if self.stem and self.stem.before:
            times, keys = torch.arange(self.frames, end, device=start.device), torch.arange(end - 1, device=start.device)
            every = torch.ones(1, frames, end - 1, dtype=torch.bool, device=start.device)
            start = start + self.stem.frames_before(self.tokens_BKN, self.stem.sources(every, times, keys), self.narrow)
        found: list[Sight] = []
        for (space, time), kept in zip(self.biases, self.kept, strict=True):
            assert time is not None, "factorized attention knows which frames are seen"
            seen_k, seen_v = kept[..., :end, :].flatten(1, 3)
            spread = time[..., self.frames : end, :end].expand(self.clips, self.places, self.heads, -1, -1).flatten(0, 2)
            found.append(
                Sight(
                    space, spread if frames > 1 else self.all_seen(spread), kept[..., self.frames : end, :], seen_k.transpose(1, 2), seen_v
                )
            )
        return start, found
