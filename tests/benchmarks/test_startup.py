"""The benchmark end to end, once: what it reports, not how fast anything is."""

import json

import pytest
from cli.refusals import refusal

from benchmarks.startup.main import END, STEP, main


@pytest.mark.dist
@pytest.mark.slow
def test_it_shows_a_table_and_writes_its_figures(tmp_path, capsys):
    figures = tmp_path / "figures.json"
    assert main(["--repeats", "1", "--json", str(figures)]) == 0
    said = capsys.readouterr().out.splitlines()
    seconds = json.loads(figures.read_text())["seconds"]
    assert [line.split(" | ")[0] for line in said[2:]] == [f"| {name}" for name in seconds]
    assert said[3].endswith(" | 1.00 |")  # the unit
    runs = {name: taken for name, (taken,) in seconds.items() if name.startswith("train")}
    assert len(runs) == 8
    for name, taken in runs.items():
        if name.endswith(STEP):
            assert 0 < taken < runs[name.removesuffix(STEP) + END]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--repeats", "0"], "repeats must be at least 1, got 0"),
        (["--json", "nowhere/figures.json"], "nowhere is not a folder"),
    ],
)
def test_settings_that_do_not_fit_are_refused(capsys, options, message):
    assert message in refusal(options, capsys, main)
