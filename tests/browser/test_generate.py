"""The Generate tab in a real browser."""

import time
from pathlib import Path

import numpy as np
import pytest
from conftest import GENERATED, PATIENCE_MS, QUIET_MS, press_generate
from playwright.sync_api import Browser, Page, Response, expect
from serving import App
from tiny_checkpoint import tiny_config, write_tiny_checkpoint

from vidapp.data.source import open_source
from vidapp.runs import RunWriter
from vidapp.ui import opening

FRAMES = 4
PREDICTED = ".cell[aria-label^='prediction'][data-kind='prediction'] canvas"


pytestmark = pytest.mark.usefixtures("tiny_run")


@pytest.fixture
def ready(unopened: Page, app: App, tiny_run: str) -> Page:
    """The page with the tiny run's checkpoint chosen and four future frames generated, as its link opens it."""
    unopened.goto(f"{app.url}?checkpoint=run:tiny:7&given=6&frames={FRAMES}")
    expect(unopened.locator("#checkpoint-card")).to_contain_text("step 7")
    expect(unopened.locator("#generate")).to_have_text(f"Generate {FRAMES} future frames")
    unopened.wait_for_function(GENERATED, arg=[opening.KEY, QUIET_MS])  # another one than what every page opens with
    return unopened


def test_a_checkpoint_that_is_chosen_brings_as_many_frames_as_it_was_trained_with(page: Page, tiny_run: str) -> None:
    page.wait_for_function("document.querySelector('.player').dataset.frames > 0")
    choose(page, "#checkpoint", tiny_run)
    expect(page.locator("#checkpoint-card")).to_contain_text("step 7")
    expect(page.locator("#frames input[type=number]")).to_have_value("6")
    fill(page, "#frames", FRAMES)
    expect(page.locator("#generate")).to_have_text(f"Generate {FRAMES} future frames")
    assert len(generate(page)) == FRAMES


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
    press_generate(page, button)
    expect(page.locator("#verdict")).to_contain_text("frame")
    return predicted_frames(page)


def predicted_frames(page: Page) -> list[str]:
    return page.eval_on_selector_all(PREDICTED, "cells => cells.map((cell) => cell.toDataURL())")


MOTION = """
new MutationObserver(() => {
  const player = document.querySelector('.player');
  if (!player || !(player.dataset.predicted > 0)) return;
  window.seen ??= { at: performance.now(), frame: player.dataset.frame };
  if (player.dataset.frame !== window.seen.frame) window.seen.moved ??= performance.now();
}).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: ['data-frame', 'data-predicted'] });
"""


def test_a_finished_generation_moves_within_two_seconds_of_the_load(browser: Browser, app: App) -> None:
    """Without a click or an upload, and before anything was asked of the server but the page itself."""
    delays = []
    for _ in range(3):  # the fastest counts: the machine may be busy with other tests
        context = browser.new_context()
        page = context.new_page()
        page.add_init_script(MOTION)
        page.goto(app.url)
        page.wait_for_function("window.seen && window.seen.moved", timeout=PATIENCE_MS)
        delays.append(page.evaluate("window.seen.moved - window.seen.at"))
        expect(page.locator("#verdict")).to_contain_text("repeating the last given frame")
        expect(page.locator("#generate")).to_have_text("Generate 10 future frames")
        context.close()
        if delays[-1] < 2000:
            break
    assert min(delays) < 2000


COUNTED = """() => {
  const made = Document.prototype.createElement;
  window.cells = 0;
  Document.prototype.createElement = function (name, ...rest) {
    if (name === 'canvas' && new Error().stack.includes('buildStrip')) window.cells += 1;
    return made.call(this, name, ...rest);
  };
}"""


def test_the_film_strip_grows_by_the_frames_that_are_new(ready: Page) -> None:
    fill(ready, "#frames", 12)
    ready.evaluate(COUNTED)
    assert len(generate(ready)) == 12
    cells = ready.locator("#player .cell").count()
    assert 0 < ready.evaluate("window.cells") <= 3 * cells  # at the start, at the first frame, at most once more
    assert ready.locator("#player .cell.none").count() == 0


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


