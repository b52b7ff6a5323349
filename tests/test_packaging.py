"""What is installed, said and shipped agrees with what the code uses."""

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [*(ROOT / "vidapp").rglob("*.py"), *ROOT.glob("app.py")]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PACKAGES = {"PIL": "pillow", "skimage": "scikit-image"}  # module -> package, where the names differ
LARGEST_FILE = 10 * 2**20  # bytes; a Space wants larger ones in another kind of storage


def requirements() -> dict[str, str]:
    """Package -> bounds, e.g. `>=2.11,<3`."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").split()
    return {line[: match.start()]: line[match.start() :] for line in lines if (match := re.search("[<>=]", line))}


def imported_packages() -> set[str]:
    roots: set[str] = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                roots |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                roots.add((node.module or "").split(".")[0])
    return {PACKAGES.get(root, root.replace("_", "-")) for root in roots - set(sys.stdlib_module_names) - {"vidapp"}}


LENDER = "spaces"  # comes with the Spaces that lend GPUs, and is imported there alone


def test_requirements_are_exactly_what_is_imported() -> None:
    assert imported_packages() == {*requirements(), LENDER}


def test_every_requirement_has_a_lower_bound_and_an_upper_major() -> None:
    for package, bounds in requirements().items():
        assert re.fullmatch(r">=[0-9.]+,<[0-9]+", bounds), f"{package}{bounds}"


def test_the_readme_has_both_commands_on_lines_of_their_own() -> None:
    lines = README.splitlines()
    assert "pip install -r requirements.txt && python app.py" in lines
    assert "pip install -r tests/requirements.txt && python -m pytest" in lines


def test_the_readme_heads_a_space() -> None:
    head = dict(re.findall(r"^(\w+): (.+)$", README.split("---")[1], re.MULTILINE))
    assert {"title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "python_version", "app_file", "license"} <= set(head)
    assert len(head["short_description"]) <= 60, "longer ones are refused"
    assert (ROOT / head["app_file"]).exists()
    lowest = re.search(r">=([0-9.]+)", requirements()["gradio"])
    assert lowest is not None
    assert version(head["sdk_version"]) >= version(lowest[1])


def version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


def test_the_readme_names_every_module_in_its_tree() -> None:
    missing = [str(path.relative_to(ROOT)) for path in SOURCES if path.name != "__init__.py" and path.name not in README]
    assert not missing


def test_assets_say_where_they_come_from_and_stay_small() -> None:
    note = (ROOT / "assets" / "README.md").read_text(encoding="utf-8")
    for path in (ROOT / "assets").iterdir():
        assert path.stat().st_size < LARGEST_FILE
        assert path.suffix == ".md" or path.name in note or path.with_suffix(".md").exists(), f"{path.name} has no note of its origin"
    assert "CC BY-SA 3.0" in note
