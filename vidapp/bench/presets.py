"""A training step of every preset, in both precisions and with both attentions; compiled too where that takes seconds and not minutes."""

from typing import Any

import torch

from ..config import Config
from ..device import pick_device
from .effort import Effort
from .train import train_steps

PRESETS = ("debug", "tiny", "small", "base")
PRECISIONS = ("float32", "bf16")
ATTENTIONS = ("factorized", "full")
BATCH = 4  # clips in a step at most where there is no GPU: a clip's time is what counts


def measure(effort: Effort) -> dict[str, object]:
    """The figures of the scope, one row for each preset, attention, precision and, on CUDA, with torch.compile and without."""
    device = pick_device("auto")
    compiles = ("off", "on") if device.type == "cuda" else ("off",)
    rows = []
    for name in PRESETS:
        for attention in ATTENTIONS:
            for precision in PRECISIONS:
                for compiled in compiles:
                    config = asked(effort, device, name, attention, compiled)
                    choice = {"preset": name, "attention": attention, "precision": precision, "compile": compiled}
                    rows.append({**choice, **train_steps(config, device, precision, effort).figures()})
    return {"rows": rows, "device": device.type, "threads": torch.get_num_threads()}


def asked(effort: Effort, device: torch.device, name: str, attention: str, compiled: str) -> Config:
    config = effort.config(name, model__attention=attention, run__compile=compiled)
    large = device.type != "cuda" and config.recipe.batch_size > BATCH
    return config.replace({"recipe.batch_size": BATCH}) if large else config


def table(figures: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows for people."""
    header = ["preset", "attention", "precision", "compile", "tokens/s", "seconds a clip", "of the matrix rate"]
    rows = [
        [
            row["preset"],
            row["attention"],
            row["precision"],
            row["compile"],
            f"{row['tokens_per_second']:,.0f}",
            f"{row['seconds_per_step'] / row['batch_size']:.2f}",
            f"{row['model_flops_utilization']:.2f}",
        ]
        for row in figures["rows"]
    ]
    return header, rows
