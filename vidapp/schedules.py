"""What changes over a run: learning rate, mask ratio, objective weights, clip length. All are functions of the step alone."""

import math

import numpy as np

from .config import Config, DataConfig, RecipeConfig

OBJECTIVES = ("future", "joint", "individual")
LEAST_CONTEXT = 2  # given frames, where their number is drawn
SHORTEST_OWN_PAST = 3  # frames of a clip: a given one, one that is predicted, and one that looks back at it
LARGEST_OPEN_RATIO = 0.95  # joint and individual stop here: with everything masked only the marginal can be learnt


def warmup_steps(recipe: RecipeConfig, steps: int) -> int:
    """The warm-up in force: as asked for, but at most a tenth of the run."""
    return min(recipe.warmup_steps, steps // 10)


def learning_rate(step: int, steps: int, recipe: RecipeConfig, peak: float | None = None) -> float:
    """Rate at `step` in [0, steps): constant, or linear warm-up and a cosine from `peak` to the smallest rate."""
    peak = recipe.learning_rate if peak is None else peak
    if recipe.schedule == "constant":
        return peak
    warmup = warmup_steps(recipe, steps)
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - 1 - warmup)
    floor = min(peak, recipe.minimum_learning_rate)
    return floor + (peak - floor) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))


def muon_rate(recipe: RecipeConfig, rate: float) -> float:
    """Muon's rate where AdamW's is `rate`: in step with it, as their peaks are."""
    return recipe.muon_learning_rate * rate / max(recipe.learning_rate, 1e-12)


def rates_at(recipe: RecipeConfig, peak: float) -> dict[str, float]:
    """The settings for another peak, by dotted key: where Muon trains the hidden matrices its rate too, in step, to two digits."""
    rates = {"recipe.learning_rate": peak}
    if recipe.optimizer == "muon" and recipe.learning_rate:
        rates["recipe.muon_learning_rate"] = min(1.0, float(f"{muon_rate(recipe, peak):.2g}"))
    return rates


def progress_of(step: int, steps: int) -> float:
    """0 at the first step, 1 at the last."""
    return min(1.0, step / max(1, steps - 1))


def objective_weights(recipe: RecipeConfig, progress: float) -> dict[str, float]:
    """Weights that sum to 1. Growing: future only, then joint is added, then individual, in thirds of the run."""
    weights = {name: getattr(recipe, f"objective_{name}") for name in OBJECTIVES}
    if recipe.objective_schedule == "growing":
        weights["future"] = weights["future"] or 1.0
        weights["joint"] *= progress >= 1 / 3
        weights["individual"] *= progress >= 2 / 3
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def own_past(config: Config, frames: int, progress: float) -> float:
    """Share of the clips of so many frames whose past is the model's own prediction: none before `own_past_from`, as scheduled sampling
    (Bengio et al., 2015) begins with the truth too, and none where no masked frame would see a predicted one."""
    recipe = config.recipe
    unseen = not recipe.clean_past or frames < SHORTEST_OWN_PAST or config.model.attention == "framewise"
    return 0.0 if unseen or progress < recipe.own_past_from else recipe.own_past


def clip_frames(recipe: RecipeConfig, data: DataConfig, progress: float) -> int:
    """Clip length at this progress: the curriculum's equal parts, or the full length."""
    if not recipe.curriculum:
        return data.clip_frames
    part = min(len(recipe.curriculum) - 1, int(progress * len(recipe.curriculum)))
    return recipe.curriculum[part]


def frames_at(config: Config, step: int) -> int:
    """Clip length of that step of the transformer."""
    return clip_frames(config.recipe, config.data, progress_of(step, config.run.steps))


def context_frames(data: DataConfig, frames: int) -> int:
    """Given frames of a clip of `frames`: the config's share of it, at least one, and one frame is left to predict."""
    if frames == data.clip_frames:
        return data.context_frames
    return max(1, min(frames - 1, round(frames * data.context_frames / data.clip_frames)))


def always_given(recipe: RecipeConfig, data: DataConfig, progress: float) -> int:
    """First frames that no clip has had masked up to this progress: those that the future objective gives, none where another one acts."""
    if objective_weights(recipe, progress)["future"] < 1.0:
        return 0  # where joint and individual come later, they had no weight up to now either
    frames = clip_frames(recipe, data, 0.0)  # a curriculum grows: its shortest clips, which come first, are given least
    context = min(context_frames(data, frames), frames - 1)
    return min(LEAST_CONTEXT, context) if recipe.random_context else context


