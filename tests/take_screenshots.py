"""The README's pictures, taken from the real app: `python tests/take_screenshots.py [--run RUN_FOLDER ...]`.

Writes nine WebP pictures into assets/screenshots/: the seven tabs at 1366 px, one of them at 390 px, one dark. Runs that are named are copied
and shown (so a picture can show the training of the bundled checkpoint); with fewer than two, short ones are trained first, for some minutes.
"""

import argparse
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright
from serving import ROOT, served

FOLDER = ROOT / "assets" / "screenshots"
WIDE, PHONE = (1366, 900), (390, 844)
TALLEST = {WIDE: 1300, PHONE: 1500}  # pixels of the page that are kept, from its top
LARGEST_BYTES = 2_000_000  # of all pictures together
QUALITY = 86
PATIENCE_MS = 300_000  # torch is imported on the way, perhaps beside other work
SHORT_RUNS = {"lr-2e-3": 0.002, "lr-5e-4": 0.0005}
SHORT = (
    "model.width=64",
    "recipe.batch_size=4",
    "recipe.warmup_steps=10",
    "run.log_every=2",
    "run.validate_every=20",
    "run.sample_every=40",
)


def main() -> None:
    parser = argparse.ArgumentParser(description="Take the README's pictures from the real app.")
    parser.add_argument("--run", type=Path, action="append", default=[], help="folder of a run to show; the first is shown in Train")
    parser.add_argument("--steps", type=int, default=120, help="steps of the short runs that are trained where fewer than two are given")
    parser.add_argument("--only", action="append", choices=list(PICTURES), help="take these alone")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = [shown(path, Path(folder) / "runs") for path in chosen.run]
        runs += [trained(name, rate, chosen.steps, Path(folder)) for name, rate in list(SHORT_RUNS.items())[: max(0, 2 - len(runs))]]
        data = str(Path(tempfile.gettempdir()) / "vidapp")  # the page names it
        with served(Path(folder), VIDAPP_DATA=data) as app, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
            for name in chosen.only or PICTURES:
                size, dark, prepare = PICTURES[name]
                save(name, picture(browser, app.url, runs, size, dark, prepare), TALLEST[size])
            browser.close()
    total = sum(path.stat().st_size for path in FOLDER.iterdir())
    print(f"{total / 1000:.0f} kB in {FOLDER}")
    if total > LARGEST_BYTES:
        sys.exit(f"more than {LARGEST_BYTES / 1000:.0f} kB")


def chromium() -> str:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        sys.exit("there is no chromium here: apt-get install chromium")
    return path


def shown(run: Path, runs: Path) -> str:
    """The name of a run that is shown as it is, from a copy."""
    shutil.copytree(run, runs / run.resolve().name)
    return run.resolve().name


def trained(name: str, rate: float, steps: int, folder: Path) -> str:
    """The name of a run of the debug preset, made smaller, so that it takes minutes."""
    settings = (*SHORT, f"recipe.learning_rate={rate}", f"run.steps={steps}")
    command = [sys.executable, "-m", "vidapp", "train", "--preset", "debug", "--run", name]
    changes = [part for setting in settings for part in ("--set", setting)]
    subprocess.run([*command, *changes], cwd=ROOT, check=True, env={**os.environ, "VIDAPP_RUNS": str(folder / "runs")})
    return name


def picture(browser: Browser, url: str, runs: list[str], size: tuple[int, int], dark: bool, prepare: "Prepare") -> bytes:
    """The whole page, once `prepare` has brought it to where something is to be seen."""
    phone = size == PHONE
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, has_touch=phone, is_mobile=phone, device_scale_factor=2 if phone else 1
    )
    context.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    page = context.new_page()
    page.goto(url + ("?__theme=dark" if dark else ""))
    page.wait_for_function("document.querySelector('.player')?.dataset.frames > 0")
    prepare(page, runs)
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement?.blur()")
    page.wait_for_timeout(1500)  # curves and pictures are drawn
    pixels = page.screenshot(full_page=True, animations="disabled")
    context.close()
    return pixels


