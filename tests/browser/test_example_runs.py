"""Sick runs in a real browser: examples where there is no run yet, alarms while a run goes on, layers, and curves beside those of an example."""

import re
from typing import Any

from playwright.sync_api import Page, expect
from serving import App
from tiny_checkpoint import tiny_config

from vidapp.runs import RunWriter


def line(step: int, loss: float, gradient: float = 1.0) -> dict[str, Any]:
    layers = {
        "gradient_norm": {"tokens": gradient, "1 space": gradient / 10, "1 mlp": gradient / 100},
        "update_ratio": {"tokens": 1e-3, "1 space": 1e-3, "1 mlp": 1e-3},
        "activation_rms": {"1": 2.0},
    }
    facts = {"phase": "transformer", "time_s": 1000.0 + step, "unigram_entropy": 4.0, "learning_rate": 3e-4, "layers": layers}
    return {"step": step, "loss": loss, "grad_norm": gradient, **facts}


def test_a_house_without_runs_shows_the_healthy_example_and_steers_nothing(page: Page) -> None:
    page.get_by_role("tab", name="Train").click()
    expect(page.locator("#run-picker input")).to_have_value("Bundled example: A healthy run")
    expect(page.locator(".live .notice")).to_contain_text("press Start training")
    expect(page.locator(".live .learning")).to_contain_text("It learns")
    for button in ("#pause", "#stop", "#save", "#draw", "#sample-run"):
        expect(page.locator(button)).to_be_disabled()
    page.get_by_role("tab", name="Runs").click()
    row = page.locator(".runs tr[data-run='example:rate-too-high']")
    row.click()
    expect(page.locator("#open-run")).to_be_enabled()
    expect(page.locator("#discard")).to_be_disabled()
    page.locator("#open-run").click()
    expect(page.locator("#run-picker input")).to_have_value("Bundled example: Learning rate too high")
    expect(page.locator(".live .alarms li[data-alarm=activations]")).to_contain_text("Activations have grown")


def test_a_link_opens_debug_with_that_run_and_symptom_and_curves_stand_beside_an_example(unopened: Page, app: App) -> None:
    page = unopened
    page.goto(f"{app.url}?tab=debug&run=example:loss-on-visible&symptom=samples-bad")
    expect(page.locator("#debug-subject input")).to_have_value("Bundled example: Loss on visible tokens")
    expect(page.get_by_label("The loss falls, but samples are bad")).to_be_checked()
    expect(page.locator("#debug-alarms .alarm")).to_contain_text("far below validation")
    page.locator("#sick-compare button").first.click()
    page.locator("#sick-choice input").click()
    page.get_by_role("option", name="A healthy run").click()
    expect(page.locator("#sick-words")).to_contain_text("Validation falls below the entropy")
    page.wait_for_function("(document.querySelector('#sick-chart .plot').data || []).length == 4")


def test_an_alarm_rises_while_a_run_goes_on_and_leads_to_its_symptom(unopened: Page, app: App) -> None:
    page = unopened
    with RunWriter.create("rising", tiny_config(), folder=app.runs) as run:
        for step in range(10, 400, 10):
            run.log(line(step, 400 / (100 + step)))
        run.status("running", 390, 1000, phase="transformer")
        page.goto(f"{app.url}?tab=train&run=rising")
        page.wait_for_selector(".live[data-run]")
        page.wait_for_function("Number(document.querySelector('.live').dataset.lossPoints) == 39")
        expect(page.locator(".live .alarms")).to_be_hidden()
        page.locator(".live .layer-fold summary").click()
        page.wait_for_function("document.querySelector('.live').dataset.layerSteps == '39'")
        for step in range(400, 520, 10):
            run.log(line(step, 0.8, gradient=300.0))
        alarm = page.locator(".live .alarms li[data-alarm=exploding]")
        expect(alarm).to_contain_text("most of it in the tokens")
        expect(alarm).to_contain_text("Lower recipe.learning_rate")
        page.wait_for_function("document.querySelector('.live').dataset.layerSteps == '51'")
        heat = page.evaluate("document.querySelector('[data-heat=gradient_norm] .plot').data[0]")
        assert list(heat["y"]) == ["tokens", "1 space", "1 mlp"]
        alarm.get_by_role("button").click()
        expect(page.get_by_role("tab", name="Debug")).to_have_attribute("aria-selected", "true")
        expect(page.locator("#debug-subject input")).to_have_value("Run rising")
        expect(page.get_by_label("The loss explodes, or is not a number")).to_be_checked()
        page.locator("#debug-subject input").click()
        page.get_by_role("option", name="Bundled example: A healthy run").click()
        expect(page).to_have_url(re.compile(r"tab=debug&run=example.+&symptom="))
        page.get_by_role("tab", name="Train").click()
        expect(page).to_have_url(re.compile(r"tab=train&run=rising$"))
        page.get_by_role("tab", name="Debug").click()
        expect(page).to_have_url(re.compile(r"tab=debug&run=example.+&symptom=nan$"))


def test_the_curves_of_a_sick_run_are_drawn_over_ones_own_with_what_to_see(unopened: Page, app: App) -> None:
    page = unopened
    with RunWriter.create("compared", tiny_config(), folder=app.runs) as run:
        for step in range(100, 5000, 100):
            run.log(line(step, 400 / (100 + step)))
        run.status("running", 4900, 5000, phase="transformer")
        page.goto(f"{app.url}?tab=train&run=compared")
        page.wait_for_selector(".live[data-run]")
        page.wait_for_function("Number(document.querySelector('.live').dataset.lossPoints) == 49")
        page.get_by_label("compare with a sick run").select_option("No time attention")
        expect(page.locator(".live .sick-words")).to_contain_text("The future frames are empty")
        names = page.evaluate("document.querySelector('[data-chart=loss] .plot').data.map((curve) => curve.name)")
        assert any(re.fullmatch(r"No time attention \(steps × \d+\): validation", name) for name in names)
        page.get_by_label("compare with a sick run").select_option("none")
        page.wait_for_function("document.querySelector('[data-chart=loss] .plot').data.every((curve) => !curve.name.includes('No time'))")
