"""The masked-token transformer: token grids with masks -> logits over the codebook.

All sizes and attention kinds share one forward pass over frames with times: training with whole clips, training against a
clean past (two streams of frames under one attention mask) and cached sampling differ only in the frames that they
pass and in who sees whom. Axes: B clips, F frames passed (of one or two streams), N = h*w positions, D width, V codebook.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .attention import Attention
from .config import Config, ModelConfig
from .dropout import dropped
from .linear import Linear
from .stem import Stem, neighbours
from .tokenizer import Tokenizer

INIT_STD = 0.02
Biases = tuple[Tensor | None, Tensor | None]  # of the attention over space, and of that over time (or all)


class Cache:
    """Keys and values (..., rows, d) of the time (or full) attention of every layer, over the frames seen so far.

    They are written into buffers with room to spare: a pass copies none of what was there before.
    """

    def __init__(self) -> None:
        self.frames = 0
        self.tokens_BKN: Tensor | None = None  # ids of the frames, where the transformer has a stem that looks back at them
        self.buffers: list[tuple[Tensor, Tensor]] = []  # of every layer; rows behind those that are kept are scratch
        self.rows: list[int] = []

    @property
    def keys(self) -> list[Tensor]:
        return [k[..., :rows, :] for (k, _), rows in zip(self.buffers, self.rows, strict=True)]

    @property
    def values(self) -> list[Tensor]:
        return [v[..., :rows, :] for (_, v), rows in zip(self.buffers, self.rows, strict=True)]

    def extended(self, layer: int, k: Tensor, v: Tensor, keep: int) -> tuple[Tensor, Tensor]:
        """All keys and values of a layer, `k` and `v` behind the kept ones; their first `keep` rows are kept too."""
        if layer == len(self.rows):
            self.rows.append(0)
            self.buffers.append((k[..., :0, :], v[..., :0, :]))
        kept, end = self.rows[layer], self.rows[layer] + k.shape[-2]
        if self.buffers[layer][0].shape[-2] < end:
            self.buffers[layer] = grown(self.keys[layer], 2 * end), grown(self.values[layer], 2 * end)
        for buffer, fresh in zip(self.buffers[layer], (k, v), strict=True):
            buffer[..., kept:end, :] = fresh
        self.rows[layer] = kept + keep
        all_k, all_v = self.buffers[layer]
        return all_k[..., :end, :], all_v[..., :end, :]


def grown(kept: Tensor, rows: int) -> Tensor:
    """A buffer (..., rows, d) that begins with what is kept."""
    buffer = kept.new_empty((*kept.shape[:-2], rows, kept.shape[-1]))
    buffer[..., : kept.shape[-2], :] = kept
    return buffer


@dataclass(frozen=True)
class View:
    """Which frames are passed and who sees whom.

    times_F: int64, each frame's time. allowed_BFK: bool, frame F may see key frame K; K runs over the cached frames and
    then the F frames themselves; B is 1 where all clips agree. keep: how many leading frames the cache keeps. biases: what
    each layer adds to its attention scores, where that was computed before (`VideoTransformer.prepared`).
    """

    times_F: Tensor
    key_times_K: Tensor
    allowed_BFK: Tensor
    cache: Cache | None = None
    keep: int = 0
    biases: tuple[Biases, ...] = ()


def clip_view(frames: int, causal: bool, device: torch.device, cut_B: Tensor | None = None) -> View:
    """One stream: each frame sees itself and, if causal, earlier ones only. Clips with cut_B see no other frame."""
    times = torch.arange(frames, device=device)
    allowed = times[:, None] >= times[None, :] if causal else torch.ones(frames, frames, dtype=torch.bool, device=device)
    return View(times, times, cut(allowed, times[:, None] == times[None, :], cut_B))


def clean_past_view(clean: int, first: int, frames: int, device: torch.device, cut_B: Tensor | None = None) -> View:
    """Two streams: `clean` unmasked frames 0.., then masked frames first..frames-1.

    A clean frame sees clean frames up to itself; a masked frame sees the clean frames before it, and itself. That is
    what cached frame-by-frame sampling sees, so training and sampling agree exactly.
    """
    times = torch.cat([torch.arange(clean, device=device), torch.arange(first, frames, device=device)])
    masked = torch.arange(len(times), device=device) >= clean
    past = times[:, None] > times[None, :]
    itself = torch.eye(len(times), dtype=torch.bool, device=device)
    return View(times, times, cut((past & ~masked[None, :]) | itself, itself, cut_B))


def cached_view(cache: Cache, new: int, keep: int, device: torch.device) -> View:
    """`new` frames after those in the cache: the first `keep` of them are decided and enter the cache, the rest is masked."""
    seen = torch.arange(cache.frames, device=device)
    after = clean_past_view(keep, keep, new, device)
    allowed = torch.cat([torch.ones(1, new, cache.frames, dtype=torch.bool, device=device), after.allowed_BFK], dim=2)
    times = after.times_F + cache.frames
    return View(times, torch.cat([seen, times]), allowed, cache, keep)


def cut(allowed_FK: Tensor, itself_FK: Tensor, cut_B: Tensor | None) -> Tensor:
    """(B or 1, F, K): where cut_B is true a frame sees itself alone."""
    if cut_B is None:
        return allowed_FK[None]
    return torch.where(cut_B[:, None, None], itself_FK, allowed_FK)


class SquaredRelu(torch.autograd.Function):
    """relu(x)^2 with the gradient 2 relu(x). x, of which no one else may know, becomes relu(x), the one tensor that is saved."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        positive = x.relu_()
        ctx.save_for_backward(positive)
        return positive * positive

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (positive,) = ctx.saved_tensors
        return torch.addcmul(positive.new_zeros(()), positive, gradient, value=2.0)


