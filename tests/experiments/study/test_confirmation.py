"""The held-out confirmation: its cells, and its table."""

import pytest

from experiments.study.report.made import made
from pprs_experiments.study import confirmation
from pprs_experiments.study.command import StudyConfig
from pprs_experiments.study.confirmation import ConfirmationConfig, cells, report, table
from pprs_experiments.study.methods import METHODS
from pprs_experiments.study.results import write_results

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
    (searched,) = [line for line in lines if f"searched-adam | {CELL}" in line]
    assert "| 45.0 | 30.0 | +15.0 [" in searched
    (together,) = [line for line in lines if "searched-adam | 1 tasks together" in line]
    assert "| +15.0 [" in together
    assert any("| adam |" in line for line in lines)
    assert not list(table(results()[1:]))[2:]  # a step size is missing


def test_the_table_is_printed_of_a_file(tmp_path, capsys):
    file = tmp_path / "confirmation.jsonl"
    with pytest.raises(ValueError, match="there are no results at"):
        report(ConfirmationConfig(file))
    write_results(file, results())
    report(ConfirmationConfig(file))
    assert "| searched-adam |" in capsys.readouterr().out


def test_quick_and_confirm_exclude_each_other():
    with pytest.raises(ValueError, match="exclude each other"):
        StudyConfig(quick=True, confirm=True)