def test_what_is_expected_is_one_future_for_every_seed_and_what_is_idle_is_said(ready: Page) -> None:
    generate(ready)
    ready.get_by_role("button", name="More settings").click()
    choose(ready, "#field-sampling-choice", "expected")
    expect(ready.get_by_text("Temperature, top-k, annealing and seed change nothing")).to_be_visible()
    safe = generate(ready)
    assert generate(ready, "#another") == safe
    ready.get_by_role("button", name="Many futures at once").click()
    ready.locator("#futures").click()
    ready.get_by_role("button", name="seed 2: generate it").click()
    expect(ready.locator("#field-sampling-choice input")).to_have_value("drawn")
    expect(ready.get_by_text("Temperature, top-k, annealing and seed change nothing")).to_have_count(0)


def test_a_verdict_in_words_and_the_error_of_each_frame_stand_below_three_screens_with_one_scrubber(ready: Page) -> None:
    expect(ready.locator("#verdict")).to_contain_text("repeating the last given frame")
    expect(ready.locator("#verdict")).to_contain_text("Squared error a frame: first")
    ready.wait_for_function("(document.querySelector('#error-chart .plot').data || []).length == 5")
    points = ready.evaluate("document.querySelector('#error-chart .plot').data.map((line) => line.x.length)")
    assert points == [FRAMES] * 5
    ready.locator(".player .scrubber").fill("2")  # all screens follow it
    expect(ready.locator("[data-screen='prediction'] .frame")).to_have_attribute("data-kind", "given")
    ready.locator(".player .scrubber").fill("7")
    expect(ready.locator("[data-screen='prediction'] .frame")).to_have_attribute("data-kind", "prediction")
    expect(ready.locator("[data-screen='truth'] .frame")).to_have_attribute("data-kind", "truth")
    expect(ready.locator(".player .place")).to_have_text("frame 8 of 10 · future 2")
    cell = ready.get_by_label("prediction, frame 10", exact=True)
    expect(cell).to_have_attribute("title", "Open in Tokens")
    cell.click()
    expect(ready.locator(".player .place")).to_have_text("frame 10 of 10 · future 4")


def test_the_generation_can_be_taken_away(ready: Page, tmp_path: Path) -> None:
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


def test_what_the_page_opens_with_can_be_taken_away_until_something_else_is_shown(page: Page, tmp_path: Path) -> None:
    with page.expect_download() as download:
        page.locator("#download-npy").click()
    download.value.save_as(tmp_path / "opening.npy")
    assert np.load(tmp_path / "opening.npy", allow_pickle=False).shape == (10, 64, 64)
    page.locator("#new-clip").click()
    expect(page.locator("#download-npy")).to_be_disabled()


def test_a_checkpoint_file_can_be_dropped_in(page: Page, tmp_path: Path) -> None:
    path = write_tiny_checkpoint(tmp_path / "mine.safetensors", step=123)
    page.wait_for_function("document.querySelector('.player').dataset.frames > 0")
    page.locator("#checkpoint-file input[type=file]").set_input_files(path)
    expect(page.locator("#checkpoint input")).to_have_value("mine.safetensors (dropped here)")
    expect(page.locator("#checkpoint-card")).to_contain_text("step 123")
    fill(page, "#frames", FRAMES)
    assert len(generate(page)) == FRAMES


def test_a_damaged_checkpoint_is_refused_where_the_person_looks(page: Page, tmp_path: Path) -> None:
    page.wait_for_function("document.querySelector('.player').dataset.frames > 0")
    cut = write_tiny_checkpoint(tmp_path / "whole.safetensors").read_bytes()[:-100]
    contents = [b"", b"\x08\0\0\0\0\0\0\0{}      ", b"no checkpoint at all" * 50, b"\xff" * 100, cut]
    for number, content in enumerate(contents):
        path = tmp_path / f"broken-{number}.safetensors"
        path.write_bytes(content)
        page.locator("#checkpoint-file input[type=file]").set_input_files(path)
        expect(page.locator("#generate-message .message.bad")).to_contain_text(f"roken-{number}.safetensors")
        expect(page.locator("#checkpoint input")).to_have_value("Moving MNIST (bundled)")
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
    line = ready.locator("#generate-message .message.bad")
    expect(line).to_contain_text("has 3 frames but 6 are to be given")
    ready.get_by_role("button", name="More settings").click()
    ready.wait_for_timeout(500)  # the settings are drawn when they are first opened
    ready.locator("#given input[type=number]").fill("2")  # without leaving the box
    ready.wait_for_function("document.querySelector('.player').dataset.frames == 6")
    expect(line).to_have_count(0)


