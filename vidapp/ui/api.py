"""Named endpoints for scripts (gradio_client, curl): /generate /tokenize /train_start /train_stop /train_status /runs.

Each works with its DEFAULTS. Files travel through components, which take only what was uploaded to this app; the rest is JSON.
"""

from collections import deque
from typing import Any

import gradio as gr

from .. import jobs
from ..config import Config
from ..metrics import frame_mse, to_unit
from ..presets import preset as preset_named
from ..runs import RunReader, list_runs, open_run
from ..token_figures import code_use
from . import session, sources
from .choices import DEFAULTS, LONGEST_GIVEN, chosen_from, number_of
from .downloads import download_files
from .generation import TEST, UPLOAD, Agreement, adjusted, errors_of, mean_frame_for, predicted, reconstructed, sampling_of, verdict
from .history import HISTORIES
from .live import phase_of, remaining_seconds
from .messages import api_guarded
from .train import first_run
from .wiring import COMPUTE

QUICK = {"concurrency_limit": None}


def register(*, readonly: bool) -> None:
    """Add the endpoints to the page that is being built; those that change state only where that is allowed."""
    register_files()
    gr.api(api_guarded(runs), api_name="runs", **QUICK)
    gr.api(api_guarded(train_status), api_name="train_status", **QUICK)
    if not readonly:
        gr.api(api_guarded(train_start), api_name="train_start", **QUICK)
        gr.api(api_guarded(train_stop), api_name="train_stop", **QUICK)


def register_files() -> None:
    """The endpoints that take or give files; their components are never shown."""
    checkpoint = gr.Textbox("", label="checkpoint: bundled, run:NAME:STEP, or empty for the first there is", visible=False)
    checkpoint_file = gr.File(label="checkpoint_file: a .safetensors file instead", visible=False)
    clip = gr.Number(0, label="clip: number of a test clip", visible=False)
    clip_file = gr.File(label="clip_file: a clip of your own instead", visible=False)
    given = gr.Number(10, label="given: frames that the model sees", visible=False)
    frames = gr.Number(10, label="frames: future frames to generate", visible=False)
    temperature = gr.Number(DEFAULTS.temperature, label="temperature", visible=False)
    top_k = gr.Number(DEFAULTS.top_k, label="top_k: 0 for all", visible=False)
    steps = gr.Number(DEFAULTS.steps, label="steps: decode steps", visible=False)
    seed = gr.Number(0, label="seed", visible=False)
    choice = gr.Textbox(DEFAULTS.choice, label="choice: drawn or expected", visible=False)
    report = gr.JSON(label="report", visible=False)
    npy, gif = gr.File(label="generated frames, uint8 (T,H,W) or (T,H,W,3)", visible=False), gr.File(label="animation", visible=False)
    button = gr.Button(visible=False)
    inputs = [checkpoint, checkpoint_file, clip, clip_file, given, frames, temperature, top_k, steps, seed, choice]
    button.click(api_guarded(generate), inputs, [report, npy, gif], api_name="generate", **COMPUTE)
    button.click(api_guarded(tokenize), [checkpoint, checkpoint_file, clip, clip_file, frames], report, api_name="tokenize", **COMPUTE)


def generate(
    checkpoint: str = "",
    checkpoint_file: str | None = None,
    clip: int = 0,
    clip_file: str | None = None,
    given: int = 10,
    frames: int = 10,
    temperature: float = DEFAULTS.temperature,
    top_k: int = DEFAULTS.top_k,
    steps: int = DEFAULTS.steps,
    seed: int = 0,
    choice: str = DEFAULTS.choice,
) -> Any:  # fmt: skip
    """Continue a clip. Returns a report (settings, where the truth is known the error per frame, or of token ids the share that is true,
    verdict), an .npy and a .gif."""
    name = chosen_checkpoint(checkpoint, checkpoint_file)
    source = UPLOAD if clip_file else TEST
    values = (
        source,
        clip,
        clip_file,
        None,
        given,
        frames,
        temperature,
        top_k,
        steps,
        choice,
        DEFAULTS.order,
        DEFAULTS.anneal,
        seed,
    )
    chosen = chosen_from(name, checkpoint_file, *values)
    loaded = session.CHECKPOINTS.load(session.find_checkpoint(chosen.checkpoint, chosen.dropped))
    found = chosen.clip(loaded.config)
    sampling = sampling_of(loaded.config, chosen.settings())
    prediction = deque(predicted(loaded, found.given_u8, chosen.frames, sampling, chosen.seed), maxlen=1).pop()
    errors = errors_of(loaded, found, prediction, lambda: mean_frame_for(loaded.config, trusted=session.trusted(name)))
    said = verdict(errors, chosen.frames)
    report = {
        "checkpoint": name,
        "clip": found.name,
        "given": chosen.given,
        "frames": chosen.frames,
        "seed": chosen.seed,
        **chosen.settings(),
        "top_k": sampling.top_k,
        "notice": adjusted(loaded.config, chosen.settings(), len(found.given_u8), chosen.frames),
        "squared_error_per_frame": errors.rows if errors and not isinstance(errors, Agreement) else None,
        "true_ids_per_frame": errors.rows if isinstance(errors, Agreement) else None,
        "verdict": f"{said.headline} {said.figures}",
    }
    from ..media import to_u8

    with download_files(found, to_u8(prediction), ids=loaded.config.tokenizer.quantizer == "ids") as paths:
        yield report, paths["npy"], paths["gif"]