def mask_ratio(recipe: RecipeConfig, progress: float, rng: np.random.Generator, count: int = 1) -> np.ndarray:
    """`count` mask ratios in [0, 1]; of a mask that comes to nothing one token is hidden (`masking.at_least_one`). cosine: cos(pi/2 u), u uniform (MaskGIT, Chang et al., 2022)."""
    top = 0.5 + 0.5 * progress
    if recipe.mask_schedule == "fixed":
        return np.full(count, recipe.mask_ratio)
    if recipe.mask_schedule == "progressive":
        return np.full(count, top)
    uniform = rng.uniform(size=count)
    if recipe.mask_schedule == "uniform":
        return uniform
    if recipe.mask_schedule == "cosine":
        return np.cos(0.5 * np.pi * uniform)
    return 0.5 + uniform * (top - 0.5)


def mean_mask_ratio(recipe: RecipeConfig, progress: float) -> float:
    """Expected mask ratio, for previews."""
    expected = {"fixed": recipe.mask_ratio, "uniform": 0.5, "cosine": 2 / math.pi, "progressive": 0.5 + 0.5 * progress}
    return expected.get(recipe.mask_schedule, 0.5 + 0.25 * progress)


def never_hides_all(recipe: RecipeConfig) -> bool:
    """Whether no clip ever has a frame that is wholly masked, as every frame is that decoding begins with."""
    return recipe.mask_schedule == "fixed" and recipe.mask_ratio < LARGEST_OPEN_RATIO and recipe.mask_pattern != "frame"


def moved(config: Config, step: int, before: int, after: int) -> str:
    """What is said where a run of `before` steps goes on from `step` as one of `after`: schedules go by the share that is done."""
    recipe = config.recipe
    rates = [learning_rate(max(0, min(step, steps) - 1), steps, recipe) for steps in (before, after)]
    then, now = (in_words(config, progress_of(min(step, steps), steps)) for steps in (before, after))
    found = [f"the learning rate goes from {rates[0]:.3g} to {rates[1]:.3g}"] if rates[1] > 1.01 * rates[0] else []
    found += [f"{what} from {then[what]} to {now[what]}" for what in then if then[what] != now[what]]
    if not found:
        return ""
    return f"Schedules go by the share of run.steps: with {after:,} in place of {before:,}, {listed(found)} at step {step:,}."


def in_words(config: Config, progress: float) -> dict[str, str]:
    """What is trained on at this progress, each under the beginning of a sentence on how it changes."""
    recipe, frames = config.recipe, clip_frames(config.recipe, config.data, progress)
    return {
        "the clip length goes": str(frames),
        "objectives go": ", ".join(f"{weight:.0%} {name}" for name, weight in objective_weights(recipe, progress).items() if weight),
        "the mean mask ratio goes": f"{mean_mask_ratio(recipe, progress):.2g}",
        "the share of clips with their own past goes": f"{own_past(config, frames, progress):.0%}",
    }


