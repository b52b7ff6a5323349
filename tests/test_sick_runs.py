"""The bundled example runs: real, small, whole, each with the alarms of its defect; and what makes them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import tiny

from vidapp import sick_training
from vidapp.alarms import alarms
from vidapp.data.source import open_source
from vidapp.masking import hidden_tokens
from vidapp.randomness import torch_generator
from vidapp.ranks import ALONE
from vidapp.run_reader import RunReader, list_runs
from vidapp.runs import RunWriter
from vidapp.sick_runs import EXAMPLES, SICK_RUNS, choices, open_any, open_example, refuse_example
from vidapp.sick_training import CollapsingPhase, VisibleLossPhase, base_config
from vidapp.tokenizer import new_tokenizer
from vidapp.transformer_phase import TransformerPhase

CPU = torch.device("cpu")
MOST_BYTES = 600_000
ALARMS = {
    "healthy": set(),
    "no-time-attention": {"stalled", "empty_samples"},
    "loss-on-visible": {"too_good"},
    "rate-too-high": {"activations", "empty_samples"},
    "collapsed-codebook": {"dead_codes"},
}


def lines_of(name: str) -> list[dict[str, Any]]:
    return open_example(name).metrics()[0]


def validation(name: str) -> list[float]:
    return [line["validation_loss_full"] for line in lines_of(name) if "validation_loss_full" in line]


@pytest.mark.parametrize("name", SICK_RUNS)
def test_each_raises_the_alarms_of_its_defect_and_the_healthy_one_none(name: str) -> None:
    assert {alarm.name for alarm in alarms(lines_of(name))} == ALARMS[name]


@pytest.mark.parametrize("name", SICK_RUNS)
def test_each_is_a_finished_run_with_strips_and_the_settings_that_make_it_anew(name: str) -> None:
    run = open_example(name)
    assert (run.status().state, run.status().step) == ("finished", sick_training.STEPS)
    assert len(run.samples()) >= 2
    assert run.checkpoints() == []
    assert run.config() == base_config().replace(dict(SICK_RUNS[name].change))


def test_they_are_small_and_say_nothing_of_who_made_them() -> None:
    files = [path for path in EXAMPLES.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MOST_BYTES
    assert {path.suffix for path in files} == {".json", ".jsonl", ".png"}
    assert all(not {"host", "pid", "boot"} & set(json.loads(path.read_text())) for path in EXAMPLES.glob("*/status.json"))


def test_what_is_said_of_them_is_what_they_show() -> None:
    assert 2.4 < validation("healthy")[-1] < 2.6
    assert 3.0 < min(validation("no-time-attention")[4:]) <= max(validation("no-time-attention")[4:]) < 3.1
    losses = {
        name: [line["loss"] for line in lines_of(name) if "loss" in line and line["phase"] == "transformer"][-10:] for name in SICK_RUNS
    }
    assert sum(losses["healthy"]) / 10 == pytest.approx(2.9, abs=0.1)
    assert sum(losses["loss-on-visible"]) / 10 == pytest.approx(1.9, abs=0.1)
    assert validation("loss-on-visible")[-1] > validation("healthy")[-1]
    assert min(validation("rate-too-high")) > 3.1
    looks = [line["layers"] for line in lines_of("rate-too-high") if "layers" in line]
    assert looks[-1]["activation_rms"]["2"] > 1e6
    assert validation("collapsed-codebook")[-1] == pytest.approx(0.8, abs=0.05)
    tokenizer = [line for line in lines_of("collapsed-codebook") if line["phase"] == "tokenizer" and "perplexity" in line]
    assert max(line["perplexity"] for line in tokenizer) < 5.5
    assert min(line["reconstruction_mse"] for line in tokenizer) > 45


def test_each_example_has_two_sentences() -> None:
    for example in SICK_RUNS.values():
        assert example.see.count(". ") == 1, example.name
        assert example.see.endswith(".")


def test_they_are_looked_at_by_a_name_that_no_run_can_have_and_never_listed_as_runs() -> None:
    assert open_any("example:healthy").name == "healthy"
    assert [name for _, name in choices()] == [f"example:{name}" for name in SICK_RUNS]
    with pytest.raises(ValueError, match="not usable"):
        RunWriter.create("example:healthy", None)
    assert list_runs() == []
    with pytest.raises(ValueError, match="only there to be looked at"):
        refuse_example("example:healthy")


@pytest.mark.parametrize("name", ["example:", "example:gone", "example:../../runs", "example:healthy/../healthy"])
def test_an_unknown_example_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no bundled example"):
        open_any(name)


def test_a_copy_without_them_offers_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidapp.sick_runs.EXAMPLES", tmp_path)
    assert choices() == []


def phase_of(kind: type[TransformerPhase]) -> TransformerPhase:
    config = tiny(data__clip_frames=4, recipe__objective_joint=0.0, recipe__objective_individual=0.0)
    tokenizer = new_tokenizer(config.tokenizer, config.data.channels, torch_generator(0, "test"))
    return kind(config, open_source(config.data), tokenizer, CPU, "float32", ALONE)


def test_the_loss_on_visible_tokens_counts_those_that_are_shown() -> None:
    phase = phase_of(VisibleLossPhase)
    batch, predicted = phase.predict(0, range(4))
    data = phase.config.data
    assert len(predicted.positions_P) == 4 * (data.clip_frames - data.context_frames) * phase.config.grid**2
    assert len(predicted.positions_P) > hidden_tokens(batch.masks)
    healthy = phase_of(TransformerPhase)
    _, right = healthy.predict(0, range(4))
    masked = torch.isin(torch.from_numpy(predicted.positions_P), torch.from_numpy(right.positions_P))
    assert torch.allclose(predicted.logits_PV[masked], right.logits_PV, atol=1e-5), (
        "the model sees what it should; only the loss is another"
    )


def test_the_collapsing_codebook_uses_fewer_codes_than_the_trainers_own(tmp_path: Path) -> None:
    config = base_config().replace({"tokenizer.quantizer": "vq", "recipe.tokenizer_batch_size": 4, "run.validation_clips": 1})
    source = open_source(config.data)
    sick, healthy = CollapsingPhase(config, source, CPU, ALONE), sick_training.TokenizerPhase(config, source, CPU, ALONE)
    figures = [[phase.train_step(step, measure=True) for step in range(12)][-1] for phase in (sick, healthy)]
    assert figures[0]["perplexity"] < figures[1]["perplexity"]


def test_making_one_leaves_a_run_to_look_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = base_config(2).replace({"run.validation_clips": 1, "data.clip_frames": 4, "data.context_frames": 2, "run.log_every": 1})
    monkeypatch.setattr(sick_training, "base_config", lambda steps: config)
    sick_training.make(SICK_RUNS["no-time-attention"], 2, tmp_path)
    run = RunReader(tmp_path / "no-time-attention")
    assert run.status().state == "finished"
    assert run.config().model.attention == "framewise"
    assert [line["step"] for line in run.metrics()[0] if "loss" in line] == [1, 2]
    assert len(run.samples()) == 1
    assert not (run.path / "checkpoints").exists()
