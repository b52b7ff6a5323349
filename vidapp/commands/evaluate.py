"""Score a checkpoint's future frames on test clips, beside predictions that need no model."""

import argparse
from pathlib import Path

from .common import add_json, clip_lengths, open_data, positive, print_json, progress_bar, wants_json

DEFAULT_CLIPS = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", metavar="CHECKPOINT", type=Path, help="A .safetensors file, e.g. assets/moving-mnist.safetensors.")
    parser.add_argument("--data", metavar="moving-mnist|PATH", help="What to test on. Default: the checkpoint's own data.")
    parser.add_argument("--clips", type=positive, default=DEFAULT_CLIPS, metavar="N", help=f"Test clips. Default: {DEFAULT_CLIPS}.")
    parser.add_argument("--context", type=positive, metavar="N", help="Given frames. Default: as trained.")
    parser.add_argument("--frames", type=positive, metavar="N", help="Future frames. Default: as trained.")
    add_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    from ..checkpoint import load_checkpoint, read_header
    from ..device import pick_device
    from ..evaluate import evaluate, format_table

    config = read_header(arguments.checkpoint).config
    context, frames = clip_lengths(config, arguments.context, arguments.frames)
    data = config.replace({"data.source": arguments.data}).data if arguments.data else config.data
    source = open_data(data)
    checkpoint = load_checkpoint(arguments.checkpoint, pick_device("auto"))
    with progress_bar(arguments.clips, "evaluating", "clip") as bar:

        def show(done: int, total: int) -> None:
            bar.total = total  # fewer than asked for where no more exist
            bar.update(done - bar.n)

        scores = evaluate(checkpoint, source, arguments.clips, context, frames, progress=show)
    if wants_json(arguments):
        print_json(scores)
    else:
        print(format_table(scores))
    return 0
