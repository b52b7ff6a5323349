"""The passes of cached sampling in as few operations as there can be: one masked frame behind decided ones, factorized attention.

What `VideoTransformer.forward` computes, to the last few bits. Ten frames in eight steps are eighty passes of one frame, so
short that starting the operations takes as long as the products; here are no module calls, a third of the operations, and nothing is
prepared twice. Axes: B clips, F frames passed, R = B*F*N rows, N positions, H heads, D width, d width of a head, K frames seen.

How a product of so few rows is written decides whether a CPU's threads share it (measured, two threads, 64 rows): as `spread` writes it,
outputs first, or where it adds to something, it takes three fifths of the time that the plain `x @ w` takes. Along time each position
and head is a sequence of its own: there rows come first, so that queries, keys and values lie as one call over all of them reads them.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .sampling import rows_at
from .transformer import Block, VideoTransformer, clip_view, squared_relu

LANES = 16  # float32 scores that a CPU's softmax takes at once: fewer it takes one by one, which lasts seven times as long


@dataclass(frozen=True)
class Branch:
    """Weights of one branch: into its function (outputs, inputs), and out of it, transposed for a plain product."""

    norm: tuple[Tensor, Tensor]
    into: Tensor
    out: Tensor

    @staticmethod
    def of(norm: nn.LayerNorm, into: Tensor, out: nn.Linear) -> "Branch":
        return Branch((norm.weight, norm.bias), into, out.weight.t())


def branches(block: Block) -> tuple[Branch, Branch, Branch]:
    """Of attention over space, of attention over time, and the feed-forward one."""
    return (
        Branch.of(block.space_norm, block.space.qkv.scaled(), block.space.out),
        Branch.of(block.time_norm, block.time.qkv.scaled(), block.time.out),
        Branch.of(block.mlp_norm, block.mlp_in.weight, block.mlp_out),
    )


@dataclass(frozen=True)
class FrameView:
    """What passes of the same frames share, in every layer: biases, and where keys and values are read and written."""

    space_bias: Tensor | None  # (H, N, N), the same for all clips and frames; None where nothing is added
    time_bias: Tensor | None  # (H or 1, F, K), -inf where a frame is not seen; None where nothing is added
    keys: Tensor  # (B N H, K, d), those of the frames passed the last
    values: Tensor
    fresh: Tensor  # keys and values (2, B, N, H, F, d) of the frames passed
    lanes: Tensor  # (B N H, F, LANES or K), -inf behind K: room for scores that are too few to fill a CPU's lanes


def spread(weight: Tensor, x_RD: Tensor) -> Tensor:
    """weight @ x^T: (outputs, R)."""
    return torch.mm(weight, x_RD.t())


def as_rows(y_XDN: Tensor) -> Tensor:
    """(X N, D), where it can be without a copy."""
    return y_XDN[0].t() if len(y_XDN) == 1 else y_XDN.transpose(1, 2).flatten(0, 1)


def few_lanes_softmax(scores: Tensor, lanes: Tensor) -> Tensor:
    """Over the last axis, written into `lanes` first where there are more of these."""
    count = scores.shape[-1]
    if count == lanes.shape[-1]:
        return scores.softmax(-1)
    lanes[..., :count] = scores
    return lanes.softmax(-1)[..., :count]


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
        self.kept = weight.new_empty(
            config.layers, 2, clips, self.places, config.heads, transformer.max_frames, config.width // config.heads
        )
        self.biases = transformer.prepared(clip_view(transformer.max_frames, True, weight.device)).biases  # of all frames
        self.frames = 0  # decided ones that are kept
        self.stem = transformer.stem
        self.narrow = self.stem.table(table) if self.stem else table
        self.tokens_BKN = torch.empty(clips, 0, self.places, dtype=torch.int64, device=weight.device)  # of the decided frames
        self.seen: tuple[Tensor, list[FrameView]] | None = (
            None  # of one masked frame behind those that are kept: the same for all its passes
        )

    @staticmethod
    def fits(transformer: VideoTransformer) -> bool:
        """Whether this computes what the transformer would."""
        config = transformer.config
        return config.attention == "factorized" and config.causal and not (transformer.training and config.dropout)

    def restart(self) -> None:
        """Keep no frame any more."""
        self.frames, self.seen, self.tokens_BKN = 0, None, self.tokens_BKN[:, :0]

    @torch.inference_mode()
    def logits(self, decided_BPHW: Tensor, masked_B1HW: Tensor, places_BM: Tensor) -> Tensor:
        """Logits (B, M, V) at places of the masked frame behind those kept and `decided_BPHW` (any number), which are kept from now on."""
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
        x_RD, wanted = x_BFND.view(-1, self.width), rows_at(places_BM, self.places)
        for number, (layer, sight) in enumerate(zip(self.layers, sights, strict=True), start=1):
            x_RD = self.layer(x_RD, layer, sight, count + 1, wanted if number == len(self.layers) else None)
        if count:
            self.frames, self.seen = self.frames + count, None
        hidden = torch.layer_norm(x_RD, self.shape, *self.final)
        return torch.addmm(self.transformer.head_bias, hidden, self.head).unflatten(0, places_BM.shape)

    def layer(self, x_RD: Tensor, weights: tuple[Branch, Branch, Branch], sight: FrameView, frames: int, wanted: Tensor | None) -> Tensor:
        """The rows of so many frames -> the same; in the last layer, which knows them, the wanted ones of the last frame alone."""
        space, time, mlp = weights
        last = wanted is not None
        x_RD = self.plus(x_RD, self.over_space(spread(space.into, self.entered(x_RD, space)), sight), space)
        qkv = torch.mm(self.entered(x_RD, time), time.into.t())
        if last and frames > 1:
            x_RD = x_RD.view(self.clips, frames, -1, self.width)[:, -1].flatten(0, 1)
        x_RD = self.plus(x_RD, self.over_time(qkv, sight, frames, 1 if last else frames), time)
        if wanted is not None:
            x_RD = x_RD.index_select(0, wanted)
        return self.plus(x_RD, squared_relu(spread(mlp.into, self.entered(x_RD, mlp))).t(), mlp)

    def entered(self, x_RD: Tensor, branch: Branch) -> Tensor:
        return torch.layer_norm(x_RD, self.shape, *branch.norm) if self.pre else x_RD

    def plus(self, x_RD: Tensor, y: Tensor, branch: Branch) -> Tensor:
        x_RD.addmm_(y, branch.out)  # x is this pass's own
        return x_RD if self.pre else torch.layer_norm(x_RD, self.shape, *branch.norm)

    def over_space(self, qkv: Tensor, sight: FrameView) -> Tensor:
        """Of queries (scaled), keys and values (3 D, R): what attention within each frame gives, (R, D)."""
        parts = qkv.view(3, self.heads, self.width // self.heads, -1, self.places).permute(0, 3, 1, 2, 4)
        q, k, v = parts.flatten(1, 2)  # each (B F H, d, N)
        scores = torch.bmm(q.transpose(1, 2), k)
        if sight.space_bias is not None:
            scores.view(-1, *sight.space_bias.shape).add_(sight.space_bias)
        return as_rows(torch.bmm(v, scores.softmax(-1).transpose(1, 2)).view(-1, self.width, self.places))

    def over_time(self, qkv: Tensor, sight: FrameView, frames: int, newest: int) -> Tensor:
        """Of the same, (R, 3 D): what attention along the frames gives to the last `newest` frames, (R, D)."""
        parts = qkv.view(self.clips, frames, self.places, 3, self.heads, -1).permute(3, 0, 2, 4, 1, 5)  # (3, B, N, H, F, d)
        sight.fresh.copy_(parts[1:])
        queries = parts[0, ..., frames - newest :, :].reshape(-1, newest, self.width // self.heads)
        scores = torch.bmm(queries, sight.keys.transpose(1, 2))
        if sight.time_bias is not None:
            scores.view(-1, self.heads, *scores.shape[1:]).add_(sight.time_bias[:, frames - newest :])
        found = torch.bmm(few_lanes_softmax(scores, sight.lanes[:, frames - newest :]), sight.values)
        return found.view(self.clips, self.places, self.heads, newest, -1).permute(0, 3, 1, 2, 4).reshape(-1, self.width)

    def sights(self, frames: int) -> tuple[Tensor, list[FrameView]]:
        """What is added to the embeddings, (B or none, F, N, D), and every layer's sight, for so many frames, the last of them masked."""
        end = self.frames + frames
        start: Tensor = self.transformer.place_embedding
        if self.transformer.config.positions == "learned":
            start = start + self.transformer.time_embedding[self.frames : end][:, None]
        if self.stem and self.stem.before:
            times, keys = torch.arange(self.frames, end, device=start.device), torch.arange(end - 1, device=start.device)
            every = torch.ones(1, frames, end - 1, dtype=torch.bool, device=start.device)
            start = start + self.stem.frames_before(self.tokens_BKN, self.stem.sources(every, times, keys), self.narrow)
        found: list[FrameView] = []
        lanes = start.new_full((self.clips * self.places * self.heads, frames, max(LANES, end)), float("-inf"))
        for (space, time), kept in zip(self.biases, self.kept, strict=True):
            assert time is not None, "factorized attention knows which frames are seen"
            bias = time[0, 0, :, self.frames : end, :end] if self.relative or frames > 1 else None
            keys, values = kept[..., :end, :].flatten(1, 3)
            found.append(FrameView(space, bias, keys, values, kept[..., self.frames : end, :], lanes))
        return start, found
