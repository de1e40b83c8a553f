import pytest
from study.small import small_cell

from pprs.study.job import Effort, Job

optuna = pytest.importorskip("optuna")

from pprs.study.queue import Queue  # noqa: E402

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


def test_a_storage_that_cannot_be_opened_is_refused(tmp_path):
    for wrong in (f"sqlite:///{tmp_path}/none/study.db", "study.db", "nosql://here"):
        with pytest.raises(ValueError, match=f"cannot open the storage {wrong}: "):
            Queue(wrong)
