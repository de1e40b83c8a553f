"""From a training run's trace to its table and picture, as a user does it."""

import json

import pytest

from pprs.cli import main

TINY = [
    "compare", "--methods", "pprs", "--depth", "4", "--width", "8", "--seeds", "1", "--steps", "15",
    "--samples", "4", "--points", "1", "--trials", "1",
]  # fmt: skip


@pytest.mark.dist
@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [["--stages", "2"], ["--schedule", "zb-v", "--stages", "4", "--microbatches", "4"]]
)
def test_a_recorded_run_gives_a_trace_a_table_and_a_picture(options, tmp_path, capsys):
    file, picture, figures = (tmp_path / name for name in ("t.json", "t.png", "shares.json"))
    assert main([*TINY, *options, "--out", str(tmp_path / "runs"), "--trace", str(file)]) == 0
    events = json.loads(file.read_text())["traceEvents"]
    assert {event["ph"] for event in events} >= {"X", "M"}
    assert main(["trace", str(file), "--picture", str(picture), "--json", str(figures)]) == 0
    shown = capsys.readouterr().out
    assert "efficiency" in shown
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert json.loads(figures.read_text())


def test_what_is_no_trace_ends_in_a_sentence(tmp_path, capsys):
    file = tmp_path / "t.json"
    file.write_text('{"traceEvents": [')
    assert main(["trace", str(file)]) == 2
    assert str(file) in capsys.readouterr().err
    assert main(["trace", str(tmp_path / "none.json")]) == 2
    assert "No such file" in capsys.readouterr().err
