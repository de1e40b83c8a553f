import numpy as np

from pprs.theory.vector import Rows, Vector, stacked


def test_sums_are_ready_when_their_last_term_is():
    early, late = Vector(np.ones(2), "f1", 1.0), Vector(np.ones(2), "f1", 4.0)
    total = early - 0.5 * late
    assert (total.ready, total.node) == (4.0, "f1")
    np.testing.assert_array_equal(total.value, [0.5, 0.5])


def test_a_sum_is_made_by_a_node_only_if_all_its_terms_are():
    forward, backward, sent = (
        Vector(np.ones(2), "f1", 0.0, m) for m in ("forward", "backward", None)
    )
    assert (forward + 2.0 * forward).made == "forward"
    assert [(forward + other).made for other in (backward, sent)] == [None, None]
    assert [(other + forward).made for other in (backward, sent)] == [None, None]


def test_rows_are_their_vectors_without_a_copy():
    values = np.arange(6.0).reshape(3, 2)
    rows = Rows(values, "f1", 2.0)
    assert [(row.value.tolist(), row.node, row.ready) for row in rows] == [
        ([0.0, 1.0], "f1", 2.0),
        ([2.0, 3.0], "f1", 2.0),
        ([4.0, 5.0], "f1", 2.0),
    ]
    assert len(rows[1:]) == 2
    for rest in (rows, rows[1:]):
        assert np.shares_memory(stacked(rest), values)
    np.testing.assert_array_equal(stacked(list(rows)), values)


def test_every_start_has_its_own_factor():
    vectors = Vector(np.ones((2, 3)), "f1", 0.0)
    np.testing.assert_array_equal((np.array([[2.0], [5.0]]) * vectors).value[:, 0], [2.0, 5.0])
