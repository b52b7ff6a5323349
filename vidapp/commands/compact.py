"""Write a checkpoint in little more than half the bytes, to give it away: eight bits a weight, and frames that hardly differ."""

import argparse
from pathlib import Path

from ..files import printable
from .common import check_output, given_path, refuse_missing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        type=given_path,
        help="A .safetensors file, e.g. runs/NAME/checkpoints/step-00001000.safetensors.",
    )
    parser.add_argument("--out", required=True, metavar="FILE", type=given_path, help="FILE.safetensors, which must not exist yet.")


def execute(arguments: argparse.Namespace) -> int:
    source, out = arguments.checkpoint, arguments.out
    check_output("--out", out, (".safetensors",))
    refuse_missing({"CHECKPOINT": source})
    if out.exists():
        raise ValueError(f"--out {out} exists already: choose another name")
    from ..checkpoint import load_tensors, load_tokenizer, read_header, save_checkpoint

    header = read_header(source)
    if header.compact:
        raise ValueError(f"{source.name} is compact already")
    tokenizer, config = load_tokenizer(source)
    weights = load_tensors(source, "transformer.")
    save_checkpoint(out, config, tokenizer, weights, step=header.step, metrics=header.metrics, phase=header.phase, compact=True)
    print(printable(f"{out} ({megabytes(out)}; {source.name}: {megabytes(source)})"))
    return 0


def megabytes(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB"
