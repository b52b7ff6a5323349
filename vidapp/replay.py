"""How a generation was decoded, step by step: recorded while it is made, looked at later."""

from dataclasses import dataclass

import numpy as np

from .rollout import RolloutStep
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
