"""A Space whose GPU is lent for the length of a call, with a stand-in for the package that lends it."""

import subprocess
import sys
from pathlib import Path

import pytest
from tiny_checkpoint import write_tiny_checkpoint

from vidapp.lent_gpu import gpu_is_lent, lent

ROOT = Path(__file__).parents[1]
SPACES = '''
import pickle

lent, calls = [], []


def GPU(generator):
    """Sends what is given and what is yielded through pickle, as it goes from process to process there."""
    lent.append(generator.__name__)

    def call(*arguments):
        calls.append(generator.__name__)
        for item in generator(*pickle.loads(pickle.dumps(arguments))):
            yield pickle.loads(pickle.dumps(item))

    return call
'''
GENERATE = """
import sys
import app
import vidapp.checkpoint as checkpoint
app.prepare_lent_gpu()
import spaces, torch
from vidapp.device import pick_device
from vidapp.ui import app as page
from vidapp.ui.generation import decoded, predicted
import numpy as np

assert spaces.lent == ["decoded_there"], spaces.lent
torch.cuda.is_available = lambda: True  # as it says there, outside of calls too
assert pick_device("auto").type == "cpu"
load, devices = checkpoint.load_checkpoint, []
checkpoint.load_checkpoint = lambda path, device: devices.append(device) or load(path)
ours = load(sys.argv[1])
given = np.random.default_rng(0).integers(0, 256, (2, 1, 32, 32), dtype=np.uint8)
seen = []
*_, frames = predicted(ours, given, 3, ours.config.sampling, 5, seen.append)
assert (spaces.calls, devices) == (["decoded_there"], ["cuda"])
here = list(decoded(ours, given, 3, ours.config.sampling, 5, None))
assert len(seen) == len(here) and all(torch.equal(there.tokens_BTHW, step.tokens_BTHW) for there, (step, _) in zip(seen, here))
assert np.array_equal(frames, np.concatenate([fresh for _, fresh in here if fresh is not None])) and len(frames) == 3
made = seen[-1].tokens_BTHW[0, 2:4].numpy()
*_, longer = predicted(ours, given, 3, ours.config.sampling, 5, None, made)
assert np.array_equal(longer, frames)
"""


def test_generations_are_made_where_the_gpu_is_lent_and_are_the_same(tmp_path: Path) -> None:
    (tmp_path / "spaces.py").write_text(SPACES)
    path = write_tiny_checkpoint(tmp_path / "tiny.safetensors")
    environment = {"SPACES_ZERO_GPU": "true", "PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", GENERATE, path], env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("value", "expected"), [(None, False), ("", False), ("false", False), ("true", True), ("1", True)])
def test_nothing_is_lent_elsewhere(monkeypatch: pytest.MonkeyPatch, value: str | None, expected: bool) -> None:
    monkeypatch.delenv("SPACES_ZERO_GPU", raising=False)
    if value is not None:
        monkeypatch.setenv("SPACES_ZERO_GPU", value)
    assert gpu_is_lent() is expected
    if not expected:
        assert lent(iter) is iter
