"""A recorded run and a measured model in the page; and files that are neither."""

import json
from dataclasses import replace

import pytest
from explore.reader import downloaded, lines_of, opened, put, rows_of, view
from explore.traces import long_trace
from plan.made import profile_of, times_of

from pprs.explore import explore_page
from pprs.pipeline.trace.shares import shares
from pprs.pipeline.trace.timeline import Timeline
from pprs.theory import Graph, makespan


def test_a_run_is_laid_over_its_schedule(page, file, trace):
    opened(page, file)
    page.set_input_files("#run-file", str(trace))
    page.wait_for_selector("#figure-run canvas", state="visible")
    assert view(page) == "schedule"
    found = shares(Timeline.load(trace))
    said = page.inner_text(".run .answer")
    assert f"A step takes {1e3 * found.seconds:g} ms" in said
    assert "efficiency 100 %" in said
    table = rows_of(page, "schedule")
    assert len(table) == 3
    for one in found.stages:
        assert table[str(one.stage)][1] == f"{100 * one.share.busy:.0f} %"
    lines = lines_of(page, "run")
    ends = {
        kind: sorted(float(line["end"]) for line in lines if line["what"] == kind)
        for kind in ("predicted", "measured")
    }
    assert ends["measured"] == pytest.approx(ends["predicted"], rel=1e-9)
    assert ends["measured"][-1] == pytest.approx(found.seconds)


def test_a_file_may_be_dropped_on_the_page(page, file, trace):
    opened(page, file)
    page.evaluate(
        "text => { const data = new DataTransfer();"
        "data.items.add(new File([text], 'dropped.json'));"
        "document.body.dispatchEvent("
        "new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true })); }",
        trace.read_text(),
    )
    page.wait_for_selector("#figure-run canvas", state="visible")
    assert page.inner_text(".status").startswith("dropped.json: gpipe, 3 stages")


WRONG = {
    "not JSON": "{",
    "another format": '{"otherData": {"format": "other"}, "traceEvents": []}',
    "no events": None,
    "an operation lacks": None,
    "": "",
}


def damaged(trace, what):
    written = json.loads(trace.read_text())
    if what == "no events":
        written["traceEvents"] = []
    if what == "an operation lacks":
        written["traceEvents"] = [e for e in written["traceEvents"] if e.get("name") != "F 1"]
    return json.dumps(written)


def test_a_corrupt_trace_is_named_and_breaks_nothing(page, file, trace, tmp_path):
    opened(page, file, "#view=schedule")
    before = page.inner_text("#panel-schedule .answer")
    for what, text in WRONG.items():
        wrong = tmp_path / "wrong.json"
        wrong.write_text(damaged(trace, what) if text is None else text)
        page.set_input_files("#run-file", [])
        page.set_input_files("#run-file", str(wrong))
        page.wait_for_selector(".status.refused")
        said = page.inner_text(".status")
        assert "wrong.json is no timeline: " in said or "lacks F 1 of stage 0" in said
        page.evaluate("document.querySelector('.status').className = 'status'")
    assert page.inner_text("#panel-schedule .answer") == before
    page.set_input_files("#run-file", str(trace))
    page.wait_for_selector("#figure-run canvas", state="visible")


def test_a_trace_and_a_profile_may_be_in_the_page_from_the_start(page, trace, tmp_path):
    profile, file = tmp_path / "p.json", tmp_path / "page.html"
    profile_of(times_of([0.001, 0.002], [0.002, 0.004])).save(profile)
    file.write_text(explore_page(trace=trace, profile=profile), encoding="utf-8")
    opened(page, file)
    assert page.is_visible("#figure-run canvas")
    put(page, "K", 1)
    assert "Costs are those measured of made" in page.inner_text(".counts")
    span = max(float(line["end"]) for line in lines_of(page, "timetable"))
    assert span == pytest.approx(makespan(Graph.chain(2, [0.001, 0.002], [0.002, 0.004]), 8))


def test_a_trace_of_100_000_events_is_drawn_with_few_elements(page, file, tmp_path):
    opened(page, file, "#view=schedule")
    before = page.evaluate("document.querySelectorAll('*').length")
    (tmp_path / "long.json").write_text(long_trace(100_000))
    page.set_input_files("#run-file", str(tmp_path / "long.json"))
    page.wait_for_selector("#figure-run canvas", state="visible")
    assert "100,000 events" in page.inner_text(".status")
    assert page.evaluate("document.querySelectorAll('*').length") < before + 600
    page.focus("#run-step")
    page.keyboard.press("ArrowLeft")
    assert page.inner_text("output[for=run-step]") == "3"
    svg = downloaded(page, "run", "SVG").decode()
    assert svg.count("<rect") < 40_000  # narrower than half a pixel beside another is left out


def test_a_profile_without_plain_passes_is_named(page, file, tmp_path):
    profile = profile_of(times_of([0.001], [0.002]))
    smoothed = tuple(times for times in profile.times if times.smoothed)
    replace(profile, times=smoothed).save(tmp_path / "p.json")
    opened(page, file, "#view=schedule")
    page.set_input_files("#run-file", str(tmp_path / "p.json"))
    page.wait_for_selector(".status.refused")
    assert page.inner_text(".status") == "p.json has no plain passes: measure it anew."
