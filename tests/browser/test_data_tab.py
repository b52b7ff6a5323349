"""The Data tab in a real browser: clips that move, splits, previews, and clips of one's own."""

from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect
from serving import App


@pytest.fixture
def data(page: Page) -> Page:
    page.get_by_role("tab", name="Data", exact=True).click()
    wait_for_clips(page, "#data-wall", 12)
    return page


def wait_for_clips(page: Page, wall: str, count: int, *, other_than: str = "") -> None:
    page.wait_for_function(
        "([wall, n, key]) => { const w = document.querySelector(wall + ' .wall').dataset; return w.clips == n && w.key !== key }",
        arg=[wall, count, other_than],
    )


def key(page: Page, wall: str) -> str:
    return page.locator(f"{wall} .wall").get_attribute("data-key") or ""


def first_picture(page: Page, wall: str, number: int = 0) -> str:
    page.locator(f"{wall} .scrubber").fill("1")
    return page.eval_on_selector_all(f"{wall} canvas", "(all, n) => all[n].toDataURL()", number)


def test_clips_move_and_each_split_has_its_own(data: Page) -> None:
    seen = data.locator("#data-wall .wall").get_attribute("data-frame")
    data.wait_for_function("(seen) => document.querySelector('#data-wall .wall').dataset.frame !== seen", arg=seen)
    expect(data.locator("#data-survey")).to_contain_text("no digit is in two splits")
    expect(data.locator("#data-survey")).to_contain_text("4,000")
    before, old = first_picture(data, "#data-wall"), key(data, "#data-wall")
    data.locator("#data-split").get_by_label("Test").check()
    wait_for_clips(data, "#data-wall", 12, other_than=old)
    assert first_picture(data, "#data-wall") != before


def test_augmentation_shows_before_and_after_and_follows_its_controls(data: Page) -> None:
    wait_for_clips(data, "#data-augmented", 8)
    assert first_picture(data, "#data-augmented", 0) != first_picture(data, "#data-augmented", 1)
    for control in ("flip", "rotation", "brightness", "contrast"):
        old = key(data, "#data-augmented")
        data.locator(f"#data-{control} input[type=number]").fill("0")
        data.locator(f"#data-{control} input[type=number]").press("Tab")
        data.wait_for_function("(key) => document.querySelector('#data-augmented .wall').dataset.key !== key", arg=old)
    expect(data.locator("#data-augmented figcaption").nth(1)).to_have_text("after: unchanged")
    assert first_picture(data, "#data-augmented", 0) == first_picture(data, "#data-augmented", 1)


def test_a_curriculum_shows_its_lengths_and_refuses_nonsense(data: Page) -> None:
    wait_for_clips(data, "#data-length-wall", 4)
    expect(data.locator("#data-length-wall figcaption").first).to_contain_text("5 frames, 2 given, 3 to predict")
    box = data.locator("#data-lengths input, #data-lengths textarea")
    box.fill("20, 5")
    box.press("Enter")
    expect(data.locator("#data-message .message.bad")).to_contain_text("must grow")


