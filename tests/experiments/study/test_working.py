"""Real processes compute jobs, and are killed."""

import multiprocessing
import os
import signal

import pytest
import warm
from waiting import wait

from experiments.study.small import KillingTask, SmallTask, small_cell
from pprs_experiments.study.job import Effort, Job
from pprs_experiments.study.results import read_results
from pprs_experiments.study.store import claimed
from pprs_experiments.study.working import compute, work

pytest.importorskip("optuna")

pytestmark = [pytest.mark.dist, pytest.mark.slow]
EFFORT = Effort(trials=2, tuning_seeds=1, seeds=2)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "results.jsonl"


def made(**changes):
    cells = [small_cell(spent=spent, **changes) for spent in ("time", "evaluations")]
    return [Job(cell, method, EFFORT) for cell in cells for method in cell.methods]


def told(result):
    return [(run.steps, run.value) for run in result.runs]


def test_several_processes_find_what_one_finds(file):
    jobs = made()
    found = {job.key: told(ended.result()) for job, ended in work(jobs, 2, file, None)}
    assert found == {job.key: told(job.compute(None)) for job in jobs}
    assert sorted(found) == sorted(result.key for result in read_results(file))


def test_a_job_whose_process_was_killed_is_computed_by_another(file, tmp_path):
    mark = tmp_path / "kill"
    mark.touch()
    jobs = made(task=SmallTask(killed=str(mark)))
    ended = [(job, each.result().key) for job, each in work(jobs, 1, file, None)]
    assert ended == [(job, job.key) for job in (*jobs[1:], jobs[0])]


def test_a_job_that_always_kills_its_process_is_told_and_stops_no_other(file):
    jobs = [*made(task=KillingTask())[:1], *made()]
    ended = {job.key: each.exception() for job, each in work(jobs, 1, file, None)}
    assert "terminated abruptly" in str(ended.pop(jobs[0].key))
    assert ended == dict.fromkeys([job.key for job in made()])


def test_what_another_has_computed_meanwhile_is_not_computed_again(file):
    job = made()[0]
    first = compute(job, file, None, wait=False)
    assert compute(job, file, None, wait=False).seconds == pytest.approx(first.seconds)
    assert len(read_results(file)) == 1


def hold(file, job, taken, go):
    with claimed(file, job, wait=True):
        taken.set()
        go.wait()


def test_what_another_has_under_way_comes_last_and_is_computed_if_it_ends_without(file):
    jobs = made()
    taken, go = warm.Context().Event(), warm.Context().Event()
    other = warm.Process(target=hold, args=(file, jobs[0], taken, go))
    other.start()
    taken.wait()
    ended = []
    for job, _ in work(jobs, 1, file, None):
        ended.append(job)
        if len(ended) == 3:
            os.kill(other.pid, signal.SIGKILL)
    other.join()
    assert ended == [*jobs[1:], jobs[0]]


def working(file, jobs):
    list(work(jobs, 1, file, None))


def test_when_it_is_stopped_no_process_is_left_and_the_job_is_free(file):
    job = made(steps=100_000)[0]
    before = set(multiprocessing.active_children())

    def taken():
        with claimed(file, job, wait=False) as ours:
            return not ours

    assert list(work([job], 1, file, None, taken)) == []
    assert set(multiprocessing.active_children()) == before
    assert not taken()


def test_processes_end_with_the_one_that_has_started_them(file):
    job = made(steps=100_000)[0]
    parent = warm.Process(target=working, args=(file, [job]))
    parent.start()

    def free():
        with claimed(file, job, wait=False) as ours:
            return ours

    wait(lambda: not free())
    parent.kill()
    parent.join()
    wait(free)
