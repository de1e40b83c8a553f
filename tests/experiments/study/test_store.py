import fcntl

import pytest
import warm

from experiments.study.small import small_cell
from pprs_experiments.study import store
from pprs_experiments.study.job import Effort, Job
from pprs_experiments.study.results import read_results
from pprs_experiments.study.store import alone, append, claimed

pytest.importorskip("optuna")

JOBS = [Job(small_cell(name=name, steps=2), "gd", Effort(1, 1, 1)) for name in ("a", "b")]


@pytest.fixture
def file(tmp_path):
    return tmp_path / "results.jsonl"


@pytest.fixture(scope="module")
def results():
    return [job.compute(None) for job in JOBS]


def lines(results):
    return [result.to_line() for result in results]


def many(file, result, times):
    for _ in range(times):
        append(file, result)


def test_several_that_add_at_once_spoil_no_line(file, results):
    adding = [warm.Process(target=many, args=(file, result, 50)) for result in results]
    for process in adding:
        process.start()
    for process in adding:
        process.join()
    assert sorted(lines(read_results(file))) == sorted(lines(results) * 50)


def test_nobody_adds_while_another_replaces_the_file(file, results, monkeypatch):
    lock = store.fcntl.flock
    monkeypatch.setattr(store.fcntl, "flock", lambda file, how: lock(file, how | fcntl.LOCK_NB))
    with alone(file), pytest.raises(ValueError, match="Resource temporarily unavailable"):
        append(file, results[0])
    append(file, results[1])
    assert lines(read_results(file)) == lines([results[1]])


def test_a_line_that_was_cut_short_is_dropped(file, results):
    first, second = (line + "\n" for line in lines(results))
    file.write_text(first + second[:40])
    append(file, results[1])
    assert file.read_text() == first + second
    file.write_text(first[:40])
    with alone(file):
        assert file.read_text() == ""


def has(file, job):
    with claimed(file, job, wait=False) as ours:
        return ours


def test_a_job_belongs_to_one_process_at_a_time(file):
    first, second = JOBS
    with claimed(file, first, wait=False) as ours:
        assert ours
        assert not warm.call(has, file, first)
        assert warm.call(has, file, second)
    assert warm.call(has, file, first)
