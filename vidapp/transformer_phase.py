"""The main phase of a run: the transformer learns to predict masked tokens of clips that the tokenizer encodes on the fly."""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .baselines import copying, unigram
from .batches import TokenBatch, corrupted, corruption, encode_clips
from .checkpoint import save_checkpoint
from .compiling import compile_blocks, compiler_failed, forget_compiled
from .config import Config
from .data.source import ClipSource
from .device import autocast
from .feed import Feed, Made, Part, clips_of, micro_batches
from .layers import LayerLook
from .masking import ClipMask, hidden_tokens, lowest
from .objective import MaskedLogits, accuracies, masked_logits, means, objective_losses, with_own_past
from .optimizer import Average, Optimizers
from .randomness import numpy_generator, torch_generator
from .ranks import ALONE, Ranks
from .rollout import future_tokens
from .schedules import OBJECTIVES, context_frames, frames_at, learning_rate, own_past, progress_of
from .tokenizer import Tokenizer
from .tokenizer_phase import under
from .transformer import VideoTransformer
from .update import Update, advice, first_non_finite

VALIDATION_RATIOS = {"half": 0.5, "full": 1.0}
VALIDATION_BATCH = 8
SAMPLE_CLIPS = 2
FIGURES = (
    "masked_accuracy",
    "copy_accuracy",
    "changed_accuracy",
    *(f"loss_{objective}" for objective in OBJECTIVES),
    "mask_ratio",
    "clip_frames",
)