def save(name: str, pixels: bytes, tallest: int) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.webp"
    with Image.open(io.BytesIO(pixels)) as image:
        scale = 2 if name.endswith("phone") else 1
        image.convert("RGB").crop((0, 0, image.width, min(image.height, tallest * scale))).save(path, quality=QUALITY, method=6)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} kB", flush=True)


def open_tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def hold(page: Page, player: str, frame: int) -> None:
    """Stop what moves at a frame that says something."""
    page.locator(f"{player} .scrubber").fill(str(frame))


def generation(page: Page, runs: list[str]) -> None:
    """The generation that the page opens with, at its third future frame."""
    expect(page.locator("#verdict")).to_contain_text("frame")
    page.locator(".player .play").click()
    hold(page, ".player", 12)


def tokens(page: Page, runs: list[str]) -> None:
    """A cell of the last generation under the microscope."""
    open_tab(page, "Tokens")
    page.wait_for_function("document.querySelector('.tokens').dataset.frames > 0")
    hold(page, ".tokens", 12)
    canvas = page.locator("[data-panel=ids] canvas")
    area = canvas.bounding_box()
    assert area is not None
    canvas.click(position={"x": area["width"] * 0.56, "y": area["height"] * 0.44})
    page.wait_for_function("document.querySelector('.tokens').dataset.looked")


def data(page: Page, runs: list[str]) -> None:
    open_tab(page, "Data")
    page.wait_for_function("document.querySelector('#data-augmented .wall')?.dataset.clips > 0")
    hold(page, "#data-wall", 3)


def configure(page: Page, runs: list[str]) -> None:
    """Two settings that differ from their preset."""
    open_tab(page, "Configure")
    for key, value in (("model-layers", "4"), ("recipe-learning_rate", "0.001")):
        box = page.locator(f"#set-{key} input").first
        box.fill(value)
        box.press("Tab")
        expect(page.locator(f"#configure-chips button[data-key='{key.replace('-', '.', 1)}']")).to_be_visible()
    expect(page.locator("#configure-figures dd").first).to_contain_text("M")


def train(page: Page, runs: list[str]) -> None:
    open_run(page, runs[0])


def open_run(page: Page, run: str) -> None:
    dark = "__theme=dark&" if "__theme=dark" in page.url else ""
    page.goto(f"{page.url.split('?')[0]}?{dark}tab=train&run={run}")
    expect(page.locator("#run-picker input")).to_have_value(re.compile(re.escape(run)))
    page.wait_for_function("Number(document.querySelector('.live')?.dataset.lossPoints) > 2")
    page.wait_for_function("document.querySelector('.live .sample img')?.naturalWidth > 0")


def debug(page: Page, runs: list[str]) -> None:
    """The checklist of a preset, those checks that need no training."""
    open_tab(page, "Debug")
    page.locator("#debug-subject input").click()
    page.get_by_role("option", name="Preset debug").click()
    page.locator("#run-checks").click()
    page.wait_for_function("document.querySelector('.report').dataset.state == 'done'")


def table(page: Page, runs: list[str]) -> None:
    """Two runs over one another."""
    open_tab(page, "Runs")
    for run in runs[:2]:
        page.get_by_label(f"Choose {run}").check()
    page.wait_for_function("document.querySelector('#run-chart .plot').data?.length == 2")


Prepare = Callable[[Page, list[str]], None]
PICTURES: dict[str, tuple[tuple[int, int], bool, Prepare]] = {
    "generate": (WIDE, False, generation),
    "tokens": (WIDE, False, tokens),
    "data": (WIDE, False, data),
    "configure": (WIDE, False, configure),
    "train": (WIDE, False, train),
    "debug": (WIDE, False, debug),
    "runs": (WIDE, False, table),
    "generate-phone": (PHONE, False, generation),
    "train-dark": (WIDE, True, train),
}

if __name__ == "__main__":
    main()
