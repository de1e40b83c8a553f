from itertools import combinations, pairwise

import pytest

from pprs.pipeline import partition


@pytest.mark.parametrize("costs", [[1, 1, 1, 3], [5, 1, 1, 1, 1, 5], [0, 0, 2], [1] * 7, [9, 1, 2]])
def test_no_cut_has_a_smaller_largest_piece(costs):
    for stages in range(1, len(costs) + 1):
        pieces = partition(costs, stages)
        assert [i for piece in pieces for i in piece] == list(range(len(costs)))
        assert len(pieces) == stages
        assert all(pieces)
        best = min(
            max(sum(costs[a:b]) for a, b in pairwise([0, *cuts, len(costs)]))
            for cuts in combinations(range(1, len(costs)), stages - 1)
        )
        assert max(sum(costs[i] for i in piece) for piece in pieces) == best


def test_more_stages_than_layers_are_refused():
    with pytest.raises(ValueError, match="3 layers can be cut into 1 to 3 stages, got 4"):
        partition([1, 1, 1], 4)
