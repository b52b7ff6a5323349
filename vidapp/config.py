"""What a run is made of: frozen dataclasses whose fields carry their own help, unit and bounds.

The form in the browser, the command line flags and the JSON file are all derived from these fields: adding a
field here is the one edit that adds it everywhere.
"""

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .fields import Section, option, refuse_unknown
from .files import JSON_LIMIT, open_ordinary
from .recipe_config import RecipeConfig as RecipeConfig
from .recipe_config import SamplingConfig as SamplingConfig

MOVING_MNIST = ("moving-mnist", "moving-mnist-full")  # data.source: the built-in ones; anything else is a path
SPLITS = ("train", "validation", "test")
PHASES = ("tokenizer", "transformer")  # of a run, in their order
LARGEST_GRID = 64  # tokens along a side of a frame
LARGEST_FEATURES = 1 << 24  # numbers that a transformer knows of the codes: 64 MiB that no checkpoint holds, computed when one is loaded


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Section):
    width: int = option(192, "Channels of every token in the transformer.", low=16, high=4096, first_order=True)
    layers: int = option(4, "Transformer blocks.", low=1, high=64, first_order=True)
    heads: int = option(4, "Attention heads; must divide the width.", low=1, high=64)
    attention: str = option(
        "full",
        "What a token can attend to: full (all of space-time), factorized (space, then time: much cheaper for long "
        "clips) or framewise (space only: the model cannot see motion).",
        choices=("full", "factorized", "framewise"),
        first_order=True,
    )
    causal: bool = option(True, "A frame sees itself and earlier frames only. Needed for cached frame-by-frame sampling.")
    norm: str = option(
        "pre",
        "Layer norm before (pre) or after (post) each branch. Keep pre, which trains at once; post to compare, at a lower rate.",
        choices=("pre", "post"),
    )
    positions: str = option(
        "learned",
        "learned: a vector for each place and frame. relative: a learned attention bias for each offset in space and "
        "in time, which shares what is learnt in one place with every other: for motion that is the same everywhere.",
        choices=("learned", "relative"),
    )
    code_embedding: bool = option(
        True, "Embed a token through its code vector besides its own embedding. Off to see what the ids alone can do."
    )
    pixel_embedding: bool = option(
        False,
        "Embed a token also through the patch of pixels that its code alone is drawn as: what moves is then seen to move, not only to become "
        "another code. On with a stem; alone it bought nothing that could be measured.",
    )
    stem_frames: int = option(
        0,
        "Embed a token with its 3x3 neighbours in its own frame (1) and in the frames before (2, 3, ...); 0 embeds it alone. 3 shows motion to "
        "the first layer: learning starts much sooner.",
        unit="frames",
        low=0,
        high=16,
    )
    dropout: float = option(
        0.0,
        "Share of activations dropped in training. Try 0.1 where validation rises while the loss still falls; 0 with fresh clips every step.",
        low=0.0,
        high=0.9,
    )
    mlp_ratio: int = option(4, "Hidden width of the feed-forward branch, in widths.", unit="widths", low=1, high=16)

    @property
    def is_causal(self) -> bool:
        """Whether nothing that a frame shows depends on a later one: frame-wise attention sees no other frame at all."""
        return self.causal or self.attention == "framewise"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % self.heads:
            raise ValueError(
                f"model.width {self.width} must be divisible by model.heads {self.heads}: "
                f"try model.width={self.heads * max(1, round(self.width / self.heads))}"
            )
        if self.attention == "framewise" and self.stem_frames > 1:
            raise ValueError(
                f"model.stem_frames {self.stem_frames} shows frames to each other, which model.attention=framewise is to keep apart: "
                "set model.stem_frames to 0 or 1"
            )
        if self.pixel_embedding and not self.code_embedding:
            raise ValueError("model.pixel_embedding adds pixels to the code embedding: set model.code_embedding=true")


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig(Section):
    quantizer: str = option(
        "fsq",
        "fsq: fixed lattice, cannot collapse. vq: learned codebook with EMA and dead-code restart. ids: none, the data are token ids.",
        choices=("fsq", "vq", "ids"),
    )
    levels: tuple[int, ...] = option((8, 5, 5, 5), "FSQ levels of each code dimension; their product is the codebook size.", low=3, high=64)
    vq_codebook_size: int = option(512, "Number of codes when the quantizer is vq, or of given ids.", low=2, high=65536)
    vq_code_dim: int = option(16, "Length of a code vector when the quantizer is vq.", low=1, high=512)
    downsampling: int = option(
        8, "Pixels along one side of a token's patch: 2, 4, 8, 16 or 32; 1 for given ids.", unit="pixels", low=1, high=32
    )
    overlap: bool = option(
        True,
        "Let a token see a margin around its patch: that draws better. Off, its id depends on its patch alone: empty patches are all alike, "
        "and what will be is easier to tell. Then give it more codes.",
    )
    channels: int = option(48, "Channels at half the token grid's pixel size; doubled at the grid itself.", low=8, high=512)
    encoder_blocks: int = option(1, "Residual blocks at each of the encoder's two resolutions.", low=0, high=8)
    decoder_blocks: int = option(1, "Residual blocks at each of the decoder's two resolutions.", low=0, high=8)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.quantizer == "ids":
            if self.downsampling != 1:
                raise ValueError(f"tokenizer.downsampling is {self.downsampling}, but given ids are a pixel each: set it to 1")
        elif self.downsampling not in (2, 4, 8, 16, 32):
            raise ValueError(f"tokenizer.downsampling is {self.downsampling}: use one of 2, 4, 8, 16, 32")
        if not self.levels:
            raise ValueError("tokenizer.levels is empty: give at least one level, e.g. 8,5,5,5")
        if len(self.levels) > 10:  # 3 to the 11th is above the limit below; longer lists would take long to multiply
            raise ValueError(f"tokenizer.levels has {len(self.levels)} entries: give at most 10, e.g. 8,5,5,5")
        if self.codebook_size > 65536:
            raise ValueError(f"tokenizer.levels {self.levels} make {self.codebook_size} codes: use at most 65536")

    @property
    def codebook_size(self) -> int:
        """V: ids lie in [0, V); the mask id is V."""
        return math.prod(self.levels) if self.quantizer == "fsq" else self.vq_codebook_size

    @property
    def code_dim(self) -> int:
        return {"fsq": len(self.levels), "vq": self.vq_code_dim, "ids": 3}[self.quantizer]

    @property
    def code_features(self) -> int:
        """What a transformer can embed a code by: its vector and, for FSQ, which level it has in each dimension."""
        return self.code_dim + (sum(self.levels) if self.quantizer == "fsq" else 0)


