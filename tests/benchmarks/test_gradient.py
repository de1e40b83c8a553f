"""The benchmark end to end, at a small size: what it reports, not how fast anything is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cli.refusals import refusal

from benchmarks.gradient.main import main

ROOT = Path(__file__).parents[2]


def test_it_shows_a_table_and_writes_its_figures(tmp_path):
    figures = tmp_path / "figures.json"
    arguments = ["--cases", "mlp-1024-one", "--repeats", "1", "--json", str(figures)]
    # A new interpreter: torch's profiler is not made for a process that was forked.
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gradient.main", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert "784-1024×3-10" in done.stdout
    (result,) = json.loads(figures.read_text())["results"]
    assert result["ratios"]["plain"] == 1
    smoothed = {"shared", "example", "captured", "literal", "vmap"}
    assert set(result["ratios"]) == {"plain", "recorded", *smoothed}
    assert all(seconds > 0 for seconds in result["seconds"].values())
    assert sum(result["shares"]["shared"].values()) == pytest.approx(1)
    assert all(ratio > 0 for ratio in result["memory"].values())


def test_small_steps_are_shown_in_the_tables_of_the_page(tmp_path):
    figures = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gradient.small", "--repeats", "3", "--json", figures],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    page = (ROOT / "docs" / "capture.md").read_text()
    rows = [line.split("|")[1] for line in done.stdout.splitlines() if line.startswith("| ")]
    assert len(rows) == 3 + 6 + 4 + 3
    assert all(f"|{row}|" in page for row in rows)
    found = json.loads(figures.read_text())
    times = [*found["rows"], *found["steps"].values(), *found["pipeline"].values()]
    assert all(t > 0 for row in times for way, t in row.items() if way != "label")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--repeats", "0"], "repeats must be at least 1, got 0"),
        (["--cases"], "cases must name at least one, got none"),
        (["--json", "nowhere/figures.json"], "nowhere is not a folder"),
    ],
)
def test_settings_that_do_not_fit_are_refused(capsys, options, message):
    assert message in refusal(options, capsys, main)
