"""Named starting points: each preset is a function that returns a whole config."""

from collections.abc import Callable

from .config import Config, ModelConfig, RecipeConfig, RunConfig, SamplingConfig, TokenizerConfig


def debug() -> Config:
    """Two layers and one objective: small enough to overfit on purpose and to fail fast."""
    return Config(
        model=ModelConfig(width=128, layers=2, heads=4, attention="factorized"),
        recipe=RecipeConfig(
            learning_rate=2e-3, batch_size=8, warmup_steps=50, objective_future=1.0, objective_joint=0.0, objective_individual=0.0
        ),
        run=RunConfig(steps=1000, validate_every=50, sample_every=200, checkpoint_every=200, validation_clips=8),
    )


def tiny() -> Config:
    """0.8 M parameters in its blocks: the smallest that learns, on a laptop over night."""
    return Config(model=ModelConfig(width=128, layers=4, heads=4), recipe=RecipeConfig(batch_size=8))


def small() -> Config:
    """1.8 M parameters in its blocks: the size for trying ideas."""
    return Config(model=ModelConfig(width=192, layers=4, heads=4))


def base() -> Config:
    """14.6 M parameters with embeddings: wants a GPU."""
    return Config(model=ModelConfig(width=384, layers=6, heads=6, attention="factorized", dropout=0.1), recipe=RecipeConfig(batch_size=32))


def scale_up() -> Config:
    """256 wide: the next step once small has learnt; raise model.layers to 6 if it still improves."""
    return Config(model=ModelConfig(width=256, layers=4, heads=4, attention="factorized"))


def motion() -> Config:
    """What the bundled model was trained with, at 256 wide and 6 layers.

    A stem over three frames and pixels to see motion, Muon, everything masked, own past against drift. Own past begins half-way, when
    there is something to learn from it: set own_past_from to 0 where a run begins with trained weights.
    """
    return Config(
        model=ModelConfig(width=192, layers=4, heads=4, attention="factorized", positions="relative", stem_frames=3, pixel_embedding=True),
        tokenizer=TokenizerConfig(levels=(8, 8, 8, 5), overlap=False),
        recipe=RecipeConfig(
            learning_rate=1.5e-3,
            muon_learning_rate=0.015,
            batch_size=8,
            micro_batches=2,
            optimizer="muon",
            warmup_steps=50,
            objective_future=1.0,
            objective_joint=0.0,
            objective_individual=0.0,
            mask_schedule="fixed",
            mask_ratio=1.0,
            random_context=True,
            context_corruption=0.02,
            own_past=0.5,
            own_past_from=0.5,
            curriculum=(10, 20),
            ema_decay=0.995,
        ),
        sampling=SamplingConfig(steps=2),  # trained on nothing but whole frames masked: measured, more steps gain nothing
    )


def seed_before() -> Config:
    """Small with the plainest recipe: constant rate, any share of tokens masked, no dropout, temperature 1. The baseline to beat."""
    return Config(
        model=ModelConfig(width=192, layers=4, heads=4, dropout=0.0),
        recipe=RecipeConfig(
            schedule="constant",
            mask_pattern="random",
            mask_schedule="uniform",
            objective_future=0.5,
            objective_joint=0.4,
            objective_individual=0.1,
        ),
        sampling=SamplingConfig(temperature=1.0, anneal=False, top_k=0),
    )


PRESETS: dict[str, Callable[[], Config]] = {
    "debug": debug,
    "tiny": tiny,
    "small": small,
    "base": base,
    "scale-up": scale_up,
    "motion": motion,
    "seed-before": seed_before,
}


def preset(name: str) -> Config:
    """The preset of that name; ValueError for an unknown one."""
    if not isinstance(name, str) or name not in PRESETS:
        raise ValueError(f"unknown preset {str(name)[:60]!r}: use one of {', '.join(PRESETS)}")
    return PRESETS[name]()
