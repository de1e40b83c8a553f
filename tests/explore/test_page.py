"""The page as a reader meets it, in a real browser, from disk and without a network."""

import json
import os
from pathlib import Path

import pytest
from browser import DESKTOP, PHONE, window
from explore.reader import downloaded, lines_of, opened, put, rows_of, settled, view

from pprs.cli import main
from pprs.theory import Graph, makespan

PICTURES = os.environ.get("PPRS_PICTURES")  # a folder, for the screenshots of the docs


def bounds_of(tmp_path, *arguments):
    """What `pprs bounds --json` says of the first regime of Lipschitz objectives."""
    file = tmp_path / "bounds.json"
    assert main(["bounds", *arguments, "--json", str(file)]) == 0
    rows = json.loads(file.read_text())["bounds"]
    return {r["method"]: r["bound"] for r in rows if r["regime"].startswith("convex, Lipschitz")}


def number(text):
    return float(text.lstrip("≤≥ ").replace(",", ""))


def test_the_numbers_beside_the_sliders_are_those_of_pprs_bounds(page, file, tmp_path):
    opened(page, file)
    page.focus("#slide-depth")
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    depth = page.input_value("#number-depth")
    put(page, "eps", 0.02)
    assert int(depth) > 20
    expected = bounds_of(tmp_path, "--depth", depth, "--epsilon", "0.02")
    shown = rows_of(page)
    assert len(shown) == len(expected)
    for method, bound in expected.items():
        lower = f", d ≥ {bound['dimension']:,}" if method == "linear-span" else ""
        time, steps, samples, *_ = shown[method + lower]
        assert number(time) == pytest.approx(bound["time"], rel=1e-2, abs=1)
        assert not bound["iterations"] or number(steps) == bound["iterations"]
        assert not bound["samples"] or number(samples) == bound["samples"]
    settled(page)
    lines = lines_of(page, "guarantees")
    for line in (lines[0], lines[-1]):
        expected = bounds_of(tmp_path, "--depth", line["depth"], "--epsilon", "0.02")
        for method, bound in expected.items():
            found = float(line["lower bound" if method == "linear-span" else method])
            assert found == pytest.approx(bound["time"], rel=1e-9)


def test_sliders_come_before_any_text_and_the_fastest_and_the_crossings_are_named(page, file):
    opened(page, file)
    first = page.evaluate(
        "document.querySelector('main').querySelector('input, p, h2, table').tagName"
    )
    assert first == "INPUT"
    for key, value in {"eps": 0.1, "d": 16, "depth": 10}.items():
        put(page, key, value)
    assert "Subgradient descent promises least: 2,000 units" in page.inner_text(".answer")
    settled(page)
    said = page.inner_text(".crossings")
    assert "PPRS's guarantee overtakes subgradient descent from Δ = " in said
    put(page, "depth", 20)
    assert "PPRS promises least: 3,726 units" in page.inner_text(".answer")


def test_a_formula_and_its_source_are_a_focus_away(page, file):
    opened(page, file)
    assert page.is_hidden("#formula")
    page.focus("tr.best .source")
    assert page.inner_text("tr.best .source") == "Theorem 3"
    assert "λ² ≥ 2(LR/ε)²" in page.inner_text("#formula")
    page.keyboard.press("Escape")
    assert page.is_hidden("#formula")


@pytest.mark.parametrize(
    "regime", ["lipschitz", "smooth", "nonconvex-smooth", "nonconvex-lipschitz"]
)
def test_every_row_has_a_source_and_a_formula(page, file, regime):
    for m in (1, 30):
        opened(page, file, f"#view=limits&regime={regime}&m={m}")
        for i in range(page.locator(".source").count()):
            page.focus(f"tr:nth-child({i + 1}) .source")
            assert len(page.inner_text(f"tr:nth-child({i + 1}) .source")) > 6
            assert len(page.inner_text("#formula")) > 10


def test_constants_that_cannot_be_are_named_and_do_no_harm(page, file):
    opened(page, file)
    put(page, "W", 1000)
    assert "Width must be at most sqrt(dimension) = 100" in page.inner_text(".answer")
    put(page, "eps", 0)
    assert "Epsilon must be a finite number above 0" in page.inner_text(".answer")
    put(page, "eps", 0.01)
    put(page, "W", 50)
    assert "promises least" in page.inner_text(".answer")


def test_a_link_restores_a_view(page, file):
    opened(page, file)
    put(page, "eps", 0.003)
    page.select_option("#menu-regime", "smooth")
    address, said = page.evaluate("location.hash"), page.inner_text(".answer")
    page.click("#tab-schedule")
    put(page, "K", 12)
    page.select_option("#menu-step-schedule", "zb-v")
    page.click("button[aria-label='Next moment']")
    second, now = page.evaluate("location.hash"), page.inner_text(".now")
    page.goto("about:blank")
    opened(page, file, address)
    assert (view(page), page.inner_text(".answer")) == ("limits", said)
    page.goto("about:blank")
    opened(page, file, second)
    assert (view(page), page.inner_text(".now")) == ("schedule", now)
    assert page.input_value("#number-step-K") == "12"


def test_an_address_that_makes_no_sense_shows_the_defaults(page, file):
    opened(page, file, "#view=nowhere&eps=x&d=1.5&depth=-3&%=%&K=Infinity&schedule=__proto__&W=")
    assert view(page) == "limits"
    assert page.input_value("#number-depth") == "20"


