"""The Runs tab in a real browser: the table, runs over one another, on to other tabs, away and back."""

import re

import pytest
from playwright.sync_api import Page, expect
from serving import App
from tiny_checkpoint import tiny_config, write_tiny_checkpoint

from vidapp.runs import RunWriter, list_runs


@pytest.fixture(scope="module", autouse=True)
def runs(app: App) -> list[str]:
    """Two runs that ended, with curves; the first can be sampled."""
    names = []
    for name, rate in (("first", 1e-3), ("second", 5e-4)):
        with RunWriter.create(name, tiny_config(recipe__learning_rate=rate), folder=app.runs) as run:
            for step in range(10, 60, 10):
                run.log({"step": step, "phase": "transformer", "loss": 4 - step / 50, "validation_loss_full": 4 - step * rate})
            names.append(name)
            if name == "first":
                write_tiny_checkpoint(run.checkpoint_path(50), run.config)
    return names


@pytest.fixture
def ready(page: Page, runs: list[str]) -> Page:
    page.get_by_role("tab", name="Runs").click()
    page.wait_for_function("Number(document.querySelector('.runs').dataset.rows) >= 2")
    return page


def choose(page: Page, *names: str) -> None:
    for name in names:
        page.get_by_label(f"Choose {name}").check()


def test_two_runs_are_compared_by_curve_and_settings(ready: Page) -> None:
    expect(ready.locator(".runs tr[data-run=first]")).to_contain_text("3.95")
    expect(ready.locator("#runs-hint")).to_contain_text("Choose a run in the table")
    expect(ready.locator("#open-run")).to_be_disabled()
    choose(ready, "first")
    expect(ready.locator("#open-run")).to_be_enabled()
    expect(ready.locator("#runs-hint .hint")).to_have_count(0)
    choose(ready, "second")
    expect(ready.locator("#runs-hint")).to_contain_text("The grey buttons take one run; 2 are chosen")
    expect(ready.locator("#run-settings")).to_contain_text("recipe.learning_rate")
    expect(ready.locator("#run-settings")).to_contain_text("0.0005")
    ready.wait_for_function("document.querySelector('#run-chart .plot').data?.length == 2")
    ready.locator("#run-log input").check()
    ready.wait_for_function("document.querySelector('#run-chart .plot').layout.yaxis.type == 'log'")
    ready.get_by_label("Tokenizer error").check()
    expect(ready.locator("#run-settings")).to_contain_text("No tokenizer error was measured")
    expect(ready.locator("#run-settings")).to_contain_text("recipe.learning_rate")


def test_a_run_leads_to_train_and_to_generate(ready: Page) -> None:
    choose(ready, "first")
    ready.locator("#open-run").click()
    expect(ready.get_by_role("tab", name="Train")).to_have_attribute("aria-selected", "true")
    expect(ready.locator("#run-picker input")).to_have_value(re.compile("first"))
    ready.get_by_role("tab", name="Runs").click()
    ready.locator("#sample-chosen").click()
    expect(ready.get_by_role("tab", name="Generate")).to_have_attribute("aria-selected", "true")
    expect(ready.locator("#checkpoint input")).to_have_value(re.compile("first, step 50"))
    expect(ready.get_by_role("tab", name="Generate")).to_be_focused()  # the button that led here can no longer be seen
    for before in ("Runs", "Train", "Runs"):
        ready.go_back()
        expect(ready.get_by_role("tab", name=before)).to_have_attribute("aria-selected", "true")
    ready.go_forward()
    expect(ready.get_by_role("tab", name="Train")).to_have_attribute("aria-selected", "true")


def test_a_run_goes_away_only_when_confirmed_and_comes_back(ready: Page, app: App) -> None:
    choose(ready, "second")
    ready.locator("#discard").click()
    expect(ready.locator("#discard-yes")).to_be_visible()
    assert "second" in [run.name for run in list_runs(app.runs)], "the first click alone does nothing"
    ready.locator("#discard-yes").dblclick()
    expect(ready.locator(".runs tr[data-run=second]")).to_have_count(0)
    ready.wait_for_timeout(1000)  # the second click of a double one has had its answer, where it has one
    expect(ready.locator("#runs-message .good")).to_contain_text("Moved 1 run to the trash")
    ready.locator("#restore").dblclick()
    expect(ready.locator(".runs tr[data-run=second]")).to_have_count(1)
    ready.wait_for_timeout(1000)
    expect(ready.locator("#runs-message .good")).to_contain_text("second back in the list")


def test_a_live_run_stays(ready: Page, app: App) -> None:
    with RunWriter.create("live", tiny_config(), folder=app.runs) as run:
        run.status("running", 1, 10)
        expect(ready.locator(".runs tr[data-run=live]")).to_have_count(1)
        choose(ready, "live")
        ready.locator("#discard").click()
        ready.locator("#discard-yes").click()
        expect(ready.locator("#runs-message .bad")).to_contain_text("is running: stop it first")
        assert run.path.is_dir()
