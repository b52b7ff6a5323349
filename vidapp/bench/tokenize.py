"""Frames to token ids, as training does it, and what that adds to a training step."""

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from ..batches import encode_clips, training_clips
from ..data.source import open_source
from ..device import pick_device
from .effort import Effort, repeat, typical
from .machine import MatrixRate, wait
from .train import HEADLINE, new_phase


def measure(effort: Effort) -> dict[str, object]:
    """The figures of the scope. The share is of a whole training step of `small` on the same clips, which encodes them itself."""
    device, config = pick_device("auto"), effort.config("small")
    clips = range(config.recipe.batch_size)
    frames = len(clips) * config.data.clip_frames
    phase, rate = new_phase(config, device, HEADLINE), MatrixRate(device, "float32", effort.side)
    clips_u8 = training_clips(config, open_source(config.data), 0, clips, config.data.clip_frames)
    tokens = encode_clips(config, phase.tokenizer, clips_u8, 0, clips, device)

    def encode() -> None:
        encode_clips(config, phase.tokenizer, clips_u8, 0, clips, device)
        wait(device)

    @torch.no_grad()
    def decode() -> None:
        phase.tokenizer.decode(tokens)
        wait(device)

    def train() -> None:
        phase.train_step(0, False)
        wait(device)

    rate.measure()
    encoding, step = typical(repeat(encode, effort.seconds / 4)), typical(repeat(train, effort.seconds / 2))
    rate.measure()
    flops = encode_flops(phase.tokenizer.encode, clips_u8, device)
    return {
        "frames_per_second": frames / encoding,
        "frames_per_second_at_matrix_rate": frames * rate.typical / flops,
        "share_of_matrix_rate": flops / encoding / rate.typical,
        "share_of_training_step": encoding / step,
        "decoded_frames_per_second": frames / typical(repeat(decode, effort.seconds / 4)),
        "matrix_flops_per_second": rate.typical,
        "flops_per_frame": flops / frames,
        "training_precision": HEADLINE,
        "device": device.type,
    }


@torch.no_grad()
def encode_flops(encode: object, clips_u8: np.ndarray, device: torch.device) -> int:
    """FLOPs of encoding clips, counted by torch."""
    assert callable(encode)
    with FlopCounterMode(display=False) as counted:
        encode(torch.from_numpy(clips_u8).to(device).float() / 255)
    return counted.get_total_flops()
