"""Accuracy by depth: what is run, and what is told of it."""

import re
from pathlib import Path

import pytest

from experiments.study.report.made import made
from pprs_experiments.study.command import StudyConfig
from pprs_experiments.study.depth import (
    EFFORT,
    LONGER,
    MEAN,
    NONE,
    ONE,
    STEPS,
    VARIANTS,
    DepthConfig,
    chosen,
    difference,
    planned,
    report,
    tables,
)
from pprs_experiments.study.methods import METHODS
from pprs_experiments.study.results import write_results

TASK = (("digits", "relu"), 10)
SHORT, LONG = (f"depth/digits/relu/depth 10/{steps} steps" for steps in (100, 400))


def results():
    return [
        made(SHORT, "grid-none", [0.3, 0.5]),
        made(LONG, "grid-none", [0.7, 0.8]),
        made(SHORT, "grid-one-0.003", [0.1, 0.2], tuned=0.9),
        made(SHORT, "grid-one-0.01", [0.9, 0.9], tuned=0.2),
        made(SHORT, "grid-mean-0.003", [0.9, 0.9], tuned=0.5),
        made(SHORT, "grid-mean-0.01", [0.4, 0.6], tuned=0.6),
    ]


def test_every_cell_has_a_pipeline_of_its_depth_and_every_step_size_is_tried():
    for cell in planned():
        assert set(cell.methods) <= METHODS.keys()
        if cell.settings["data"] == "digits" and cell.settings["depth"] == 10:
            assert cell.task.problem(0, None).cost.depth == 10
    for names in VARIANTS.values():
        for name in names:
            spaces = METHODS[name].space
            assert not spaces or len(spaces["lr"].values) == EFFORT.trials


def test_sigma_is_chosen_by_validation_and_never_by_what_is_compared():
    found = chosen(results(), TASK)
    assert (found[ONE].method, found[MEAN].method) == ("grid-one-0.003", "grid-mean-0.01")
    assert difference(results(), [TASK], MEAN, ONE).value == pytest.approx(35)
    assert difference(results(), [TASK], MEAN, NONE).value == pytest.approx(10)
    assert difference(results(), [TASK], MEAN, LONGER).value == pytest.approx(-25)
    assert difference(results(), [TASK], MEAN, ONE, "0.003").value == pytest.approx(75)
    assert ONE not in chosen(results()[:3], TASK)  # a sigma is missing
    assert difference(results()[:3], [TASK], MEAN, ONE) is None


def test_tasks_are_taken_together_seed_by_seed():
    deeper = [
        made(f"depth/digits/relu/depth 20/{STEPS} steps", name, values)
        for name, values in {
            "grid-none": [0.5, 0.3],
            "grid-mean-0.003": [0.6, 0.6],
            "grid-mean-0.01": [0.5, 0.6],
        }.items()
    ]
    both = [TASK, (TASK[0], 20)]
    found = difference([*results(), *deeper], both, MEAN, NONE)
    # 10 and 10 points at 10 layers, 10 and 30 at 20: so 10 and 20, with Student's t of 1
    assert found.value == pytest.approx(15)
    assert found.high - found.value == pytest.approx(5 * 12.706, rel=1e-3)
    page = "\n".join(tables([*results(), *deeper]))
    assert "| **plain ReLU, 2 together** | 10 to 20 | +35.0 [" in page  # one draw has run with 10


def test_tables_and_a_figure_are_made_of_what_has_run(tmp_path):
    file = tmp_path / "depth.jsonl"
    with pytest.raises(ValueError, match="there are no results at"):
        report(DepthConfig(file, tmp_path))
    write_results(file, results())
    report(DepthConfig(file, tmp_path))
    page = (tmp_path / "depth.md").read_text()
    assert "| plain ReLU, Digits | 10 | 40.0 | 15.0 | 90.0 | 90.0 | 50.0 |  | 75.0 | 10 |" in page
    assert "less one draw (equal pipeline time)" in (tmp_path / "depth.svg").read_text()
    assert len(list(tables(results()))) == 8


def test_the_tables_and_the_figure_of_the_page_are_those_of_the_committed_results(tmp_path):
    root = Path(__file__).parents[3]
    report(DepthConfig(root / "experiments/study/depth.jsonl", tmp_path))
    assert (tmp_path / "depth.md").read_text() in (root / "docs/study.md").read_text()
    picture = root / "docs/images/study/depth.svg"
    assert picture.read_text() == (tmp_path / "depth.svg").read_text()


def test_what_the_page_says_of_depth_is_in_its_tables():
    page = (Path(__file__).parents[3] / "docs/study.md").read_text()
    part = page.partition("### 8. Depth\n")[2].partition("\n### ")[0]
    lines = [line.startswith("|") for line in part.splitlines()]
    rows, texts = (
        " ".join(
            line
            for line, of_table in zip(part.splitlines(), lines, strict=True)
            if of_table == wanted
        )
        for wanted in (True, False)
    )
    (row,) = (line for line in page.splitlines() if line.startswith("| [8. Depth]"))
    said = re.findall(r"([-+]\d+\.\d) (?:points )?\[([-+.\d]+), ([-+.\d]+)\]", texts + row)
    assert len(said) >= 16
    assert [each for each in said if "{} [{}, {}]".format(*each) not in rows] == []


def test_what_is_run_is_one_of_three():
    with pytest.raises(ValueError, match="exclude each other"):
        StudyConfig(quick=True, depth=True)
