"""The Configure tab in a real browser: a change shows everywhere, a chip takes it back, what cannot be is refused in the page."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from vidapp.config import Config
from vidapp.presets import preset

LOOKING_MS = 180_000  # torch is loaded for the first estimate


@pytest.fixture
def form(page: Page) -> Page:
    """The page with the Configure tab open and looked at."""
    page.get_by_role("tab", name="Configure").click()
    expect(page.locator("#set-recipe-learning_rate input")).to_have_value("0.002")
    return page


def fill(page: Page, key: str, value: str) -> None:
    box = page.locator(f"#set-{key.replace('.', '-')} input, #set-{key.replace('.', '-')} textarea").first
    box.fill(value)
    box.press("Tab")


def take(page: Page, path: Path) -> None:
    """Import a file, as a person chooses it."""
    with page.expect_file_chooser() as chooser:
        page.locator("#configure-import").click()
    chooser.value.set_files(path)


def command(page: Page) -> str:
    return page.locator("#configure-takeaway .command").inner_text()


def test_a_change_shows_as_a_chip_in_the_command_and_in_what_it_takes_until_the_chip_is_pressed(form: Page) -> None:
    parameters = form.locator("#configure-figures dd").first
    expect(parameters).to_contain_text("M", timeout=LOOKING_MS)
    before = parameters.inner_text()
    fill(form, "model.layers", "4")
    chip = form.locator("#configure-chips button[data-key='model.layers']")
    expect(chip).to_have_text(re.compile("Layers.*2.*4"))
    expect(form.locator("#configure-takeaway .command")).to_have_text("python -m vidapp train --preset debug --set model.layers=4")
    expect(parameters).not_to_have_text(before, timeout=LOOKING_MS)

    form.get_by_role("tab", name="Train").click()
    expect(form.locator("#train-chips button[data-key='model.layers']")).to_be_visible()
    form.get_by_role("tab", name="Configure").click()

    chip.click()
    expect(form.locator("#set-model-layers input")).to_have_value("2")
    expect(chip).to_have_count(0)
    expect(form.locator("#configure-takeaway .command")).to_have_text("python -m vidapp train --preset debug")


def test_the_keyboard_goes_from_a_chip_that_it_resets_to_the_next(form: Page) -> None:
    for key, value in (("model.layers", "4"), ("run.steps", "30")):
        fill(form, key, value)
    chips = form.locator("#configure-chips .chips")
    expect(chips.locator("button.all")).to_be_visible()
    chips.locator("button").first.focus()
    form.keyboard.press("Enter")
    expect(chips.locator("button")).to_have_count(1)
    expect(chips.locator("button")).to_be_focused()
    form.keyboard.press("Enter")
    expect(chips.locator(".none")).to_be_visible()
    expect(chips).to_be_focused()


def test_what_settings_do_not_allow_together_is_said_and_goes_nowhere(form: Page) -> None:
    fill(form, "model.width", "130")
    expect(form.locator("#configure-message .message.bad")).to_contain_text("odel.width 130 must be divisible")
    expect(form.locator("#configure-takeaway .command")).to_contain_text("None while a setting cannot be")
    assert "--set" not in command(form)


def test_nothing_is_trained_but_what_the_form_shows(form: Page) -> None:
    fill(form, "model.width", "7")
    form.locator("#configure-go").click()
    expect(form.locator("#configure-message .message.bad")).to_have_text(re.compile("^model.width is 7"))
    expect(form.locator("#configure-chips button.refused")).to_have_text(re.compile("Width.*128.*7.*cannot be"))
    expect(form.locator("#configure-go")).to_be_visible()
    form.reload()  # comes back to this tab
    expect(form.locator("#set-model-width input")).to_have_value("7")
    form.get_by_role("tab", name="Train").click()
    expect(form.locator("#start-notices")).to_contain_text("model.width is 7")
    expect(form.locator("#start")).to_be_disabled()
    form.get_by_role("tab", name="Configure").click()
    fill(form, "model.width", "64")
    form.locator("#configure-go").click()
    expect(form.locator("#start")).to_be_enabled(timeout=LOOKING_MS)


def test_a_search_finds_folded_settings(form: Page) -> None:
    expect(form.locator("#set-recipe-warmup_steps")).not_to_be_visible()
    form.get_by_label("Find a setting").fill("warm-up")
    expect(form.locator("#set-recipe-warmup_steps")).to_be_visible()
    expect(form.locator("#set-model-width")).not_to_be_visible()
    form.get_by_label("Find a setting").fill("")
    expect(form.locator("#set-model-width")).to_be_visible()
    expect(form.locator("#set-recipe-warmup_steps")).not_to_be_visible()


def test_a_config_goes_out_and_comes_in_as_json(form: Page, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(preset("base").replace({"recipe.beta2": 0.9}).to_json())
    take(form, path)
    expect(form.locator("#configure-message .message.good")).to_contain_text("base with 1 change")
    expect(form.locator("#set-model-width input")).to_have_value("384")
    expect(form.locator("#configure-takeaway .command")).to_have_text("python -m vidapp train --preset base --set recipe.beta2=0.9")
    with form.expect_download() as download:
        form.get_by_role("button", name="Export this config").click()
    download.value.save_as(tmp_path / "out.json")
    assert Config.from_json((tmp_path / "out.json").read_text()) == Config.from_json(path.read_text())


def test_a_bad_file_is_refused_in_a_sentence(form: Page, tmp_path: Path) -> None:
    for name, text, said in (("bad", '{"model": {"wings": 2}}', "unknown setting of model 'wings'"), ("none", "no json", "not JSON")):
        (tmp_path / f"{name}.json").write_text(text)
        take(form, tmp_path / f"{name}.json")
        expect(form.locator("#configure-message .message.bad")).to_contain_text(said)
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    take(form, tmp_path / "picture.png")
    expect(form.locator("#configure-message .message.bad")).to_have_text("picture.png is not a text file: give a config in JSON")
    expect(form.locator("#set-model-width input")).to_have_value("128")
