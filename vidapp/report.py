"""An evaluation as a text table: the stages of the model, the predictions that need none, and what others published."""

from typing import Any

from .config import MOVING_MNIST
from .published import MOVING_MNIST_10_TO_10, SOURCE

COLUMNS = ("MSE", "MAE", "SSIM", "SSIM r=1", "PSNR dB", "sharpness")
NAME_WIDTH = 36
STAGES = (
    ("reconstruction", "reconstruction (tokenizer alone)"),
    ("one_pass_true_past", "one greedy pass, true past"),
    ("true_past", "decoding, true past"),
)
TRIVIAL = (("black", "all black"), ("repeat_last", "repeat the last given frame"), ("pixel_mean", "mean training frame"))


def format_table(result: dict[str, Any]) -> str:
    """Readable text of what `evaluate` returns: settings, scores from truth to free running, baselines, published rows, frames."""
    parts = [header(result), scores_table(result), summary_lines(result), frames_table(result), notes(result)]
    return "\n\n".join(parts)


def header(result: dict[str, Any]) -> str:
    sampling = result["sampling"]
    expected = sampling.get("choice") == "expected"
    choice = "tokens as expected" if expected else f"temperature {sampling['temperature']:g}, top-k {sampling['top_k']}"
    fewer = f" ({result['clips_asked']} asked for, no more exist)" if result["clips"] < result["clips_asked"] else ""
    cut = f" cut from {result['recordings']} recordings" if result["recordings"] < result["clips"] else ""
    return (
        f"{result['checkpoint']} at step {result['step']}: {result['context']} frames given, {result['frames']} predicted\n"
        f"{result['clips']} {result['split']} clips of {result['source']}{cut}{fewer}, {result['size']}x{result['size']}; "
        f"{choice}, {sampling['steps']} decode steps, seed {result['seed']}"
    )


def scores_table(result: dict[str, Any]) -> str:
    lines = [row("", COLUMNS), row("truth", ("0", "0", "1", "1", "", "1.00"))]
    lines += [scored_row(title, result[name]) for name, title in STAGES if name in result]
    lines.append(scored_row("prediction (free running)", result))
    if "best_of" in result:
        lines.append(scored_row(f"best of {result['samples']} (truth known)", result["best_of"]))
        lines.append(scored_row(f"mean of {result['samples']}", result["mean_of"]))
    lines += ["without a model", *(scored_row(title, result[name], 1) for name, title in TRIVIAL)]
    if comparable(result):
        lines += ["published, other test clips [1]", *published_rows()]
    return "\n".join(lines)


def published_rows() -> list[str]:
    return [
        row(f"  {one.name}, {one.epochs:,} epochs", (f"{one.mse:.2f}", f"{one.mae:.2f}", f"{one.ssim:.4f}", "", f"{one.psnr:.2f}", ""))
        for one in MOVING_MNIST_10_TO_10
    ]


def scored_row(title: str, scores: dict[str, Any], indent: int = 0) -> str:
    sharpness = scores["sharpness"]
    cells = (
        f"{scores['mse']:.2f}",
        f"{scores['mae']:.2f}",
        f"{scores['ssim']:.4f}",
        f"{scores['ssim_data_range_1']:.4f}",
        f"{scores['psnr']:.2f}",
        "" if sharpness is None else f"{sharpness:.2f}",
    )
    return row("  " * indent + title, cells)


def row(title: str, cells: tuple[str, ...]) -> str:
    return (title.ljust(NAME_WIDTH) + "".join(cell.rjust(11) for cell in cells)).rstrip()


def summary_lines(result: dict[str, Any]) -> str:
    interval = result["mse_confidence_95"]
    of = "clip" if result["recordings"] == result["clips"] else "recording"
    spread = f"unknown from one {of}" if interval is None else f"{interval[0]:.1f} to {interval[1]:.1f} (bootstrap over {of}s)"
    lines = [
        f"95% confidence of the MSE: {spread}",
        f"frames ahead of repeating the last given one, in a row: {result['frames_ahead']} of {result['frames']}",
    ]
    if "diversity" in result:
        lines.append(f"diversity: two futures of a clip differ by {result['diversity']:.1f} squared error a frame")
    else:
        lines.append("best of N, mean of N and diversity: draw more than one future of each clip (--samples N)")
    return "\n".join(lines)


def frames_table(result: dict[str, Any]) -> str:
    """MSE of each future frame, a line a frame."""
    rows = [("prediction", result), *((name, result[name]) for name in ("true_past", "repeat_last", "reconstruction") if name in result)]
    width = max(len(name) for name, _ in rows) + 3
    lines = ["MSE of frame" + "".join(name.rjust(width) for name, _ in rows)]
    for frame in range(result["frames"]):
        figures = (f"{scores['per_frame']['mse'][frame]:.2f}".rjust(width) for _, scores in rows)
        lines.append(str(frame + 1).rjust(12) + "".join(figures))
    return "\n".join(lines)


def notes(result: dict[str, Any]) -> str:
    lines = [
        "MSE and MAE are summed over the pixels of a frame in [0, 1]. SSIM is with data range 2, as the published figures are; r=1 is",
        "with the frames' own range. Sharpness is edge strength over the truth's: below 1 is blur, and blur alone can lower the MSE.",
    ]
    if comparable(result):
        lines.append(f"[1] {SOURCE};")
        lines.append("    on the standard 10,000 test clips, by models that predict one mean future.")
    return "\n".join(lines)


def comparable(result: dict[str, Any]) -> bool:
    """Whether the published rows measure the same task: two digits, 64x64, 10 frames given and 10 predicted."""
    task = tuple(result[name] for name in ("context", "frames", "size", "channels", "digits"))
    return result["source"] in MOVING_MNIST and task == (10, 10, 64, 1, 2)
