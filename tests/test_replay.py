"""What is recorded of a decoding is what happened, and enough to draw it."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from tiny_checkpoint import tiny_config, write_tiny_checkpoint

from vidapp.checkpoint import load_checkpoint
from vidapp.config import SamplingConfig
from vidapp.microscope import Microscope
from vidapp.replay import Recorder, Replay, step_views
from vidapp.rollout import rollout
from vidapp.sampling import DecodeStep, LogitsFn, decode, every_place

KINDS = [{}, {"model__attention": "full"}, {"model__causal": False, "recipe__clean_past": False}]
SAMPLING = SamplingConfig(steps=4, temperature=1.0, top_k=0)


def recorded(folder: Path, frames: int, **changes: object) -> tuple[Microscope, Replay, list[torch.Tensor]]:
    """A replay, and the logits (n, h, w, V) that each of its steps was really drawn from."""
    checkpoint = load_checkpoint(write_tiny_checkpoint(folder / "tiny.safetensors", tiny_config(**changes)))
    recorder, seen = Recorder(checkpoint.transformer.mask_id), []

    def overheard(ask: LogitsFn, *rest: Any, **named: Any) -> Iterator[DecodeStep]:
        def logits(tokens: torch.Tensor, places_BM: torch.Tensor) -> torch.Tensor:
            seen.append(ask(tokens, every_place(tokens)).unflatten(1, tokens.shape[1:]))
            return ask(tokens, places_BM)

        return decode(logits, *rest, **named)

    with patch("vidapp.rollout.decode", overheard):
        for step in rollout(checkpoint.transformer, torch.zeros(1, 3, 4, 4, dtype=torch.int64), frames, SAMPLING, 5):
            recorder(step)
    replay = recorder.replay()
    return Microscope(checkpoint, replay.tokens_THW), replay, [one[0] for one in seen]


@pytest.mark.parametrize("frames", [1, 5, 12, 16])
@pytest.mark.parametrize("changes", KINDS, ids=["factorized", "full", "at once"])
def test_what_was_believed_at_each_step_is_found_again(tmp_path: Path, changes: dict[str, object], frames: int) -> None:
    scope, replay, logits = recorded(tmp_path, frames, **changes)
    assert replay.given == 3
    for frame in range(frames):
        views = step_views(scope, replay, frame)
        assert len(views) == SAMPLING.steps
        assert (views[-1].tokens == replay.tokens_THW[3 + frame]).all()
        for view, step in zip(views, replay.of_frame(frame), strict=True):
            expected = logits[replay.steps.index(step)][frame - step.frame].softmax(dim=-1)
            entropy = -(expected * expected.log2()).sum(dim=-1).numpy()
            fresh = step.confidence_nHW[frame - step.frame] < 1
            assert view.entropy_bits[fresh] == pytest.approx(entropy[fresh], abs=1e-3)
            assert view.picture.shape == (1, 32, 32)


def test_what_is_decided_stays_with_the_confidence_that_decided_it(tmp_path: Path) -> None:
    scope, replay, _ = recorded(tmp_path, 2)
    views = step_views(scope, replay, 1)
    for earlier, later in pairwise(views):
        decided = earlier.tokens != replay.mask_id
        assert (later.tokens[decided] == earlier.tokens[decided]).all()
        assert (later.confidence[decided] == earlier.confidence[decided]).all()
        assert (later.entropy_bits[decided] == earlier.entropy_bits[decided]).all()
    final = scope.redraw(replay.given + 1, ())
    assert views[-1].picture == pytest.approx(final, abs=1e-5)
    assert abs(views[0].picture - final).max() > 1e-3


def test_a_frame_that_was_not_watched_is_said_so(tmp_path: Path) -> None:
    scope, replay, _ = recorded(tmp_path, 2)
    with pytest.raises(ValueError, match="not recorded"):
        step_views(scope, replay, 2)


def test_a_decoding_that_was_broken_off_is_no_replay() -> None:
    with pytest.raises(ValueError, match="generate again"):
        Recorder(64).replay()
