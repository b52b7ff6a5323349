"""The arrows of the house, held by walking every import: what may know of what, and what must stay out of where."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "vidapp"
LINE_LIMIT = 450

# From the ground up. A module imports from layers below its own, or from its own; a new module is given its place here.
LAYERS: dict[str, tuple[str, ...]] = {
    "ground": ("__init__", "failures", "fields", "files", "amounts", "memory", "peak", "heap", "randomness", "lent_gpu"),
    "settings": ("config", "recipe_config", "presets", "device"),
    "data": ("data", "data.*", "media"),
    "tokenizer": ("tokenizer",),
    "masking": ("schedules", "masking"),
    "transformer": ("dropout", "linear", "attention", "stem", "flops", "transformer"),
    "checkpoint": ("compact", "checkpoint", "tokenizer_choice"),
    "sampler": ("sampling", "frame_pass", "rollout", "futures"),
    "run folder": (
        "run_folder",
        "run_names",
        "liveness",
        "run_checkpoints",
        "run_reader",
        "run_tokenizers",
        "run_writer",
        "silent_run",
        "trackers",
        "run_queue",
        "runs",
        "run_compare",
        "run_trash",
        "sick_runs",
    ),
    "scores": ("baselines", "metrics", "published", "scores", "report", "plots", "metric_lines", "alarms", "token_figures"),
    "step": ("ranks", "launched", "batches", "feed", "objective", "muon", "optimizer", "update", "layers"),
    "trainer": ("dry_run", "preflight", "compiling", "tokenizer_phase", "transformer_phase", "calibration", "resume", "train"),
    "evaluation": (
        "stages",
        "evaluate",
        "true_past",
        "microscope",
        "replay",
    ),
    "experiments": ("markdown", "experiment", "ladder", "ablation", "ablation_table", "run_scores", "speedrun", "sick_training"),
    "checks": ("checks", "checks.*"),
    "diagnosis": ("causes", "symptoms", "diagnosis"),
    "bench": ("bench", "bench.*"),
    "jobs": ("launching", "jobs"),
    "outside": ("cli", "__main__", "commands", "commands.*", "ui", "ui.*"),
}
SURFACES = ("cli", "commands", "ui")  # the ways in from outside: none of them knows another, but for the cli its commands
TABS = {"ui.generate", "ui.train", "ui.runs_tab", "ui.debug", "ui.tokens", "ui.data_tab", "ui.configure"}
QUICK = (
    "cli",
    "commands.train",
    "commands.sample",
    "commands.evaluate",
    "commands.check",
    "commands.compact",
    "commands.bench",
    "commands.runs",
    "commands.ladder",
    "commands.ablate",
    "config",
    "fields",
    "presets",
)
HEAVY = ("torch", "torchvision", "gradio", "skimage", "imageio", "plotly", "pandas", "vector_quantize_pytorch")
PICKLES = ("pickle", "torch.load", "torch.save", "dill", "joblib", "shelve", "marshal")


@cache
def modules() -> dict[str, ast.Module]:
    """Module name within vidapp (`data.clips`; `__init__` and `data` for packages) -> its syntax tree."""
    return {name_of(path): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def path_of(module: str) -> Path:
    path = PACKAGE.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imports(module: str, *, everywhere: bool = True) -> Iterator[str]:
    """Dotted names that a module imports, its own package's as `vidapp.x`; `everywhere` looks into functions and TYPE_CHECKING too."""
    for node in statements(modules()[module], everywhere):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = absolute(module, node)
            for alias in node.names:
                inside = f"{base}.{alias.name}"
                yield inside if inside.removeprefix("vidapp.") in modules() else base


def statements(tree: ast.AST, everywhere: bool) -> Iterator[ast.AST]:
    if everywhere:
        yield from ast.walk(tree)
        return
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or (
            isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        ):
            continue
        yield node
        yield from statements(node, everywhere)