@dataclass(frozen=True, kw_only=True)
class DataConfig(Section):
    source: str = option(
        "moving-mnist",
        "moving-mnist (made on the fly from real digits), moving-mnist-full (torchvision's MNIST and its standard test "
        "clips; needs a network) or the path of your own clips.",
        first_order=True,
    )
    size: int = option(64, "Height and width of a frame; other clips are resized and cropped to it.", unit="pixels", low=4, high=512)
    channels: int = option(1, "1 for grey, 3 for colour.", low=1, high=3)
    clip_frames: int = option(20, "Frames in a training clip.", unit="frames", low=1, high=256)
    context_frames: int = option(10, "Given frames; the rest of the clip is to be predicted.", unit="frames", low=1, high=255)
    digits: int = option(2, "Digits in a Moving MNIST clip.", low=1, high=6)
    frame_step: int = option(
        1, "Take every n-th frame of your own clips: from one frame of a video to the next hardly anything moves.", low=1, high=120
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.source.strip():
            raise ValueError(
                "data.source is empty: say moving-mnist, moving-mnist-full or the path of your own clips (. for the current folder)"
            )
        if self.channels == 2:
            raise ValueError("data.channels is 2: use 1 (grey) or 3 (colour)")
        if self.clip_frames > 1 and self.context_frames >= self.clip_frames:
            raise ValueError(
                f"data.context_frames {self.context_frames} leaves nothing to predict in clips of "
                f"data.clip_frames {self.clip_frames}: use at most {self.clip_frames - 1}"
            )
        if self.source in MOVING_MNIST and self.size < 32:
            raise ValueError(f"data.size {self.size} is too small for 28-pixel digits to move in: use at least 32")


@dataclass(frozen=True, kw_only=True)
class RunConfig(Section):
    steps: int = option(20_000, "Optimiser steps of the transformer phase.", unit="steps", low=1, high=10**9, first_order=True)
    seed: int = option(0, "Seed of everything random in the run.", low=0, high=2**31 - 1)
    log_every: int = option(10, "Steps between two lines of metrics.", unit="steps", low=1, high=10**6)
    validate_every: int = option(250, "Steps between two validations on fixed clips and masks.", unit="steps", low=1, high=10**9)
    sample_every: int = option(1000, "Steps between two sample strips.", unit="steps", low=1, high=10**9)
    checkpoint_every: int = option(500, "Steps between two checkpoints.", unit="steps", low=1, high=10**9)
    keep_checkpoints: int = option(3, "Newest checkpoints kept; older ones are deleted.", low=1, high=10**6)
    keep_best: bool = option(
        True, "Also keep the checkpoint with the lowest validation loss (everything masked); it is saved when reached."
    )
    keep_every: int = option(
        0, "Also keep a checkpoint at every so many steps, for good; 0 keeps none for that.", unit="steps", low=0, high=10**9
    )
    on_nonfinite: str = option(
        "stop",
        "When a loss or gradient is not finite the weights are left as they are; then stop, or skip that step, count it and go on.",
        choices=("stop", "skip"),
    )
    tracker: str = option(
        "none",
        "Also send the metrics to this tracker, which must be installed; the run folder has them in any case.",
        choices=("none", "tensorboard", "wandb", "trackio"),
    )
    validation_clips: int = option(16, "Clips in a validation.", unit="clips", low=1, high=4096)
    training_clips: int = option(
        0, "Train on this many fixed clips only (to overfit on purpose); 0 means fresh clips every step.", unit="clips", low=0, high=10**7
    )
    device: str = option(
        "auto", "auto: CUDA where there is one, else Apple's GPU (mps), else the CPU.", choices=("auto", "cpu", "cuda", "mps")
    )
    threads: int = option(0, "CPU threads; 0 leaves the choice to torch.", low=0, high=512)
    compile: str = option(
        "auto",
        "torch.compile of the transformer: on, off, or auto: on CUDA where the run is long enough to earn it back. A resume is exact to "
        "the last bit without it only.",
        choices=("auto", "on", "off"),
    )


@dataclass(frozen=True, kw_only=True)
class Config:
    """The whole of a run. Sections are checked alone when made and against each other here (ValueError)."""

    model: ModelConfig = ModelConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    data: DataConfig = DataConfig()
    recipe: RecipeConfig = RecipeConfig()  # noqa: RUF009  it is frozen
    sampling: SamplingConfig = SamplingConfig()  # noqa: RUF009  it is frozen
    run: RunConfig = RunConfig()

    def __post_init__(self) -> None:
        if self.data.size % self.tokenizer.downsampling:
            raise ValueError(
                f"data.size {self.data.size} must be divisible by tokenizer.downsampling {self.tokenizer.downsampling}: "
                f"try data.size={max(1, round(self.data.size / self.tokenizer.downsampling)) * self.tokenizer.downsampling}"
            )
        recipe = self.recipe
        if self.tokenizer.quantizer == "ids":
            if self.data.channels != 3:
                raise ValueError(f"data.channels is {self.data.channels}, but given ids are drawn in colour: set data.channels=3")
            if self.sampling.choice == "expected":
                raise ValueError("given ids have no distances to expect anything by: set sampling.choice=drawn")
            if recipe.horizontal_flip or recipe.rotation or recipe.brightness or recipe.contrast:
                raise ValueError("given ids cannot be augmented: set recipe.horizontal_flip, rotation, brightness and contrast to 0")
        features = self.tokenizer.codebook_size * self.code_features
        if self.model.pixel_embedding and features > LARGEST_FEATURES:
            raise ValueError(
                f"model.pixel_embedding would hold {features:,} pixels of codes, more than {LARGEST_FEATURES:,}: "
                "set it to false, or lower tokenizer.downsampling or the number of codes"
            )
        if self.grid > LARGEST_GRID:
            raise ValueError(
                f"data.size {self.data.size} with tokenizer.downsampling {self.tokenizer.downsampling} makes {self.grid**2} tokens "
                f"a frame, more than attention can hold: lower the one or raise the other until there are at most {LARGEST_GRID**2}"
            )
        if self.recipe.clean_past and not self.model.causal:
            raise ValueError("recipe.clean_past needs a causal model: set model.causal=true or recipe.clean_past=false")
        if self.recipe.curriculum and self.recipe.curriculum[-1] > self.data.clip_frames:
            raise ValueError(
                f"recipe.curriculum ends at {self.recipe.curriculum[-1]} frames but clips have data.clip_frames "
                f"{self.data.clip_frames}: lower the one or raise the other"
            )
        if self.sampling.top_k > self.tokenizer.codebook_size:
            raise ValueError(
                f"sampling.top_k {self.sampling.top_k} is above the codebook size {self.tokenizer.codebook_size}: use 0 for all codes"
            )

    @property
    def grid(self) -> int:
        """Tokens along one side of a frame's token grid (h = w)."""
        return self.data.size // self.tokenizer.downsampling

    @property
    def code_features(self) -> int:
        """What the transformer embeds a code by, besides the id: features of its code vector, and pixels of its patch where asked for."""
        pixels = self.data.channels * self.tokenizer.downsampling**2 if self.model.pixel_embedding else 0
        return self.tokenizer.code_features + pixels

    def to_dict(self) -> dict[str, dict[str, Any]]:
        return {name: dataclasses.asdict(getattr(self, name)) for name in SECTIONS}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> "Config":
        """The config of a dictionary of sections; what is left out keeps its default, unknown keys raise ValueError."""
        if not isinstance(values, dict):
            raise ValueError(f"a config is an object of sections {', '.join(SECTIONS)}, not {type(values).__name__}")
        refuse_unknown(values, SECTIONS, "section")
        sections: dict[str, Any] = {name: section_from(SECTIONS[name], name, part) for name, part in values.items()}
        return Config(**sections)

    @staticmethod
    def from_json(text: str) -> "Config":
        try:
            values = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"this is not JSON: {error}") from error
        return Config.from_dict(values)

    def value(self, key: str) -> Any:
        """The value of a setting, by its dotted key."""
        section, _, name = key.partition(".")
        return getattr(getattr(self, section), name)

    def replace(self, changes: dict[str, Any]) -> "Config":
        """A copy with changes given by dotted key, e.g. {"recipe.learning_rate": 1e-4}; texts are converted."""
        values = self.to_dict()
        for key, value in changes.items():
            section, _, name = key.partition(".")
            field_of(key)
            values[section][name] = value
        return Config.from_dict(values)

    def differences(self, other: "Config") -> dict[str, tuple[Any, Any]]:
        """Dotted key -> (own value, other's value) wherever the two differ."""
        mine, theirs = self.to_dict(), other.to_dict()
        return {
            f"{section}.{name}": (value, theirs[section][name])
            for section, fields in mine.items()
            for name, value in fields.items()
            if value != theirs[section][name]
        }