def squared_relu(x: Tensor) -> Tensor:
    """relu(x)^2; x is overwritten."""
    return SquaredRelu.apply(x) if torch.is_grad_enabled() else x.relu_().square_()


class Block(nn.Module):
    """Attention over space and time (of the config's kind), then a feed-forward branch with squared ReLU (So et al., 2021)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.kind = config.attention
        self.pre = config.norm == "pre"
        width = config.width
        self.space_norm = nn.LayerNorm(width)
        self.space = Attention(config)
        if self.kind == "factorized":
            self.time_norm = nn.LayerNorm(width)
            self.time = Attention(config)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp_in = Linear(width, config.mlp_ratio * width)
        self.mlp_out = Linear(config.mlp_ratio * width, width)
        self.dropout = config.dropout

    def forward(self, x_BFND: Tensor, view: View, layer: int, space_bias: Tensor | None, time_bias: Tensor | None, skip: int = 0) -> Tensor:
        """The frames after the first `skip`, which are only looked at: for them no more is computed than their keys and values."""
        if self.kind == "framewise":
            x_BFND = x_BFND[:, skip:]
        if self.kind == "full":
            x_BFND = self.branch(x_BFND, self.space_norm, lambda x: self.full_attention(x, view, layer, time_bias, skip), skip)
        else:
            x_BFND = self.branch(x_BFND, self.space_norm, lambda x: self.space_attention(x, space_bias))
        if self.kind == "factorized":
            x_BFND = self.branch(x_BFND, self.time_norm, lambda x: self.time_attention(x, view, layer, time_bias, skip), skip)
        return self.branch(x_BFND, self.mlp_norm, lambda x: self.mlp_out(squared_relu(self.mlp_in(x))))

    def branch(self, x: Tensor, norm: nn.Module, function: Callable[[Tensor], Tensor], skip: int = 0) -> Tensor:
        """Pre-LN: x + f(norm(x)). Post-LN: norm(x + f(x)). f leaves the first `skip` frames out, and so does the result."""
        if self.pre:
            return x[:, skip:] + self.thinned(function(norm(x)))
        return norm(x[:, skip:] + self.thinned(function(x)))

    def thinned(self, x: Tensor) -> Tensor:
        return dropped(x, self.dropout) if self.training else x

    def space_attention(self, x_BFND: Tensor, bias: Tensor | None) -> Tensor:
        q, k, v = (part.transpose(-3, -2) for part in self.space.split(x_BFND))  # (B, F, heads, N, d)
        return self.space.out(self.space(q, k, v, bias).transpose(-3, -2).flatten(-2))

    def time_attention(self, x_BFND: Tensor, view: View, layer: int, bias: Tensor | None, skip: int = 0) -> Tensor:
        q, k, v = self.along_time(x_BFND)  # (B, N, heads, F, d)
        k, v = with_cache(k, v, view, layer, view.keep)
        y = self.time(q[..., skip:, :], k, v, without(bias, skip))
        return self.time.out(y.permute(0, 3, 1, 2, 4).flatten(-2))

    def along_time(self, x_BFND: Tensor) -> tuple[Tensor, ...]:
        """q, k and v (B, N, heads, F, d). A GPU's attention kernels know one stride from sequence to sequence: there x is laid out so first,
        where else q, k and v would be copied, each of them."""
        if x_BFND.device.type == "cpu":
            return tuple(part.permute(0, 2, 3, 1, 4) for part in self.time.split(x_BFND))
        return tuple(part.transpose(-3, -2) for part in self.time.split(x_BFND.transpose(1, 2)))

    def full_attention(self, x_BFND: Tensor, view: View, layer: int, bias: Tensor | None, skip: int = 0) -> Tensor:
        frames, places = x_BFND.shape[1:3]
        q, k, v = (part.transpose(1, 2) for part in self.space.split(x_BFND.flatten(1, 2)))  # (B, heads, F*N, d)
        k, v = with_cache(k, v, view, layer, view.keep * places)
        y = self.space(q[..., skip * places :, :], k, v, without(bias, skip * places))
        return self.space.out(y.transpose(1, 2).flatten(-2)).unflatten(1, (frames - skip, places))


def without(bias: Tensor | None, rows: int) -> Tensor | None:
    """A bias on scores (..., L, K) without its first rows."""
    return None if bias is None else bias[..., rows:, :]


def with_cache(k: Tensor, v: Tensor, view: View, layer: int, keep: int) -> tuple[Tensor, Tensor]:
    """Keys and values with the cached ones before them; the first `keep` new ones are added to the cache."""
    return (k, v) if view.cache is None else view.cache.extended(layer, k, v, keep)


class VideoTransformer(nn.Module):
    """Token grids (B, F, h, w) with ids in [0, V], V being the mask, -> hidden (B, F, N, D) -> logits over [0, V).

    features_VK: what is known of the tokenizer's codes (`take_codes`), through which tokens are embedded besides their own embedding;
    the head is tied to that embedding. Learned times reach to max_frames; a longer clip must be passed in windows.
    """

    features_VK: Tensor
    codes_VK: Tensor  # what codes are compared by (`Tokenizer.compared_by`)
    offsets_NN: Tensor  # where positions are relative

    def __init__(self, config: ModelConfig, *, grid: int, codebook_size: int, code_features: int, max_frames: int) -> None:
        super().__init__()
        self.config, self.grid, self.codebook_size, self.max_frames = config, grid, codebook_size, max_frames
        self.mask_id = codebook_size
        self.gradient_checkpointing = False
        self.watcher: Callable[[int, Tensor], None] | None = None  # is shown what comes out of each block where gradients are made
        places, width = grid * grid, config.width
        self.token_embedding = nn.Embedding(codebook_size + 1, width)
        if config.code_embedding:
            self.code_projection = nn.Linear(code_features, width, bias=False)
        self.register_buffer("features_VK", torch.zeros(codebook_size, code_features), persistent=False)
        self.register_buffer("codes_VK", torch.zeros(codebook_size, 0), persistent=False)
        self.stem = Stem(config, grid) if config.stem_frames else None
        self.place_embedding = nn.Parameter(torch.zeros(places, width))
        if config.positions == "learned":
            self.time_embedding = nn.Parameter(torch.zeros(max_frames, width))
        else:
            self.place_bias = nn.Parameter(torch.zeros(config.layers, config.heads, (2 * grid - 1) ** 2))
            self.time_bias = nn.Parameter(torch.zeros(config.layers, config.heads, 2 * max_frames - 1))
            self.register_buffer("offsets_NN", place_offsets(grid), persistent=False)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.final_norm = nn.LayerNorm(width)
        self.head_bias = nn.Parameter(torch.zeros(codebook_size))

    @staticmethod
    def of(config: Config) -> "VideoTransformer":
        """The transformer that a whole config describes."""
        return VideoTransformer(
            config.model,
            grid=config.grid,
            codebook_size=config.tokenizer.codebook_size,
            code_features=config.code_features,
            max_frames=config.data.clip_frames,
        )

    @staticmethod
    def new(config: Config, generator: torch.Generator | None = None) -> "VideoTransformer":
        """In memory, with weights from `generator`, or left unset for a checkpoint to fill. Built on the meta device
        first, so that torch's process-wide generator is never drawn from."""
        with torch.device("meta"):
            model = VideoTransformer.of(config)
        model.to_empty(device="cpu")
        model.features_VK.zero_()
        if config.model.positions == "relative":
            model.offsets_NN = place_offsets(model.grid)
        if model.stem:
            model.stem.neighbours_NM = neighbours(model.grid)
        if generator is not None:
            model.initialise(generator)
        return model

    def initialise(self, generator: torch.Generator) -> None:
        """Normal weights of std 0.02 from `generator`, branch outputs smaller by sqrt(2 x layers) (GPT-2's rule); those of the stem
        such that a neighbour weighs as much as the token itself."""
        for name, parameter in self.named_parameters():
            if name.startswith("stem."):
                parameter.data.normal_(0.0, 1 / math.sqrt(parameter.shape[1]), generator=generator)
            elif name.endswith(("out.weight", "mlp_out.weight")):
                parameter.data.normal_(0.0, INIT_STD / math.sqrt(2 * self.config.layers), generator=generator)
            elif name.endswith(("qkv.weight", "mlp_in.weight", "embedding.weight", "_embedding", "projection.weight")):
                parameter.data.normal_(0.0, INIT_STD, generator=generator)
            else:
                parameter.data.fill_(1.0 if name.endswith("norm.weight") else 0.0)

    def take_codes(self, tokenizer: Tokenizer) -> None:
        """Take over what there is to know of the tokenizer's codes."""
        codes = code_features(tokenizer.codebook(), tokenizer.config.code_features)
        compared = tokenizer.compared_by()  # the pixels of their patches, where these are embedded too
        self.features_VK.copy_(torch.cat([codes, compared], dim=1) if self.config.pixel_embedding else codes)
        self.codes_VK = compared.to(self.features_VK)

    @property
    def parameter_counts(self) -> dict[str, int]:
        """Parameters in the blocks, and in all."""
        return {"blocks": sum(p.numel() for p in self.blocks.parameters()), "total": sum(p.numel() for p in self.parameters())}

    def token_table(self) -> Tensor:
        """Embedding of every id and, last, of the mask: (V + 1, D)."""
        if not self.config.code_embedding:
            return self.token_embedding.weight
        return self.token_embedding.weight + F.pad(self.code_projection(self.features_VK), (0, 0, 0, 1))

    def prepared(self, view: View) -> View:
        """The view with its biases, for several passes that see the same: they hold for the weights as they are now."""
        return replace(view, biases=self.biases(view, compute_dtype(self.place_embedding)))

    def forward(self, tokens_BFHW: Tensor, view: View, skip: int = 0, table: Tensor | None = None) -> Tensor:
        """Hidden states (B, F - skip, N, D) after the final norm, of the frames after the first `skip`.

        Those are seen by the others, but what the last layer would make of them is not computed. table: `token_table()`,
        where it is at hand.
        """
        if tokens_BFHW.shape[1] != len(view.times_F):
            raise ValueError(f"{tokens_BFHW.shape[1]} frames of tokens were passed with times for {len(view.times_F)}")
        tokens_BFN, table = tokens_BFHW.flatten(2), self.token_table() if table is None else table
        x_BFND = F.embedding(tokens_BFN, table) + self.place_embedding
        if self.stem:
            x_BFND = x_BFND + self.stem_sums(self.stem, tokens_BFN, view, table)
        if self.config.positions == "learned":
            x_BFND = x_BFND + self.time_embedding[view.times_F][:, None]
        x_BFND = x_BFND.to(compute_dtype(x_BFND))
        for layer, (block, biases) in enumerate(zip(self.blocks, view.biases or self.biases(view, x_BFND.dtype), strict=True)):
            leave = skip if layer + 1 == len(self.blocks) else 0
            if self.gradient_checkpointing and self.training and torch.is_grad_enabled():
                x_BFND = checkpoint(block, x_BFND, view, layer, *biases, leave, use_reentrant=False)
            else:
                x_BFND = block(x_BFND, view, layer, *biases, leave)
            if self.watcher is not None and torch.is_grad_enabled():
                self.watcher(layer, x_BFND)
        if view.cache is not None:
            view.cache.frames += view.keep
        return self.final_norm(x_BFND)

    def stem_sums(self, stem: Stem, tokens_BFN: Tensor, view: View, table: Tensor) -> Tensor:
        """What the stem adds to the embeddings (B, F, N, D)."""
        cache, there_BKN, sources = view.cache, tokens_BFN, None
        if stem.before:
            if cache:
                there_BKN = tokens_BFN if cache.tokens_BKN is None else torch.cat([cache.tokens_BKN, tokens_BFN], dim=1)
                cache.tokens_BKN = there_BKN[:, : cache.frames + view.keep]
            sources = stem.sources(view.allowed_BFK, view.times_F, view.key_times_K)
        return stem.sums(tokens_BFN, there_BKN, sources, stem.table(table))

    def logits(self, hidden: Tensor, table: Tensor | None = None) -> Tensor:
        """Logits (..., V) of hidden states (..., D): pass those of masked positions only."""
        table = self.token_table() if table is None else table
        return F.linear(hidden, table[: self.codebook_size]) + self.head_bias

    def biases(self, view: View, dtype: torch.dtype) -> tuple[Biases, ...]:
        """Of each layer (space bias (heads or 1, N, N) or None, time bias): what is added to its attention scores."""
        layers, kind = self.config.layers, self.config.attention
        relative = self.config.positions == "relative"
        spaces: Sequence[Tensor | None] = self.place_bias[:, :, self.offsets_NN].to(dtype).unbind() if relative else [None] * layers
        if kind == "framewise":
            return tuple((space, None) for space in spaces)
        hidden = torch.zeros(view.allowed_BFK.shape, dtype=dtype, device=view.allowed_BFK.device)
        hidden_B1FK = hidden.masked_fill(~view.allowed_BFK, float("-inf"))[:, None]
        times = [hidden_B1FK] * layers
        if relative:
            steps_FK = view.times_F[:, None] - view.key_times_K[None, :] + self.max_frames - 1
            times = [hidden_B1FK + time_HFK for time_HFK in self.time_bias[:, :, steps_FK].to(dtype)]
        if kind == "factorized":
            times = [time_BHFK[:, None] for time_BHFK in times]  # (B or 1, 1 place, heads or 1, F, K)
            return tuple(zip(spaces, times, strict=True))
        return tuple((None, self.over_all(time_BHFK, space, view)) for space, time_BHFK in zip(spaces, times, strict=True))

    def over_all(self, time_BHFK: Tensor, space_HNN: Tensor | None, view: View) -> Tensor:
        """The bias (B or 1, heads or 1, F*N, K*N) of attention over all tokens, of that along time and that within frames."""
        places = self.grid**2
        full = time_BHFK.repeat_interleave(places, -2).repeat_interleave(places, -1)
        return full if space_HNN is None else full + space_HNN.repeat(1, len(view.times_F), len(view.key_times_K))


def code_features(codebook_VK: Tensor, count: int) -> Tensor:
    """Features (V, count) of code vectors (V, K): themselves and, where count is larger, one-hot which of its values each
    dimension has. What is learnt of a level is then shared by every code that has it: most codes are rare."""
    parts = [codebook_VK]
    if count > codebook_VK.shape[1]:
        for column in codebook_VK.T:
            values, level = column.unique(return_inverse=True)
            parts.append(F.one_hot(level, len(values)).to(codebook_VK))
    return torch.cat(parts, dim=1)


def place_offsets(grid: int) -> Tensor:
    """Index of the offset between every two places: int64 (N, N) in [0, (2 grid - 1)^2)."""
    row, column = torch.arange(grid * grid) // grid, torch.arange(grid * grid) % grid
    rows, columns = row[:, None] - row[None, :] + grid - 1, column[:, None] - column[None, :] + grid - 1
    return rows * (2 * grid - 1) + columns


def compute_dtype(x: Tensor) -> torch.dtype:
    """Under autocast the residual stream itself is kept in the low precision: half the memory traffic."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
