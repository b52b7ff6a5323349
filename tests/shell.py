"""The command line called in this process, settings that make a training as small as it can be, and clips of one's own."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vidapp.cli import main

SMALLEST = [
    "model.width=16",
    "model.layers=1",
    "model.heads=2",
    "tokenizer.levels=4,4",
    "tokenizer.channels=8",
    "tokenizer.encoder_blocks=0",
    "tokenizer.decoder_blocks=0",
    "data.size=32",
    "data.clip_frames=4",
    "data.context_frames=2",
    "data.digits=1",
    "recipe.batch_size=2",
    "recipe.tokenizer_steps=3",
    "recipe.tokenizer_batch_size=4",
    "sampling.steps=2",
    "run.log_every=1",
    "run.validation_clips=2",
    "run.device=cpu",
    "run.threads=1",
]


def clips_of(folder: Path, frames: int) -> Path:
    """Four clips of as many frames, of a moving bar."""
    folder.mkdir()
    for number in range(4):
        clip = np.zeros((frames, 32, 32), np.uint8)
        clip[:, :, number : number + 8] = 255
        np.save(folder / f"{number}.npy", clip)
    return folder


class Shell:
    """Calls the command line in this process and keeps what it printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def run(self, *argv: object) -> tuple[int, str, str]:
        self.capsys.readouterr()
        code = main([str(part) for part in argv])
        out, err = self.capsys.readouterr()
        return code, out, err

    def answer(self, *argv: object) -> tuple[int, dict[str, Any]]:
        """Exit code (0, or 1 for a verdict that something failed) and what `--json` printed."""
        code, out, err = self.run(*argv, "--json")
        assert code in (0, 1), err
        value = json.loads(out)
        assert isinstance(value, dict)
        return code, value

    def json(self, *argv: object) -> dict[str, Any]:
        code, value = self.answer(*argv)
        assert code == 0
        return value

    def refuses(self, *argv: object) -> str:
        """The one line that a refused request prints."""
        code, out, err = self.run(*argv)
        assert code == 2, (code, out, err)
        assert out == ""
        assert err.startswith("vidapp: ")
        assert err.count("\n") == 1
        return err
