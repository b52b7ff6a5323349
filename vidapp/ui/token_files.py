"""Tokens to take away: a picture of every frame's id grid, the ids as .npy, and as JSON with what they belong to."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..files import replacing, write_json
from ..token_figures import Array
from .token_colours import colour_of, ink_on
from .token_view import TokenView

NAMES = {"png": "vidapp-tokens.png", "npy": "vidapp-tokens.npy", "json": "vidapp-tokens.json"}
ACROSS = 5  # grids in a row
CELL = 30  # pixels: four digits fit
GAP, TITLE = 12, 20
LARGEST_SHEET = 64_000_000  # pixels
BACKGROUND, INK = "#18181b", "#e2e4e9"


def grid_picture(tokens_THW: Array) -> Image.Image:
    """Every frame's ids, written in their colours, frame beside frame; cells shrink where there are very many."""
    total, rows, columns = tokens_THW.shape
    across = min(ACROSS, total)
    down = -(-total // across)
    cell = CELL
    while cell > 4 and (across * (columns * cell + GAP)) * (down * (rows * cell + TITLE + GAP)) > LARGEST_SHEET:
        cell -= 1
    sheet = Image.new("RGB", (GAP + across * (columns * cell + GAP), GAP + down * (rows * cell + TITLE + GAP)), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    font, small = ImageFont.load_default(size=14), ImageFont.load_default(size=max(6, cell * 2 // 5))
    for number, ids_HW in enumerate(tokens_THW):
        left = GAP + number % across * (columns * cell + GAP)
        top = GAP + number // across * (rows * cell + TITLE + GAP)
        draw.text((left, top), f"frame {number + 1}", fill=INK, font=font)
        for (row, column), id in np.ndenumerate(ids_HW):
            x, y, colour = left + column * cell, top + TITLE + row * cell, colour_of(int(id))
            draw.rectangle((x, y, x + cell - 2, y + cell - 2), fill=colour)
            if cell >= 16:
                draw.text((x + cell / 2 - 1, y + cell / 2 - 1), str(id), fill=ink_on(colour), font=small, anchor="mm")
    return sheet


@contextmanager
def token_files(view: TokenView) -> Iterator[dict[str, str]]:
    """Paths by kind (png, npy, json), there until the block is left."""
    with tempfile.TemporaryDirectory(prefix="vidapp-") as folder:
        paths = {kind: Path(folder) / name for kind, name in NAMES.items()}
        grid_picture(view.tokens_THW).save(paths["png"])
        with replacing(paths["npy"]) as temporary, open(temporary, "wb") as file:
            np.save(file, view.tokens_THW.astype(np.int32), allow_pickle=False)
        write_json(paths["json"], described(view))
        yield {kind: str(path) for kind, path in paths.items()}


def described(view: TokenView) -> dict[str, object]:
    """The ids as [frame][row][column], with what is needed to read them."""
    checkpoint = view.microscope.checkpoint
    return {
        "clip": view.name,
        "given_frames": view.given,
        "shape": list(view.tokens_THW.shape),
        "codebook_size": view.codebook_size,
        "checkpoint": checkpoint.path.name,
        "checkpoint_step": checkpoint.step,
        "tokens": view.tokens_THW.tolist(),
    }
