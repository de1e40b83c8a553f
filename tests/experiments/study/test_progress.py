from dataclasses import replace

import pytest

from experiments.study.small import small_cell
from pprs_experiments.study.job import Effort, Job
from pprs_experiments.study.results import read_results, write_results

pytest.importorskip("optuna")

from pprs_experiments.study.progress import Progress, tidy

EFFORT = Effort(trials=1, tuning_seeds=1, seeds=1)
JOBS = {
    job.key: job
    for job in (Job(small_cell(name=name, steps=2), "gd", EFFORT) for name in ("a", "b", "c"))
}
A, B, C = JOBS
RESULTS = {key: replace(job.compute(None), seconds=150.0) for key, job in JOBS.items()}


def cells(file):
    return [result.cell for result in read_results(file)]


def test_each_new_result_is_told(tmp_path, capsys):
    progress = Progress(JOBS, [A, B], tmp_path / "results.jsonl")
    assert capsys.readouterr().out == "2 jobs in 2 cells, 0 of them finished before\n"
    assert progress.left == [A, B]
    progress.tell(RESULTS[A])
    assert "1 of 2, " in (said := capsys.readouterr().out)
    assert "a | time | gd, 2 min" in said
    assert progress.left == [B]
    progress.tell(RESULTS[B])
    assert capsys.readouterr().out.startswith("2 of 2, 0 s left: b | time | gd")
    assert progress.left == []


def test_what_the_file_holds_counts_as_finished_wanted_or_not(tmp_path, capsys):
    file = tmp_path / "results.jsonl"
    write_results(file, [RESULTS[A], RESULTS[C]])
    progress = Progress(JOBS, [A, B], file)
    assert "2 jobs in 2 cells, 1 of them finished before" in capsys.readouterr().out
    assert (progress.left, cells(file)) == ([B], ["a", "c"])


def test_files_of_several_machines_are_joined_into_one(tmp_path):
    file = tmp_path / "results.jsonl"
    lines = [RESULTS[key].to_line() + "\n" for key in (B, A, B)]
    file.write_text("".join(lines))
    assert tidy(file, JOBS).keys() == {A, B}
    assert file.read_text() == lines[1] + lines[0]


def test_a_result_is_for_the_questions_that_its_cell_is_for_now(tmp_path):
    file = tmp_path / "results.jsonl"
    write_results(file, [replace(RESULTS[A], questions=(7,))])
    Progress(JOBS, [A], file)
    assert [result.questions for result in read_results(file)] == [JOBS[A].cell.questions] == [(3,)]


def test_results_of_another_version_are_left_out_and_kept_aside(tmp_path, capsys):
    file = tmp_path / "results.jsonl"
    write_results(file, [RESULTS[A], replace(RESULTS[B], definition="older")])
    before = file.read_text()
    progress = Progress(JOBS, [A, B], file)
    assert "1 results in" in capsys.readouterr().out
    assert (progress.left, cells(file)) == ([B], ["a"])
    assert (tmp_path / "results.old.jsonl").read_text() == before
