import pytest
import torch
from torch.utils.data import TensorDataset

from pprs.training.data import BatchOrder, Examples, training_and_validation


def test_an_epoch_has_each_example_once_and_steps_do_not_cross_it():
    order = BatchOrder(examples=50, batch=8, accumulate=2, seed=3)
    assert [order.is_short(step) for step in range(5)] == [False, False, False, True, False]
    assert not BatchOrder(examples=8, batch=32, accumulate=1, seed=3).is_short(0)
    assert not BatchOrder(examples=64, batch=32, accumulate=1, seed=3).is_short(1)
    assert order.steps_per_epoch == 4
    epochs = [[order.batches(step) for step in range(4 * e, 4 * e + 4)] for e in range(2)]
    for steps in epochs:
        assert [[len(batch) for batch in step] for step in steps] == [[8, 8]] * 3 + [[2]]
        assert sorted(i for step in steps for batch in step for i in batch) == list(range(50))
    assert epochs[0] != epochs[1]
    assert order.sizes == {8, 2}


def test_the_order_is_a_function_of_the_seed_and_the_step():
    torch.manual_seed(1)
    first = BatchOrder(50, 8, 2, seed=3).batches(5)
    torch.manual_seed(2)
    assert BatchOrder(50, 8, 2, seed=3).batches(5) == first
    assert BatchOrder(50, 8, 2, seed=4).batches(5) != first
    with torch.device("meta"):
        assert BatchOrder(50, 8, 2, seed=3).batches(5) == first


@pytest.mark.parametrize(("batch", "sizes"), [(60, {50}), (25, {25}), (49, {49, 1})])
def test_the_sizes_of_batches_are_known_before(batch, sizes):
    order = BatchOrder(50, batch, 1, seed=0)
    seen = {len(b) for step in range(order.steps_per_epoch) for b in order.batches(step)}
    assert order.sizes == sizes == seen


def test_items_become_inputs_and_targets():
    x, z, y = torch.arange(6.0).reshape(3, 2), torch.arange(3), torch.tensor([2, 0, 1])
    pair = Examples(TensorDataset(x, y)).batch([2, 0])
    assert torch.equal(pair.inputs[0], x[[2, 0]])
    assert pair.target.tolist() == [1, 2]
    three = Examples(TensorDataset(x, z, y)).batch([1])
    assert [t.tolist() for t in three.inputs] == [[[2.0, 3.0]], [1]]
    keyed = Examples([{"a": x[i], "labels": y[i], "b": z[i]} for i in range(3)])
    batch = keyed.batch([0, 1])
    assert keyed.keywords == ["a", "b"]
    assert [t.tolist() for t in batch.inputs] == [x[:2].tolist(), [0, 1]]
    assert batch.target.tolist() == [2, 0]
    assert keyed.arguments(batch)[0]["b"].tolist() == [0, 1]


def test_a_pair_is_training_and_validation():
    data = TensorDataset(torch.ones(3, 2), torch.zeros(3))
    training, validation = training_and_validation((data, [(torch.ones(2), 0.0)]))
    assert (len(training), len(validation)) == (3, 1)
    assert training_and_validation(data)[1] is None
    assert training_and_validation((data, None))[1] is None
