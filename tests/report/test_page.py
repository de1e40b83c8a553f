"""The page in a browser: what it shows, what it asks for, and who can use it."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from browser import DESKTOP, PHONE, window
from pipeline.trace.handmade import timeline_of
from report.handmade_runs import ANSWER, compare_run, loss_at, train_run, write_lines

from pprs.report import write, write_all
from pprs.theory import Graph

NASTY = "<script>alert(1)</script> \"q\" 's' & ü 𝛔 </title> \u202e `|`"
PLOT = ".plot"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A report of a comparison, of three seeds, and of another run with a trace."""
    out = tmp_path_factory.mktemp("runs")
    seeds = [train_run(out / f"smoothed-{seed}", seed=seed) for seed in range(3)]
    plain = train_run(out / "plain", steps=30, samples=1)
    timeline_of(Graph.chain(2, forward=1.0, backward=2.0), 4, "gpipe").save(plain / "trace.json")
    runs = [compare_run(out / "digits"), *seeds, plain]
    return write_all(runs, out / "all.html")


def spoken(page, chart=0):
    return page.locator(PLOT).nth(chart).get_attribute("aria-valuetext")


def titles(page):
    return page.locator("figcaption").all_inner_texts()


def choose(page, axis):
    page.get_by_label(axis, exact=True).check(force=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_it_opens_alone_fits_its_window_and_can_be_used_by_all(chromium, written, size, scheme):
    with window(chromium, size, scheme) as page:
        page.open(written)
        assert page.locator(".plot path.line").count() > 0
        assert not page.scrolls_sideways()
        page.locator("details").first.evaluate("e => { e.open = true }")
        assert page.accessibility() == []
        assert not page.scrolls_sideways()
        assert page.requests == [written.resolve().as_uri()]
        page.quiet()
        dark = (
            page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
        )
        assert dark == (scheme == "dark")


def test_the_picture_in_the_docs(chromium, tmp_path):
    """Is written where the environment variable PICTURES names the folder."""
    folder = os.environ.get("PICTURES")
    if not folder:
        pytest.skip("PICTURES names no folder for pictures")
    runs = [train_run(tmp_path / f"smoothed-{seed}", seed=seed) for seed in range(3)]
    runs += [train_run(tmp_path / f"plain-{seed}", 120, seed, samples=1) for seed in range(3)]
    with window(chromium, {"width": 1000, "height": 620}) as page:
        page.open(write_all(runs, tmp_path / "all.html"))
        page.locator(PLOT).nth(1).hover(position={"x": 140, "y": 90})
        page.screenshot(path=Path(folder) / "report.png")


def test_the_answer_comes_first(page, written):
    page.open(written)
    assert page.locator(".answer p").first.inner_text() == f"digits: {ANSWER}"
    assert page.title() == "5 runs – pprs report"


def test_each_axis_shows_its_own_numbers(page, tmp_path):
    page.open(write(train_run(tmp_path / "one")))
    assert titles(page) == ["batch loss", "validation loss", "validation accuracy"]
    # 4 perturbations in 2 microbatches on 2 stages: 2 · 4/2 · (2 + 2 - 1) = 12 a step.
    last = {
        "pipeline time": f"pipeline time 480; one: {loss_at(40):.4g}",
        "wall time": f"wall time 10.75; one: {loss_at(40):.4g}",
        "gradient evaluations": f"gradient evaluations 160; one: {loss_at(40):.4g}",
    }
    for axis, words in last.items():
        choose(page, axis)
        assert spoken(page) == words
        assert page.locator(".plot text.title").first.text_content().startswith(axis)
    plot = page.locator(PLOT).first
    plot.focus()
    page.keyboard.press("Home")
    assert spoken(page) == f"gradient evaluations 4; one: {loss_at(1):.4g}"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert spoken(page) == f"gradient evaluations 12; one: {loss_at(3):.4g}"
    assert page.locator(".tip").inner_text().split("\n") == spoken(page).split("; ")


def test_what_the_pointer_shows_is_what_is_spoken_and_what_was_logged(page, tmp_path):
    page.open(write(train_run(tmp_path / "one")))
    choose(page, "gradient evaluations")
    plot = page.locator(PLOT).first
    width = plot.bounding_box()["width"]
    seen = set()
    for part in range(1, 10):
        plot.hover(position={"x": 54 + (width - 68) * part / 10, "y": 80})
        said = spoken(page)
        assert page.locator(".tip").inner_text().split("\n") == said.split("; ")
        evaluations, loss = re.fullmatch(r"gradient evaluations (\d+); one: (.+)", said).groups()
        assert loss == f"{loss_at(int(evaluations) // 4):.4g}"
        seen.add(int(evaluations))
    assert len(seen) == 9
    assert abs(sorted(seen)[4] - 80) <= 4


def test_seeds_are_a_mean_with_their_range_and_an_interval(page, tmp_path):
    seeds = [train_run(tmp_path / f"s{seed}", seed=seed) for seed in range(3)]
    page.open(write_all(seeds, tmp_path / "all.html"))
    values = [loss_at(40, seed) for seed in range(3)]
    mean = sum(values) / 3
    assert spoken(page) == (
        f"pipeline time 480; s0: {mean:.4g} ({min(values):.4g} to {max(values):.4g})"
    )
    assert page.locator(".plot path.band").count() == 3
    assert page.locator("#legend").inner_text().split() == ["s0", "3", "seeds"]
    half = 4.30265 * (sum((v - mean) ** 2 for v in values) / 2) ** 0.5 / 3**0.5
    row = page.locator("tbody tr").first.inner_text().split("\t")
    assert row[:3] == ["s0", "3", f"{mean:.4g} ± {half:.2g}"]


def test_lines_differ_without_colour_and_each_can_be_hidden(page, written):
    page.open(written)
    dashes = page.locator("#legend line").evaluate_all(
        "lines => lines.map(e => e.getAttribute('stroke-dasharray'))"
    )
    assert len(set(dashes)) == len(dashes) == 4
    button = page.locator("#legend button").nth(2)
    chart = titles(page).index("batch loss")
    assert "smoothed-0" in spoken(page, chart)
    button.focus()
    page.keyboard.press("Enter")
    assert button.get_attribute("aria-pressed") == "false"
    assert "smoothed-0" not in spoken(page, chart)


def test_a_logarithmic_scale_leaves_out_what_has_no_logarithm(page, tmp_path):
    run = train_run(tmp_path / "one", steps=4, every=4)
    write_lines(run, [{"step": s, "seconds": 1.0, "loss": [1.0, 0.0, -1.0, 10.0][s - 1]}
                      for s in range(1, 5)])  # fmt: skip
    page.open(write(run))
    path = page.locator(".plot path.line").first
    assert path.get_attribute("d").count("L") == 3
    page.get_by_label("logarithmic").check()
    assert path.get_attribute("d").count("L") == 0
    assert path.get_attribute("d").count("M") == 2


def test_text_of_the_user_stays_text(page, tmp_path):
    run = train_run(tmp_path / NASTY.replace("/", "⁄"), data=NASTY, model="a\nb")
    other = train_run(tmp_path / "other")
    compared = compare_run(tmp_path / "digits")
    summary = json.loads((compared / "summary.json").read_text())
    summary["answer"] = NASTY
    summary["methods"]["plain"]["label"] = NASTY
    (compared / "summary.json").write_text(json.dumps(summary))
    file = write_all([run, other, compared], tmp_path / "all.html")
    page.open(file)
    shown = page.locator("body").inner_text()
    assert "<script>alert(1)</script> \"q\" 's' & ü 𝛔 </title> \\u202e `|`" in shown
    assert page.locator("script").count() == 3
    assert NASTY.partition("/")[0] in page.locator("#legend").inner_text()
    text = file.with_suffix(".md").read_text()
    assert "<script" not in text
    assert "\\`\\|\\`" in text


def test_the_timeline_has_a_lane_for_each_rank_and_its_shares(page, tmp_path):
    run = train_run(tmp_path / "one")
    timeline_of(Graph.chain(3, forward=1.0, backward=2.0), 4, "gpipe").save(run / "trace.json")
    page.open(write(run))
    assert page.locator(".lanes svg").count() == 3
    rows = page.locator("table").nth(1).locator("tbody tr").all_inner_texts()
    # 4 microbatches of 1 + 2 on each of 3 stages, in (4 + 2) · 3: two thirds of the time.
    assert [row.split("\t")[:3] for row in rows] == [
        [f"rank {rank}", "66.7%", "33.3%"] for rank in range(3)
    ]
    assert "67% in forwards and backwards, 33% in bubbles" in page.locator(".answer").inner_text()


def test_five_hundred_runs_stay_small(page, tmp_path):
    first = train_run(tmp_path / "0", steps=200, every=1)
    runs = [first]
    for number in range(1, 500):
        runs.append(tmp_path / f"{number}")
        shutil.copytree(first, runs[-1])
        config = (first / "config.toml").read_text().replace("lr = 0.003", f"lr = {number}")
        (runs[-1] / "config.toml").write_text(config)
    file = write_all(runs, tmp_path / "all.html")
    assert file.stat().st_size < 3_000_000
    page.open(file)
    assert page.evaluate("document.querySelectorAll('*').length") < 5000
    assert page.locator("tbody tr").count() < 200
    assert "The 50 best by validation accuracy of 500" in page.locator("body").inner_text()
    assert page.locator("#legend li").count() == 8
    choose(page, "wall time")
    assert spoken(page).startswith("wall time 50.75; ")
    page.locator("#more select").select_option(label="321")
    assert "321: " in spoken(page)
    assert len(file.with_suffix(".md").read_text().split("## Settings")[0].splitlines()) > 500
