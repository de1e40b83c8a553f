import pytest
import torch

from pprs.compare.examples import Examples


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def examples(sizes):
    """Examples with so many in each class, in mixed order; x tells them apart."""
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    labels = labels[torch.randperm(len(labels), generator=generator())]
    return Examples(torch.arange(len(labels))[:, None], labels, len(sizes))


def pairs(part):
    return {(int(x), int(y)) for x, y in zip(part.x[:, 0], part.y, strict=True)}


def test_a_split_is_even_over_classes_and_loses_nothing():
    everything = examples([5, 9, 3])
    first, second = everything.split(2, generator())
    assert first.y.bincount().tolist() == [2, 2, 2]
    assert second.y.bincount().tolist() == [3, 7, 1]
    assert pairs(first) | pairs(second) == pairs(everything)
    assert not pairs(first) & pairs(second)


def test_the_generator_draws_the_split():
    everything = examples([50, 50])
    same = [everything.split(5, generator(seed))[0].x.tolist() for seed in (0, 0, 1)]
    assert same[0] == same[1] != same[2]


def test_a_class_without_examples_cannot_be_split():
    lacking = Examples(torch.zeros(4, 1), torch.tensor([0, 0, 1, 1]), classes=3)
    with pytest.raises(ValueError, match="smallest class has 0"):
        lacking.split(1, generator())


def test_flattened_inputs_are_vectors():
    images = Examples(torch.arange(24).view(2, 3, 2, 2), torch.tensor([0, 1]), 2)
    assert images.flattened().x.tolist() == [list(range(12)), list(range(12, 24))]