@pytest.mark.parametrize("schedule", ["gpipe", "1f1b", "zero-bubble"])
def test_the_timetable_is_that_of_the_theory(page, file, schedule):
    opened(page, file, f"#view=schedule&schedule={schedule}&stages=4&K=6&M=6&f=1&b=2&latency=1")
    table = lines_of(page, "timetable")
    span = max(float(line["end"]) for line in table)
    assert span == makespan(Graph.chain(4, 1, 2, 1), 6, schedule)
    assert f"a step takes {span:g} units" in page.inner_text(".counts")
    waits = 1 - 4 * 6 * 3 / (4 * span)
    assert f"bubbles are {100 * waits:.0f} %" in page.inner_text(".counts")


def test_the_timetable_is_stepped_by_buttons_and_keys(page, file):
    opened(page, file, "#view=schedule&stages=3&K=2&M=2&b=1")
    assert "Time 0 of 8: 1 of 3 devices work. 0: F0" in page.inner_text(".now")
    page.focus("#tick")
    page.keyboard.press("ArrowRight")
    assert "Time 1 of 8: 2 of 3 devices work. 0: F1 · 1: F0 · 2: waits" in page.inner_text(".now")
    page.click("button[aria-label='Next moment']")
    assert "Time 2 of 8" in page.inner_text(".now")
    page.keyboard.press("ArrowLeft")  # on the button, which still has the focus
    assert "Time 1 of 8" in page.inner_text(".now")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("ArrowRight")
    assert "Time 2 of 8" in page.inner_text(".now")
    page.click("button[aria-label='Last moment']")
    assert "Time 8 of 8: 0 of 3 devices work" in page.inner_text(".now")


def test_it_says_which_method_wins_and_when_pprs_loses(page, file):
    opened(page, file, "#view=schedule&stages=20&K=12&M=12&f=1&b=1")
    panel = "#panel-schedule .answer"
    assert page.inner_text(panel).startswith("PPRS with K = 12 wins here")
    # The steps of Theorem 3 times the pipeline time of a step, against the subgradient method's.
    assert "239,878 units" in page.inner_text(panel)
    assert "400,000 units" in page.inner_text(panel)
    assert "With K = 1" in page.inner_text(".verdict")
    put(page, "stages", 1)
    assert page.inner_text(panel).startswith("PPRS with K = 12 loses here")
    assert "makes PPRS win here" in page.inner_text(".verdict")


def test_a_schedule_that_does_not_fit_is_named_with_what_would(page, file):
    opened(page, file, "#view=schedule&schedule=dualpipe-v&stages=8&K=4")
    assert "K · m must be 8 or more, and is 4" in page.inner_text("#panel-schedule .answer")
    put(page, "K", 8)
    assert "K = 8" in page.inner_text("#panel-schedule .answer")
    page.select_option("#menu-step-schedule", "gpipe")
    put(page, "stages", 100_000)
    assert "take fewer stages or microbatches" in page.inner_text("#panel-schedule .answer")


def test_figures_are_saved_as_png_svg_and_csv(page, file):
    opened(page, file, "#view=limits&depth=50")
    settled(page)
    for figure in ("guarantees", "phases"):
        assert downloaded(page, figure, "PNG").startswith(b"\x89PNG")
        svg = downloaded(page, figure, "SVG").decode()
        assert svg.startswith('<svg xmlns="http://www.w3.org/2000/svg"')
        assert "depth Δ" in svg
        count = page.evaluate(
            "text => new DOMParser().parseFromString(text, 'image/svg+xml')"
            ".querySelectorAll('parsererror').length",
            svg,
        )
        assert count == 0
    lines = lines_of(page, "phases")
    assert len(lines) == 64 * 40
    assert {line["least promised by"] for line in lines} >= {"PPRS", "subgradient descent"}


@pytest.mark.parametrize("fragment", ["#view=limits", "#view=schedule"])
@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")])
def test_it_is_accessible_and_no_wider_than_a_phone(chromium, file, trace, fragment, size, scheme):
    with window(chromium, size, scheme) as page:
        opened(page, file, fragment)
        page.set_input_files("#run-file", str(trace))
        page.wait_for_selector(".run .answer", state="attached")
        opened_view = fragment.removeprefix("#view=")
        page.click(f"#tab-{opened_view}")
        settled(page)
        assert page.accessibility() == []
        assert not page.scrolls_sideways()
        page.quiet()


def test_tabs_are_changed_by_arrow_keys(page, file):
    opened(page, file)
    page.focus("#tab-limits")
    page.keyboard.press("ArrowRight")
    assert view(page) == "schedule"
    assert page.evaluate("document.activeElement.id") == "tab-schedule"


@pytest.mark.skipif(not PICTURES, reason="PPRS_PICTURES names no folder for screenshots")
@pytest.mark.parametrize(
    ("name", "fragment"),
    [
        ("explore-limits", "#view=limits"),
        ("explore-schedule", "#view=schedule&schedule=1f1b&stages=6&K=12&M=12&f=1&b=2&t=9"),
    ],
)
def test_screenshots_for_the_docs(chromium, file, name, fragment):
    with window(chromium, {"width": 1000, "height": 930}) as page:
        opened(page, file, fragment)
        settled(page)
        picture = Path(PICTURES) / f"{name}.png"
        page.screenshot(path=picture)
        assert picture.stat().st_size < 150_000
