"""Each tab, light and dark, holds nothing that axe calls serious: contrast, names of controls, roles; and its headings have an order."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import QUIET_MS
from playwright.sync_api import Locator, Page, expect
from serving import App
from tiny_checkpoint import tiny_config

from vidapp.runs import RunWriter

SHOWN = {  # by tab: what there is to see once it is filled
    "Generate": "#download-gif:enabled",
    "Tokens": "#token-figures dt",
    "Data": "#data-survey table",
    "Configure": "#configure-figures dl[aria-busy=false]",
    "Train": ".live .badge",
    "Debug": "#debug-subject input",
    "Runs": ".runs tbody tr",
}
LOADING_MS = 240_000  # torch is loaded on the way
REDRAWN_MS = 300  # charts follow the page's colours
NOTHING_FADES = "* { transition: none !important }"  # a button that is half enabled is neither exempt nor readable


@pytest.fixture(scope="module", autouse=True)
def live_run(app: App) -> str:
    """A run that trains, so that the strip above every tab is filled as well."""
    with RunWriter.create("live", tiny_config(), folder=app.runs) as run:
        for step in range(1, 20):
            run.log({"step": step, "phase": "transformer", "loss": 4 - step / 50, "grad_norm": 1.0})
        run.status("running", 19, 100, phase="transformer")
    return "live"


def test_what_the_keyboard_is_at_can_be_seen(page: Page) -> None:
    page.add_style_tag(content=NOTHING_FADES)
    page.keyboard.press("Tab")  # what is focused from here on is so by the keyboard
    for control in ("temperature input[type=range]", "temperature input[type=number]", "top_k input[type=range]"):
        place = page.locator(f"#field-sampling-{control}").first
        place.focus()
        assert outline(place) == ["solid", "2px"], control
    page.locator("label > input[type=radio]").first.focus()
    assert outline(page.locator("label:has(> input[type=radio])").first) == ["solid", "2px"]


def test_a_radio_is_one_stop_and_its_choices_are_gone_through_by_arrows(page: Page) -> None:
    choices, drawing = page.locator("#source input"), page.locator("#drawing")
    page.wait_for_function("document.querySelector('.player').dataset.frames > 0")
    page.locator("#checkpoint input").focus()  # from somewhere else
    choices.first.focus()
    page.keyboard.press("ArrowRight")
    expect(choices.nth(1)).to_be_checked()
    expect(drawing).to_be_visible()
    page.wait_for_timeout(QUIET_MS)
    page.keyboard.press("ArrowRight")
    expect(choices.nth(2)).to_be_checked()
    expect(drawing).to_be_hidden()
    page.wait_for_timeout(QUIET_MS)
    page.keyboard.press("ArrowRight")  # from the last to the first
    expect(choices.first).to_be_checked()
    page.wait_for_timeout(QUIET_MS)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('#source')") is None


def outline(place: Locator) -> list[str]:
    return place.evaluate("(node) => { const s = getComputedStyle(node); return [s.outlineStyle, s.outlineWidth] }")


def test_axe_finds_nothing_serious_in_the_light_and_in_the_dark(unopened: Page, app: App) -> None:
    page = unopened
    page.goto(f"{app.url}?__theme=light")
    page.add_style_tag(content=NOTHING_FADES)
    found = []
    for tab, shown in SHOWN.items():
        page.get_by_role("tab", name=tab, exact=True).click()
        expect(page.locator(shown).first).to_be_visible(timeout=LOADING_MS)
        for dark in (True, False):
            page.evaluate("(dark) => document.body.classList.toggle('dark', dark)", dark)
            page.wait_for_timeout(REDRAWN_MS)
            found += [f"{tab}, {'dark' if dark else 'light'}: {serious}" for serious in seriously_wrong(page)]
    assert found == []


def seriously_wrong(page: Page) -> list[str]:
    return [
        f"{violation['id']}: {node['target']} {node['failureSummary']}"
        for violation in Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
        if violation["impact"] in ("serious", "critical") or violation["id"] == "heading-order"
        for node in violation["nodes"]
    ]
