"""Matrices in eight bits, for checkpoints that are given away: each row as integers times a scale of its own.

A row is off by half a step at most, a 254th of its largest weight. Symmetric quantisation of weights alone, per output channel
(Jacob et al., 2018): they are computed with in float32 as ever.
"""

import torch
from torch import Tensor

SCALE = ".scale"  # follows a matrix's name in the name of its rows' scales
LARGEST = 127


def in_eight_bits(matrix_RC: Tensor) -> tuple[Tensor, Tensor]:
    """(int8 (R, C) in [-127, 127], scales float32 (R,)) of a finite matrix; a row of zeros has the scale 0."""
    scale_R = matrix_RC.float().abs().amax(dim=1) / LARGEST
    steps_RC = matrix_RC.float() / torch.where(scale_R > 0, scale_R, 1.0)[:, None]
    return steps_RC.round().clamp(-LARGEST, LARGEST).to(torch.int8), scale_R


def in_full(steps_RC: Tensor, scale_R: Tensor) -> Tensor:
    """float32 (R, C) of what `in_eight_bits` gives."""
    return steps_RC.float() * scale_R[:, None]
