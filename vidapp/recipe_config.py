"""How a model is trained, and how futures are sampled from it: the settings of the recipe, each with when to use it."""

from dataclasses import dataclass

from .fields import Section, option


@dataclass(frozen=True, kw_only=True)
class RecipeConfig(Section):
    learning_rate: float = option(3e-4, "Peak learning rate of AdamW.", low=0.0, high=1.0, first_order=True)
    batch_size: int = option(16, "Clips in an optimiser step.", unit="clips", low=1, high=4096, first_order=True)
    micro_batches: int = option(1, "Split a step's clips into this many passes: less memory, the same gradient.", low=1, high=256)
    optimizer: str = option(
        "adamw",
        "adamw, the safe choice; or muon: Muon on the hidden matrices and AdamW on the rest, where steps are few and each must count.",
        choices=("adamw", "muon"),
    )
    muon_learning_rate: float = option(0.02, "Peak learning rate of Muon's matrices.", low=0.0, high=1.0)
    weight_decay: float = option(0.01, "Decoupled weight decay on matrices.", low=0.0, high=1.0)
    beta2: float = option(0.98, "AdamW's second-moment decay.", low=0.5, high=0.99999)
    gradient_clip: float = option(1.0, "Largest gradient norm that is applied; 0 turns clipping off.", low=0.0, high=1e6)
    schedule: str = option(
        "cosine",
        "cosine: warm-up, then down to the smallest rate, for a run whose end is known. constant: to go on for as long as it learns.",
        choices=("constant", "cosine"),
        first_order=True,
    )
    warmup_steps: int = option(
        1000,
        "Steps of linear warm-up before the cosine; at most a tenth of a short run, and the run says so. More where the loss jumps at the start.",
        unit="steps",
        low=0,
        high=10**7,
    )
    minimum_learning_rate: float = option(1e-6, "Where the cosine ends.", low=0.0, high=1.0)
    objective_future: float = option(
        0.5,
        "Weight of `future`, relative to the other two (each clip draws one): first frames given, later ones masked. Alone where only "
        "prediction counts.",
        low=0.0,
        high=1e6,
    )
    objective_joint: float = option(
        0.4, "Weight of `joint`: masks anywhere in the clip. For filling gaps, and more to learn from each clip.", low=0.0, high=1e6
    )
    objective_individual: float = option(
        0.1,
        "Weight of `individual`: every frame alone, attention across frames is cut. Teaches what frames look like, where shapes melt.",
        low=0.0,
        high=1e6,
    )
    objective_schedule: str = option(
        "fixed",
        "fixed weights; growing: future only, then joint is added, then individual, in thirds of the run, where all at once is too much.",
        choices=("fixed", "growing"),
    )
    random_context: bool = option(
        False,
        "Future objective: draw the number of given frames (from 2 to the context) each step instead of keeping it fixed. On where fewer "
        "frames will be given, or short clips are all there is.",
    )
    clean_past: bool = option(
        True, "Train each frame against the unmasked past, as sampling sees it (causal models only). Needs a second stream of tokens."
    )
    mask_pattern: str = option(
        "random",
        "Where masks fall. random: anywhere. tube: the same places in every frame, so that none can be copied from the next. block: a "
        "rectangle, so that no neighbour gives it away, of about the area asked for. frame: whole frames (individual: random).",
        choices=("random", "tube", "block", "frame"),
    )
    mask_schedule: str = option(
        "cosine",
        "How much is masked. cosine (MaskGIT): every share, mostly high, as decoding meets them: keep it. uniform: every share "
        "alike. fixed: to compare losses. progressive: exactly 0.5 + 0.5 x progress, easy first, in the end it forgets half-revealed frames. "
        "progressive-range: uniform from 0.5 up to that, without forgetting. joint and individual stop at 0.95.",
        choices=("fixed", "uniform", "cosine", "progressive", "progressive-range"),
        first_order=True,
    )
    mask_ratio: float = option(
        0.75, "Masked share when the mask schedule is fixed. High for sampling, which starts from all masked.", low=0.0, high=1.0
    )
    own_past: float = option(
        0.0,
        "Share of clips whose past, from a random frame on, is the model's own prediction in training, as it is in sampling: "
        "against drift, for about a third more time a step (clean past only).",
        low=0.0,
        high=1.0,
    )
    own_past_from: float = option(
        0.0,
        "Share of run.steps after which own past begins. 0.5 where a run begins with fresh weights: what these predict is no past to learn "
        "from. 0 where it begins with trained ones.",
        low=0.0,
        high=0.95,
    )
    context_corruption: float = option(
        0.0,
        "Mean share of clean past tokens replaced by random ones in training; each clip draws its own, from 0 to twice this. Try 0.02 to 0.1 where later frames are worse than the first; "
        "cheaper than own past.",
        low=0.0,
        high=0.5,
    )
    curriculum: tuple[int, ...] = option(
        (),
        "Clip lengths in equal parts of the run, e.g. 5,10,15,20; empty keeps the full length. Where long clips are slow: the first steps "
        "cost less. The context scales with it.",
        unit="frames",
        low=1,
        high=256,
    )
    horizontal_flip: float = option(
        0.0, "Chance that a clip is mirrored. Mirrored digits are not digits: use it for scenes.", low=0.0, high=1.0
    )
    rotation: float = option(
        0.0, "Largest rotation of a clip, the same for all its frames. 5 to 10 where clips are few.", unit="degrees", low=0.0, high=45.0
    )
    brightness: float = option(
        0.0,
        "Largest change of brightness, as a share, the same for all frames of a clip. 0.1 to 0.2 where light varies.",
        low=0.0,
        high=0.9,
    )
    contrast: float = option(
        0.0, "Largest change of contrast, as a share, the same for all frames of a clip. 0.1 to 0.2 where it varies.", low=0.0, high=0.9
    )
    precision: str = option(
        "auto",
        "float32, bf16 (autocast), or auto: bf16 on a GPU that computes in it, and on a CPU that is measured faster at it.",
        choices=("auto", "float32", "bf16"),
    )
    ema_decay: float = option(
        0.999,
        "Decay of the averaged weights that are sampled from, after a warm-up; 0 takes the newest weights (and saves no memory). Higher in "
        "longer runs.",
        low=0.0,
        high=0.999999,
    )
    gradient_checkpointing: bool = option(
        False, "Recompute activations in the backward pass: less memory, about a third slower. On where a run does not fit into memory."
    )
    tokenizer_source: str = option(
        "bundled",
        "Which tokenizer a run starts from. bundled: the trained one that comes along, where data and settings are its own; elsewhere a new "
        "one. new: always one that the run trains first.",
        choices=("bundled", "new"),
    )
    tokenizer_steps: int = option(3000, "Steps of the tokenizer phase, where one is trained.", unit="steps", low=1, high=10**7)
    tokenizer_learning_rate: float = option(3e-3, "Peak learning rate of the tokenizer phase.", low=0.0, high=1.0)
    tokenizer_batch_size: int = option(32, "Frames in a step of the tokenizer phase.", unit="frames", low=1, high=4096)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.objective_future + self.objective_joint + self.objective_individual <= 0:
            raise ValueError(
                "the recipe's objective weights sum to zero: give recipe.objective_future, _joint or _individual a weight above 0"
            )
        if self.batch_size % self.micro_batches:
            raise ValueError(f"recipe.batch_size {self.batch_size} must be divisible by recipe.micro_batches {self.micro_batches}")
        if list(self.curriculum) != sorted(self.curriculum):
            raise ValueError(f"recipe.curriculum {self.curriculum} must grow: e.g. 5,10,15,20")


