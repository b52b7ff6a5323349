"""The training objective: cross-entropy at masked positions, and at no other."""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .batches import TokenBatch, chosen
from .device import to_device
from .masking import alike, head_rows
from .sampling import COLDEST, inverse
from .transformer import VideoTransformer, clean_past_view, clip_view

# Logits of frames that are drawn together: a GPU wants few large operations, a CPU those that its caches hold.
LOGITS_AT_ONCE = {"cuda": 1 << 24}
ELSEWHERE_AT_ONCE = 1 << 21
Tallies = dict[str, tuple[float, int]]  # figure -> (sum, number of terms): what a mean over several parts is made of


@dataclass(frozen=True)
class MaskedLogits:
    """The P masked positions of a batch. logits_PV float32, targets_P ids, positions_P indices into the flattened (B, T, h, w)."""

    logits_PV: Tensor
    targets_P: Tensor
    positions_P: np.ndarray

    @property
    def losses_P(self) -> Tensor:
        """Cross-entropy in nats at each masked position."""
        return F.cross_entropy(self.logits_PV, self.targets_P, reduction="none")


def masked_logits(model: VideoTransformer, batch: TokenBatch, *, clean_past: bool, past_BTHW: Tensor | None = None) -> MaskedLogits:
    """Predict a batch's masked tokens.

    clean_past: every masked frame sees the unmasked frames before it (`past_BTHW`, where given, in their place: a corrupted
    past); otherwise the clip is one stream, and a frame sees what is visible of the others.
    """
    tokens, device = batch.tokens_BTHW, batch.tokens_BTHW.device
    past = tokens if past_BTHW is None else past_BTHW
    parts = alike(batch.masks, model.config.attention == "framewise") if clean_past else [(list(range(len(batch.masks))), False)]
    states, places = [], []
    for clips, with_past in parts:
        part, part_past = (batch, past) if len(parts) == 1 else (batch.of(clips), chosen(past, clips))
        states.append(masked_states(model, part, part_past if with_past else None))
        places.append(np.flatnonzero(part.masked_BTHW) + shifts(part, clips))
    positions = np.concatenate(places)
    order = np.argsort(positions)
    hidden = states[0] if len(parts) == 1 else torch.cat(states)[to_device(order, device)]
    targets = tokens.flatten()[to_device(positions[order], device)]
    return MaskedLogits(rounded_logits(model, hidden), targets, positions[order])


def rounded_logits(model: VideoTransformer, states_PD: Tensor) -> Tensor:
    """Logits float32 (P, V) of P states, computed of `head_rows(P)`."""
    states = F.pad(states_PD, (0, 0, 0, head_rows(len(states_PD)) - len(states_PD)))
    return model.logits(states)[: len(states_PD)].float()


@torch.no_grad()
def with_own_past(model: VideoTransformer, tokens_BTHW: Tensor, starts_B: list[int], generators: list[torch.Generator]) -> Tensor:
    """Tokens with the frames from starts_B on replaced by what the model draws for them in one pass, each given its true past.

    Scheduled sampling (Bengio et al., 2015) for frames: sampling sees its own frames, so training must too. Each clip draws
    its temperature from 0 to 1; starts of at least the clip's length leave it as it is, and cost nothing.
    """
    frames, device = tokens_BTHW.shape[1], tokens_BTHW.device
    wanted = [clip for clip, start in enumerate(starts_B) if max(1, start) < frames]
    if not wanted:
        return tokens_BTHW
    earliest = max(1, min(starts_B[clip] for clip in wanted))
    given = chosen(tokens_BTHW, wanted)[:, :-1]
    view = clean_past_view(frames - 1, earliest, frames, device)
    with whole(model):
        hidden = model(torch.cat([given, torch.full_like(given[:, earliest - 1 :], model.mask_id)], dim=1), view, skip=frames - 1)
    places, temperatures, chances = hidden.shape[2], [], []
    read: list[int] = []
    written: list[int] = []
    for row, clip in enumerate(wanted):
        first, generator = max(1, starts_B[clip]), generators[clip]
        temperatures.append(torch.rand((), generator=generator).expand(frames - first))
        chances.append(torch.rand((frames - first, places), generator=generator))
        read.extend(range(row * hidden.shape[1] + first - earliest, (row + 1) * hidden.shape[1]))
        written.extend(range(clip * frames + first, (clip + 1) * frames))
    drawn = drawn_frames(model, hidden.flatten(0, 1)[to_device(np.array(read), device)], torch.cat(temperatures), torch.cat(chances))
    own = tokens_BTHW.clone()
    own.view(-1, places)[to_device(np.array(written), device)] = drawn
    return own