def listed(parts: list[str]) -> str:
    """a, b and c."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


def notices(recipe: RecipeConfig, steps: int, data: DataConfig | None = None) -> list[str]:
    """What is adjusted, or cannot act, in a run of this many steps on this data, in words."""
    found = []
    if recipe.schedule == "cosine" and warmup_steps(recipe, steps) < recipe.warmup_steps:
        found.append(
            f"Warm-up shortened from {recipe.warmup_steps} to {warmup_steps(recipe, steps)} steps: a tenth of this run of {steps} steps."
        )
    if not recipe.learning_rate:
        still = "the hidden matrices alone" if recipe.optimizer == "muon" and recipe.muon_learning_rate else "nothing"
        found.append(f"recipe.learning_rate=0: {still} will be learnt.")
    elif recipe.minimum_learning_rate > recipe.learning_rate and recipe.schedule == "cosine":
        found.append(f"The cosine ends at its peak {recipe.learning_rate:g}: recipe.minimum_learning_rate is above it.")
    if recipe.curriculum and steps < len(recipe.curriculum):
        found.append(f"The curriculum has {len(recipe.curriculum)} lengths but the run only {steps} steps: some are skipped.")
    found += idle_notices(recipe)
    if recipe.objective_schedule == "growing" and not recipe.objective_future:
        found.append("recipe.objective_schedule=growing begins with the future objective: its weight of 0 is taken as 1.")
    if recipe.objective_schedule == "growing" and steps < 3:
        found.append(f"recipe.objective_schedule=growing has three parts but the run only {steps} steps: some are skipped.")
    return [*found, *mask_notices(recipe), *(length_notices(recipe, data) if data else [])]


def idle_notices(recipe: RecipeConfig) -> list[str]:
    """Settings that are set and change nothing beside the others."""
    usual, found = RecipeConfig(), []
    fixed = recipe.objective_schedule == "fixed"  # growing begins with the future in any case
    for key in ("context_corruption", "own_past"):
        if getattr(recipe, key) and not recipe.clean_past:
            found.append(f"recipe.{key} changes nothing: there is no clean past to change without recipe.clean_past.")
        elif getattr(recipe, key) and fixed and not (recipe.objective_future or recipe.objective_joint):
            found.append(f"recipe.{key} changes nothing: an individual frame sees no past, and no other objective has a weight.")
    if recipe.own_past_from and not recipe.own_past:
        found.append("recipe.own_past_from changes nothing: recipe.own_past is 0.")
    if recipe.random_context and fixed and not recipe.objective_future:
        found.append("recipe.random_context changes nothing: only the future objective is given frames, and its weight is 0.")
    if recipe.schedule == "constant" and recipe.warmup_steps not in (0, usual.warmup_steps):
        found.append("recipe.warmup_steps changes nothing: the warm-up is part of recipe.schedule=cosine.")
    if recipe.optimizer != "muon" and recipe.muon_learning_rate != usual.muon_learning_rate:
        found.append(f"recipe.muon_learning_rate changes nothing: the optimizer is {recipe.optimizer}.")
    if recipe.mask_schedule != "fixed" and recipe.mask_ratio != usual.mask_ratio:
        found.append(f"recipe.mask_ratio changes nothing: it is for recipe.mask_schedule=fixed, and that is {recipe.mask_schedule}.")
    return found


def mask_notices(recipe: RecipeConfig) -> list[str]:
    """Where fewer, more or other tokens are masked than the recipe asks for."""
    found = []
    if recipe.mask_schedule == "fixed" and not recipe.mask_ratio:
        found.append("recipe.mask_ratio=0 leaves nothing to learn: one token of each clip is masked all the same.")
    if (
        recipe.mask_schedule == "fixed"
        and recipe.mask_ratio > LARGEST_OPEN_RATIO
        and (recipe.objective_joint or recipe.objective_individual)
    ):
        found.append(
            f"recipe.mask_ratio={recipe.mask_ratio:g} is taken as {LARGEST_OPEN_RATIO} for the joint and individual objectives: with all masked "
            "they could only learn how frequent each token is."
        )
    if recipe.mask_pattern == "frame" and recipe.objective_individual:
        found.append("recipe.mask_pattern=frame is taken as random for the individual objective: a frame hidden whole shows it nothing.")
    return found


def length_notices(recipe: RecipeConfig, data: DataConfig) -> list[str]:
    """Where clips or their given frames are other than the data's settings say."""
    found = []
    if recipe.curriculum and recipe.curriculum[-1] < data.clip_frames:
        found.append(
            f"The curriculum ends at {recipe.curriculum[-1]} frames: no clip of data.clip_frames {data.clip_frames} is trained on, but "
            "validation and sampling take that length."
        )
    longest = recipe.curriculum[-1] if recipe.curriculum else data.clip_frames
    if recipe.own_past and recipe.clean_past and longest < SHORTEST_OWN_PAST:
        found.append(f"recipe.own_past changes nothing in clips of {longest} frames: no masked frame sees a predicted one.")
    if recipe.random_context and data.context_frames <= LEAST_CONTEXT:
        found.append(
            f"recipe.random_context changes nothing: it draws from {LEAST_CONTEXT} given frames on, and data.context_frames is {data.context_frames}."
        )
    return found
