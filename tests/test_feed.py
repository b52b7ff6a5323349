"""What the host makes of a step: the same, whoever makes it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import tiny, tiny_tokenizer

from vidapp.config import Config
from vidapp.data.source import open_source
from vidapp.feed import Feed, Made, made, workers_for
from vidapp.transformer_phase import TransformerPhase

CONFIG = tiny(recipe__context_corruption=0.5, recipe__micro_batches=2, recipe__curriculum="2,4")
PARTS = [range(2), range(2, 4)]


def phase_of(config: Config) -> TransformerPhase:
    return TransformerPhase(config, open_source(config.data), tiny_tokenizer(config), torch.device("cpu"), "float32")


def assert_same(one: Made, other: Made) -> None:
    assert one.step == other.step
    assert [mask.objective for mask in one.masks] == [mask.objective for mask in other.masks]
    assert all(np.array_equal(a.mask_THW, b.mask_THW) for a, b in zip(one.masks, other.masks, strict=True))
    assert len(one.parts) == len(other.parts)
    for (clips, drawn), (clips_too, drawn_too) in zip(one.parts, other.parts, strict=True):
        assert torch.equal(clips, clips_too)
        assert drawn is not None
        assert drawn_too is not None
        assert all(map(torch.equal, drawn, drawn_too))


def test_workers_make_the_steps_that_are_made_here_in_a_row_and_out_of_it() -> None:
    source = open_source(CONFIG.data)
    with Feed(CONFIG, PARTS, workers=1) as feed:
        for step in (2, 3):
            assert_same(feed.get(step), made(CONFIG, source, step, PARTS))
        for step in (0, CONFIG.run.steps + 5):
            assert_same(feed.get(step), replace(made(CONFIG, source, step, PARTS), parts=[]))
        assert_same(feed.get(4), made(CONFIG, source, 4, PARTS))


def test_what_a_worker_cannot_read_is_said_in_one_sentence(tmp_path: object) -> None:
    config = CONFIG.replace({"data.source": str(tmp_path)})
    with Feed(config, PARTS, workers=1) as feed, pytest.raises(ValueError, match="^[^\\n]*$"):
        feed.get(0)


def test_a_step_is_the_same_whether_its_parts_were_made_ahead_or_are_made_now() -> None:
    def loss(made_ahead: bool) -> float:
        phase = phase_of(CONFIG)
        if made_ahead:
            phase.now = made(CONFIG, phase.source, 0, phase.parts)
        return float(phase.train_step(0, True)["loss"])

    assert loss(True) == loss(False)


def test_a_cpu_makes_its_steps_itself() -> None:
    assert workers_for(torch.device("cpu"), 1) == 0
    assert 0 <= workers_for(torch.device("cuda"), 8) <= workers_for(torch.device("cuda"), 1)