def test_ten_more_frames_go_on_from_the_end(ready: Page) -> None:
    first = generate(ready)
    ready.locator("#more-frames").click()
    ready.wait_for_function(
        "(n) => { const p = document.querySelector('.player').dataset; return p.predicted == n && p.making == 'no' }", arg=FRAMES + 10
    )
    assert predicted_frames(ready)[:FRAMES] == first
    expect(ready.locator("#frames input[type=number]")).to_have_value(str(FRAMES + 10))
    expect(ready.locator("#verdict")).to_contain_text("Squared error a frame: first")


def test_a_link_makes_the_same_frames(ready: Page, app: App) -> None:
    fill(ready, "#seed", 3)
    frames = generate(ready)
    ready.evaluate("navigator.clipboard.writeText = (text) => { window.copied = text; return Promise.resolve() }")
    ready.locator("#copy-link").click()
    expect(ready.locator("#message-below .message.good")).to_contain_text("copied")
    link = ready.evaluate("window.copied")
    ready.wait_for_function("(link) => location.href === link", arg=link)  # it is the page's own address, too: a reload loses nothing
    ready.goto("about:blank")
    ready.goto(link)
    ready.wait_for_function(
        "(n) => { const p = (document.querySelector('.player') || { dataset: {} }).dataset; return p.predicted == n && p.making == 'no' }",
        arg=FRAMES,
    )
    expect(ready.locator("#seed input")).to_have_value("3")
    assert predicted_frames(ready) == frames


def test_what_every_page_opens_with_is_not_in_its_address(page: Page) -> None:
    page.wait_for_function("document.querySelector('.player').dataset.frames > 0")
    for name in ("Runs", "Generate"):
        page.get_by_role("tab", name=name).click()
        page.wait_for_function("(tab) => location.search === `?tab=${tab}`", arg=name.lower())
    page.wait_for_timeout(500)
    assert page.evaluate("location.search") == "?tab=generate"


def test_the_address_of_generate_comes_back_with_the_tab_and_names_nothing_that_a_link_cannot_hold(ready: Page, tmp_path: Path) -> None:
    fill(ready, "#seed", 3)
    generate(ready)
    ready.wait_for_function("location.search.includes('seed=3')")
    ready.get_by_role("tab", name="Runs").click()
    ready.wait_for_function("location.search === '?tab=runs'")
    ready.get_by_role("tab", name="Generate").click()
    ready.wait_for_function("location.search.includes('seed=3')")
    np.save(tmp_path / "mine.npy", np.zeros((12, 40, 40), np.uint8))
    ready.locator("#source").get_by_label("Your own").check()
    ready.locator("#clip-file input[type=file]").set_input_files(tmp_path / "mine.npy")
    generate(ready)
    ready.wait_for_function("location.search === '?tab=generate'")


def test_a_link_is_that_of_the_frames_that_are_shown_whatever_was_set_since(ready: Page) -> None:
    fill(ready, "#seed", 3)
    generate(ready)
    ready.evaluate("navigator.clipboard.writeText = (text) => { window.copied = text; return Promise.resolve() }")
    line = ready.locator("#message-below .message.good")
    of = "The link of test clip 0, seed 3, temperature 0.8 is copied: it opens the page and generates the same frames."
    ready.locator("#copy-link").click()
    expect(line).to_have_text(of)
    ready.locator("#field-sampling-temperature input[type=number]").fill("1.5")  # the box is left by the press, and that generates
    before = ready.locator(".player").get_attribute("data-key")
    ready.locator("#copy-link").click()
    since = f"{of} You have changed settings since: they are in a link once you generate with them."
    expect(line).to_have_text(since)
    ready.wait_for_function(GENERATED, arg=[before, QUIET_MS])
    expect(line).to_have_text(since)
    assert {"seed=3", "temperature=0.8", f"frames={FRAMES}"} <= set(ready.evaluate("window.copied").split("&"))


