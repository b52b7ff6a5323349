"""How the cost of a training step grows: with frames, with the grid, with the width; for factorized and for full attention.

One size is changed at a time around `small`, so that each line starts from the same steps. FLOPs tell what arithmetic alone
would say; where time grows faster, memory does the slowing, and where slower, the small step did not fill the machine.
"""

from typing import Any

import torch

from ..config import Config
from ..device import pick_device, pick_precision
from ..memory import free_memory
from ..preflight import preflight
from .effort import Effort
from .train import train_steps

BATCH = 2
HEAD_WIDTH = 48  # channels of a head in every preset
ATTENTIONS = ("factorized", "full")
AXES: dict[str, tuple[int, ...]] = {"frames": (5, 10, 20, 40), "grid": (4, 8, 12, 16), "width": (96, 192, 384)}
LARGEST_SHARE = 0.8  # of the free memory


def measure(effort: Effort) -> dict[str, object]:
    """The figures of the scope, one row for each size; sizes that would not fit into memory are left out and named."""
    device = pick_device("auto")
    precision = pick_precision(effort.config("small"), device)
    rows, left_out = [], []
    for axis, values in AXES.items():
        for attention in ATTENTIONS:
            for value in values:
                config = sized(effort, axis, value, attention)
                if device.type == "cpu" and preflight(config).memory > LARGEST_SHARE * free_memory():
                    left_out.append(f"{axis} {value}, {attention}")
                else:
                    rows.append({"axis": axis, "value": value, "attention": attention, **cost(config, device, precision, effort)})
    return {"rows": rows, "left_out": left_out, "precision": precision, "device": device.type, "threads": torch.get_num_threads()}


def sized(effort: Effort, axis: str, value: int, attention: str) -> Config:
    """`small` with one size changed. A grid of n x n is of frames n times as wide as a token's patch."""
    changes: dict[str, Any] = {"recipe.batch_size": BATCH, "model.attention": attention}
    if axis == "frames":
        changes |= {"data.clip_frames": value, "data.context_frames": value // 2}
    elif axis == "grid":
        changes |= {"data.size": value * effort.config("small").tokenizer.downsampling}
    else:
        changes |= {"model.width": value, "model.heads": max(1, value // HEAD_WIDTH)}
    return effort.config("small").replace(changes)


def cost(config: Config, device: torch.device, precision: str, effort: Effort) -> dict[str, float]:
    found = train_steps(config, device, precision, effort)
    return {
        "seconds_per_clip": found.seconds_per_clip,
        "flops_per_clip": found.flops_per_clip,
        "model_flops_utilization": found.utilization,
        "tokens_per_clip": config.data.clip_frames * config.grid**2,
    }


def table(figures: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: each size, and beside each cost how often it is that of the size before."""
    header = [
        "changed",
        "attention",
        "tokens a clip",
        "GFLOP a clip",
        "seconds a clip",
        "times the one before: FLOP",
        "time",
        "utilization",
    ]
    rows: list[list[str]] = []
    before: dict[str, Any] | None = None
    for row in figures["rows"]:
        follows = before is not None and all(before[key] == row[key] for key in ("axis", "attention"))
        grown = [f"{row[key] / before[key]:.1f}" for key in ("flops_per_clip", "seconds_per_clip")] if before and follows else ["", ""]
        rows.append(
            [
                f"{row['axis']} {row['value']}",
                row["attention"],
                f"{row['tokens_per_clip']:,}",
                f"{row['flops_per_clip'] / 1e9:.1f}",
                f"{row['seconds_per_clip']:.2f}",
                *grown,
                f"{row['model_flops_utilization']:.2f}",
            ]
        )
        before = row
    return header, rows
