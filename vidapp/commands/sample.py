"""Generate future frames from a checkpoint and write them to a file."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..config import Config, SamplingConfig
from ..files import printable
from .common import (
    add_sampling,
    check_output,
    clip_lengths,
    given_path,
    given_settings,
    load_to_sample,
    note_unseen,
    open_data,
    positive,
    progress_bar,
    refuse_absent,
    refuse_missing,
    seed,
)

if TYPE_CHECKING:
    import numpy as np

    from ..checkpoint import Checkpoint

FORMATS = (".gif", ".mp4", ".npy")
VISIBLE_PIXELS = 256  # side of a picture that can be looked at


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT", type=given_path, help="A .safetensors file, e.g. assets/moving-mnist.safetensors."
    )
    parser.add_argument(
        "--out", required=True, metavar="FILE", type=given_path, help="FILE.gif or .mp4: given and generated frames; .npy: generated only."
    )
    parser.add_argument(
        "--input", metavar="CLIP", type=given_path, help="A clip to continue. Default: a test clip of the checkpoint's own data."
    )
    parser.add_argument("--context", type=positive, metavar="N", help="Given frames. Default: as trained.")
    parser.add_argument("--frames", type=positive, metavar="N", help="Frames to generate. Default: as trained.")
    add_sampling(parser)
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="Same seed, same frames. Default: 0.")


def execute(arguments: argparse.Namespace) -> int:
    check_output("--out", arguments.out, FORMATS)
    refuse_missing({"CHECKPOINT": arguments.checkpoint, "--input": arguments.input})
    from ..checkpoint import read_header

    config = read_header(arguments.checkpoint).config.replace(given_settings(arguments))
    context, frames = clip_lengths(config, arguments.context, arguments.frames)
    given_u8 = given_frames(config, arguments.input, context)
    checkpoint = load_to_sample(arguments.checkpoint)
    note_unseen(config, context, frames)
    future_u8 = generate(checkpoint, given_u8, frames, config.sampling, arguments.seed)
    write(arguments.out, given_u8, future_u8, ids=config.tokenizer.quantizer == "ids")
    print(printable(str(arguments.out)))
    return 0


def given_frames(config: Config, clip: Path | None, count: int) -> "np.ndarray":
    """The frames to continue, uint8 (count, C, H, W): the clip's first, or a test clip's of the checkpoint's own data."""
    from ..data.source import person_clip

    if clip is None:
        refuse_absent(config.data, "give a clip to continue with --input")
        frames = open_data(config.data).numbered_clip("test", 0, count)
        if len(frames) < count:
            raise ValueError(
                f"the first test clip of {config.data.source} has {len(frames)} frames but {count} are to be given: use --context "
                f"{len(frames)}, or give a clip with --input"
            )
        return frames
    given, which = person_clip(clip, config, count)
    frames = given.frames
    if which:
        print(which, file=sys.stderr)
    if len(frames) < count:
        raise ValueError(f"{given.name} has {len(frames)} frames but {count} are to be given: use --context {len(frames)} or a longer clip")
    return frames


def generate(checkpoint: "Checkpoint", given_u8: "np.ndarray", frames: int, sampling: SamplingConfig, seed: int) -> "np.ndarray":
    """The future frames of one clip uint8 (T, C, H, W): uint8 (frames, C, H, W)."""
    from ..media import to_u8
    from ..rollout import rollout

    context_BTHW = checkpoint.encode(given_u8[None])
    given = context_BTHW.shape[1]
    with progress_bar(frames, "generating", "frame") as bar:
        for step in rollout(checkpoint.transformer, context_BTHW, frames, sampling, seed):
            if step.frame_done:
                bar.update(step.tokens_BTHW.shape[1] - given - bar.n)
    return to_u8(checkpoint.decode(step.tokens_BTHW[:, given:])[0])


def write(path: Path, given_u8: "np.ndarray", future_u8: "np.ndarray", *, ids: bool = False) -> None:
    """.npy: the generated frames alone, or their `ids`, int64 (T, h, w), where frames only draw these. A picture or video: what was given comes first, and small frames are enlarged."""
    import numpy as np

    from ..media import write_clip

    if path.suffix.lower() == ".npy" and ids:
        from ..data.token_ids import write_ids

        write_ids(path, future_u8)
    elif path.suffix.lower() == ".npy":
        write_clip(path, future_u8)
    else:
        write_clip(path, np.concatenate([given_u8, future_u8]), scale=max(1, VISIBLE_PIXELS // future_u8.shape[-1]))