def tokenize(
    checkpoint: str = "", checkpoint_file: str | None = None, clip: int = 0, clip_file: str | None = None, frames: int = 10
) -> dict[str, Any]:
    """The token ids of a clip: `tokens` as [frame][row][column], with how well the tokenizer can draw the clip from them."""
    choice = chosen_checkpoint(checkpoint, checkpoint_file)
    number_of("frames", frames, 1, LONGEST_GIVEN)  # as it is called here: on the page they are given frames
    rest = (DEFAULTS.temperature, DEFAULTS.top_k, DEFAULTS.steps, DEFAULTS.choice, DEFAULTS.order, DEFAULTS.anneal, 0)
    chosen = chosen_from(choice, checkpoint_file, UPLOAD if clip_file else TEST, clip, clip_file, None, frames, 1, *rest)
    loaded = session.CHECKPOINTS.load(session.find_checkpoint(chosen.checkpoint, chosen.dropped))
    frames_u8 = chosen.clip(loaded.config).given_u8
    tokens = loaded.encode(frames_u8[None])[0].cpu().numpy()
    use = code_use(tokens, loaded.config.tokenizer.codebook_size)
    return {
        "tokens": tokens.tolist(),
        "shape": list(tokens.shape),
        "codebook_size": loaded.config.tokenizer.codebook_size,
        "codes_used": use.used,
        "perplexity": use.perplexity,
        "squared_error_per_frame": frame_mse(reconstructed(loaded, frames_u8), to_unit(frames_u8)).tolist(),
    }


def chosen_checkpoint(checkpoint: str, checkpoint_file: str | None) -> str:
    if checkpoint_file:
        return session.DROPPED_CHOICE
    choice = checkpoint or session.first_choice()
    if not choice:
        raise ValueError(session.NONE_YET)
    return choice


def runs() -> list[dict[str, Any]]:
    """All runs, newest first."""
    return [summary(run) for run in list_runs()]


def summary(run: RunReader) -> dict[str, Any]:
    status = run.status()
    steps = [step for step, _ in run.checkpoints()]
    return {
        "run": run.name,
        "state": status.state,
        "step": status.step,
        "total_steps": status.total,
        "created": status.created,
        "checkpoints": steps,
    }


def train_status(run: str = "") -> dict[str, Any]:
    """Where a run stands; without a name the one that trains, or else the newest."""
    name = run or first_run()
    if not name:
        return {
            "run": "",
            "state": "none",
            "step": 0,
            "total_steps": 0,
            "loss": None,
            "grad_norm": None,
            "phase": None,
            "remaining_seconds": None,
        }
    reader = open_run(name)
    status, phase = reader.status(), phase_of(reader.status())
    history = HISTORIES.follow(reader, to_end=True)
    with history.lock:
        newest = dict(history.newest.get(phase, {}))
        seconds = remaining_seconds(history, status)
    return {
        **summary(reader),
        "phase": phase,
        "loss": newest.get("loss"),
        "grad_norm": newest.get("grad_norm"),
        "remaining_seconds": seconds if status.live else None,
        "error": status.error,
        "metrics": newest,
    }


def train_start(preset: str = "debug", settings: dict[str, Any] | None = None, run: str = "", queue: bool = False) -> dict[str, Any]:
    """Start a training in this app: a preset, changes by dotted key ({"run.steps": 200}), a name for the run. queue: where another one
    trains, wait behind it instead of being refused."""
    from ..run_tokenizers import tokenizer_for

    config = configured(preset, {} if settings is None else settings)
    start = jobs.start_or_enqueue if queue else jobs.start_training
    return train_status(start(config, run or None, tokenizer=tokenizer_for(config)))


def configured(preset: str, settings: dict[str, Any]) -> Config:
    """The preset with what its data need, and then with the settings that were asked for. ValueError where these do not go together."""
    from ..data.token_ids import refuse_mismatch

    if not isinstance(settings, dict):
        raise ValueError(f'settings are {str(settings)[:60]!r}: give an object of dotted keys, such as {{"run.steps": 200}}')
    of_data = {key: value for key, value in settings.items() if key == "data.source"}
    config = sources.resolved(preset_named(preset).replace(of_data))
    config = config.replace({key: value for key, value in settings.items() if key not in of_data})
    refuse_mismatch(config)
    return config


def train_stop(run: str = "") -> dict[str, Any]:
    """Stop a run after the step it is at (it keeps a checkpoint); without a name the one that trains."""
    name = run or jobs.running()
    if not name:
        raise ValueError("no run trains in this app: name the one to stop")
    open_run(name).send("stop")
    return train_status(name)
