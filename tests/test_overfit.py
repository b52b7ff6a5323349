"""The first thing to try when nothing is learnt: can it learn a handful of clips by heart? Shrunk from the debug preset."""

import math

import pytest
import torch

from vidapp.config import Config
from vidapp.data.source import open_source
from vidapp.presets import preset
from vidapp.tokenizer import Tokenizer
from vidapp.tokenizer_phase import TokenizerPhase
from vidapp.transformer_phase import TransformerPhase

CPU = torch.device("cpu")
SHRUNK = preset("debug").replace(
    {
        "model.width": 64,
        "data.size": 32,
        "data.clip_frames": 4,
        "data.context_frames": 2,
        "tokenizer.levels": "5,5,5",
        "tokenizer.channels": 16,
        "recipe.batch_size": 4,
        "recipe.warmup_steps": 10,
        "recipe.precision": "float32",
        "recipe.mask_schedule": "fixed",
        "recipe.mask_ratio": 1.0,
        "recipe.tokenizer_steps": 120,
        "recipe.tokenizer_learning_rate": 1e-2,
        "recipe.tokenizer_batch_size": 8,
        "run.steps": 120,
        "run.training_clips": 4,
        "run.validation_clips": 2,
    }
)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """A tokenizer that has seen single frames for a few seconds."""
    phase = TokenizerPhase(SHRUNK, open_source(SHRUNK.data), CPU)
    first = phase.validate()
    for step in range(phase.steps):
        phase.train_step(step, measure=False)
    last = phase.validate()
    assert last["validation_reconstruction_mse"] < 0.7 * first["validation_reconstruction_mse"]
    assert last["validation_perplexity"] > 5  # it draws with more than a handful of codes
    return phase.tokenizer


def learn(config: Config, tokenizer: Tokenizer) -> tuple[dict[str, float], dict[str, float]]:
    """Figures of the first and the last step."""
    phase = TransformerPhase(config, open_source(config.data), tokenizer, CPU, "float32")
    first = phase.train_step(0, measure=True)
    for step in range(1, phase.steps - 1):
        phase.train_step(step, measure=False)
    return first, phase.train_step(phase.steps - 1, measure=True)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_handful_of_clips_is_learnt_by_heart(tokenizer: Tokenizer, optimizer: str) -> None:
    first, last = learn(SHRUNK.replace({"recipe.optimizer": optimizer}), tokenizer)
    assert first["loss"] == pytest.approx(math.log(125), abs=0.5)
    assert last["loss"] < 0.3
    assert last["loss"] < 0.25 * last["unigram_entropy"]  # what knowing nothing but frequencies would give
    assert last["masked_accuracy"] > 0.9
    assert last["changed_accuracy"] > 0.8  # copying the frame before scores 0 here


def test_a_model_without_time_cannot_do_it(tokenizer: Tokenizer) -> None:
    """Framewise attention sees no motion: it is the yardstick, not a bug, that it stays far behind."""
    _, last = learn(SHRUNK.replace({"model.attention": "framewise", "recipe.optimizer": "adamw"}), tokenizer)
    assert last["loss"] > 0.7
    assert last["masked_accuracy"] < 0.8