class TransformerPhase:
    """Trains the transformer of `config`; what is validated, sampled and saved is its averaged copy."""

    name = "transformer"

    def __init__(
        self,
        config: Config,
        source: ClipSource,
        tokenizer: Tokenizer,
        device: torch.device,
        precision: str,
        ranks: Ranks = ALONE,
        *,
        compiled: bool = False,
        feed: Feed | None = None,
    ) -> None:
        self.config, self.source, self.device, self.precision, self.ranks = config, source, device, precision, ranks
        self.steps = config.run.steps
        self.tokenizer = tokenizer.to(device).eval().requires_grad_(False)
        generator = torch_generator(config.run.seed, "transformer")
        self.model = self.new_model(generator)
        self.model.gradient_checkpointing = config.recipe.gradient_checkpointing
        self.parts = micro_batches(config, ranks)  # of this rank
        self.feed = feed or Feed(config, self.parts, workers=0)
        self.now: Made | None = None
        self.compiled = compiled
        if compiled:
            compile_blocks(self.model)
        self.averaged = self.new_model(None).eval().requires_grad_(False)
        self.average = Average(self.model, self.averaged, config.recipe.ema_decay)
        recipe = config.recipe
        self.optimizers = Optimizers(self.model, recipe, self.steps)
        advised = advice(recipe.learning_rate, "recipe.learning_rate")
        self.update = Update(
            self.model, self.optimizers, clip=recipe.gradient_clip, policy=config.run.on_nonfinite, advice=advised, ranks=ranks
        )
        self.clips_u8 = source.fixed_clips("validation", config.run.validation_clips, config.data.clip_frames)
        self.tokens_NTHW = torch.cat(
            [self.encode(part) for part in np.split(self.clips_u8, range(VALIDATION_BATCH, len(self.clips_u8), VALIDATION_BATCH))]
        )
        codes = tokenizer.codebook_size
        self.known = {**unigram(self.tokens_NTHW, codes), **copying(self.tokens_NTHW, codes)}

    def new_model(self, generator: torch.Generator | None) -> VideoTransformer:
        model = VideoTransformer.new(self.config, generator)
        model.take_codes(self.tokenizer)
        return model.to(self.device)

    def start_from(self, weights: dict[str, Tensor]) -> None:
        """Begin with the weights of a checkpoint in place of fresh ones; ValueError where they are of another model."""
        try:
            self.model.load_state_dict(weights)
        except RuntimeError as error:
            raise ValueError("the checkpoint to start from holds another model: copy its model section, or leave it out") from error
        self.averaged.load_state_dict(self.model.state_dict())

    def encode(self, clips_u8: np.ndarray) -> Tensor:
        with torch.no_grad():
            return self.tokenizer.encode(torch.from_numpy(clips_u8).to(self.device).float() / 255)

    def batch(self, step: int, samples: range) -> TokenBatch:
        masks, part = self.made(step).masks, self.made_part(step, samples)
        clips = part[0] if part else clips_of(self.config, self.source, step, samples)
        return TokenBatch(
            encode_clips(self.config, self.tokenizer, clips, step, samples, self.device), [masks[sample] for sample in samples]
        )

    def made(self, step: int) -> Made:
        """What the host has made of a step."""
        if self.now is None or self.now.step != step:
            self.now = self.feed.get(step)
        return self.now

    def made_part(self, step: int, samples: range) -> Part | None:
        """What was made ahead for these samples; None where it is to be made now."""
        return next((part for mine, part in zip(self.parts, self.made(step).parts, strict=False) if mine == samples), None)

    def corrupted(self, past_BTHW: Tensor, step: int, samples: range) -> Tensor:
        part = self.made_part(step, samples)
        return corrupted(past_BTHW, part[1] if part else corruption(self.config, step, samples))

    def grown(self, step: int) -> bool:
        """Whether no later step takes more memory: a curriculum's clips are as long as they become."""
        return frames_at(self.config, step) == frames_at(self.config, self.steps)

    def train_step(self, step: int, measure: bool) -> dict[str, Any]:
        """One update; with `measure` its figures, otherwise {} (reading them would wait for the device).

        The loss is the sum over masked positions divided by their number, over all micro-batches.
        """
        self.seed_dropout(step)
        self.model.train()
        self.update.begin()
        masked = hidden_tokens(self.made(step).masks)
        look = LayerLook(self.model) if measure else None
        with look or contextlib.nullcontext():
            results = self.passes(step, masked, measure)
        if look:
            look.hold()
        loss, norm = self.update.apply(step, torch.stack([loss for loss, _ in results]).sum())
        self.average.update(step, self.update.skip, on_host=self.update.on_host)
        if measure or self.update.on_host:
            self.ranks.settle()
            self.update.check(lambda: first_non_finite(self.model, lambda: self.replay(step)))
        if look is None:
            return {}
        sums = self.ranks.sum(torch.stack([figures for _, figures in results if figures is not None]).sum(dim=0))
        return {
            "loss": float(loss),
            "grad_norm": float(norm),
            "learning_rate": learning_rate(step, self.steps, self.config.recipe),
            **{name: float(total / count) for name, (total, count) in zip(FIGURES, sums, strict=True) if count},
            **self.update.figures(),
            **self.known,
            "layers": look.figures(self.update.gradient_norms, self.ranks.sum(look.sums())),
        }

    def settle(self) -> None:
        """ValueError, or a notice, of what was held back since the last measured step; on all ranks at once."""
        self.ranks.settle()
        self.update.check(lambda: None)

    def passes(self, step: int, masked: int, measure: bool) -> list[tuple[Tensor, Tensor | None]]:
        """The forward and backward passes of this rank's micro-batches; where torch.compile fails, made and from then on without it."""
        try:
            return [self.backward(step, part, masked, measure) for part in self.parts]
        except Exception as error:
            if not (self.compiled and compiler_failed(error)):
                raise
            reason = next(iter(str(error).splitlines()), type(error).__name__)[:200]
        self.compiled = False
        forget_compiled(self.model)
        self.update.notices.append(f"torch.compile failed at step {step + 1} ({reason}): going on without it.")
        self.optimizers.zero_grad()
        self.seed_dropout(step)
        return [self.backward(step, part, masked, measure) for part in self.parts]

    def seed_dropout(self, step: int) -> None:
        """Dropout alone draws from torch's process-wide generator: its state is a function of step (and rank) too."""
        rank = (self.ranks.rank,) if self.ranks.rank else ()
        torch.manual_seed(int(numpy_generator(self.config.run.seed, "dropout", step, *rank).integers(2**62)))

    def past(self, batch: TokenBatch, step: int, samples: range) -> Tensor:
        """What masked frames see of the frames before them: the truth, or for the recipe's share of clips own predictions."""
        frames = batch.tokens_BTHW.shape[1]
        share = own_past(self.config, frames, progress_of(step, self.steps))
        if not share:
            return batch.tokens_BTHW
        draws = [numpy_generator(self.config.run.seed, "own past", step, sample) for sample in samples]
        looks_back = [mask.objective != "individual" for mask in batch.masks]
        starts = [  # nobody looks back at the last frame
            int(rng.integers(1, frames - 1)) if rng.random() < share and looks else frames
            for rng, looks in zip(draws, looks_back, strict=True)
        ]
        noise = [torch_generator(self.config.run.seed, "own past", step, sample) for sample in samples]
        return with_own_past(self.model, batch.tokens_BTHW, starts, noise)

    def predict(self, step: int, samples: range) -> tuple[TokenBatch, MaskedLogits]:
        """The forward pass of one micro-batch."""
        batch, clean_past = self.batch(step, samples), self.config.recipe.clean_past
        with autocast(self.device, self.precision):
            past = self.corrupted(self.past(batch, step, samples), step, samples) if clean_past else None
            return batch, masked_logits(self.model, batch, clean_past=clean_past, past_BTHW=past)

    def backward(self, step: int, samples: range, masked: int, measure: bool) -> tuple[Tensor, Tensor | None]:
        """Add one micro-batch's gradients; returns its part of the loss and, with `measure`, of the figures."""
        batch, predicted = self.predict(step, samples)
        losses = predicted.losses_P
        loss = losses.sum() / masked
        loss.backward()
        return loss.detach(), part_figures(batch, predicted, losses.detach()) if measure else None

    @torch.no_grad()
    def replay(self, step: int) -> None:
        """The forward passes of a step once more."""
        self.seed_dropout(step)
        for part in self.parts:
            self.predict(step, part)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Loss in nats per masked token and accuracy on fixed clips, with half and all of every future frame masked."""
        figures: dict[str, float] = {}
        for name, ratio in VALIDATION_RATIOS.items():
            losses, right = [], []
            for start in range(0, len(self.tokens_NTHW), VALIDATION_BATCH):
                tokens = self.tokens_NTHW[start : start + VALIDATION_BATCH]
                batch = TokenBatch(tokens, [self.validation_mask(start + i, ratio) for i in range(len(tokens))])
                with autocast(self.device, self.precision):
                    predicted = masked_logits(self.averaged, batch, clean_past=self.config.model.causal)  # as it is sampled
                losses.append(predicted.losses_P)
                guess = predicted.logits_PV.argmax(-1).cpu().numpy()
                right.append(accuracies(guess, predicted.positions_P, tokens.cpu().numpy()))
            figures[f"validation_loss_{name}"] = float(torch.cat(losses).mean())
        found = means(right)  # with all of the future masked
        for key in ("masked_accuracy", "changed_accuracy", "copy_accuracy"):
            figures[f"validation_{key.removeprefix('masked_')}"] = found.get(key, 0.0)
        return {**figures, **self.known}

    def validation_mask(self, clip: int, ratio: float) -> ClipMask:
        frames, grid = self.config.data.clip_frames, self.config.grid
        context = context_frames(self.config.data, frames) if frames > 1 else 0
        mask = np.zeros((frames, grid * grid), bool)
        scores = numpy_generator(0, "validation", clip).random((frames - context, grid * grid))
        mask[context:] = lowest(scores, np.full(frames - context, max(1, round(ratio * grid * grid))))
        return ClipMask(mask.reshape(frames, grid, grid), "future", context, ratio)

    @torch.no_grad()
    def sample(self) -> list[np.ndarray]:
        """Rows of a strip, each frames float (T, C, H, W): truth and prediction of the first validation clips."""
        data = self.config.data
        tokens = self.tokens_NTHW[:SAMPLE_CLIPS]
        context = tokens[:, : data.context_frames]
        frames = data.clip_frames - data.context_frames
        if frames < 1:
            return [self.clips_u8[0] / 255.0]
        future = future_tokens(self.averaged, context, frames, self.config.sampling, 0, range(len(tokens)))
        predicted = self.tokenizer.decode(torch.cat([context, future], dim=1)).float().cpu().numpy()
        return [row for truth, drawn in zip(self.clips_u8, predicted, strict=False) for row in (truth / np.float32(255), drawn)]

    def save(self, path: Path, step: int, metrics: dict[str, Any]) -> None:
        weights = (self.averaged if self.config.recipe.ema_decay else self.model).state_dict()
        save_checkpoint(path, self.config, self.tokenizer, weights, step=step, metrics=metrics)

    def tensors(self) -> dict[str, Tensor]:
        return {
            **{f"model.{name}": tensor for name, tensor in self.model.state_dict().items()},
            **{f"averaged.{name}": tensor for name, tensor in self.averaged.state_dict().items()},
            **{f"tokenizer.{name}": tensor for name, tensor in self.tokenizer.state_dict().items()},
            **{f"optimizer.{name}": tensor for name, tensor in self.optimizers.tensors().items()},
            **{f"update.{name}": tensor for name, tensor in self.update.tensors().items()},
        }

    def load(self, tensors: dict[str, Tensor]) -> None:
        self.model.load_state_dict(under("model.", tensors))
        self.averaged.load_state_dict(under("averaged.", tensors))
        self.optimizers.load(under("optimizer.", tensors))
        self.update.load(under("update.", tensors))


def part_figures(batch: TokenBatch, predicted: MaskedLogits, losses_P: Tensor) -> Tensor:
    """Float64 (FIGURES, 2): sum and number of terms of each figure in one micro-batch."""
    guess = predicted.logits_PV.detach().argmax(-1).cpu().numpy()
    clips, frames = batch.tokens_BTHW.shape[:2]
    figures = {
        **accuracies(guess, predicted.positions_P, batch.tokens_BTHW.cpu().numpy()),
        **objective_losses(losses_P.cpu().numpy(), predicted.positions_P, batch),
        "mask_ratio": (sum(mask.ratio for mask in batch.masks), clips),
        "clip_frames": (frames * clips, clips),
    }
    return torch.tensor([figures.get(name, (0.0, 0)) for name in FIGURES], dtype=torch.float64)
