"""What is missing or wrong in a run's folder: a sentence, and the rest is still shown."""

import json
import subprocess
import sys

import pytest
from amount import tries
from hypothesis import given
from hypothesis import strategies as st
from report.handmade_runs import ANSWER, compare_run, train_run, write_lines

from pprs.cli import main
from pprs.report import write, write_all

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
    | st.sampled_from([10**400, -1, "train", "SIGINT", "\ud800"]),
    lambda some: st.lists(some, max_size=2) | st.dictionaries(st.sampled_from("ab"), some),
    max_leaves=3,
)  # fmt: skip


def page_of(run):
    return write(run).with_suffix(".md").read_text()


def shown(text):
    """Without what Markdown needs."""
    return text.replace("\\", "")


def test_a_run_that_ended_has_nothing_wrong(tmp_path):
    text = shown(page_of(train_run(tmp_path / "one")))
    assert "found wrong" not in text
    assert "After 40 steps the validation accuracy is " in text
    assert "Its steps took 10.8 s, 250 ms each (median), the first one" in text
    assert "evaluations took 2 s more." in text


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"step": 3, "loss": ', "line 3, is left out: it is not JSON"),
        (b"[1]", "line 3, is left out: it must hold an object"),
        (b'{"loss": 1.0}', "line 3, is left out: it has no step"),
        (b'{"step": "three"}', "line 3, is left out: it has no step"),
        (b'{"step": true}', "line 3, is left out: it has no step"),
        (b'{"step": 3, "loss": 1\xff}', "line 3, is left out: it is not UTF-8"),
        (b"[" * 10_000, "line 3, is left out: "),
        (b'{"step": 2, "seconds": 1}', "step 2 comes after step 2 and is left out"),
        (b'{"step": 3, "seconds": 1, "loss": "low"}', "loss of step 3 is no number, and left out"),
        (b'{"step": 3, "seconds": 1, "loss": NaN}', "loss is not finite once, first at step 3"),
        (b'{"step": 3, "seconds": 1, "loss": 1e999}', "batch loss is not finite once"),
        (b'{"step": 3, "seconds": 1, "loss": 1' + b"0" * 400 + b"}", "loss is not finite once"),
        (b'{"step": 3, "seconds": 1, "loss": null}', "batch loss is not finite once"),
        (b'{"step": 3, "loss": 1.0}', "there is no wall time: metrics.jsonl lacks the seconds"),
    ],
)
def test_a_line_that_is_wrong_is_named_and_the_others_are_shown(tmp_path, line, said):
    run = train_run(tmp_path / "one")
    lines = (run / "metrics.jsonl").read_bytes().splitlines()
    lines[2] = line
    (run / "metrics.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    text = shown(page_of(run))
    assert said in text
    assert "After 40 steps" in text


def test_of_many_lines_that_are_wrong_the_first_are_named(tmp_path):
    run = train_run(tmp_path / "one")
    lines = (run / "metrics.jsonl").read_bytes().splitlines()
    (run / "metrics.jsonl").write_bytes(b"\n".join([*lines[:5], *[b"x"] * 20, *lines[5:]]) + b"\n")
    text = shown(page_of(run))
    assert [number for number in range(60) if f"line {number}, is left out" in text] == [6, 7, 8]
    assert "17 more lines are left out" in text


def test_a_run_that_goes_on_says_so_and_its_half_line_is_nothing_wrong(tmp_path):
    run = train_run(tmp_path / "one", ended="")
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 41, "lo')
    text = shown(page_of(run))
    assert "Unfinished after step 40 of 40; the validation accuracy is" in text
    assert "found wrong" not in text
    train_run(tmp_path / "one", ended="SIGINT")
    assert "Interrupted by SIGINT after step 40 of 40;" in shown(page_of(run))


def test_what_a_comparison_left_out_stands_beside_its_answer(tmp_path):
    run = compare_run(tmp_path / "one")
    summary = json.loads((run / "summary.json").read_text())
    summary["left_out"] = ["--time 4m was enough for 3 of 5 trials of each method"]
    (run / "summary.json").write_text(json.dumps(summary))
    assert f"{ANSWER} (--time 4m was enough for 3 of 5 trials" in shown(page_of(run))


def test_a_run_that_was_interrupted_and_went_on_says_after_which_steps(tmp_path):
    run = train_run(tmp_path / "one")
    assert "interrupted" not in shown(page_of(run))
    settings = (run / "config.toml").read_text()
    for steps, told in (("[12]", "12."), ("[12, 1030]", "12 and 1,030."), ('["x"]', ""), ("3", "")):
        (run / "config.toml").write_text(f"{settings}resumed_after = {steps}\n")
        said = shown(page_of(run))
        assert ("went on after step" in said) == bool(told)
        assert f"It was interrupted, and went on after step {told}" in said or not told


@pytest.mark.parametrize("name", ["config.toml", "metrics.jsonl", "summary.json"])
@pytest.mark.parametrize("how", ["missing", "damaged", "other", "folder"])
def test_a_file_that_is_missing_or_damaged_is_named(tmp_path, name, how):
    run = train_run(tmp_path / "one")
    (run / name).unlink()
    if how == "folder":
        (run / name).mkdir()
    elif how != "missing":
        (run / name).write_text({"damaged": "{[", "other": "[]\n"}[how])
    text = shown(page_of(run))
    if name == "summary.json" and how == "missing":
        assert "Unfinished after step 40" in text
    else:
        assert "## What was found wrong" in text
        assert name in text.partition("found wrong")[2].partition("\n#")[0]
    assert ("Final figures" in text) == (name != "metrics.jsonl")


def test_a_trace_that_is_damaged_is_named(tmp_path):
    run = train_run(tmp_path / "one")
    (run / "trace.json").write_text("{}")
    assert f"no timeline: {run / 'trace.json'} is no timeline" in shown(page_of(run))


def test_a_comparison_shows_its_answer_and_its_figures_at_both_budgets(tmp_path):
    text = shown(page_of(compare_run(tmp_path / "digits")))
    assert "Use the plain optimizer here" in text
    budgets = text.split("### ")[1:]
    assert [part.partition("\n")[0] for part in budgets] == [
        "At equal pipeline time", "At equal wall time",
    ]  # fmt: skip
    assert "| 0.007 (-0.01 to 0.024) |" in budgets[0]


def test_a_comparison_that_has_not_ended_says_so(tmp_path):
    text = shown(page_of(compare_run(tmp_path / "digits", ended=False)))
    assert "has not ended, so there is no answer yet; here is what the 6 runs that are done" in text
    assert "| smoothed | 3 |" in text


@pytest.mark.parametrize("value", [None, 1, [], "x", {"plain": 1}, {"plain": {"at": [1]}}])
def test_a_summary_of_another_form_breaks_nothing(tmp_path, value):
    run = compare_run(tmp_path / "digits")
    for name in ("methods", "metric", "level", "answer", "config"):
        compare_run(run)
        summary = json.loads((run / "summary.json").read_text())
        (run / "summary.json").write_text(json.dumps(summary | {name: value}))
        assert "## Final figures" in page_of(run)


def damaged(text, draw):
    """The JSON with something in it missing, or something else."""
    written = holder = json.loads(text)
    while isinstance(holder, dict | list) and holder:
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        key = draw(st.sampled_from(keys))
        if isinstance(holder[key], dict | list) and holder[key] and draw(st.integers(0, 3)):
            holder = holder[key]
        elif draw(st.booleans()):
            holder[key] = draw(ANYTHING)
            break
        else:
            del holder[key]
            break
    return json.dumps(written)


@pytest.mark.hypothesis
def test_whatever_is_wrong_in_a_file_there_is_a_report(tmp_path):
    runs = train_run(tmp_path / "one"), compare_run(tmp_path / "two")

    @tries(40)
    @given(st.data())
    def reported(data):
        for run, make in zip(runs, (train_run, compare_run), strict=True):
            make(run)
            summary, lines = run / "summary.json", run / "metrics.jsonl"
            summary.write_text(damaged(summary.read_text(), data.draw))
            first, *others = lines.read_text().splitlines()
            places = data.draw(st.lists(st.integers(0, len(others) - 1), max_size=3))
            for place in places:
                others[place] = damaged(others[place], data.draw)
            lines.write_text("\n".join([first, *others]) + "\n")
        assert "## Settings" in page_of(runs[0])
        write_all(runs, tmp_path / "all.html")

    reported()


def test_settings_of_any_form_are_shown(tmp_path):
    run = train_run(tmp_path / "one", ended="")
    text = 'at = 2026-01-01\nnan = nan\nsamples = "many"\nlist = [[1], {a = 1}]\nseed = "one"\n'
    (run / "config.toml").write_text(text)
    page = shown(page_of(run))
    assert "| samples | many |" in page
    assert "pipeline time" not in page


def test_the_same_seed_twice_is_not_two_seeds(tmp_path):
    first, again = train_run(tmp_path / "first"), train_run(tmp_path / "again")
    text = write_all([first, again, first], tmp_path / "all.html").with_suffix(".md").read_text()
    assert "seeds" not in text
    assert "| first |" in text
    assert "| again |" in text


def test_what_is_no_run_is_refused(tmp_path, capsys):
    run = train_run(tmp_path / "runs" / "one")
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.html").write_text("mine")
    (tmp_path / "mine.md").write_text("mine")
    out = ["--out", str(tmp_path / "all.html")]
    for arguments, said in [
        ([str(tmp_path / "none")], f"there is no folder {tmp_path / 'none'}"),
        ([str(run), str(tmp_path / "file")], "is a file: name the folder of a run"),
        ([str(run), str(tmp_path / "empty"), *out], "is no run's folder, it has none of"),
        ([str(run.parent), *out], f"it holds runs, such as {run}"),
        ([str(run), "--out", str(tmp_path / "x.pdf")], "name of a report must end in .html"),
        ([str(run), "--out", str(tmp_path / "no" / "x.html")], "is not a folder"),
        ([str(run), "--out", str(tmp_path / "notes.html")], "was not written by `pprs report`"),
        ([str(run), "--out", str(tmp_path / "mine.html")], "mine.md: it is there, and was not"),
        ([], "name at least one folder of a run"),
    ]:
        assert main(["report", *arguments]) == 2, arguments
        told = capsys.readouterr()
        assert said in told.err, arguments
        assert told.err.count("\n") == 1
        assert told.out == ""
    assert {path.name for path in tmp_path.iterdir()} == {
        "runs", "file", "empty", "notes.html", "mine.md",
    }  # fmt: skip
    assert {path.name for path in run.iterdir()} == {"config.toml", "metrics.jsonl", "summary.json"}


def test_the_command_says_what_it_has_written_and_may_write_it_again(tmp_path, capsys):
    runs = [train_run(tmp_path / "one"), train_run(tmp_path / "two", lr=0.1)]
    out = tmp_path / "all.html"
    for _ in range(2):
        assert main(["report", *map(str, runs), "--out", str(out)]) == 0
        assert capsys.readouterr().out == f"{out} and all.md are written\n"
    write_lines(runs[0], [])
    assert main(["report", str(runs[0])]) == 0
    assert capsys.readouterr().out == f"{runs[0]}/report.html and report.md are written\n"
    assert "no step was logged" in (runs[0] / "report.md").read_text()


def test_the_library_does_not_import_it():
    code = "import sys, pprs, pprs.pipeline; assert not [m for m in sys.modules if 'report' in m]"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