@contextlib.contextmanager
def whole(model: VideoTransformer) -> Iterator[None]:
    """Within, nothing drops out, as when it is sampled. One that never drops anything is left as it is: to torch.compile it would be another."""
    if not (model.training and model.config.dropout):
        yield
        return
    model.eval()
    try:
        yield
    finally:
        model.train()


def drawn_frames(model: VideoTransformer, hidden_RND: Tensor, temperature_R: Tensor, uniform_RN: Tensor) -> Tensor:
    """Ids (R, N) of frames with these states, each at a temperature of its own; a few frames at a time, for logits take room."""
    device, table = hidden_RND.device, model.token_table()
    logits = LOGITS_AT_ONCE.get(device.type, ELSEWHERE_AT_ONCE)
    at_once = max(1, logits // (uniform_RN.shape[1] * model.codebook_size))
    coldness_R, uniform_RN = (to_device(values, device) for values in (1 / temperature_R.clamp_min(COLDEST), uniform_RN))
    parts = zip(*(values.split(at_once) for values in (hidden_RND, coldness_R, uniform_RN)), strict=True)
    return torch.cat(
        [inverse(model.logits(hidden, table).float() * coldness[:, None, None], uniform) for hidden, coldness, uniform in parts]
    )


def masked_states(model: VideoTransformer, batch: TokenBatch, past_BTHW: Tensor | None) -> Tensor:
    """The model's states (P, D) at the masked positions in their order; against a clean past where one is given, else in one stream."""
    tokens, device = batch.tokens_BTHW, batch.tokens_BTHW.device
    frames, masked = tokens.shape[1], batch.masked_BTHW
    hidden_input = torch.where(to_device(masked, device), model.mask_id, tokens)
    cut_B = batch.cut_B(device)
    if past_BTHW is not None:
        first, clean = batch.first, frames - 1
        view = clean_past_view(clean, first, frames, device, cut_B)
        hidden = model(torch.cat([past_BTHW[:, :clean], hidden_input[:, first:]], dim=1), view, skip=clean)
    else:
        first = 0
        hidden = model(hidden_input, clip_view(frames, model.config.causal, device, cut_B))
    return hidden.reshape(-1, hidden.shape[-1])[to_device(np.flatnonzero(masked[:, first:]), device)]


def shifts(part: TokenBatch, clips: list[int]) -> np.ndarray:
    """What to add to each masked position of a part to make it one of the whole batch, whose `clips` it holds."""
    moved = (np.array(clips) - np.arange(len(clips))) * part.tokens_BTHW[0].numel()
    return np.repeat(moved, [int(mask.mask_THW.sum()) for mask in part.masks])


def objective_losses(losses_P: np.ndarray, positions_P: np.ndarray, batch: TokenBatch) -> Tallies:
    """`loss_<objective>`: the loss at the masked positions of each objective that was drawn."""
    clip_of_P = positions_P // batch.tokens_BTHW[0].numel()
    names_P = np.array([mask.objective for mask in batch.masks])[clip_of_P]
    return {f"loss_{name}": tally(losses_P[names_P == name]) for name in sorted(set(names_P))}


def accuracies(predicted_P: np.ndarray, positions_P: np.ndarray, tokens_BTHW: np.ndarray) -> Tallies:
    """Masked tokens that are predicted: of all, and of those that differ from the token one frame before; and those that copying gets."""
    tokens = tokens_BTHW.reshape(-1)
    frames, places = tokens_BTHW.shape[1], tokens_BTHW[0, 0].size
    target = tokens[positions_P]
    later = (positions_P // places) % frames > 0
    before = tokens[np.where(later, positions_P - places, positions_P)]
    changed, right = later & (before != target), predicted_P == target
    return {"masked_accuracy": tally(right), "copy_accuracy": tally((before == target)[later]), "changed_accuracy": tally(right[changed])}


def tally(values: np.ndarray) -> tuple[float, int]:
    return float(values.sum(dtype=np.float64)), values.size


def means(parts: Iterable[Tallies]) -> dict[str, float]:
    """Each figure's mean over all parts, however what it counts is spread over them; left out where nothing was counted."""
    sums: dict[str, tuple[float, int]] = {}
    for part in parts:
        for name, (total, count) in part.items():
            before = sums.get(name, (0.0, 0))
            sums[name] = (before[0] + total, before[1] + count)
    return {name: total / count for name, (total, count) in sums.items() if count}