def test_a_digit_that_is_drawn_and_flicked_is_continued(ready: Page) -> None:
    ready.get_by_label("Draw one").check()
    swipe(ready, ".pad", (0.3, 0.2), (0.7, 0.2), (0.45, 0.8))
    ready.wait_for_function("document.querySelector('.player').dataset.frames == 10")
    shown = ready.locator(".player").get_attribute("data-key")
    swipe(ready, ".arena", (0.3, 0.3), (0.4, 0.4), (0.5, 0.45))
    ready.wait_for_function(
        "(key) => { const p = document.querySelector('.player').dataset; return p.key !== key && p.predicted == 4 && p.making == 'no' }",
        arg=shown,
    )
    expect(ready.locator("#verdict")).to_contain_text("repeating the last given frame")


def swipe(page: Page, area: str, *places: tuple[float, float]) -> None:
    page.locator(area).scroll_into_view_if_needed()
    box = page.locator(area).bounding_box()
    assert box is not None
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=3)
    page.mouse.up()


def test_a_picture_chooses_its_clip_which_is_generated(page: Page) -> None:
    page.get_by_role("button", name="Test clip 3", exact=True).click()
    expect(page.locator("#clip-number input[type=number]")).to_have_value("3")
    made = "(before) => { const p = document.querySelector('.player').dataset; return p.key !== before && p.making == 'no' && p.predicted > 0 }"
    page.wait_for_function(made, arg="opening")
    expect(page.locator("#verdict")).to_contain_text("Squared error a frame")
    before = page.locator(".player").get_attribute("data-key")
    page.locator("#new-clip").click()
    expect(page.locator("#clip-number input[type=number]")).to_have_value("4")
    expect(page.get_by_role("button", name="Test clip 4", exact=True)).to_have_attribute("aria-pressed", "true")
    page.wait_for_function(made, arg=before)


def test_pictures_are_of_the_clips_of_the_chosen_checkpoint(page: Page, tiny_run: str) -> None:
    picture = page.get_by_role("button", name="Test clip 3", exact=True).locator("img")
    before = picture.get_attribute("src")
    assert before
    choose(page, "#checkpoint", tiny_run)
    expect(picture).not_to_have_attribute("src", before)
    assert picture.evaluate("image => image.naturalWidth") == tiny_config().data.size
    choose(page, "#checkpoint", "Moving MNIST (bundled)")
    expect(picture).to_have_attribute("src", before)


def test_frames_that_go_by_are_not_read_out(page: Page) -> None:
    expect(page.locator(".player .place")).to_contain_text("frame")
    expect(page.locator(".player :is(output, [role=status], [role=alert], [aria-live])")).to_have_count(0)


def test_a_released_slider_generates_again(ready: Page) -> None:
    first = predicted_frames(ready)
    before = ready.locator(".player").get_attribute("data-key")
    fill(ready, "#field-sampling-temperature", 2)
    ready.wait_for_function(
        "([key, n]) => { const p = document.querySelector('.player').dataset; return p.key !== key && p.predicted == n && p.making == 'no' }",
        arg=[before, FRAMES],
    )
    assert predicted_frames(ready) != first


def test_every_setting_generates_again_once_it_is_given(ready: Page) -> None:
    ready.get_by_role("button", name="More settings").click()
    seed = ready.locator("#seed input")

    def give_seed(key: str, value: str) -> None:
        seed.fill(value)
        seed.press(key)

    for give in (
        lambda: give_seed("Enter", "5"),
        lambda: give_seed("Tab", "6"),
        lambda: ready.locator("#field-sampling-anneal input").click(),
        lambda: choose(ready, "#field-sampling-order", "random"),
    ):
        before = ready.locator(".player").get_attribute("data-key")
        give()
        ready.wait_for_function(GENERATED, arg=[before, QUIET_MS])


def test_enter_in_a_sliders_box_is_as_good_as_leaving_it(ready: Page) -> None:
    before = ready.locator(".player").get_attribute("data-key")
    box = ready.locator("#field-sampling-temperature input[type=number]")
    box.fill("1.7")
    box.press("Enter")
    ready.wait_for_function(GENERATED, arg=[before, QUIET_MS])
    expect(box).to_be_focused()
    box.fill("9")
    box.press("Enter")
    expect(ready.locator("#verdict")).to_contain_text("Temperature 9 became 2.")
    expect(box).to_have_value("2")


