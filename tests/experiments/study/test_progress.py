from dataclasses import replace

import pytest

from experiments.study.small import small_cell
from pprs_experiments.study.job import Effort, Job
from pprs_experiments.study.results import read_results, write_results

optuna = pytest.importorskip("optuna")

from pprs_experiments.study.progress import Progress  # noqa: E402
from pprs_experiments.study.queue import Queue  # noqa: E402

EFFORT = Effort(trials=1, tuning_seeds=1, seeds=1)
JOBS = {
    job.key: job
    for job in (Job(small_cell(name=name, steps=2), "gd", EFFORT) for name in ("a", "b", "c"))
}
A, B, C = JOBS
RESULTS = {
    key: replace(job.compute(optuna.create_study(), None), seconds=150.0)
    for key, job in JOBS.items()
}


@pytest.fixture
def queue(tmp_path):
    return Queue(f"sqlite:///{tmp_path}/study.db")


def work(queue, *keys):
    queue.add(keys)
    while queue.take(RESULTS.get):
        pass


def cells(file):
    return [result.cell for result in read_results(file)]


def test_each_new_result_is_told_once_and_written(queue, tmp_path, capsys):
    file = tmp_path / "results.jsonl"
    progress = Progress(queue, JOBS, [A, B], file)
    assert capsys.readouterr().out == "2 jobs in 2 cells, 0 of them finished before\n"
    assert (progress.left, cells(file)) == ([A, B], [])
    work(queue, A)
    assert not progress.update()
    assert "1 of 2, " in (said := capsys.readouterr().out)
    assert "a | time | gd, 2 min" in said
    assert (progress.left, cells(file)) == ([B], ["a"])
    queue.add([B])
    assert progress.update()
    assert capsys.readouterr().out == ""
    work(queue)
    progress.update()
    assert capsys.readouterr().out.startswith("2 of 2, 0 s left: b | time | gd")
    assert (progress.left, cells(file)) == ([], ["a", "b"])


def test_what_the_file_and_the_queue_hold_counts_as_finished_wanted_or_not(queue, tmp_path, capsys):
    file = tmp_path / "results.jsonl"
    write_results(file, [RESULTS[A]])
    work(queue, C)
    progress = Progress(queue, JOBS, [A, B], file)
    assert "2 jobs in 2 cells, 1 of them finished before" in capsys.readouterr().out
    assert (progress.left, cells(file)) == ([B], ["a", "c"])


def test_a_result_is_for_the_questions_that_its_cell_is_for_now(queue, tmp_path):
    file = tmp_path / "results.jsonl"
    write_results(file, [replace(RESULTS[A], questions=(7,))])
    Progress(queue, JOBS, [A], file)
    assert [result.questions for result in read_results(file)] == [JOBS[A].cell.questions] == [(3,)]


def test_results_of_another_version_are_left_out_and_kept_aside(queue, tmp_path, capsys):
    file = tmp_path / "results.jsonl"
    write_results(file, [RESULTS[A], replace(RESULTS[B], definition="older")])
    before = file.read_text()
    progress = Progress(queue, JOBS, [A, B], file)
    assert "1 results in" in capsys.readouterr().out
    assert (progress.left, cells(file)) == ([B], ["a"])
    assert (tmp_path / "results.old.jsonl").read_text() == before
