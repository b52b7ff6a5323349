"""A training step without its numbers: what it would allocate and write, and how many floating-point operations it takes.

The step's own code runs on tensors that have shapes but no memory, so the figures follow every setting and change of it.
"""

import contextlib
import weakref
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from .batches import TokenBatch, draw_masks
from .config import Config
from .device import autocast
from .masking import ClipMask, hidden_tokens
from .objective import masked_logits, with_own_past
from .schedules import own_past
from .tokenizer import Tokenizer, new_tokenizer
from .transformer import VideoTransformer

CPU = torch.device("cpu")
DRAWS = 16  # steps looked at for the one that masks most
MOST_CLIPS = 16  # that are really laid out; more cost in proportion


@dataclass(frozen=True)
class Cost:
    """bytes: the most that is alive at once beside the weights. flops: multiplications and additions of a whole step.
    written: bytes that its operations give, each counted anew."""

    bytes: int
    flops: int
    written: int


class Ledger(TorchDispatchMode):
    """Adds up the storages that are alive, and keeps the most there was; and what is written, into new ones or in place."""

    def __init__(self) -> None:
        super().__init__()
        self.alive = self.most = self.written = 0
        self.known: dict[int, int] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and (self.enter(leaf.untyped_storage()) or function._schema.is_mutable):
                self.written += leaf.nbytes
        return result

    def enter(self, storage: torch.UntypedStorage) -> bool:
        """Whether it is a new one."""
        key = storage._cdata
        if key in self.known:
            return False
        self.known[key] = storage.nbytes()
        self.alive += self.known[key]
        self.most = max(self.most, self.alive)
        weakref.finalize(storage, self.leave, key)
        return True

    def leave(self, key: int) -> None:
        self.alive -= self.known.pop(key)


def transformer_step(config: Config, precision: str, *, returned: bool = False) -> Cost:
    """One step of the transformer phase, at the clip length of its last steps and with the most masks among a few draws.

    returned: memory that gradient checkpointing lets go of is free again, as on a GPU. A CPU's allocator keeps much of it: measured.
    """
    recipe = config.recipe
    clips_asked = recipe.batch_size // recipe.micro_batches
    laid_out = range(min(clips_asked, MOST_CLIPS))
    draws = (draw_masks(config, step, laid_out) for step in range(max(0, config.run.steps - DRAWS), config.run.steps))
    masks = max(draws, key=hidden_tokens)
    times = clips_asked / len(masks)
    each = times * recipe.micro_batches
    found = passes(config, precision, masks, counted=True)
    taken = found.bytes
    if recipe.gradient_checkpointing and returned:  # counting holds on to what checkpointing lets go of
        taken = passes(config, precision, masks, counted=False).bytes
    return Cost(round(times * taken), round(each * found.flops), round(each * found.written))


def passes(config: Config, precision: str, masks: list[ClipMask], *, counted: bool) -> Cost:
    """Both passes of a micro-batch of zeros; the FLOPs where `counted`, else 0."""
    recipe, data = config.recipe, config.data
    tokenizer = new_tokenizer(config.tokenizer, data.channels).eval().requires_grad_(False)
    with FakeTensorMode(allow_non_fake_inputs=True), Ledger() as ledger, contextlib.ExitStack() as more:
        flops = more.enter_context(FlopCounterMode(display=False)) if counted else None
        with CPU:
            model = VideoTransformer.of(config).train()
        model.gradient_checkpointing = recipe.gradient_checkpointing
        weights = ledger.alive
        clips = torch.zeros(len(masks), len(masks[0].mask_THW), data.channels, data.size, data.size)
        with torch.no_grad():
            batch = TokenBatch(encoded(tokenizer, clips), masks)
        del clips
        with autocast(CPU, precision):
            past = expected_past(config, model, batch)
            losses = masked_logits(model, batch, clean_past=recipe.clean_past, past_BTHW=past).losses_P
        losses.sum().backward()
        return Cost(ledger.most - weights, flops.get_total_flops() if flops else 0, ledger.written)


def encoded(tokenizer: Tokenizer, clips_BTCHW: Tensor) -> Tensor:
    """Token grids (B, T, h, w); of a learned codebook, which looks at numbers that are not there, by the distances to all of its codes."""
    if tokenizer.config.quantizer != "vq":
        return tokenizer.encode(clips_BTCHW)
    vectors_NhwD = tokenizer.code_vectors(clips_BTCHW.flatten(0, 1))
    distances = vectors_NhwD.float() @ torch.zeros(tokenizer.config.code_dim, tokenizer.codebook_size)
    return distances.argmin(dim=-1).unflatten(0, clips_BTCHW.shape[:2])


def expected_past(config: Config, model: VideoTransformer, batch: TokenBatch) -> Tensor:
    """The clips at the end of a run with as many own pasts as are drawn on average, from frames that are spread evenly."""
    frames = batch.tokens_BTHW.shape[1]
    share = own_past(config, frames, 1.0)
    looking = [clip for clip, mask in enumerate(batch.masks) if mask.objective != "individual"]
    starts = [frames] * len(batch.masks)
    for number, clip in enumerate(looking[: round(share * len(looking))]):
        starts[clip] = 1 + number % (frames - 2)
    return with_own_past(model, batch.tokens_BTHW, starts, [torch.Generator() for _ in starts])


def tokenizer_step(config: Config) -> Cost:
    """One step of the tokenizer phase; of a learned codebook without its own upkeep, which depends on the numbers."""
    tokenizer, data = new_tokenizer(config.tokenizer, config.data.channels), config.data
    with FakeTensorMode(allow_non_fake_inputs=True), Ledger() as ledger, FlopCounterMode(display=False) as flops:
        frames = torch.zeros(config.recipe.tokenizer_batch_size, data.channels, data.size, data.size)
        drawn = tokenizer.pixels(tokenizer.code_vectors(frames))
        F.mse_loss(drawn, frames).backward()
        return Cost(ledger.most, flops.get_total_flops(), ledger.written)
