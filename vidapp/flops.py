"""Floating-point operations of the transformer, as they are computed: every multiply and every add of a matrix product.

What torch.utils.flop_counter counts, from the sizes alone. Attention counts whole, also where a mask hides its result;
the head counts where it is computed, at masked positions. Element-wise work (norms, softmax, biases) is not counted.
"""

from dataclasses import dataclass

from .config import Config
from .masking import ClipMask, alike, hidden_tokens
from .stem import SIDE

BACKWARD = 2  # a product's gradients cost two more of its size


@dataclass(frozen=True)
class Pass:
    """One forward pass. frames: those passed (of one or two streams); cached: frames seen through the cache besides them;
    skip: leading frames whose last layer ends at their keys and values; heads: positions whose logits are computed, in all clips; table:
    whether the table of embeddings is made in it, and not at hand; lean: as `FramePass` does (where there is no stem), which feeds nothing
    but those positions through the last layer's feed-forward branch."""

    clips: int
    frames: int
    heads: int
    cached: int = 0
    skip: int = 0
    table: bool = True
    lean: bool = False


def pass_flops(config: Config, one: Pass) -> int:
    """FLOPs of a forward pass, the table of embeddings included (once for the input, once for the head)."""
    blocks = sum(block_flops(config, one, last) for last in [False] * (config.model.layers - 1) + [True])
    tables = 0 if not one.table else 2 if one.heads else 1
    return blocks + stem_flops(config, one) + head_flops(config, one.heads) + table_flops(config) * tables


def block_flops(config: Config, one: Pass, last: bool) -> int:
    """FLOPs of one layer."""
    model, places = config.model, config.grid**2
    frames, wanted, keys = one.frames, one.frames - (one.skip if last else 0), one.frames + one.cached
    if model.attention == "framewise":
        frames = wanted

    def attention(rows: int, wanted_rows: int, pairs: int) -> int:
        """Projections of `rows` to q, k, v; scores and sums of `pairs`; the output projection of `wanted_rows`."""
        return 2 * model.width**2 * (3 * rows + wanted_rows) + 4 * pairs * model.width

    fed = one.heads if one.lean and last else one.clips * wanted * places
    fed_forward = 4 * model.mlp_ratio * model.width**2 * fed
    if model.attention == "full":
        return fed_forward + one.clips * attention(frames * places, wanted * places, wanted * keys * places**2)
    total = attention(frames * places, frames * places, frames * places**2)
    if model.attention == "factorized":
        total += attention(frames * places, wanted * places, wanted * keys * places)
    return fed_forward + one.clips * total


def stem_flops(config: Config, one: Pass) -> int:
    """The narrow table of a stem, and the sums over its neighbours, in all frames passed."""
    model = config.model
    if not model.stem_frames:
        return 0
    narrow = model.width // model.heads
    neighbours = one.clips * one.frames * config.grid**2 * model.stem_frames * SIDE**2
    return 2 * model.width * narrow * (config.tokenizer.codebook_size + 1 + neighbours)


def head_flops(config: Config, positions: int) -> int:
    return 2 * positions * config.model.width * config.tokenizer.codebook_size


def table_flops(config: Config) -> int:
    """Code vectors to embeddings, where tokens are embedded through them."""
    return 2 * config.tokenizer.codebook_size * config.code_features * config.model.width * config.model.code_embedding


def training_passes(config: Config, masks: list[ClipMask]) -> list[Pass]:
    """The passes in which the clips of one micro-batch, with these masks, are trained."""
    frames = len(masks[0].mask_THW)
    if not config.recipe.clean_past:
        return [Pass(len(masks), frames, hidden_tokens(masks))]
    passes = []
    for clips, with_past in alike(masks, config.model.attention == "framewise"):
        part = [masks[clip] for clip in clips]
        past = frames - 1 if with_past else 0
        own = frames - min(mask.context for mask in part) if with_past else frames
        passes.append(Pass(len(part), past + own, hidden_tokens(part), skip=past))
    return passes


def step_flops(config: Config, masks: list[ClipMask]) -> int:
    """FLOPs of a training step's forward and backward passes over clips with these masks, the tokenizer and the optimiser left out.

    What gradient checkpointing computes a second time does not count, nor does drawing an own past, nor the rows that round the head's
    number up (`head_rows`): none is part of the result.
    """
    share = len(masks) // config.recipe.micro_batches
    parts = [masks[start : start + share] for start in range(0, len(masks), share)]
    return sum(micro_batch_flops(config, training_passes(config, part)) for part in parts)


def micro_batch_flops(config: Config, passes: list[Pass]) -> int:
    """Forward and backward: a product has two gradients, but the code vectors are given, so their projection has one."""
    table = table_flops(config)
    products = sum(pass_flops(config, one) - table * (2 if one.heads else 1) for one in passes)
    return products * (1 + BACKWARD) + table * (len(passes) + 1) * 2
