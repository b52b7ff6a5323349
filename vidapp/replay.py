"""How a generation was decoded, step by step: recorded while it is made, looked at later.

Only what was decided is recorded. What the transformer believed at a step follows from the tokens before it, and is computed again
for the frame that is looked at.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from .microscope import Microscope, logits_at_once
from .rollout import RolloutStep, past_after
from .token_figures import Array


@dataclass(frozen=True)
class ReplayStep:
    """One decode step of the frames [frame, frame + n) of the future, from 0.

    tokens_nHW: int32 ids after this step, the mask id where not decided. confidence_nHW: float16 probability of the id that was drawn
    in this step; 1 where one was decided before.
    """

    frame: int
    decode_step: int
    decode_steps: int
    tokens_nHW: Array
    confidence_nHW: Array

    @property
    def size(self) -> int:
        """Bytes held."""
        return self.tokens_nHW.nbytes + self.confidence_nHW.nbytes


@dataclass(frozen=True)
class Replay:
    """All decode steps of a generation, in order. tokens_THW: int32, the given and the decided frames."""

    given: int
    mask_id: int
    tokens_THW: Array
    steps: tuple[ReplayStep, ...]

    def of_frame(self, frame: int) -> list[ReplayStep]:
        """The decode steps of the frame `frame` of the future, from 0; none where they were not recorded."""
        return [step for step in self.steps if step.frame <= frame < step.frame + len(step.tokens_nHW)]

    @property
    def size(self) -> int:
        return self.tokens_THW.nbytes + sum(step.size for step in self.steps)


class Recorder:
    """Called with every step of a rollout of one clip; `replay` is what it saw."""

    def __init__(self, mask_id: int) -> None:
        self.mask_id = mask_id
        self.steps: list[ReplayStep] = []
        self.tokens_THW: Array | None = None
        self.given = 0

    def __call__(self, step: RolloutStep) -> None:
        count = step.confidence_BTHW.shape[1]
        tokens_THW = step.tokens_BTHW[0].to("cpu").numpy().astype(np.int32)
        before = len(tokens_THW) - count
        if self.tokens_THW is None:
            self.given = before
        confidence = step.confidence_BTHW[0].float().cpu().numpy().astype(np.float16)
        self.steps.append(ReplayStep(before - self.given, step.decode_step, step.decode_steps, tokens_THW[before:], confidence))
        self.tokens_THW = tokens_THW

    def replay(self) -> Replay:
        """ValueError where nothing was decoded, or not to the end."""
        if self.tokens_THW is None or (self.tokens_THW == self.mask_id).any():
            raise ValueError("the decoding was not watched to its end: generate again")
        return Replay(self.given, self.mask_id, self.tokens_THW, tuple(self.steps))


@dataclass(frozen=True)
class StepView:
    """A decode step of one frame, to be drawn. All grids (h, w).

    tokens: int ids after the step, the mask id where not decided. confidence: probability of the id that was drawn in this step, or in
    the one that decided it. entropy_bits: of what it was drawn from, likewise. picture: float32 (C, H, W), in [0, 1], of what is
    decided, with the most likely id of this step wherever nothing is.
    """

    tokens: Array
    confidence: Array
    entropy_bits: Array
    picture: Array


@torch.no_grad()
def step_views(microscope: Microscope, replay: Replay, frame: int) -> list[StepView]:
    """Every decode step of the frame `frame` of the future, from 0; ValueError where they were not recorded.

    `microscope` looks at the replay's own tokens.
    """
    steps = replay.of_frame(frame)
    if not steps:
        raise ValueError(f"the decode steps of future frame {frame} were not recorded: generate again")
    logits_SHWV = believed(microscope, replay, steps, frame)
    logarithm = logits_SHWV.log_softmax(dim=-1)
    entropies = (-(logarithm.exp() * logarithm).sum(dim=-1) / math.log(2)).clamp_min(0).cpu().numpy()
    guesses = logits_SHWV.argmax(dim=-1).cpu().numpy()
    tokens_SHW = np.stack([step.tokens_nHW[frame - step.frame] for step in steps])
    shown = torch.from_numpy(np.where(tokens_SHW == replay.mask_id, guesses, tokens_SHW)).long()
    pictures = microscope.checkpoint.decode(shown[:, None])[:, 0]
    views: list[StepView] = []
    for number, step in enumerate(steps):
        confidence = step.confidence_nHW[frame - step.frame].astype(np.float32)
        entropy = entropies[number]
        if number:
            decided = tokens_SHW[number - 1] != replay.mask_id
            confidence = np.where(decided, views[-1].confidence, confidence)
            entropy = np.where(decided, views[-1].entropy_bits, entropy)
        views.append(StepView(tokens_SHW[number], confidence, entropy, pictures[number]))
    return views


def believed(microscope: Microscope, replay: Replay, steps: list[ReplayStep], frame: int) -> torch.Tensor:
    """Logits (S, h, w, V) that each step drew the frame's ids from: those after the tokens that were decided before it."""
    decided = [np.full_like(steps[0].tokens_nHW, replay.mask_id), *(step.tokens_nHW for step in steps[:-1])]
    grids_SnHW = torch.from_numpy(np.stack(decided)).long().to(microscope.tokens_THW.device)
    first, place = replay.given + steps[0].frame, frame - steps[0].frame
    transformer = microscope.checkpoint.transformer
    if len(steps[0].tokens_nHW) == 1 and microscope.is_causal:
        if first >= transformer.max_frames > 1:  # the window has moved: the model saw what was left in it when the frame was decoded
            clips_STHW = microscope.tokens_THW.expand(len(steps), -1, -1, -1)
            past = past_after(transformer, clips_STHW[:, : replay.given], clips_STHW[:, replay.given : first])
            return past.frame_logits(grids_SnHW)[:, 0]
        return microscope.frame_logits(microscope.tokens_THW, first, grids_SnHW)[:, 0]
    future = len(replay.tokens_THW) - replay.given
    return logits_at_once(transformer, microscope.tokens_THW, first, grids_SnHW, replay.given + future)[:, place]
