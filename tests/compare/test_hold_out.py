import pytest
import torch

from pprs.compare.hold_out import hold_out


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_of_each_class_the_same_share_is_held_out():
    labels = torch.tensor([0] * 10 + [1] * 20 + [2] * 2 + [3])
    left, held = hold_out(labels, 33, 0.4, generator())
    assert labels[held].bincount().tolist() == [4, 8, 1]
    assert labels[left].bincount().tolist() == [6, 12, 1, 1]  # a class of one is only trained on
    assert sorted(left + held) == list(range(33))


def test_what_has_no_classes_is_divided_as_a_whole():
    for labels in (None, torch.rand(10), torch.zeros(10, 3, dtype=torch.long)):
        left, held = hold_out(labels, 10, 0.2, generator())
        assert (len(left), len(held)) == (8, 2)


def test_the_generator_draws_them():
    same = [hold_out(None, 50, 0.2, generator(seed))[1] for seed in (0, 0, 1)]
    assert same[0] == same[1] != same[2]


@pytest.mark.parametrize("labels", [torch.arange(5), torch.tensor([0])])
def test_where_every_class_has_one_example_nothing_can_be_held_out(labels):
    with pytest.raises(ValueError, match=f"no validation examples are left: none of {len(labels)}"):
        hold_out(labels, len(labels), 0.2, generator())