@dataclass(frozen=True, kw_only=True)
class SamplingConfig(Section):
    temperature: float = option(
        0.8,
        "Low is safe, 1 is as learnt; 0 takes the most likely token. Lower where shapes fall apart, higher where all futures look alike.",
        low=0.0,
        high=5.0,
        first_order=True,
    )
    anneal: bool = option(
        True,
        "Lower the temperature linearly towards the last decode step: variety first, then no stray tokens. Off to compare temperatures.",
    )
    top_k: int = option(
        5,
        "Choices per token; 0 means all of them. Few keep out stray tokens, more vary.",
        unit="tokens",
        low=0,
        high=65536,
        first_order=True,
    )
    top_p: float = option(
        1.0,
        "Keep the most likely tokens that hold this much probability; 1 keeps all. 0.9 where the model is sure here and unsure there.",
        low=0.01,
        high=1.0,
    )
    steps: int = option(
        8, "Decode steps for each frame (or for the whole future, when all frames are decoded at once).", unit="steps", low=1, high=256
    )
    choice: str = option(
        "drawn",
        "How a token is chosen. drawn: at random, by temperature, top-k and top-p: one of the possible futures. expected: nearest to the mean "
        "of all patches (or code vectors, where codes are very many), as likely as the model thinks them: one safe future for every seed, in "
        "one decode step as good as in more. Temperature, annealing, top-k, top-p and noise then change nothing; a random order is by confidence.",
        choices=("drawn", "expected"),
    )
    order: str = option(
        "confidence",
        "Which masked tokens are committed first. confidence: the surest, the usual choice. random: where that begins with background. "
        "fixed: row by row, to compare.",
        choices=("confidence", "random", "fixed"),
    )
    noise: float = option(
        1.0, "Gumbel noise on the confidence order, annealed to 0; without any, still background is committed first.", low=0.0, high=100.0
    )
