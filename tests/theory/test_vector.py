import numpy as np

from pprs.theory.vector import Vector


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
