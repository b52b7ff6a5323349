"""The Debug tab in a real browser: from a symptom to its cause and into Train; the checklist as it comes; alarms of a run."""

import re

import pytest
from playwright.sync_api import Page, Route, expect
from serving import App

from vidapp.presets import preset
from vidapp.runs import RunWriter
from vidapp.ui.examiner import Order, Report

EXAMINED_MS = 300_000  # a process of its own imports torch first, on cores that other tests share


@pytest.fixture(scope="module", autouse=True)
def sick_run(app: App) -> str:
    """A run whose model cannot see other frames, and whose loss never got below the entropy."""
    with RunWriter.create("sick", preset("debug").replace({"model.attention": "framewise"}), folder=app.runs) as run:
        for step in range(10, 600, 10):
            run.log({"step": step, "phase": "transformer", "loss": 4.5, "grad_norm": 1.0, "unigram_entropy": 4.0})
    return "sick"


@pytest.fixture
def ready(page: Page, sick_run: str) -> Page:
    """The tab, with the sick run chosen."""
    page.get_by_role("tab", name="Debug").click()
    expect(page.locator("#debug-subject input")).to_have_value("Run sick")
    return page


def ended(page: Page) -> None:
    page.wait_for_function("document.querySelector('.report').dataset.state == 'done'", timeout=EXAMINED_MS)


def test_a_symptom_leads_to_its_cause_and_its_setting_into_train(ready: Page) -> None:
    expect(ready.locator("#debug-alarms .alarm").first).to_contain_text("Nothing learnt but frequencies")
    ready.get_by_label("Nothing moves").check()
    expect(ready).to_have_url(re.compile(r"tab=debug&run=.+&symptom=nothing-moves"))
    ready.reload()
    expect(ready.get_by_label("Nothing moves")).to_be_checked()
    expect(ready.locator("#debug-alarms .alarm").first).to_contain_text("Nothing learnt but frequencies")
    expect(ready.locator("#stop-checks")).to_be_disabled()
    for _ in range(2):  # asked once more it is looked at once more
        ready.locator("#find-cause").click()
        expect(ready.locator("#stop-checks")).to_be_enabled()
        ready.wait_for_function("document.querySelector('.report').dataset.state == 'running'")
        ended(ready)
        expect(ready.locator("#stop-checks")).to_be_disabled()
    expect(ready.locator(".report .diagnosis #train-with")).to_have_text("Train with model.attention=factorized")
    expect(ready.locator(".report .diagnosis h3")).to_contain_text("The cause: the model cannot see other frames")
    expect(ready.locator(".report .diagnosis code").first).to_have_text("model.attention=factorized")
    ready.locator("#train-with").click()
    expect(ready.get_by_role("tab", name="Train")).to_have_attribute("aria-selected", "true")
    expect(ready.locator("#preset input")).to_have_value(re.compile("debug"))


def test_the_picture_of_where_it_is_lost_is_scrolled_by_the_keyboard_too(page: Page, app: App) -> None:
    stage = {"part": "tokenizer", "title": "Reconstruction", "lost": 9.0, "mse": 9.0, "sharpness": 0.5}
    lost = {"words": "It is lost in the tokenizer", "advice": "Train it longer.", "blame": "tokenizer", "stages": [stage]}
    report = Report(Order("key", "Where is it lost", preset("debug"), ()), "done", result={"lost": lost}, picture=PICTURE)
    found = report.to_dict() | {"every_ms": EXAMINED_MS}
    page.route("**/component_server/", lambda route: route.fulfill(json=found) if looks(route) else route.fallback())
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(f"{app.url}?tab=debug")
    scroll = page.get_by_role("region", name="What is left at each stage")
    for _ in range(20):  # while the page is still opening, its report may be drawn anew
        scroll.focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(500)
        if scroll.evaluate("(region) => region.scrollLeft") > 0:
            return
    raise AssertionError("the arrow keys do not scroll it")


PICTURE = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="


def looks(route: Route) -> bool:
    return (route.request.post_data_json or {}).get("fn_name") == "look"


def test_the_checklist_shows_its_results_and_a_reload_keeps_them(ready: Page) -> None:
    ready.locator("#debug-subject input").click()
    ready.get_by_role("option", name="Preset debug").click()
    ready.locator("#run-checks").click()
    ready.wait_for_function("document.querySelectorAll('.report .checks li').length > 3", timeout=EXAMINED_MS)
    ended(ready)
    expect(ready.locator(".report .sum")).to_contain_text("none failed")
    ready.reload()
    ready.get_by_role("tab", name="Debug").click()
    expect(ready.locator(".report h2")).to_have_text("Checklist: preset debug")
    expect(ready.locator(".report .checks li[data-check=causality]")).to_contain_text("PASS")
    expect(ready.locator(".report .checks li[data-check=gradient_flow] summary")).to_contain_text(
        re.compile(r"^of a newly made model, with \d+")
    )
