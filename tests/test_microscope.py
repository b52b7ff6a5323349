"""What a look into a token says, against the sampler's own way of asking the model."""

from pathlib import Path

import pytest
import torch
from tiny_checkpoint import tiny_config, write_tiny_checkpoint

from vidapp.checkpoint import Checkpoint, load_checkpoint
from vidapp.microscope import Cell, Edit, Microscope
from vidapp.randomness import torch_generator
from vidapp.rollout import CausalPast

KINDS = [{}, {"model__attention": "full"}, {"model__attention": "framewise"}, {"model__positions": "relative"}, {"model__stem_frames": 3}]


def checkpoint_of(folder: Path, **changes: object) -> Checkpoint:
    return load_checkpoint(write_tiny_checkpoint(folder / "tiny.safetensors", tiny_config(**changes)))


def microscope_of(checkpoint: Checkpoint, frames: int = 12) -> Microscope:
    side = checkpoint.config.grid
    ids = torch.randint(checkpoint.tokenizer.codebook_size, (frames, side, side), generator=torch_generator(0, "ids"))
    return Microscope(checkpoint, ids)


@pytest.mark.parametrize("changes", KINDS, ids=lambda changes: "-".join(map(str, changes.values())) or "factorized")
@pytest.mark.parametrize("frame", [0, 1, 7, 11, 13])
def test_the_guesses_are_those_of_sampling_with_the_clean_past(tmp_path: Path, changes: dict[str, object], frame: int) -> None:
    scope = microscope_of(checkpoint_of(tmp_path, **changes), frames=14)
    cell = Cell(frame, 2, 1)
    alone, together = scope.look(cell, top=3)
    transformer = scope.checkpoint.transformer
    masked = scope.tokens_THW[None, frame : frame + 1].clone()
    with torch.no_grad():
        for sight, places in ((alone, (2, 1)), (together, (slice(None), slice(None)))):
            masked[0, 0][places] = transformer.mask_id
            expected = (
                CausalPast(transformer, scope.tokens_THW[None, :frame], cached=False).frame_logits(masked)[0, 0, 2, 1].double().softmax(-1)
            )
            assert [guess for guess, _ in sight.guesses] == expected.topk(3).indices.tolist()
            assert sight.confidence == pytest.approx(float(expected.max()), rel=1e-4)
            assert sight.own_probability == pytest.approx(float(expected[scope.tokens_THW[frame, 2, 1]]), rel=1e-4)


def test_a_model_that_is_not_causal_is_asked_as_it_samples(tmp_path: Path) -> None:
    scope = microscope_of(checkpoint_of(tmp_path, model__causal=False, recipe__clean_past=False), frames=12)
    for frame in (0, 5, 11):
        alone, together = scope.look(Cell(frame, 0, 0))
        assert 0 < alone.confidence <= 1
        assert 0 <= together.entropy_bits <= 6 + 1e-6  # 64 codes


def test_later_frames_do_not_matter_and_earlier_ones_do(tmp_path: Path) -> None:
    scope = microscope_of(checkpoint_of(tmp_path))
    cell = Cell(6, 1, 1)
    before, _ = scope.look(cell)
    other = int(scope.tokens_THW[0, 1, 1] + 1) % 64
    assert scope.look(cell, edits=(Edit(Cell(9, 1, 1), other),))[0] == before
    assert scope.look(cell, edits=(Edit(Cell(5, 1, 1), other),))[0] != before
    assert scope.look(cell)[0] == before


def test_an_edit_that_is_taken_back_leaves_nothing_behind(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(tmp_path)
    used, fresh = microscope_of(checkpoint), microscope_of(checkpoint)
    early, late = (Edit(Cell(frame, 1, 1), int(used.tokens_THW[frame, 1, 1] + 1) % 64) for frame in (1, 5))
    used.look(Cell(3, 1, 1), edits=(early, late))
    used.look(Cell(3, 1, 1), edits=(late,))
    assert used.look(Cell(8, 1, 1), edits=(early,)) == fresh.look(Cell(8, 1, 1), edits=(early,))
    assert used.look(Cell(8, 1, 1)) == fresh.look(Cell(8, 1, 1))


def test_the_sure_and_the_clueless_have_the_entropies_that_they_should() -> None:
    from vidapp.microscope import sight

    clueless = sight(torch.zeros(64), own=5, top=5)
    assert (clueless.entropy_bits, clueless.own_rank) == (pytest.approx(6), 1)
    sure = sight(torch.tensor([0.0, 50.0, 0.0]), own=0, top=5)
    assert (sure.entropy_bits, sure.guesses[0][0], sure.own_rank) == (pytest.approx(0, abs=1e-6), 1, 2)
    assert len(sure.guesses) == 3


def test_another_id_redraws_the_frame_and_only_that_one(tmp_path: Path) -> None:
    scope = microscope_of(checkpoint_of(tmp_path))
    cell = Cell(3, 0, 2)
    own = int(scope.tokens_THW[3, 0, 2])
    edit = (Edit(cell, (own + 17) % 64),)
    assert abs(scope.redraw(3, edit) - scope.redraw(3, ())).max() > 0
    assert scope.redraw(2, edit) == pytest.approx(scope.redraw(2, ()))
    patch = scope.drawn_as(cell, (own, edit[0].id))
    assert patch.shape == (2, 1, 8, 8)
    assert patch[1] == pytest.approx(scope.redraw(3, edit)[:, :8, 16:24], abs=1e-5)


@pytest.mark.parametrize("edit", [Edit(Cell(0, 0, 0), 64), Edit(Cell(0, 0, 0), -1), Edit(Cell(99, 0, 0), 1), Edit(Cell(0, 4, 0), 1)])
def test_what_is_no_place_or_no_id_is_refused(tmp_path: Path, edit: Edit) -> None:
    scope = microscope_of(checkpoint_of(tmp_path))
    with pytest.raises(ValueError, match="use 0 to"):
        scope.redraw(0, (edit,))


def test_only_so_many_pasts_are_kept(tmp_path: Path) -> None:
    scope = microscope_of(checkpoint_of(tmp_path))
    scope.warm()
    for value in range(5):
        scope.look(Cell(4, 0, 0), edits=(Edit(Cell(1, 0, 0), value),))
    assert len(scope.pasts) == 2
    assert () in scope.pasts
