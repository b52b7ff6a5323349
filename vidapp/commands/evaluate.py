"""Score a checkpoint's future frames on test clips, beside predictions that need no model."""

import argparse
import contextlib
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from ..config import Config, DataConfig

from ..config import MOVING_MNIST, SPLITS
from ..files import expanded
from .common import (
    add_json,
    add_sampling,
    check_output,
    clip_lengths,
    given_path,
    given_settings,
    load_to_sample,
    not_empty,
    note_unseen,
    open_data,
    positive,
    print_json,
    progress_bar,
    refuse_absent,
    refuse_missing,
    seed,
    wants_json,
)
from .stream import Stream, add_json_lines

DEFAULT_CLIPS = 100
BATCH = 16
STRIP_FORMATS = (".png",)
DRAWN_PIXELS = 96  # about the height of a frame in a picture


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT", type=given_path, help="A .safetensors file, e.g. assets/moving-mnist.safetensors."
    )
    parser.add_argument("--data", type=not_empty, metavar="moving-mnist|PATH", help="What to test on. Default: the checkpoint's own data.")
    parser.add_argument("--clips", type=positive, default=DEFAULT_CLIPS, metavar="N", help=f"Test clips. Default: {DEFAULT_CLIPS}.")
    parser.add_argument("--context", type=positive, metavar="N", help="Given frames. Default: as trained.")
    parser.add_argument("--frames", type=positive, metavar="N", help="Future frames. Default: as trained.")
    parser.add_argument(
        "--samples",
        type=positive,
        default=1,
        metavar="N",
        help="Futures drawn of each clip: 2 or more add the best of them (which takes the truth to pick), their mean, and how much they differ. "
        "Default: 1.",
    )
    parser.add_argument(
        "--split", choices=SPLITS[::-1], default=SPLITS[-1], help="Which clips. Choose settings on validation. Default: test."
    )
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="Seed of what is drawn. Default: 0.")
    add_sampling(parser)
    parser.add_argument(
        "--stages",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="Also with the true past, in one pass and decoded: says where it is lost. Takes about twice as long. Default: yes.",
    )
    parser.add_argument("--strip", type=given_path, metavar="FILE.png", help="Draw the first clip at every stage into this picture.")
    add_json(parser)
    add_json_lines(parser)


def execute(arguments: argparse.Namespace) -> int:
    if arguments.strip:
        check_output("--strip", arguments.strip, STRIP_FORMATS)
    refuse_missing({"CHECKPOINT": arguments.checkpoint, "--data": arguments.data})
    from ..checkpoint import read_header
    from ..evaluate import evaluate
    from ..report import format_table

    config = read_header(arguments.checkpoint).config.replace(given_settings(arguments))
    context, frames = clip_lengths(config, arguments.context, arguments.frames)
    data = data_for(config.data, arguments.data, context + frames)
    refuse_absent(data, "give clips to test on with --data")
    if data.source != config.data.source and not {data.source, config.data.source} & set(MOVING_MNIST):
        print(
            f"note: where {arguments.data} holds copies of what was trained on, these may be among the {arguments.split} clips",
            file=sys.stderr,
        )
    with in_terms_of_flags(data, context, frames):
        source = open_data(data)
    checkpoint = load_to_sample(arguments.checkpoint)
    note_unseen(config, context, frames)
    if arguments.samples > 1 and config.sampling.choice == "expected":
        print(f"note: what is expected is one future, whatever the seed: the {arguments.samples} samples are alike", file=sys.stderr)
    stream = Stream(arguments.json_lines)
    strips: dict[str, np.ndarray] = {}
    batch = min(BATCH, max(2, arguments.clips // 8)) if stream.wanted else BATCH  # whoever watches wants to see it move
    with in_terms_of_flags(data, context, frames), progress_bar(arguments.clips, "evaluating", "clip") as bar:

        def show(done: int, total: int) -> None:
            bar.total = total  # fewer than asked for where no more exist
            bar.update(done - bar.n)
            stream.progress("evaluating", done / total)

        scores = evaluate(
            checkpoint,
            source,
            arguments.clips,
            context,
            frames,
            config.sampling,
            arguments.seed,
            arguments.split,
            progress=show,
            samples=arguments.samples,
            batch_clips=batch,
            stages=arguments.stages,
            show=strips.__setitem__,
        )
    if arguments.stages:
        scores = located(scores, config)
    if arguments.json_lines:
        stream.line("result", scores)
    elif wants_json(arguments):
        print_json(scores)
    else:
        print(format_table(scores))
        if arguments.stages:
            print(f"\n{scores['lost']['words']}\n{scores['lost']['advice']}")
    if arguments.strip:
        draw(arguments.strip, strips)  # last: a disk that refuses the picture takes no scores with it
    return 0


def data_for(own: "DataConfig", given: str | None, frames: int) -> "DataConfig":
    """What to test on. Clips that the checkpoint was not trained on need be no longer than so many frames."""
    if given is None or same_source(given, own.source):
        return own  # another length could split them otherwise, and put what it was trained on into the test
    clip = min(own.clip_frames, frames)
    return dataclasses.replace(own, source=given, clip_frames=clip, context_frames=min(own.context_frames, max(1, clip - 1)))


def same_source(one: str, other: str) -> bool:
    """Whether both name the same clips, however a path is written."""
    if one == other or {one, other} & set(MOVING_MNIST):
        return one == other
    return expanded(one).resolve() == expanded(other).resolve()


@contextlib.contextmanager
def in_terms_of_flags(data: "DataConfig", context: int, frames: int) -> Iterator[None]:
    """What is said of clips that are too short, with the flags that decide it here."""
    from ..data.folder import TooShortError

    try:
        yield
    except TooShortError as error:
        shorter = f"lower --context and --frames to {error.fits} in all, or " if error.fits > 1 else ""
        raise ValueError(
            f"{data.source} has no clip long enough for {context} given and {frames} future frames: {shorter}give longer clips"
        ) from error


def located(scores: dict[str, Any], config: "Config | None" = None) -> dict[str, Any]:
    """The scores with `lost` (where it is lost), and the two stages that most is read from under their common names."""
    from ..stages import lost

    rollout = {name: scores[name] for name in ("mse", "mae", "ssim", "ssim_data_range_1", "psnr", "sharpness", "per_frame")}
    return {**scores, "teacher_forced": scores["true_past"], "rollout": rollout, "lost": lost(scores, config).to_dict()}


def draw(path: Path, strips: dict[str, "np.ndarray"]) -> None:
    """A picture with a row for each stage, the truth above."""
    from ..files import replacing
    from ..media import StripRow, film_strip, to_u8
    from ..stages import TITLES

    rows = [StripRow(to_u8(strips[name]), title) for name, title in {"truth": "Truth", **TITLES}.items() if name in strips]
    picture = film_strip(rows, scale=max(1, round(DRAWN_PIXELS / rows[0].frames.shape[2])))
    with replacing(path) as temporary:
        picture.save(temporary, format="PNG")
