"""Accuracy by depth: what is run, and what is told of it."""

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

KIND = ("digits", "relu")
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
    found = chosen(results(), KIND, 10)
    assert (found[ONE].method, found[MEAN].method) == ("grid-one-0.003", "grid-mean-0.01")
    assert difference(results(), KIND, 10, MEAN, ONE).value == pytest.approx(35)
    assert difference(results(), KIND, 10, MEAN, NONE).value == pytest.approx(10)
    assert difference(results(), KIND, 10, MEAN, LONGER).value == pytest.approx(-25)
    assert ONE not in chosen(results()[:3], KIND, 10)  # a sigma is missing
    assert difference(results()[:3], KIND, 10, MEAN, ONE) is None


def test_tables_and_a_figure_are_made_of_what_has_run(tmp_path):
    file = tmp_path / "depth.jsonl"
    with pytest.raises(ValueError, match="there are no results at"):
        report(DepthConfig(file, tmp_path))
    write_results(file, results())
    report(DepthConfig(file, tmp_path))
    page = (tmp_path / "depth.md").read_text()
    assert "| plain ReLU, Digits | 10 | 40.0 | 15.0 | 90.0 | 90.0 | 50.0 |  | 75.0 |" in page
    assert "averaging less one draw" in (tmp_path / "depth.svg").read_text()
    assert len(list(tables(results()))) == 7


def test_the_tables_and_the_figure_of_the_page_are_those_of_the_committed_results(tmp_path):
    root = Path(__file__).parents[3]
    report(DepthConfig(root / "experiments/study/depth.jsonl", tmp_path))
    assert (tmp_path / "depth.md").read_text() in (root / "docs/study.md").read_text()
    picture = root / "docs/images/study/depth.svg"
    assert picture.read_text() == (tmp_path / "depth.svg").read_text()


def test_what_is_run_is_one_of_three():
    with pytest.raises(ValueError, match="exclude each other"):
        StudyConfig(quick=True, depth=True)
