"""The Generate tab in a real browser."""

from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect
from serving import App
from tiny_checkpoint import tiny_config, write_tiny_checkpoint

from vidapp.runs import RunWriter

FRAMES = 4


@pytest.fixture(scope="module", autouse=True)
def tiny_run(app: App) -> str:
    """A run with a checkpoint that has learnt nothing: quick, and every setting shows."""
    with RunWriter.create("tiny", tiny_config(), folder=app.runs) as run:
        write_tiny_checkpoint(run.checkpoint_path(7), run.config)
    return "tiny, step 7"


@pytest.fixture
def ready(page: Page, tiny_run: str) -> Page:
    """The page with the tiny run's checkpoint chosen and four future frames asked for."""
    page.wait_for_function("document.querySelector('.player').dataset.frames > 0")
    choose(page, "#checkpoint", tiny_run)
    expect(page.locator("#checkpoint-card")).to_contain_text("step 7")
    expect(page.locator("#frames input[type=number]")).to_have_value("6")
    fill(page, "#frames", FRAMES)
    expect(page.locator("#generate")).to_have_text(f"Generate {FRAMES} future frames")
    return page


def choose(page: Page, control: str, option: str) -> None:
    page.locator(f"{control} input").click()
    page.get_by_role("option", name=option).click()


def fill(page: Page, control: str, value: float) -> None:
    """Set a slider or number by its number box, as a person does: type, then leave it."""
    box = page.locator(f"{control} input[type=number]")
    for _ in range(3):  # faster than any person: an update on its way from the server may still come in between
        box.fill(str(value))
        box.press("Tab")
        page.wait_for_timeout(150)
        if box.input_value() == str(value):
            return
    expect(box).to_have_value(str(value))


def generate(page: Page, button: str = "#generate") -> list[str]:
    """Press the button; the generated frames as the film strip shows them, once all are there and judged."""
    before = page.locator(".player").get_attribute("data-key")
    page.locator(button).click()
    page.wait_for_function(
        "([key, n]) => { const p = document.querySelector('.player').dataset; return p.key !== key && p.predicted == n && p.making == 'no' }",
        arg=[before, FRAMES],
    )
    expect(page.locator("#verdict")).to_contain_text("frame")
    return predicted_frames(page)


def predicted_frames(page: Page) -> list[str]:
    cells = ".cell[aria-label^='prediction'][data-kind='prediction'] canvas"
    return page.eval_on_selector_all(cells, "cells => cells.map((cell) => cell.toDataURL())")


def test_something_moves_without_a_click(page: Page) -> None:
    page.wait_for_function("document.querySelector('.player').dataset.frames == 20")
    seen = page.locator(".player").get_attribute("data-frame")
    page.wait_for_function("(seen) => document.querySelector('.player').dataset.frame !== seen", arg=seen)


def test_same_seed_same_frames_and_each_setting_shows(ready: Page) -> None:
    first = generate(ready)
    assert len(first) == FRAMES
    assert generate(ready) == first
    fill(ready, "#field-sampling-temperature", 2)
    hot = generate(ready)
    assert hot != first
    fill(ready, "#field-sampling-top_k", 1)
    greedy = generate(ready)
    assert greedy not in (first, hot)
    fill(ready, "#field-sampling-top_k", 5)
    fill(ready, "#field-sampling-temperature", 0.8)
    assert generate(ready) == first
    assert generate(ready, "#another") != first
    expect(ready.locator("#seed input")).to_have_value("1")


def test_the_verdict_is_in_words_with_the_error_of_each_frame(ready: Page) -> None:
    generate(ready)
    expect(ready.locator("#verdict")).to_contain_text("repeating the last given frame")
    expect(ready.locator("#verdict")).to_contain_text("Squared error a frame: first")
    ready.wait_for_function("(document.querySelector('#error-chart .plot').data || []).length == 4")
    points = ready.evaluate("document.querySelector('#error-chart .plot').data.map((line) => line.x.length)")
    assert points == [FRAMES] * 4


def test_three_screens_follow_one_scrubber(ready: Page) -> None:
    generate(ready)
    ready.locator(".player .scrubber").fill("2")
    expect(ready.locator("[data-screen='prediction'] .frame")).to_have_attribute("data-kind", "given")
    ready.locator(".player .scrubber").fill("7")
    expect(ready.locator("[data-screen='prediction'] .frame")).to_have_attribute("data-kind", "prediction")
    expect(ready.locator("[data-screen='truth'] .frame")).to_have_attribute("data-kind", "truth")
    expect(ready.locator(".player .place")).to_have_text("frame 8 of 10 · future 2")
    ready.get_by_label("prediction, frame 10", exact=True).click()
    expect(ready.locator(".player .place")).to_have_text("frame 10 of 10 · future 4")


