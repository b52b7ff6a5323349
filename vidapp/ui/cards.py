"""What the Generate tab says in words and curves: a checkpoint's card, a verdict, the error of each frame."""

import html
from pathlib import Path
from typing import Any

from ..config import MOVING_MNIST
from ..plots import error_curve
from . import session
from .generation import Agreement, Errors, Verdict
from .plot import figure_value
from .words import count, short


def card_text(path: Path) -> str:
    """One line about a checkpoint: data, size, step, score."""
    header = session.read_header(path)
    config = header.config
    data = config.data
    parts = [
        f"{'Moving MNIST' if data.source in MOVING_MNIST else 'own clips'}, {data.size}×{data.size}",
        f"{config.model.attention} attention, {header.parameters / 1e6:.1f} M parameters",
        f"step {header.step:,}",
        f"trained on {data.context_frames} given + {count(data.clip_frames - data.context_frames, 'future frame')}",
    ]
    if header.phase == "tokenizer":
        parts.append("its transformer is untrained: only its tokenizer is of use")
    loss = header.metrics.get("validation_loss_full")
    return " · ".join([*parts, f"validation loss {short(loss)}"] if isinstance(loss, (int, float)) else parts)


def card_html(text: str) -> str:
    return f'<div class="card">{html.escape(text)}</div>' if text else ""


def error_chart(errors: Errors | Agreement | None) -> dict[str, Any] | None:
    if isinstance(errors, Agreement):
        return figure_value(error_curve(errors.rows, metric="true ids", unit="share of a frame"))
    return figure_value(error_curve(errors.rows, metric="squared error", unit="a frame")) if errors else None


def verdict_html(found: Verdict) -> str:
    return f'<div class="verdict {found.tone}"><b>{html.escape(found.headline)}</b><span>{html.escape(found.figures)}</span></div>'
