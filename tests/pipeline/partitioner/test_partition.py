import math
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pprs.pipeline import partition
from pprs.pipeline.partitioner.costs import Cost
from pprs.pipeline.partitioner.partition import Memory, partition_at

NAMES = ["embed", "blocks.0.attention", "blocks.0.mlp", "blocks.1.attention", "norm", "head"]


def all_cuts(layers, stages):
    for cuts in combinations(range(1, layers), stages - 1):
        yield [range(a, b) for a, b in pairwise([0, *cuts, layers])]


def largest(costs, pieces):
    return max(sum(costs[i] for i in piece) for piece in pieces)


def cost(seconds, parameters=0, activations=0):
    return Cost(seconds, seconds, parameters, activations, 0)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.data())
def test_no_cut_has_a_smaller_largest_piece(costs, data):
    stages = data.draw(st.integers(1, len(costs)))
    pieces = partition(costs, stages)
    assert [i for piece in pieces for i in piece] == list(range(len(costs)))
    assert len(pieces) == stages
    assert all(pieces)
    assert largest(costs, pieces) == min(largest(costs, p) for p in all_cuts(len(costs), stages))


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=7
    ),
    st.data(),
)
def test_so_it_is_among_the_cuts_that_fit_in_memory(numbers, data):
    costs = [cost(*three) for three in numbers]
    stages = data.draw(st.integers(1, len(costs)))
    flights = data.draw(st.lists(st.integers(0, 4), min_size=stages, max_size=stages))
    memory = Memory(data.draw(st.integers(1, 120)), optimizer=1, in_flight=flights)

    def needed(pieces):
        return max(
            memory.needed(costs[p.start : p.stop], n) for p, n in zip(pieces, flights, strict=True)
        )

    times = [2 * seconds for seconds, *_ in numbers]
    cuts = list(all_cuts(len(costs), stages))
    fitting = [p for p in cuts if needed(p) <= memory.limit]
    if fitting:
        pieces = partition(costs, stages, memory=memory)
        assert pieces in fitting
        assert largest(times, pieces) == min(largest(times, p) for p in fitting)
        return
    with pytest.raises(ValueError, match=f"that one does is {min(map(needed, cuts)):.0f} bytes"):
        partition(costs, stages, memory=memory)


def test_memory_counts_parameters_gradients_optimizer_and_activations_in_flight():
    layers = [cost(1, 100, 10), cost(1, 50, 5)]
    assert Memory(1, optimizer=2).needed(layers, 3) == 4 * 150 + 3 * 15
    heavy_first = [cost(1, 100, 0), cost(1, 0, 0), cost(1, 0, 0), cost(1, 0, 100)]
    assert partition(heavy_first, 2) == [range(2), range(2, 4)]
    with pytest.raises(ValueError, match="within 299 bytes: the least limit .* is 300 bytes"):
        partition(heavy_first, 2, memory=Memory(299, optimizer=1, in_flight=[1, 3]))


def test_a_limit_moves_the_cut():
    costs = [cost(1, 10), cost(1, 10), cost(1, 10), cost(3, 10)]
    assert partition(costs, 2) == [range(3), range(3, 4)]
    assert partition(costs, 2, memory=Memory(40)) == [range(2), range(2, 4)]


def test_200_layers_and_64_stages_are_no_work():
    costs = [1 + math.sin(i) for i in range(200)]
    # Whoever tries all cuts does not come to an end.
    assert len(partition(costs, 64)) == 64


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([1, 1, 1], 4), {}, "3 layers can be cut into 1 to 3 stages, got 4"),
        (([1, 1, 1], 0), {}, "stages must be an integer of at least 1, got 0"),
        (([1, -1], 2), {}, "cost of layer 1 must be a finite number of at least 0, got -1"),
        (([1, math.nan], 2), {}, "cost of layer 1 must be a finite number .* got nan"),
        (([1, 1], 2), dict(memory=Memory(1)), "memory needs the costs that measure"),
        (([cost(1)] * 2, 2), dict(memory=Memory(1, in_flight=[1])), "one number or 2, .* got 1"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        partition(*arguments, **options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "limit must be a number of bytes above 0, got 0"),
        ((1, -1), "optimizer must be a finite number of at least 0, got -1"),
        ((1, 0, [1, -2]), "in_flight must be a finite number of at least 0, got -2"),
    ],
)
def test_impossible_memories_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Memory(*arguments)


def test_a_cut_by_hand_names_the_first_layer_of_each_later_stage():
    expected = [range(1), range(1, 4), range(4, 6)]
    assert partition_at(NAMES, ["blocks.0", "norm"]) == expected
    assert partition_at(NAMES, [1, 4]) == expected
    assert partition_at(NAMES, ["blocks.0.attention", 4]) == expected
    assert partition_at(NAMES, []) == [range(6)]


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (["block.0.mlp"], r"'block.0.mlp', but no layer .*closest are 'blocks.0.mlp'"),
        (["norm", "blocks.0"], "order of the network: 'blocks.0' is layer 1 .* 'norm', layer 4"),
        (["norm", "norm"], "order of the network"),
        ([6], "indices from 1 to 5, got 6"),
        ([0], "indices from 1 to 5, got 0"),
        (["embed"], "'embed', with which the first stage begins anyway"),
        (list(range(1, 7)), "fewer layers than there are.* got 6 of 6"),
    ],
)
def test_cuts_by_hand_that_cannot_be_are_refused(cut, message):
    with pytest.raises(ValueError, match=message):
        partition_at(NAMES, cut)