def test_a_slider_that_is_moved_by_keys_is_released_with_the_key(ready: Page) -> None:
    before = ready.locator(".player").get_attribute("data-key")
    slider = ready.locator("#field-sampling-temperature input[type=range]")
    slider.focus()
    slider.press("ArrowRight")
    ready.wait_for_function(GENERATED, arg=[before, QUIET_MS])
    expect(ready.locator("#field-sampling-temperature input[type=number]")).not_to_have_value("0.8")


def test_how_it_was_decoded_is_one_press_away(ready: Page) -> None:
    ready.locator("#how-decoded").click()
    expect(ready.get_by_role("tab", name="Tokens")).to_have_attribute("aria-selected", "true")
    expect(ready.locator("#token-view .replay h3")).to_have_text("Decode replay of future frame 1")
    expect(ready.locator("#token-view .replay")).to_be_in_viewport()


def test_many_futures_at_once(ready: Page) -> None:
    ready.get_by_role("button", name="Many futures at once").click()
    ready.locator("#sheet").click()
    expect(ready.locator("#variants-grid .sprite")).to_have_count(16)
    ready.locator("#futures").click()
    expect(ready.locator("#variants-grid .map .sprite")).to_be_visible()
    expect(ready.locator("#variants-grid .chosen")).to_have_count(1)
    before = ready.locator(".player").get_attribute("data-key")
    ready.get_by_role("button", name="seed 2: generate it").click()
    ready.wait_for_function("(key) => document.querySelector('.player').dataset.key !== key", arg=before)
    expect(ready.locator("#seed input")).to_have_value("2")
    ready.locator("#new-clip").click()
    expect(ready.locator("#variants-grid .sprite")).to_have_count(0)


def test_a_grid_of_other_settings_is_dimmed_until_they_are_its_own_again(ready: Page) -> None:
    ready.get_by_role("button", name="Many futures at once").click()
    ready.locator("#sheet").click()
    expect(ready.locator("#variants-grid .sprite")).to_have_count(16)
    line = ready.get_by_text("of other settings than are chosen now")
    opacity = "getComputedStyle(document.querySelector('#variants-grid .grid')).opacity"
    expect(line).to_be_hidden()
    fill(ready, "#field-sampling-temperature", 0.55)
    expect(line).to_be_visible()
    assert float(ready.evaluate(opacity)) < 0.5
    fill(ready, "#field-sampling-temperature", 0.8)
    expect(line).to_be_hidden()
    assert ready.evaluate(opacity) == "1"
    ready.get_by_role("button", name="temperature 1.5, top-k 2: generate it").click()
    expect(ready.locator("#field-sampling-top_k input[type=number]")).to_have_value("2")
    expect(line).to_be_hidden()
    ready.get_by_role("button", name="More settings").click()
    ready.locator("#field-sampling-anneal input").click()
    expect(line).to_be_visible()
    ready.locator("#sheet").click()
    expect(line).to_be_hidden()


def test_a_sheet_ends_with_its_page_and_lets_those_in_who_see_that_they_wait(browser: Browser, app: App) -> None:
    leaving, waiting = (browser.new_context() for _ in range(2))
    theirs, mine = (context.new_page() for context in (leaving, waiting))
    for page in (theirs, mine):
        page.goto(app.url)
        page.wait_for_function("document.querySelector('.player')?.dataset.frames > 0", timeout=PATIENCE_MS)
    theirs.get_by_role("button", name="More settings").click()
    theirs.get_by_role("button", name="Many futures at once").click()
    fill(theirs, "#field-sampling-steps", 16)  # the longest sheet of ten frames that is made
    theirs.wait_for_function(GENERATED, arg=["opening", 1000], timeout=PATIENCE_MS)
    theirs.locator("#sheet").click()
    mine.wait_for_timeout(300)  # the sheet is first in the line by then
    mine.locator("#generate").click()
    sign = mine.locator("#player [data-testid=status-tracker] .progress-text")
    expect(sign).to_contain_text("queue: 1/1", timeout=PATIENCE_MS)
    expect(sign).to_be_in_viewport(ratio=0.9)  # a clipped one would not be
    percent = "() => parseInt((document.querySelector('#variants-message').textContent.match(/(\\d+) % done/) || [])[1])"
    begun = time.monotonic()
    theirs.wait_for_function(f"({percent})() >= 8", timeout=PATIENCE_MS)
    done = theirs.evaluate(f"({percent})()")
    left_s = (time.monotonic() - begun) / done * (100 - done)
    leaving.close()
    begun = time.monotonic()
    mine.wait_for_function("() => { const p = document.querySelector('.player').dataset; return p.key !== 'opening' && p.predicted > 0 }")
    assert time.monotonic() - begun < left_s  # after a sheet that went on it would be more by a generation
    waiting.close()


