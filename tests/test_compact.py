"""Checkpoints with eight bits a weight: nearly the same model in half the bytes, and no easier to abuse."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.torch import load_file, save_file
from shell import Shell
from tiny_checkpoint import tiny_config, write_tiny_checkpoint

from vidapp.checkpoint import check_checkpoint, load_checkpoint, read_header
from vidapp.compact import LARGEST, SCALE, in_eight_bits, in_full
from vidapp.ui.cards import card_text

MATRIX = "transformer.blocks.0.mlp_in.weight"
VECTOR = "transformer.head_bias"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = tiny_config(model__stem_frames=3, model__positions="relative")
    return write_tiny_checkpoint(tmp_path_factory.mktemp("compact") / "whole.safetensors", config)


@pytest.fixture
def compact(whole: Path, tmp_path: Path, shell: Shell) -> Path:
    path = tmp_path / "compact.safetensors"
    code, out, err = shell.run("compact", whole, "--out", path)
    assert (code, err) == (0, "")
    assert str(path) in out
    return path


def changed(path: Path, changes: dict[str, torch.Tensor | None]) -> Path:
    """The checkpoint with some tensors replaced, or left out where None is given."""
    length = struct.unpack("<Q", path.read_bytes()[:8])[0]
    metadata: dict[str, str] = json.loads(path.read_bytes()[8 : 8 + length])["__metadata__"]
    tensors: dict[str, Any] = load_file(path) | changes
    save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, path, metadata)
    return path


# ------------------------------------------------------------------ rows


@given(arrays.arrays("float32", st.tuples(st.integers(1, 5), st.integers(1, 9)), elements=st.floats(-1e4, 1e4, width=32)))
def test_a_row_is_off_by_half_a_step_at_most(matrix: Any) -> None:
    matrix_RC = torch.from_numpy(matrix)
    steps_RC, scale_R = in_eight_bits(matrix_RC)
    assert (steps_RC.dtype, scale_R.dtype) == (torch.int8, torch.float32)
    assert int(steps_RC.min()) >= -LARGEST  # the same reach on both sides
    off_RC = (in_full(steps_RC, scale_R) - matrix_RC).abs()
    assert (off_RC <= 0.5001 * matrix_RC.abs().amax(dim=1, keepdim=True) / LARGEST + 1e-37).all()


def test_the_largest_of_a_row_and_zeros_are_exact() -> None:
    matrix_RC = torch.tensor([[0.0, 0.0], [0.0, -3.0], [127.0, 1.0]])
    assert torch.equal(in_full(*in_eight_bits(matrix_RC)), matrix_RC)


# ------------------------------------------------------------------ files


def test_a_compact_checkpoint_is_nearly_the_same_model(whole: Path, compact: Path) -> None:
    before, after = load_checkpoint(whole), load_checkpoint(compact)
    assert (after.config, after.step, after.metrics) == (before.config, before.step, before.metrics)
    assert all(torch.equal(tensor, after.tokenizer.state_dict()[name]) for name, tensor in before.tokenizer.state_dict().items())
    moved = 0
    for name, tensor in before.transformer.state_dict().items():
        found = after.transformer.state_dict()[name]
        assert found.dtype == tensor.dtype
        if tensor.ndim == 2:
            assert (found - tensor).abs().max() <= 0.5001 * tensor.abs().max() / LARGEST, name
            moved += not torch.equal(found, tensor)
        else:
            assert torch.equal(found, tensor), name
    assert moved


def test_its_matrices_have_eight_bits_and_all_else_has_what_it_had(whole: Path, compact: Path) -> None:
    before, after = read_header(whole), read_header(compact)
    for name, (kind, shape) in before.tensors.items():
        eight = name.startswith("transformer.") and len(shape) == 2
        assert after.tensors[name] == ("I8" if eight else kind, shape), name
    assert after.parameters == before.parameters > 0
    assert card_text(compact) == card_text(whole)


def test_an_older_version_is_told_that_it_cannot_read_it(whole: Path, compact: Path) -> None:
    assert read_header(whole).format_version == 1
    assert read_header(compact).format_version == 2


def test_it_is_made_once(whole: Path, compact: Path, tmp_path: Path, shell: Shell) -> None:
    assert not read_header(whole).compact
    assert "compact.safetensors is compact already" in shell.refuses("compact", compact, "--out", tmp_path / "again.safetensors")


def test_it_is_sampled_as_any_other(compact: Path, tmp_path: Path, shell: Shell) -> None:
    code, _, err = shell.run("sample", compact, "--frames", 2, "--out", tmp_path / "future.npy")
    assert code == 0, err
    assert (tmp_path / "future.npy").exists()


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({MATRIX + SCALE: None}, "1 weights are missing or unknown"),
        ({MATRIX + SCALE: torch.ones(3)}, "has shape (3,)"),
        ({MATRIX + SCALE: torch.ones(128, dtype=torch.float16)}, "has dtype F16 instead of F32"),
        ({MATRIX + SCALE: torch.full((128,), float("nan"))}, f"weight {MATRIX} is not finite"),
        ({MATRIX + SCALE: torch.full((128,), 3e38)}, f"weight {MATRIX} is not finite"),
        ({MATRIX: torch.zeros(128, 32)}, f"unknown, the first is {MATRIX}{SCALE}"),
        ({VECTOR: torch.zeros(64, dtype=torch.int8)}, "has dtype I8 instead of F16 or F32"),
        ({VECTOR + SCALE: torch.ones(64)}, f"unknown, the first is {VECTOR}{SCALE}"),
        ({"tokenizer.encoder.0.bias": torch.zeros(8, dtype=torch.int8)}, "has dtype I8 instead of F32"),
    ],
)
def test_scales_that_do_not_fit_are_refused(compact: Path, changes: dict[str, torch.Tensor | None], words: str) -> None:
    path = changed(compact, changes)
    for check in (load_checkpoint, check_checkpoint):
        with pytest.raises(ValueError, match="compact.safetensors") as caught:
            check(path)
        assert words in str(caught.value)


def test_nothing_is_written_over_and_no_folder_made(whole: Path, compact: Path, tmp_path: Path, shell: Shell) -> None:
    before = compact.read_bytes()
    assert "exists already" in shell.refuses("compact", whole, "--out", compact)
    assert "exists already" in shell.refuses("compact", whole, "--out", whole)
    assert "does not exist" in shell.refuses("compact", whole, "--out", tmp_path / "none" / "one.safetensors")
    assert "no known ending" in shell.refuses("compact", whole, "--out", tmp_path / "one.bin")
    assert "not there" in shell.refuses("compact", tmp_path / "none.safetensors", "--out", tmp_path / "one.safetensors")
    assert compact.read_bytes() == before
