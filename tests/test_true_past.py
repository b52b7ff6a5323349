"""Decoding with the true past through one cache gives what a new context for every frame gives."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import random_tokens, tiny, tiny_transformer
from tiny_checkpoint import tiny_config, write_tiny_checkpoint

from vidapp.checkpoint import load_checkpoint
from vidapp.config import Config, SamplingConfig
from vidapp.rollout import future_tokens, predict
from vidapp.true_past import predict_with_true_past, tokens_with_true_past

SAMPLING = SamplingConfig(steps=3, top_k=0)
CHOICES = (SAMPLING, replace(SAMPLING, choice="expected"))
CONFIGS = {
    "causal": tiny(),
    "full": tiny(model__attention="full"),
    "framewise": tiny(model__attention="framewise"),
    "relative": tiny(model__positions="relative"),
    "all at once": tiny(model__causal=False, recipe__clean_past=False),
}


@pytest.mark.parametrize("frames", [4, 6], ids=["as trained", "beyond"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("sampling", CHOICES, ids=["drawn", "expected"])
def test_each_frame_is_the_one_that_follows_from_the_true_frames_before_it(sampling: SamplingConfig, config: Config, frames: int) -> None:
    model, tokens = tiny_transformer(config), random_tokens(config, frames=frames)
    seeds, clips = list(range(7, 7 + frames - 1)), [3, 5]
    found = tokens_with_true_past(model, tokens, 1, sampling, seeds, clips)
    expected = [future_tokens(model, tokens[:, : 1 + frame], 1, sampling, seed, clips) for frame, seed in enumerate(seeds)]
    assert torch.equal(found, torch.cat(expected, dim=1))


def test_frames_are_those_of_single_predictions(tmp_path: Path) -> None:
    config = tiny_config(data__clip_frames=4, data__context_frames=2)
    checkpoint = load_checkpoint(write_tiny_checkpoint(tmp_path / "a.safetensors", config), "cpu")
    clips_u8 = np.random.default_rng(0).integers(0, 256, (2, 4, 1, 32, 32), dtype=np.uint8)
    sampling = replace(SAMPLING, top_k=60_000)
    found = predict_with_true_past(checkpoint, clips_u8, 2, sampling, [1, 2], 4)
    expected = [predict(checkpoint, clips_u8[:, : 2 + frame], 1, sampling, seed, 4) for frame, seed in enumerate((1, 2))]
    np.testing.assert_allclose(found, np.concatenate(expected, axis=1), atol=1e-6)
