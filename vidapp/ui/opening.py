"""What the page opens with: a finished generation of the bundled checkpoint, kept in a small file, so that something moves before torch
is imported.

`python -m vidapp.ui.opening` makes it anew from the bundled checkpoint with the controls' defaults; do so whenever either changes.
"""

import dataclasses
import io
import json
from collections import deque
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..config import DataConfig
from . import session
from .choices import FIRST, Chosen
from .generation import Clip, Errors, Verdict, errors_of, mean_frame_for, predicted, sampling_of, source_of, verdict
from .kept import Generation

ASSET = session.BUNDLED.parent / "first-generation.npz"
KEY = "opening"  # of its generation: everybody's
EXAMPLES = 12  # test clips that are offered as pictures
COMMAND = "python -m vidapp.ui.opening"
TRAIL = 0.35  # brightness of the last but one given frame in an example's picture


@dataclasses.dataclass(frozen=True)
class Opening:
    """The generation with what is said about it. examples: uint8 (n, C, H, W), pictures of the first test clips."""

    chosen: Chosen
    clip: Clip
    prediction_u8: np.ndarray
    errors: Errors
    card: str
    examples: np.ndarray

    @property
    def verdict(self) -> Verdict:
        return verdict(self.errors, len(self.prediction_u8))


@cache
def opening() -> Opening | None:
    """The kept generation; None where there is none, or none of what the controls show."""
    if not ASSET.is_file() or not session.BUNDLED.is_file():
        return None
    with np.load(ASSET, allow_pickle=False) as file:
        about = json.loads(file["about"].tobytes())
        clip = Clip(file["given"], file["truth"], about["clip"])
        found = Opening(Chosen(**about["chosen"]), clip, file["prediction"], Errors(**about["errors"]), about["card"], file["examples"])
    return found if found.chosen == FIRST else None


@cache
def generation() -> Generation | None:
    """The kept generation with its decode steps, for those who look into it or go on from it. Imports torch."""
    found = opening()
    if found is None:
        return None
    from ..replay import Replay, ReplayStep

    with np.load(ASSET, allow_pickle=False) as file:
        places, ids, sure = file["step_places"], file["step_tokens"], file["step_confidence"]
        steps = tuple(ReplayStep(int(frame), int(step), int(of), ids[index], sure[index]) for index, (frame, step, of) in enumerate(places))
        replay = Replay(len(found.clip.given_u8), int(file["mask_id"]), file["tokens"], steps)
    return Generation(found.clip, found.prediction_u8, 0, replay, session.BUNDLED, found.chosen, KEY)


def make() -> dict[str, np.ndarray]:
    """The arrays of the file, made with the bundled checkpoint."""
    from ..media import to_u8
    from ..replay import Recorder
    from .cards import card_text

    checkpoint = session.CHECKPOINTS.load(session.BUNDLED)
    clip = FIRST.clip(checkpoint.config)
    recorder = Recorder(checkpoint.transformer.mask_id)
    sampling = sampling_of(checkpoint.config, FIRST.settings())
    frames = deque(predicted(checkpoint, clip.given_u8, FIRST.frames, sampling, FIRST.seed, recorder), maxlen=1).pop()
    errors = errors_of(checkpoint, clip, frames, lambda: mean_frame_for(checkpoint.config, trusted=True))
    assert isinstance(errors, Errors), "the bundled checkpoint makes frames"
    assert clip.truth_u8 is not None
    replay = recorder.replay()
    about = {
        "chosen": dataclasses.asdict(FIRST),
        "clip": clip.name,
        "errors": dataclasses.asdict(errors),
        "card": card_text(session.BUNDLED),
    }
    return {
        "about": np.frombuffer(json.dumps(about).encode(), np.uint8),
        "given": clip.given_u8,
        "truth": clip.truth_u8,
        "prediction": to_u8(frames),
        "examples": pictures(source_of(checkpoint.config, trusted=True), FIRST.given),
        "tokens": replay.tokens_THW,
        "mask_id": np.array(replay.mask_id),
        "step_places": np.array([(step.frame, step.decode_step, step.decode_steps) for step in replay.steps]),
        "step_tokens": np.stack([step.tokens_nHW for step in replay.steps]),
        "step_confidence": np.stack([step.confidence_nHW for step in replay.steps]),
    }


def pictures(data: DataConfig, given: int) -> np.ndarray:
    """The first test clips of that data, each as one picture: uint8 (n, C, H, W)."""
    from ..data.source import open_source

    source = open_source(data)
    known = len(source.fixed_recordings("test", EXAMPLES, data.clip_frames))
    return np.stack([picture(source.numbered_clip("test", number, given)) for number in range(known)])


def picture(given_u8: np.ndarray) -> np.ndarray:
    """A clip (T, C, H, W) as one picture (C, H, W): the last given frame, with a fading trail of those before it."""
    drawn = np.zeros(given_u8.shape[1:], np.float32)
    for frame, share in zip(given_u8, np.append(np.linspace(0.08, TRAIL, len(given_u8) - 1), 1.0), strict=True):
        np.maximum(drawn, frame * np.float32(share), out=drawn)
    return drawn.astype(np.uint8)


def write(path: Path = ASSET) -> None:
    """Make the file anew, whole or not at all."""
    from ..files import replacing

    memory = io.BytesIO()
    arrays: dict[str, Any] = make()
    np.savez_compressed(memory, **arrays)
    with replacing(path) as temporary:
        Path(temporary).write_bytes(memory.getvalue())


def said() -> dict[str, Any]:
    found = opening()
    assert found is not None
    return {"file": ASSET.name, "bytes": ASSET.stat().st_size, "verdict": found.verdict.headline, "figures": found.verdict.figures}


if __name__ == "__main__":
    write()
    print(json.dumps(said(), indent=2))