def test_own_clips_are_shown_skipped_ones_named_and_good_ones_kept_once(data: Page, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(3):
        np.save(tmp_path / f"good {number}.npy", rng.integers(0, 255, (24, 40, 48), dtype=np.uint8))
    np.save(tmp_path / "short.npy", np.zeros((3, 40, 40), np.uint8))
    (tmp_path / "broken.gif").write_bytes(b"no gif at all")
    data.locator("#own-files input[type=file]").set_input_files(sorted(tmp_path.iterdir()))
    expect(data.locator("#own-message")).to_contain_text("3 files of 5 can be used")
    wait_for_clips(data, "#own-wall", 3)
    expect(data.locator("#own-skipped")).to_contain_text("it has 3 of the 20 frames")
    expect(data.locator("#own-skipped")).to_contain_text("broken.gif")

    old = key(data, "#data-wall")
    data.locator("#own-name input, #own-name textarea").fill("traffic")
    data.locator("#own-keep").dblclick()  # the second click is the same wish
    expect(data.locator("#own-message")).to_contain_text("Kept as 'traffic'")
    data.wait_for_function("(key) => document.querySelector('#data-wall .wall').dataset.key !== key", arg=old)
    expect(data.locator("#data-survey")).to_contain_text("no frame is in two splits")
    for tab, box in (("Train", "#new-data-source"), ("Configure", "#set-data-source")):
        data.get_by_role("tab", name=tab).click()
        data.locator(f"{box} input").click()
        expect(data.get_by_role("option", name="your clips: traffic")).to_be_visible()
        data.keyboard.press("Escape")
        expect(data.locator(f"{box} input")).to_have_value("Moving MNIST, made on the fly")


def test_own_clips_are_shown_as_they_would_be_read_and_a_run_takes_that_over(data: Page, tmp_path: Path) -> None:
    film = np.zeros((24, 40, 40, 3), np.uint8)
    film[..., 0] = np.arange(24)[:, None, None] * 10
    for number in range(3):
        np.save(tmp_path / f"red {number}.npy", film)
    data.locator("#own-files input[type=file]").set_input_files(sorted(tmp_path.iterdir()))
    wait_for_clips(data, "#own-wall", 3)
    grey = key(data, "#own-wall")
    expect(data.locator("#own-message")).to_contain_text("in colour and shown in grey: choose colour above")
    data.locator("#data-channels input").click()
    data.get_by_role("option", name="colour").click()
    wait_for_clips(data, "#own-wall", 3, other_than=grey)
    expect(data.locator("#own-message")).to_have_text("3 files of 3 can be used.")
    colour = key(data, "#own-wall")
    data.locator("#data-frames input[type=number]").fill("6")
    data.locator("#data-frames input[type=number]").press("Tab")
    wait_for_clips(data, "#own-wall", 3, other_than=colour)
    near = key(data, "#own-wall")
    data.locator("#data-step input[type=number]").fill("4")
    data.locator("#data-step input[type=number]").press("Tab")
    wait_for_clips(data, "#own-wall", 3, other_than=near)

    data.locator("#own-name input, #own-name textarea").fill("red")
    old = key(data, "#data-wall")
    data.locator("#own-keep").click()
    expect(data.locator("#own-message")).to_contain_text("Kept as 'red'")
    data.wait_for_function("(key) => document.querySelector('#data-wall .wall').dataset.key !== key", arg=old)
    data.locator("#data-train").click()
    for told in ("Source is own/red", "Colour channels is 3", "Clip frames is 6", "Context frames is 5", "Frame step is 4"):
        expect(data.locator("#train-chips").get_by_role("button", name=told)).to_be_visible()
    expect(data.locator("#new-data-source input")).to_have_value("your clips: red")


def test_what_was_chosen_is_in_the_address_and_outlives_a_reload(data: Page) -> None:
    before, old = first_picture(data, "#data-wall"), key(data, "#data-wall")
    data.locator("#data-split").get_by_label("Test").check()
    wait_for_clips(data, "#data-wall", 12, other_than=old)
    chosen = first_picture(data, "#data-wall")
    data.locator("#data-flip input[type=number]").fill("0.25")
    data.locator("#data-flip input[type=number]").press("Tab")
    data.wait_for_function("location.search === '?tab=data&split=test&flip=0.25'")
    data.reload()
    data.wait_for_function("document.querySelector('#data-flip input[type=number]')?.value === '0.25'")
    wait_for_clips(data, "#data-wall", 12)
    expect(data.locator("#data-split").get_by_label("Test")).to_be_checked()
    data.wait_for_function("document.querySelector('#data-wall figcaption').textContent.includes('test 0')")
    assert first_picture(data, "#data-wall") == chosen != before


def test_an_address_that_cannot_be_meant_is_refused_where_the_person_looks(page: Page, app: App) -> None:
    page.goto(f"{app.url}?tab=data&size=48")
    expect(page.locator("#data-message .message.bad")).to_contain_text("size='48'")
    wait_for_clips(page, "#data-wall", 12)
