"""Who sees whom: hidden tokens stay hidden, (f) no frame sees a later one, (d) frames on their own see no other, and sampling feeds
the model what training did. Asked of a copy in float64 with large weights, where every influence shows."""

import numpy as np
import torch
from torch import Tensor

from ..batches import TokenBatch
from ..masking import ClipMask
from ..objective import masked_logits
from ..rollout import RolloutStep, rollout
from ..transformer import VideoTransformer
from .subject import Subject, future_batch, masks_of, other_ids
from .verdict import Check, Progress, judge, not_applicable

UNSEEN = 1e-6  # change of a logit that rounding could make
SEEN = 1e-3
PROBE_CLIPS = 2
PROBE_STEPS = 3  # decode steps a frame
ONE_TOKEN = "a frame is one token: where that is masked, nothing of the frame is visible"
AGREEMENT = 1e-3  # nats between what training and sampling give the same token


@torch.no_grad()
def logits_by_frame(model: VideoTransformer, batch: TokenBatch, clean_past: bool) -> list[Tensor]:
    """Logits (P, V) of the masked positions of each frame."""
    found = masked_logits(model, batch, clean_past=clean_past)
    frames, places = batch.tokens_BTHW.shape[1], batch.tokens_BTHW[0, 0].numel()
    frame_P = torch.from_numpy((found.positions_P // places) % frames)
    return [found.logits_PV[frame_P.to(found.logits_PV.device) == frame] for frame in range(frames)]


def change(before: list[Tensor], after: list[Tensor], frames: range | list[int]) -> float:
    """Largest change of a logit in these frames; infinite where the masked positions themselves have changed."""
    changes = [0.0]
    for frame in frames:
        if before[frame].shape != after[frame].shape:
            return float("inf")
        if before[frame].numel():
            changes.append(float((before[frame] - after[frame]).abs().max()))
    return max(changes)


def altered(batch: TokenBatch, frame: int, codebook_size: int, where: str = "all") -> TokenBatch:
    """The batch with other ids in one frame: all of them, or only the `masked` or the `visible` ones."""
    tokens = batch.tokens_BTHW.clone()
    masked = torch.from_numpy(batch.masked_BTHW[:, frame]).to(tokens.device)
    hit = {"all": torch.ones_like(masked), "masked": masked, "visible": ~masked}[where]
    tokens[:, frame] = torch.where(hit, other_ids(tokens[:, frame], codebook_size), tokens[:, frame])
    return TokenBatch(tokens, batch.masks)


def probe(subject: Subject, objective: str) -> TokenBatch:
    """Clips with half of every frame hidden."""
    tokens = subject.tokens_BTHW[:PROBE_CLIPS]
    return TokenBatch(tokens, masks_of(objective, len(tokens), subject.frames, subject.short.grid, 0, 0.5))


def ways_to_pass(subject: Subject) -> list[bool]:
    """clean_past or not: the two ways that clips are passed through a causal model."""
    return [False, True] if subject.config.model.causal and subject.frames > 1 else [False]


def hidden_stays_hidden(subject: Subject, progress: Progress) -> list[Check]:
    """What is to be predicted must not reach its own prediction."""
    model, size = subject.rough_model(), subject.short.tokenizer.codebook_size
    clean_past = subject.short.recipe.clean_past
    batch = future_batch(subject)
    before = logits_by_frame(model, batch, clean_past)
    leaks, seen = [], []
    for frame in range(batch.first, subject.frames):
        # Against a clean past, later frames are meant to see this one's truth; without one, nobody is.
        watching = range(frame + 1) if clean_past else range(subject.frames)
        leaks.append(change(before, logits_by_frame(model, altered(batch, frame, size, "masked"), clean_past), watching))
        seen.append(change(before, logits_by_frame(model, altered(batch, frame, size, "visible"), clean_past), [frame]))
        progress((frame + 1) / subject.frames)
    first = judge(
        "hidden_tokens_stay_hidden",
        "Masked tokens cannot be seen",
        max(leaks),
        at_most=UNSEEN,
        unit="largest change of a logit",
        good="other ids behind the masks change no prediction",
        bad="the prediction of a masked token depends on that token: the mask leaks (the input holds true ids where the mask id should be)",
    )
    name, title = "input_is_seen", "Visible tokens of the same frame are seen"
    if subject.short.grid == 1:
        return [first, not_applicable(name, title, ONE_TOKEN)]
    second = judge(
        name,
        title,
        min(seen),
        at_least=SEEN,
        unit="smallest change of a logit",
        good="attention within a frame works",
        bad="other visible tokens in a frame change nothing in its predictions: attention within a frame is cut off",
    )
    return [first, second]


def causality(subject: Subject, progress: Progress) -> list[Check]:
    """No frame sees a later one, and every frame sees the one before."""
    titles = {"causality": "No frame sees a later one", "sees_the_past": "Frames see the frames before them"}
    if not subject.sees_time:
        why = "model.attention=framewise sees no other frame: it cannot learn motion" if subject.frames > 1 else "clips have one frame only"
        return [not_applicable(name, title, why) for name, title in titles.items()]
    model, size = subject.rough_model(), subject.short.tokenizer.codebook_size
    batch = probe(subject, "joint")
    future, past = [], []
    for clean_past in ways_to_pass(subject):
        before = logits_by_frame(model, batch, clean_past)
        shown = clean_past or subject.short.grid > 1  # whether anything of a frame with masks can be seen
        for frame in range(subject.frames):
            after = logits_by_frame(model, altered(batch, frame, size), clean_past)
            future.append(change(before, after, range(frame)))
            past += [change(before, after, [frame + 1])] if shown and frame + 1 < subject.frames else []
        progress(0.5 if clean_past else 1.0)
    if subject.config.model.causal:
        blame = "attention across frames is not causal: cached frame-by-frame sampling would see something else than training did; mend the mask"
        first = judge(
            "causality",
            titles["causality"],
            max(future),
            at_most=UNSEEN,
            unit="largest change of a logit",
            good="later frames change no earlier prediction",
            bad=blame,
        )
    else:
        first = not_applicable("causality", titles["causality"], "model.causal=false: frames may see later ones", figure=max(future))
    if not past:
        return [first, not_applicable("sees_the_past", titles["sees_the_past"], ONE_TOKEN)]
    second = judge(
        "sees_the_past",
        titles["sees_the_past"],
        min(past),
        at_least=SEEN,
        unit="smallest change of a logit",
        good="what a frame holds reaches the next one's prediction",
        bad="other tokens in a frame change nothing in the next one: attention across frames is cut off, so motion cannot be learnt",
    )
    return [first, second]


def frames_alone(subject: Subject, progress: Progress) -> list[Check]:
    """Under the objective `individual` no frame sees another."""
    model, size = subject.rough_model(), subject.short.tokenizer.codebook_size
    title = "Frames on their own see no other"
    if subject.frames < 2:
        return [not_applicable("frame_wise_isolation", title, "clips have one frame only")]
    batch = probe(subject, "individual")
    leaks = []
    for clean_past in ways_to_pass(subject):
        before = logits_by_frame(model, batch, clean_past)
        for frame in range(subject.frames):
            others = [other for other in range(subject.frames) if other != frame]
            leaks.append(change(before, logits_by_frame(model, altered(batch, frame, size), clean_past), others))
    progress(1.0)
    return [
        judge(
            "frame_wise_isolation",
            title,
            max(leaks),
            at_most=UNSEEN,
            unit="largest change of a logit",
            good="under the objective `individual`, attention across frames is cut",
            bad="under the objective `individual` a frame's predictions depend on another frame: the cut in the attention mask leaks",
        )
    ]


def training_matches_sampling(subject: Subject, progress: Progress) -> list[Check]:
    """The same token in the same surroundings gets the same probability from the training pass and from the sampler's."""
    name, title = "training_matches_sampling", "Sampling feeds the model what training did"
    if not subject.sees_time:
        return [not_applicable(name, title, "there is no past to sample from")]
    config = subject.short
    sampling = config.replace({"sampling.steps": min(config.sampling.steps, PROBE_STEPS), "sampling.choice": "drawn"}).sampling
    model = subject.rough_model()
    context = config.data.context_frames
    given = subject.tokens_BTHW[:PROBE_CLIPS, :context]
    steps = list(rollout(model, given, subject.frames - context, sampling, 0))
    clip = steps[-1].tokens_BTHW
    gaps = []
    for place, step in enumerate(steps):
        gaps.append(disagreement(model, clip, step, steps[place - 1] if step.decode_step else None, context, config.recipe.clean_past))
        progress((place + 1) / len(steps))
    causal_without = config.model.causal and not config.recipe.clean_past
    setting = "set recipe.clean_past=true" if causal_without else "compare the views that objective.py and rollout.py pass"
    return [
        judge(
            name,
            title,
            max(gaps),
            at_most=AGREEMENT,
            unit="nats",
            good="training and sampling give the same token the same probability",
            bad="the past is masked or changed in training but clean in sampling (or the cache holds something else): the same token gets "
            f"another probability when sampled; {setting}",
            curve=tuple((float(place), gap) for place, gap in enumerate(gaps)),
            axes=("decode step", "largest disagreement (nats)"),
        )
    ]


@torch.no_grad()
def disagreement(
    model: VideoTransformer, clip: Tensor, step: RolloutStep, before: RolloutStep | None, context: int, clean_past: bool
) -> float:
    """Largest difference in log probability of the tokens that `step` committed, between the sampler and a training pass in which
    the frames being decoded are masked as they were before it, and the other future frames by half."""
    decoded = range(context, clip.shape[1]) if step.frame < 0 else range(context + step.frame, context + step.frame + 1)
    hidden = np.stack([mask.mask_THW for mask in masks_of("future", len(clip), clip.shape[1], clip.shape[2], context, 0.5)])
    masked = torch.ones_like(clip[:, decoded.start : decoded.stop], dtype=torch.bool)
    if before is not None:
        masked = before.tokens_BTHW[:, decoded.start : decoded.stop] == model.mask_id
    hidden[:, decoded.start : decoded.stop] = masked.cpu().numpy()
    batch = TokenBatch(clip, [ClipMask(mask, "future", context, 0.5) for mask in hidden])
    found = masked_logits(model, batch, clean_past=clean_past)
    log_p = torch.full(clip.shape, torch.nan, device=clip.device).flatten()
    chosen = found.logits_PV.log_softmax(-1).gather(-1, found.targets_P[:, None])[:, 0]
    log_p[torch.from_numpy(found.positions_P).to(clip.device)] = chosen.float()
    trained = log_p.reshape(clip.shape)[:, decoded.start : decoded.stop]
    committed = masked & (step.tokens_BTHW[:, decoded.start : decoded.stop] != model.mask_id)
    sampled = step.confidence_BTHW.clamp_min(1e-30).log()
    gap = (trained - sampled)[committed].abs()
    return float(gap.max()) if gap.numel() else 0.0