def absolute(module: str, node: ast.ImportFrom) -> str:
    """The dotted name that `from ..x import y` in `module` imports from."""
    if not node.level:
        return node.module or ""
    package = ["vidapp", *module.split(".")] if path_of(module).name == "__init__.py" else ["vidapp", *module.split(".")[:-1]]
    if module == "__init__":
        package = ["vidapp"]
    base = package[: len(package) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def own_imports(module: str, *, everywhere: bool = True) -> set[str]:
    """The modules of vidapp that a module imports, by the names of `modules()`."""
    found = {name.removeprefix("vidapp.") for name in imports(module, everywhere=everywhere) if name.split(".")[0] == "vidapp"}
    return {"__init__" if name == "vidapp" else name for name in found}


def foreign_imports(module: str, *, everywhere: bool = True) -> set[str]:
    return {name for name in imports(module, everywhere=everywhere) if name.split(".")[0] != "vidapp"}


def layer_of(module: str) -> str | None:
    for layer, names in LAYERS.items():
        if module in names or (f"{module.split('.')[0]}.*" in names and "." in module):
            return layer
    return None


def test_every_module_has_its_place() -> None:
    homeless = [module for module in modules() if layer_of(module) is None]
    assert not homeless, "give these a place in LAYERS"


def test_modules_import_only_from_below() -> None:
    order = list(LAYERS)

    def height(module: str) -> int:
        return order.index(layer_of(module) or order[-1])

    upward = {f"{module} imports {name}" for module in modules() for name in own_imports(module) if height(name) > height(module)}
    assert not upward


def test_only_the_page_knows_gradio_and_only_jobs_starts_threads() -> None:
    for module in modules():
        roots = {name.split(".")[0] for name in foreign_imports(module)}
        if module.split(".")[0] != "ui":
            assert "gradio" not in roots, module
            assert module == "jobs" or not roots & {"threading", "_thread", "concurrent", "asyncio"}, module


def test_accelerate_is_imported_by_nobody_but_a_rank_that_joins() -> None:
    """Its state belongs to the whole process: an app that trains one run after the other must not have it."""
    assert {module for module in modules() if any(name.split(".")[0] == "accelerate" for name in foreign_imports(module))} == {"launched"}
    assert not any(name.startswith("accelerate") for name in foreign_imports("launched", everywhere=False))
    assert not any("launched" in own_imports(module, everywhere=False) for module in modules())


def test_the_ways_in_do_not_know_each_other() -> None:
    for module in modules():
        surface = module.split(".")[0]
        others = {name.split(".")[0] for name in own_imports(module)} & set(SURFACES) - {surface}
        if surface in SURFACES:
            assert not others - ({"commands"} if surface == "cli" else set()), module


def test_tabs_do_not_import_each_other() -> None:
    for tab in TABS & set(modules()):
        assert not own_imports(tab) & TABS, tab


@pytest.mark.parametrize("module", QUICK)
def test_help_and_configs_need_no_torch(module: str) -> None:
    reached, waiting = set(), [module]
    while waiting:
        name = waiting.pop()
        if name in reached:
            continue
        reached.add(name)
        heavy = {found for found in foreign_imports(name, everywhere=False) if found.split(".")[0] in HEAVY}
        assert not heavy, f"{module} reaches {heavy} through {name} as soon as it is imported"
        waiting += own_imports(name, everywhere=False)


def test_nothing_is_pickled() -> None:
    for module, tree in modules().items():
        used = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert not (used | foreign_imports(module)) & set(PICKLES), module
        allowed = [node.value for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "allow_pickle"]
        assert all(isinstance(value, ast.Constant) and value.value is False for value in allowed), module


def test_numbers_are_drawn_from_explicit_generators() -> None:
    for module, tree in modules().items():
        assert "random" not in foreign_imports(module), module
        used = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        hidden = {
            name for name in used if name.startswith("np.random.") and name.split(".")[2].islower() and name != "np.random.default_rng"
        }
        assert not hidden, f"{module} draws from numpy's process-wide generator"


def test_files_stay_short() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in [*PACKAGE.rglob("*.py"), *ROOT.glob("app.py")]}
    long = {str(path.relative_to(ROOT)): lines for path, lines in lengths.items() if lines > LINE_LIMIT}
    assert not long, "split these"