def test_the_generation_can_be_taken_away(ready: Page, tmp_path: Path) -> None:
    generate(ready)
    for kind, ending in (("gif", ".gif"), ("mp4", ".mp4"), ("npy", ".npy")):
        button = ready.locator(f"#download-{kind}")
        expect(button).to_be_enabled()
        with ready.expect_download() as download:
            button.click()
        download.value.save_as(tmp_path / f"file{ending}")
    assert (tmp_path / "file.gif").read_bytes()[:6] in (b"GIF89a", b"GIF87a")
    assert b"ftyp" in (tmp_path / "file.mp4").read_bytes()[:16]
    frames = np.load(tmp_path / "file.npy", allow_pickle=False)
    assert (frames.shape, frames.dtype) == ((FRAMES, 32, 32), np.uint8)


def test_a_checkpoint_file_can_be_dropped_in(page: Page, tmp_path: Path) -> None:
    path = write_tiny_checkpoint(tmp_path / "mine.safetensors", step=123)
    page.wait_for_function("document.querySelector('.player').dataset.frames > 0")
    page.locator("#checkpoint-file input[type=file]").set_input_files(path)
    expect(page.locator("#checkpoint input")).to_have_value("mine.safetensors (dropped here)")
    expect(page.locator("#checkpoint-card")).to_contain_text("step 123")
    fill(page, "#frames", FRAMES)
    assert len(generate(page)) == FRAMES


@pytest.mark.parametrize("content", [b"", b"\x08\0\0\0\0\0\0\0{}      ", b"no checkpoint at all" * 50, b"\xff" * 100])
def test_a_damaged_checkpoint_is_refused_where_the_person_looks(page: Page, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(content)
    page.wait_for_function("document.querySelector('.player').dataset.frames > 0")
    page.locator("#checkpoint-file input[type=file]").set_input_files(path)
    line = page.locator("#generate-message .message.bad")
    expect(line).to_contain_text("roken.safetensors")
    expect(page.locator("#checkpoint input")).not_to_have_value("broken.safetensors (dropped here)")


def test_a_checkpoint_cut_short_is_refused(page: Page, tmp_path: Path) -> None:
    whole = write_tiny_checkpoint(tmp_path / "whole.safetensors").read_bytes()
    path = tmp_path / "cut.safetensors"
    path.write_bytes(whole[:-100])
    page.locator("#checkpoint-file input[type=file]").set_input_files(path)
    expect(page.locator("#generate-message .message.bad")).to_contain_text("damaged")


def test_a_clip_of_ones_own_is_continued_and_judged(ready: Page, tmp_path: Path) -> None:
    frames = np.zeros((9, 48, 48), np.uint8)
    for index, frame in enumerate(frames):
        frame[10:20, 3 * index : 3 * index + 10] = 255
    np.save(tmp_path / "mine.npy", frames)
    ready.get_by_label("Your own").check()
    ready.locator("#clip-file input[type=file]").set_input_files(tmp_path / "mine.npy")
    ready.wait_for_function("document.querySelector('.player').dataset.frames == 10")
    generate(ready)
    expect(ready.locator("#verdict")).to_contain_text("Truth is known for 3 of 4 frames")


def test_a_clip_that_is_too_short_says_what_to_do(ready: Page, tmp_path: Path) -> None:
    np.save(tmp_path / "short.npy", np.zeros((3, 48, 48), np.uint8))
    ready.get_by_label("Your own").check()
    ready.locator("#clip-file input[type=file]").set_input_files(tmp_path / "short.npy")
    expect(ready.locator("#generate-message .message.bad")).to_contain_text("has 3 frames but 6 are to be given")


def test_an_emptied_number_is_asked_for(ready: Page) -> None:
    ready.locator("#seed input").fill("")
    ready.locator("#generate").click()
    expect(ready.locator("#generate-message .message.bad")).to_contain_text("eed is empty")


@pytest.mark.parametrize("width", [390, 1366, 3840])
def test_nothing_is_wider_than_the_screen(ready: Page, width: int) -> None:
    generate(ready)
    ready.set_viewport_size({"width": width, "height": 844})
    for tab in ("Train", "Generate"):
        ready.get_by_role("tab", name=tab).click()
        ready.wait_for_function("(width) => document.documentElement.scrollWidth <= width", arg=width)
