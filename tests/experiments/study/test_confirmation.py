"""The held-out confirmation: its cells, and its table."""

from pathlib import Path

import pytest

from experiments.study.report.made import made
from pprs_experiments.study import confirmation
from pprs_experiments.study.command import StudyConfig
from pprs_experiments.study.confirmation import ConfirmationConfig, cells, report, table
from pprs_experiments.study.methods import METHODS
from pprs_experiments.study.results import read_results, write_results

CELL = cells()[0].name


def results():
    rivals = [
        made(CELL, name, [0.1 * number, 0.2]) for number, name in enumerate(confirmation.RIVALS)
    ]
    return [*rivals, made(CELL, "searched-adam", [0.5, 0.4]), made(CELL, "adam", [0.1, 0.1])]


def test_every_method_of_every_cell_is_there_and_the_rivals_need_no_tuning():
    for cell in cells():
        assert set(cell.methods) <= METHODS.keys()
        assert (cell.settings["depth"], cell.spent) == (20, "time")
    assert all(not METHODS[name].space for name in (*confirmation.RIVALS, "searched-adam"))
    assert METHODS["pprs-adam"].space


def test_methods_are_held_against_adam_at_its_best_step_size_in_hindsight():
    lines = list(table(results()))
    label = "searched step, then Adam"
    (searched,) = [line for line in lines if f"{label} | omniglot-latin, 5 shots |" in line]
    assert "| 45.0 | 30.0 | +15.0 [" in searched
    (together,) = [line for line in lines if f"{label} | **1 tasks together**" in line]
    assert "| +15.0 [" in together
    assert any("| Adam |" in line for line in lines)
    assert not list(table(results()[1:]))[2:]  # a step size is missing


def test_the_table_is_printed_of_a_file(tmp_path, capsys):
    file = tmp_path / "confirmation.jsonl"
    with pytest.raises(ValueError, match="there are no results at"):
        report(ConfirmationConfig(file))
    write_results(file, results())
    report(ConfirmationConfig(file))
    assert "| searched step, then Adam |" in capsys.readouterr().out


def test_the_table_of_the_page_is_that_of_the_committed_results():
    root = Path(__file__).parents[3]
    lines = list(table(read_results(root / "experiments/study/confirmation.jsonl")))
    assert len(lines) == 2 + 4 * 6
    assert "\n".join(lines) in (root / "docs/study.md").read_text()


def test_quick_and_confirm_exclude_each_other():
    with pytest.raises(ValueError, match="exclude each other"):
        StudyConfig(quick=True, confirm=True)
