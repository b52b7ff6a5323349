"""(c) The tokenizer: what is lost between a frame and its tokens, how much of the codebook is used, and whether ids survive."""

import math

import torch
from torch import Tensor

from ..alarms import POORLY_REDRAWN
from ..tokenizer_phase import mean_image_mse, reconstruction_figures
from .subject import Subject
from .verdict import Check, Progress, judge

CLIPS = 16
USED = 0.02  # share of the codes that could be seen
FEWEST = 4
TWINS = 1e-3  # of a code's length: codes that are nearer to each other are one for whoever rounds


@torch.no_grad()
def tokenization(subject: Subject, progress: Progress) -> list[Check]:
    """Reconstruction, codebook use and round trips on validation clips."""
    tokenizer = subject.tokenizer.eval()
    clips = subject.source.fixed_clips("validation", CLIPS, subject.config.data.clip_frames)
    frames = torch.from_numpy(clips).flatten(0, 1)
    drawn, tokens, agree = [], [], []
    for part in frames.split(64):
        batch = part.to(subject.device).float()[:, None] / 255
        tokens.append(tokenizer.encode(batch))
        drawn.append(tokenizer.decode(tokens[-1])[:, 0])
        agree.append((tokenizer.encode(drawn[-1][:, None].clamp(0, 1)) == tokens[-1]).float().mean())
        progress(len(tokens) * 64 / len(frames))
    truth = frames.to(subject.device).float() / 255
    ids = torch.cat(tokens)
    figures = reconstruction_figures(torch.cat(drawn), truth, ids, tokenizer.codebook_size)
    figures["ids_after_a_frame"] = float(torch.stack(agree).mean())  # ids -> frame -> ids
    return [reconstruction(figures, truth), codebook_use(figures, ids, tokenizer.codebook_size), round_trip(subject, figures)]


def reconstruction(figures: dict[str, float], truth: Tensor) -> Check:
    """Against the mean image: what knowing nothing of a frame costs."""
    mean_image = mean_image_mse(truth)
    return judge(
        "reconstruction",
        "The tokenizer redraws its frames",
        figures["reconstruction_mse"] / max(mean_image, 1e-9),
        at_most=POORLY_REDRAWN,
        unit="squared error / that of the mean image",
        good=f"squared error {figures['reconstruction_mse']:.1f} a frame, {figures['psnr_db']:.1f} dB: no prediction gets below that",
        bad=f"squared error {figures['reconstruction_mse']:.1f} a frame where the mean image has {mean_image:.1f}: whatever the transformer "
        "learns will look like this; train the tokenizer longer (recipe.tokenizer_steps), or lower tokenizer.downsampling",
        details={**figures, "mean_image_mse": mean_image},
    )


def codebook_use(figures: dict[str, float], ids: Tensor, codebook_size: int) -> Check:
    counts = torch.bincount(ids.flatten(), minlength=codebook_size).sort(descending=True).values
    used = int((counts > 0).sum())
    possible = min(codebook_size, ids.numel() // 8)
    needed = min(codebook_size, max(FEWEST, math.ceil(USED * possible)))
    top = counts[:used].cpu().double() / ids.numel()
    return judge(
        "codebook_use",
        "The codebook is used",
        used,
        at_least=needed,
        unit=f"of {codebook_size} codes",
        good=f"perplexity {figures['perplexity']:.1f}; the most frequent code has {float(top[0]):.0%}",
        bad=f"the codebook has collapsed to {used} of {codebook_size} codes: use tokenizer.quantizer=fsq (it cannot), fewer codes, or a lower "
        "recipe.tokenizer_learning_rate",
        curve=tuple((float(place + 1), float(share)) for place, share in enumerate(top[:200])),
        axes=("code, most frequent first", "share of tokens"),
        details={"perplexity": figures["perplexity"], "most_frequent": float(top[0])},
    )


def round_trip(subject: Subject, figures: dict[str, float]) -> Check:
    """ids -> codes -> ids: every id of the codebook must come back, or one of the very same code: where dead codes are begun anew with what
    patches there are, blank ones give many codes as good as one."""
    tokenizer = subject.tokenizer
    every, codes = tokenizer.ids(), tokenizer.codebook()
    nearest = torch.cat([torch.cdist(part, codes).argmin(dim=1) for part in codes.split(512)])
    again = tokenizer.quantize(codes[:, None, None])[1].flatten() if tokenizer.config.quantizer != "fsq" else quantized(tokenizer, codes)
    alike = TWINS * float(codes.norm(dim=1).mean())
    wrong = int(sum((codes[found] - codes).norm(dim=1) > alike for found in (again, nearest)).clamp(max=1).sum())
    twins = int(((again != every) | (nearest != every)).sum()) - wrong
    return judge(
        "code_round_trip",
        "Ids survive the way through their codes",
        wrong,
        at_most=0,
        unit="ids",
        good=f"ids -> codes -> ids is exact; ids -> frame -> ids keeps {figures['ids_after_a_frame']:.1%}",
        bad=f"{wrong} ids do not come back from their own codes: encoder and decoder disagree about what an id means",
        details={"ids_after_a_frame": figures["ids_after_a_frame"], "twins": float(twins)},
    )


def quantized(tokenizer: torch.nn.Module, codes: Tensor) -> Tensor:
    """Ids of codes that lie on FSQ's lattice already: its own mapping, without the bound that it puts on free vectors."""
    return tokenizer.quantizer.codes_to_indices(codes).long()  # type: ignore[operator,union-attr]
