"""Real processes share a queue, and are killed."""

import pytest
import warm
from waiting import wait

from experiments.study.small import SmallTask, small_cell
from pprs_experiments.study import storage, working
from pprs_experiments.study.job import Effort, Job

pytest.importorskip("optuna")

from pprs_experiments.study.queue import Queue
from pprs_experiments.study.working import work, workers

pytestmark = [pytest.mark.dist, pytest.mark.slow]
EFFORT = Effort(trials=2, tuning_seeds=1, seeds=2)


def made(**changes):
    cells = [small_cell(spent=spent, **changes) for spent in ("time", "evaluations")]
    jobs = [Job(cell, method, EFFORT) for cell in cells for method in cell.methods]
    return {job.key: job for job in jobs}


def told(results):
    return {key: [(run.steps, run.value) for run in each.runs] for key, each in results.items()}


def test_several_workers_find_what_one_finds(tmp_path):
    jobs = made()
    urls = [f"sqlite:///{tmp_path}/{name}.db" for name in ("one", "two")]
    alone, shared = map(Queue, urls)
    for queue in (alone, shared):
        queue.add(jobs)
    work(urls[0], "jobs", jobs, None)
    with workers(2, shared, jobs, None) as processes:
        for process in processes:
            process.join(600)
        assert [process.exitcode for process in processes] == [0, 0]
    assert set(alone.results()) == set(jobs)
    assert told(shared.results()) == told(alone.results())


def test_the_job_of_a_killed_worker_is_computed_by_another(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "HEARTBEAT", 1)
    mark = tmp_path / "kill"
    mark.touch()
    jobs, url = made(task=SmallTask(killed=str(mark))), f"sqlite:///{tmp_path}/study.db"
    queue = Queue(url)
    queue.add(jobs)
    process = warm.Process(target=work, args=(url, "jobs", jobs, None))
    process.start()
    process.join(600)
    assert process.exitcode == -9
    assert queue.standing().running
    assert not queue.results()
    work(url, "jobs", jobs, None)
    assert set(queue.results()) == set(jobs)


def test_a_worker_whose_parent_is_gone_takes_no_other_job(tmp_path, monkeypatch):
    jobs, url = made(), f"sqlite:///{tmp_path}/study.db"
    queue = Queue(url)
    queue.add(jobs)
    monkeypatch.setattr(working.os, "getppid", iter([7, 7, 1]).__next__)
    work(url, "jobs", jobs, None)
    standing = queue.standing()
    assert (len(standing.done), len(standing.waiting)) == (1, len(jobs) - 1)


def test_a_stopped_worker_leaves_its_job_free(tmp_path):
    jobs, url = made(steps=100_000), f"sqlite:///{tmp_path}/study.db"
    queue = Queue(url)
    queue.add(jobs)
    with workers(1, queue, jobs, None):
        wait(lambda: queue.standing().running)
    assert not queue.standing().running
    assert not queue.standing().done
    queue.add(jobs)
    assert set(queue.standing().waiting) == set(jobs)


def test_jobs_of_another_version_are_refused(tmp_path):
    url = f"sqlite:///{tmp_path}/study.db"
    Queue(url).add(made())
    with pytest.raises(ValueError, match="holds 4 jobs that this version of the study does not"):
        work(url, "jobs", made(steps=21), None)
