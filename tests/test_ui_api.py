"""The named endpoints, called the way a script calls them, on an app that really serves."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from tiny_checkpoint import tiny_config, write_tiny_checkpoint

from vidapp import jobs
from vidapp.runs import RunWriter, open_run
from vidapp.ui import session
from vidapp.ui.app import build

pytestmark = pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning")  # of gradio's queue


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    os.environ["GRADIO_TEMP_DIR"] = str(tmp_path_factory.mktemp("cache"))  # read when components are made
    page = build()
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", share=False, ssr_mode=False)
    yield Client(url, verbose=False, download_files=str(tmp_path_factory.mktemp("downloads")))
    page.close()
    del os.environ["GRADIO_TEMP_DIR"]


@pytest.fixture(autouse=True)
def tiny_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny checkpoint in the place of the bundled one."""
    path = write_tiny_checkpoint(tmp_path / "tiny.safetensors")
    monkeypatch.setattr(session, "BUNDLED", path)
    return path


def test_generate_works_with_its_defaults(client: Client) -> None:
    report, npy, gif = client.predict(api_name="/generate")
    frames = np.load(npy)
    assert frames.shape == (10, 32, 32)
    assert frames.dtype == np.uint8
    assert Path(gif).suffix == ".gif"
    assert len(report["squared_error_per_frame"]["prediction"]) == 10
    assert report["verdict"]


def test_a_top_k_that_is_too_large_is_adjusted_and_the_report_says_so(client: Client) -> None:
    report, *_ = client.predict(api_name="/generate", frames=1, top_k=500)
    assert report["top_k"] == 64
    assert "500 were asked for" in report["notice"]


def test_same_seed_same_frames_another_seed_others(client: Client) -> None:
    def frames(**settings: float) -> np.ndarray:
        return np.load(client.predict(api_name="/generate", frames=2, **settings)[1])

    first = frames(seed=3)
    np.testing.assert_array_equal(first, frames(seed=3))
    assert not np.array_equal(first, frames(seed=4))
    assert not np.array_equal(first, frames(seed=3, temperature=2.0, top_k=0))


def test_a_clip_and_a_checkpoint_can_be_sent(client: Client, tmp_path: Path, tiny_bundle: Path) -> None:
    np.save(tmp_path / "mine.npy", np.random.default_rng(0).integers(0, 255, (5, 32, 32), np.uint8))
    sent = {"checkpoint_file": handle_file(str(tiny_bundle)), "clip_file": handle_file(str(tmp_path / "mine.npy"))}
    report, _, _ = client.predict(api_name="/generate", **sent, given=3, frames=3)
    assert report["checkpoint"] == "dropped"
    assert len(report["squared_error_per_frame"]["prediction"]) == 2


def test_tokenize_works_with_its_defaults(client: Client) -> None:
    answer = client.predict(api_name="/tokenize")
    assert answer["shape"] == [10, 4, 4]
    tokens = np.array(answer["tokens"])
    assert tokens.shape == (10, 4, 4)
    assert tokens.min() >= 0
    assert tokens.max() < answer["codebook_size"] == 64
    assert 1 <= answer["perplexity"] <= 64


def test_a_refusal_is_one_sentence(client: Client, tmp_path: Path) -> None:
    with pytest.raises(AppError, match="Unknown checkpoint 'nobody'"):
        client.predict(api_name="/generate", checkpoint="nobody")
    (tmp_path / "bad.safetensors").write_bytes(b"\x08" + b"\0" * 40)
    with pytest.raises(AppError, match="damaged"):
        client.predict(api_name="/generate", checkpoint_file=handle_file(str(tmp_path / "bad.safetensors")))
    with pytest.raises(AppError, match="uture frames"):
        client.predict(api_name="/generate", frames=0)


@pytest.mark.parametrize(("values", "said"), [
    ({"clip": "abc"}, "clip number is 'abc': give 0 to 199"),
    ({"clip": [1]}, "clip number is '\\[1\\]': give 0 to 199"),
    ({"seed": 10**400}, "seed is '1000"),
    ({"clip": 2.5}, "clip number is 2.5: give a whole number"),
    ({"frames": 40, "steps": 256}, "40 future frames in 256 steps each are more than others can wait for"),
])  # fmt: skip
def test_values_of_any_kind_are_refused_by_name(client: Client, values: dict[str, object], said: str) -> None:
    with pytest.raises(AppError, match=f"(?i){said}"):
        client.predict(api_name="/generate", **values)


def test_status_and_runs_of_an_empty_house(client: Client) -> None:
    assert client.predict(api_name="/runs") == []
    assert client.predict(api_name="/train_status")["state"] == "none"


def test_a_run_from_anywhere_shows_up(client: Client) -> None:
    with RunWriter.create("elsewhere", tiny_config()) as run:
        run.log({"step": 5, "phase": "transformer", "loss": 3.5, "grad_norm": 0.7})
        run.status("running", 5, 20, phase="transformer")
        status = client.predict(api_name="/train_status")
        expected = {"run": "elsewhere", "state": "running", "step": 5, "total_steps": 20, "loss": 3.5, "grad_norm": 0.7}
        assert {name: status[name] for name in expected} == expected
        client.predict("elsewhere", api_name="/train_stop")
        assert run.poll_control().stop
    assert [run["state"] for run in client.predict(api_name="/runs")] == ["stopped"]


def test_a_training_starts_is_followed_and_stops(client: Client) -> None:
    small = tiny_config()
    settings = {key: new for key, (new, _) in small.differences(tiny_config().from_dict({})).items()}
    settings |= {"recipe.tokenizer_steps": 2, "recipe.batch_size": 2, "run.validation_clips": 1, "run.log_every": 1, "run.threads": 1}
    started = client.predict("debug", json.loads(json.dumps({**settings, "run.steps": 100_000})), "mine", api_name="/train_start")
    try:
        assert started["run"] == "mine"
        with pytest.raises(AppError, match="'mine' is training"):
            client.predict("debug", settings, "other", api_name="/train_start")
        assert client.predict("debug", settings, "behind", True, api_name="/train_start")["state"] == "queued"
        assert client.predict("behind", api_name="/train_stop")["state"] == "stopped"
    finally:
        client.predict(api_name="/train_stop")
        assert jobs.wait(60)
    status = open_run("mine").status()
    assert (status.state, status.error) == ("stopped", None)


@pytest.mark.parametrize(("preset", "settings", "name", "said"), [
    ("huge", {}, "", "unknown preset 'huge'"),
    (["debug"], {}, "", "unknown preset"),
    ("debug", [], "", r"settings are '\[\]': give an object"),
    ("debug", {"run.stepz": 5}, "", "unknown setting of run 'stepz'"),
    ("debug", {"data.source": "/etc"}, "", "not offered here"),
    ("debug", {}, "../up", "run name '../up' is not usable"),
    ("debug", ["run.steps"], "", "give an object of dotted keys"),
])  # fmt: skip
def test_a_training_that_cannot_be_is_refused(client: Client, preset: object, settings: object, name: str, said: str) -> None:
    with pytest.raises(AppError, match=f"(?i){said}"):
        client.predict(preset, settings, name, api_name="/train_start")
    assert jobs.running() is None