SECTIONS: dict[str, type[Section]] = {
    "model": ModelConfig,
    "tokenizer": TokenizerConfig,
    "data": DataConfig,
    "recipe": RecipeConfig,
    "sampling": SamplingConfig,
    "run": RunConfig,
}


def field_of(key: str) -> dataclasses.Field[Any]:
    """The dataclass field of a dotted key such as `recipe.learning_rate`; ValueError for an unknown one."""
    section, _, name = key.partition(".")
    refuse_unknown({section: 0}, SECTIONS, "section")
    fields = {field.name: field for field in dataclasses.fields(SECTIONS[section])}
    refuse_unknown({name: 0}, fields, f"setting of {section}")
    return fields[name]


def as_argument(value: Any) -> str:
    """A value as `--set` reads it back."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


def parse_assignments(assignments: list[str]) -> dict[str, str]:
    """`["recipe.learning_rate=1e-4"]` -> `{"recipe.learning_rate": "1e-4"}`, for `Config.replace`."""
    changes = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise ValueError(f"{assignment!r} is no assignment: write section.name=value")
        changes[key.strip()] = value.strip()
    return changes


def load_config(path: str | Path) -> Config:
    """Read a config from a JSON file; ValueError where there is none or it is not one."""
    try:
        with open_ordinary(path) as file:
            content = file.read(JSON_LIMIT + 1)
        if len(content) > JSON_LIMIT:
            raise ValueError(f"cannot read the config {path}: it has more than {JSON_LIMIT >> 20} MiB, which no config has")
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"cannot read the config {path}: it is not a text file, give a config in JSON") from error
    except OSError as error:
        raise ValueError(f"cannot read the config {path}: {error.strerror or error}") from error
    try:
        return Config.from_json(text)
    except ValueError as error:
        raise ValueError(f"cannot use the config {path}: {error}") from error


def section_from(kind: type[Section], name: str, values: Any) -> Section:
    if not isinstance(values, dict):
        raise ValueError(f"section {name!r} must be an object of settings, not {type(values).__name__}")
    refuse_unknown(values, [field.name for field in dataclasses.fields(kind)], f"setting of {name}")
    return kind(**values)
