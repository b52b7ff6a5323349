"""The Tokens tab in a real browser: one cursor, one time, and a token under the microscope."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import press_generate
from playwright.sync_api import Page, expect
from tiny_checkpoint import write_tiny_checkpoint

FRAMES = 20


pytestmark = pytest.mark.usefixtures("tiny_run")


@pytest.fixture
def tokens(page: Page) -> Page:
    """The tab as it opens by itself: the bundled tokenizer on test clip 0."""
    page.get_by_role("tab", name="Tokens").click()
    wait_for_frames(page, FRAMES)
    return page


def wait_for_frames(page: Page, count: int, *, other_than: str = "") -> None:
    page.wait_for_function(
        "([n, key]) => { const t = document.querySelector('.tokens').dataset; return t.frames == n && t.key !== key }",
        arg=[count, other_than],
    )


def shown(page: Page, panel: str) -> str:
    return page.eval_on_selector(f"[data-panel={panel}] canvas", "canvas => canvas.toDataURL()")


def step_picture(page: Page) -> str:
    return page.eval_on_selector("[data-heat=picture] canvas", "canvas => canvas.toDataURL()")


def click_cell(page: Page, row: int, column: int, *, panel: str = "ids", side: int = 8) -> None:
    canvas = page.locator(f"[data-panel={panel}] canvas")
    area = canvas.bounding_box()
    assert area is not None
    canvas.click(position={"x": area["width"] * (column + 0.5) / side, "y": area["height"] * (row + 0.5) / side})


def looked(page: Page, cell: str) -> None:
    page.wait_for_function("(cell) => document.querySelector('.tokens').dataset.looked === cell", arg=cell)


def test_it_opens_with_tokens_to_see_and_figures(tokens: Page) -> None:
    expect(tokens.locator("#token-figures")).to_contain_text("of 2,560")
    expect(tokens.locator("#token-figures")).to_contain_text("PSNR")
    tokens.wait_for_function("(document.querySelector('#code-use .plot').data || []).length == 1")
    tokens.locator("#count-codes").click()
    tokens.wait_for_function("(document.querySelector('#code-use .plot').data || []).length == 2")
    expect(tokens.locator("#token-figures")).to_contain_text("over 64 test clips")


def test_one_slider_moves_every_picture_and_one_cursor_names_the_cell(tokens: Page) -> None:
    before = {panel: shown(tokens, panel) for panel in ("ids", "frame", "drawn", "error")}
    tokens.locator(".tokens .scrubber").fill("9")
    expect(tokens.locator(".tokens .place")).to_have_text("frame 10 of 20")
    assert all(shown(tokens, panel) != picture for panel, picture in before.items())
    tokens.locator(".tokens .panels").focus()
    cell = tokens.locator(".tokens").get_attribute("data-cell")
    tokens.keyboard.press("ArrowDown")
    row, column = (int(part) for part in str(cell).split(","))
    row = (row + 1) % 8
    expect(tokens.locator(".tokens")).to_have_attribute("data-cell", f"{row},{column}")
    expect(tokens.locator(".tokens .readout")).to_contain_text(f"row {row + 1}, column {column + 1}: id")
    tops = tokens.eval_on_selector_all(".tokens .panels .cursor", "marks => marks.map((mark) => mark.style.top)")
    assert len(tops) == 4
    assert len(set(tops)) == 1


def test_a_click_shows_guesses_that_follow_the_frame_and_another_id_redraws_it_until_it_is_undone(tokens: Page) -> None:
    tokens.locator(".tokens .scrubber").fill("12")
    click_cell(tokens, 3, 4, panel="drawn")
    looked(tokens, "12,3,4,0")
    expect(tokens.locator(".scope tbody tr")).to_have_count(5)
    expect(tokens.locator(".scope .belief")).to_contain_text("entropy")
    before = shown(tokens, "drawn")
    tokens.locator(".scope .other-id").fill("77")
    tokens.locator(".scope .put-id").click()
    looked(tokens, "12,3,4,1")
    assert shown(tokens, "drawn") != before
    expect(tokens.locator(".scope .changed")).to_contain_text("1 token changed")
    tokens.locator(".scope .undo").click()
    looked(tokens, "12,3,4,0")
    assert shown(tokens, "drawn") == before
    tokens.locator(".tokens .scrubber").fill("14")
    looked(tokens, "14,3,4,0")
    expect(tokens.locator(".scope h3")).to_contain_text("Frame 15, row 4, column 5")


SLOW_PATCHES = """() => {
  const decode = HTMLImageElement.prototype.decode;
  HTMLImageElement.prototype.decode = async function () {
    await decode.call(this);
    if (this.naturalWidth <= 8) await new Promise((done) => setTimeout(done, 2500));
  };
}"""


def test_the_microscope_outlives_a_clip_that_is_exchanged_while_it_is_answered(tokens: Page) -> None:
    key = tokens.locator(".tokens").get_attribute("data-key") or ""
    tokens.evaluate(SLOW_PATCHES)
    with tokens.expect_response(lambda response: "component_server" in response.url):
        click_cell(tokens, 3, 4)
    tokens.locator("#tokens-number input[type=number]").fill("5")
    tokens.locator("#tokens-show").click()
    wait_for_frames(tokens, FRAMES, other_than=key)
    tokens.locator(".tokens .scrubber").fill("9")
    click_cell(tokens, 2, 2)
    looked(tokens, "9,2,2,0")
    expect(tokens.locator(".scope .belief")).to_contain_text("entropy")


def test_playing_is_not_read_out(tokens: Page) -> None:
    readout, play = tokens.locator(".tokens .readout"), tokens.locator(".tokens .play")
    expect(readout).to_have_attribute("aria-live", "polite")
    play.click()
    expect(readout).to_have_attribute("aria-live", "off")
    play.click()
    expect(readout).to_have_attribute("aria-live", "polite")


def test_an_id_outside_the_codebook_is_refused_where_it_was_typed_until_another_is_put(tokens: Page) -> None:
    tokens.evaluate(SLOW_PATCHES)
    with tokens.expect_response(lambda response: "component_server" in response.url):
        click_cell(tokens, 0, 0)
    tokens.locator(".scope .other-id").fill("2560")
    tokens.locator(".scope .put-id").click()
    expect(tokens.locator(".tokens")).not_to_have_attribute("data-looked", "0,0,0,0")
    looked(tokens, "0,0,0,0")  # the answer for the cell comes after the refusal, and leaves it
    expect(tokens.locator(".scope .what-if .trouble")).to_contain_text("from 0 to 2559")
    tokens.locator(".scope .other-id").fill("77")
    tokens.locator(".scope .put-id").click()
    looked(tokens, "0,0,0,1")
    expect(tokens.locator(".scope .what-if .trouble")).to_be_empty()


def test_a_clip_of_ones_own_and_another_checkpoint(tokens: Page, tiny_run: str, tmp_path: Path) -> None:
    key = tokens.locator(".tokens").get_attribute("data-key") or ""
    np.save(tmp_path / "mine.npy", np.random.default_rng(0).integers(0, 255, (5, 40, 40), dtype=np.uint8))
    tokens.locator("#tokens-source").get_by_label("Your own").check()
    tokens.locator("#tokens-file input[type=file]").set_input_files(tmp_path / "mine.npy")
    wait_for_frames(tokens, 5, other_than=key)
    key = tokens.locator(".tokens").get_attribute("data-key") or ""
    tokens.locator("#tokens-checkpoint input").click()
    tokens.get_by_role("option", name=tiny_run).click()
    wait_for_frames(tokens, 5, other_than=key)
    expect(tokens.locator("#token-figures")).to_contain_text("of 64")
    click_cell(tokens, 3, 3, side=4)
    looked(tokens, "0,3,3,0")


def test_a_checkpoint_dropped_into_generate_is_looked_into_here_as_long_as_it_is_there(page: Page, tmp_path: Path) -> None:
    box = page.locator("#checkpoint-file")
    page.wait_for_function("document.querySelector('.player').dataset.frames > 0")
    box.locator("input[type=file]").set_input_files(write_tiny_checkpoint(tmp_path / "mine.safetensors"))
    expect(page.locator("#checkpoint input")).to_have_value("mine.safetensors (dropped here)")
    page.get_by_role("tab", name="Tokens").click()
    wait_for_frames(page, FRAMES)
    expect(page.locator("#token-figures")).to_contain_text("of 2,560")
    key = page.locator(".tokens").get_attribute("data-key") or ""
    page.locator("#tokens-checkpoint input").click()
    page.get_by_role("option", name="mine.safetensors (dropped here)").click()
    wait_for_frames(page, FRAMES, other_than=key)
    expect(page.locator("#token-figures")).to_contain_text("of 64")

    page.get_by_role("tab", name="Generate").click()
    box.get_by_label("Clear").click()
    expect(page.locator("#checkpoint input")).to_have_value("Moving MNIST (bundled)")
    page.get_by_role("tab", name="Tokens").click()
    expect(page.locator("#tokens-checkpoint input")).to_have_value("Moving MNIST (bundled)")
    expect(page.locator("#token-figures")).to_contain_text("of 2,560")
    expect(page.locator("#tokens-message .message.bad")).to_have_count(0)


def test_the_last_generation_stands_beside_the_truth(page: Page, tiny_run: str) -> None:
    page.wait_for_function("document.querySelector('.player').dataset.frames > 0")
    page.locator("#checkpoint input").click()
    page.get_by_role("option", name=tiny_run).click()
    expect(page.locator("#checkpoint-card")).to_contain_text("step 7")
    press_generate(page)
    page.get_by_label("prediction, frame 9", exact=True).click()
    expect(page.get_by_role("tab", name="Tokens")).to_have_attribute("aria-selected", "true")
    wait_for_frames(page, 12)
    expect(page.locator(".tokens .place")).to_have_text("frame 9 of 12")
    expect(page.locator("#tokens-source").get_by_label("Last generation")).to_be_checked()
    expect(page.locator("#token-figures")).to_contain_text("Same as truth")
    page.locator(".tokens .scrubber").fill("6")
    before = shown(page, "ids")
    page.locator(".tokens .mode").select_option("differ")
    assert shown(page, "ids") != before

    step = page.locator(".replay .step")
    expect(page.locator(".replay h3")).to_have_text("Decode replay of future frame 1")
    expect(page.locator(".replay")).to_have_attribute("data-step", "6,1")
    first = step_picture(page)
    step.fill("2")
    expect(page.locator(".replay")).to_have_attribute("data-step", "6,2")
    expect(page.locator(".replay .step-words")).to_contain_text("0 still masked")
    last = step_picture(page)
    assert last != first
    page.locator(".tokens .scrubber").fill("8")
    expect(page.locator(".replay")).to_have_attribute("data-step", "8,2")
    assert step_picture(page) != last
    page.locator(".tokens .scrubber").fill("2")
    expect(page.locator(".replay .step-words")).to_contain_text("given, not decoded")


def test_ids_can_be_taken_away(tokens: Page, tmp_path: Path) -> None:
    for kind in ("png", "npy", "json"):
        button = tokens.locator(f"#tokens-{kind}")
        expect(button).to_be_enabled()
        with tokens.expect_download() as download:
            button.click()
        download.value.save_as(tmp_path / f"file.{kind}")
    ids = np.load(tmp_path / "file.npy", allow_pickle=False)
    assert ids.shape == (FRAMES, 8, 8)
    assert json.loads((tmp_path / "file.json").read_text())["tokens"] == ids.tolist()
    assert (tmp_path / "file.png").read_bytes()[:4] == b"\x89PNG"


def test_what_was_chosen_is_in_the_address_and_outlives_a_reload(tokens: Page) -> None:
    before = tokens.locator(".tokens").get_attribute("data-key") or ""
    tokens.locator("#tokens-frames input[type=number]").fill("9")
    tokens.locator("#tokens-frames input[type=number]").press("Tab")
    wait_for_frames(tokens, 9, other_than=before)
    before = tokens.locator(".tokens").get_attribute("data-key") or ""
    tokens.locator("#tokens-number input[type=number]").fill("3")
    tokens.locator("#tokens-number input[type=number]").press("Tab")
    tokens.wait_for_function("location.search === '?tab=tokens&clip=3&frames=9'")
    wait_for_frames(tokens, 9, other_than=before)
    ids = shown(tokens, "ids")
    tokens.reload()
    tokens.wait_for_selector(".tokens")
    wait_for_frames(tokens, 9)
    assert shown(tokens, "ids") == ids
    assert tokens.evaluate("location.search") == "?tab=tokens&clip=3&frames=9"