def test_of_many_clicks_the_last_one_counts(ready: Page) -> None:
    """Clicks that cross previews and generations: none is lost, the newest is what is shown."""
    for _ in range(3):
        ready.locator("#generate").click()
        ready.locator("#new-clip").click()
        ready.locator("#another").click()
    expect(ready.locator("#seed input")).to_have_value("3")
    ready.wait_for_function(GENERATED, arg=["", 3 * QUIET_MS])  # so many clicks take a busy machine a while to be heard
    shown, last = predicted_frames(ready), generate(ready)
    assert shown == last
    fill(ready, "#seed", 0)
    assert generate(ready) != last
    fill(ready, "#seed", 3)
    assert generate(ready) == last


def test_of_own_clips_there_are_as_many_to_choose_from_as_were_kept_for_it_and_behind_the_last_comes_the_first(
    unopened: Page, app: App
) -> None:
    page = unopened
    clips = app.runs.parent / "own-clips"
    clips.mkdir()
    for number in range(20):
        np.save(clips / f"{number}.npy", np.full((12, 32, 32), 10 * number, np.uint8))
    with RunWriter.create("own-clips", tiny_config(data__source=str(clips)), folder=app.runs) as run:
        write_tiny_checkpoint(run.checkpoint_path(7), run.config)
    known = len(open_source(run.config.data).fixed_recordings("test", 100, 12))
    page.goto(f"{app.url}?checkpoint=run:own-clips:7&clip={known - 1}&given=6&frames=4")
    expect(page.locator("#thumbs button")).to_have_count(known)
    expect(page.locator("#thumbs button").last).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#clip-number input[type=range]")).to_have_attribute("max", str(known - 1))
    page.locator("#new-clip").click()
    expect(page.locator("#clip-number input[type=number]")).to_have_value("0")
    expect(page.locator("#thumbs button").first).to_have_attribute("aria-pressed", "true")
    page.goto(app.url)
    expect(page.locator("#thumbs button")).to_have_count(12)
    fill(page, "#clip-number", 150)
    choose(page, "#checkpoint", "own-clips, step 7")
    expect(page.locator("#clip-number input[type=number]")).to_have_value(str(known - 1))
    expect(page.locator("#thumbs button")).to_have_count(known)


def test_an_emptied_number_is_asked_for(ready: Page) -> None:
    ready.locator("#seed input").fill("")
    ready.locator("#generate").click()
    expect(ready.locator("#generate-message .message.bad")).to_contain_text("eed is empty")


def test_nothing_is_wider_than_the_screen(ready: Page) -> None:
    for width in (390, 1366, 3840):
        ready.set_viewport_size({"width": width, "height": 844})
        for tab in ("Train", "Generate"):
            ready.get_by_role("tab", name=tab).click()
            ready.wait_for_function("(width) => document.documentElement.scrollWidth <= width", arg=width)


def test_what_became_of_a_number_beyond_its_slider_is_said(ready: Page) -> None:
    failed: list[str] = []

    def note(response: Response) -> None:
        if response.status >= 500:
            failed.append(response.url)

    ready.on("response", note)
    box = ready.locator("#field-sampling-temperature input[type=number]")
    for content, said in (("", "Temperature was empty and became 0."), ("7", "Temperature 7 became 2.")):
        box.fill(content)
        box.press("Tab")
        expect(ready.locator("#verdict")).to_contain_text(said)
    ready.remove_listener("response", note)
    assert not failed
