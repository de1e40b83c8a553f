import os
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from experiments.study.small import small_cell
from pprs_experiments.study.job import Effort, Job

optuna = pytest.importorskip("optuna")

from pprs_experiments.study.queue import Queue, worker_name  # noqa: E402

JOB = Job(small_cell(steps=2), "gd", Effort(1, 1, 1))
RESULT = JOB.compute(optuna.create_study(), None)


@pytest.fixture
def storage(tmp_path):
    return f"sqlite:///{tmp_path}/study.db"


def test_jobs_are_taken_in_order_and_keep_their_results(storage):
    queue, taken = Queue(storage), []
    queue.add(["a", "b"])
    assert queue.standing().waiting == ["a", "b"]
    while queue.take(lambda key: taken.append(key) or RESULT):
        assert queue.standing().running == []
    assert taken == queue.standing().done == ["a", "b"]
    assert set(Queue(storage).results()) == {"a", "b"}
    assert Queue(storage).results()["a"].to_line() == RESULT.to_line()


def test_what_is_finished_or_under_way_is_not_added_again(storage):
    queue = Queue(storage)
    queue.add(["a", "b"])

    def compute(key):
        Queue(storage).add(["a", "b", "c"])
        assert Queue(storage).standing().running == ["a"]
        return RESULT

    queue.take(compute)
    queue.add(["a", "b", "c"])
    assert queue.standing().waiting == ["b", "c"]


def test_a_job_that_two_have_added_at_once_is_computed_once(storage):
    queue, taken = Queue(storage), []
    queue._jobs.enqueue_trial({}, user_attrs={"job": "a"})
    queue._jobs.enqueue_trial({}, user_attrs={"job": "a"})
    while queue.take(lambda key: taken.append(key) or RESULT):
        pass
    assert taken == queue.standing().done == ["a"]


def test_two_that_reach_for_one_job_at_once_do_not_both_get_it(storage):
    keys, together, taken = [f"job {number}" for number in range(10)], Barrier(3), []
    Queue(storage).add(keys)

    def take_all(_):
        queue = Queue(storage)
        together.wait()
        while queue.take(lambda key: taken.append(key) or RESULT):
            pass

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(take_all, range(3)))
    assert sorted(taken) == sorted(keys)


def fails(key):
    raise RuntimeError("two have written to the same study")


def given_to_another(storage):
    Queue(storage).release([worker_name(os.getpid())])
    Queue(storage).add(["a"])


@pytest.mark.parametrize("ending", [lambda key: RESULT, fails])
def test_who_was_taken_for_dead_leaves_the_job_to_whom_it_was_given(storage, ending):
    queue = Queue(storage)
    queue.add(["a", "b"])

    def compute(key):
        if key == "a":  # as when this process was halted, and goes on
            given_to_another(storage)
            return ending(key)
        return RESULT

    assert queue.take(compute)
    assert queue.failures() == {}
    assert queue.standing().waiting == ["b", "a"]
    assert queue.take(compute)
    assert queue.standing().done == ["b"]


@pytest.mark.parametrize("noted", ["worker", "result"])
def test_so_does_who_loses_it_just_before_or_after_computing(storage, noted, monkeypatch):
    queue = Queue(storage)
    queue.add(["a"])
    note = optuna.Trial.set_user_attr

    def lost(trial, name, value):
        note(trial, name, value)
        if name == noted and not Queue(storage).standing().waiting:
            given_to_another(storage)

    with monkeypatch.context() as patched:
        patched.setattr(optuna.Trial, "set_user_attr", lost)
        assert queue.take(lambda key: RESULT)
    assert queue.failures() == {}
    assert queue.standing().waiting == ["a"]


def test_an_error_of_the_database_is_told(storage, monkeypatch):
    queue = Queue(storage)
    queue.add(["a"])
    note = optuna.Trial.set_user_attr

    def unreachable(trial, name, value):
        if name == "worker":
            raise OSError("no route to host")
        note(trial, name, value)

    monkeypatch.setattr(optuna.Trial, "set_user_attr", unreachable)
    queue.take(lambda key: RESULT)
    assert queue.failures() == {"a": "OSError: no route to host"}


def test_only_jobs_of_workers_that_are_gone_are_released(storage):
    queue, seen = Queue(storage), []
    queue.add(["a"])

    def compute(key):
        other = Queue(storage)
        for worker in ("elsewhere:1", worker_name(os.getpid())):
            other.release([worker])
            seen.append(other.standing().running)
        return RESULT

    queue.take(compute)
    assert seen == [["a"], []]


def test_a_failure_is_told_and_waits_for_a_new_call(storage):
    queue = Queue(storage)
    queue.add(["a", "b"])

    def compute(key):
        if key == "a":
            raise RuntimeError("no luck")
        return RESULT

    while queue.take(compute):
        pass
    assert queue.failures() == {"a": "RuntimeError: no luck"}
    assert queue.standing().done == ["b"]
    queue.add(["a", "b"])
    assert queue.standing().waiting == ["a"]
    queue.take(lambda key: RESULT)
    assert queue.failures() == {}


def test_an_interrupted_job_is_free_again_and_no_failure(storage):
    queue = Queue(storage)
    queue.add(["a"])

    def interrupted(key):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        queue.take(interrupted)
    assert queue.failures() == {}
    queue.add(["a"])
    assert queue.standing().waiting == ["a"]


def test_what_is_withdrawn_waits_no_longer_and_may_be_added_again(storage):
    queue = Queue(storage)
    queue.add(["a", "b", "c"])
    queue.withdraw(["a", "c", "d"])
    assert queue.standing().waiting == ["b"]
    assert queue.failures() == {}
    queue.add(["a"])
    assert queue.standing().waiting == ["b", "a"]


def test_queues_of_one_database_are_apart(storage):
    Queue(storage, "one").add(["a"])
    assert Queue(storage, "two").standing().waiting == []
