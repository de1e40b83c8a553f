import pytest
import torch

from pprs.compare.examples import Examples
from pprs_experiments.tasks.examples import drawn, only


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def examples(sizes):
    """Examples with so many in each class, in mixed order; x tells them apart."""
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    labels = labels[torch.randperm(len(labels), generator=generator())]
    return Examples(torch.arange(len(labels))[:, None], labels, len(sizes))


def pairs(part):
    return {(int(x), int(y)) for x, y in zip(part.x[:, 0], part.y, strict=True)}


def test_drawn_examples_are_different_ones():
    everything = examples([5, 9])
    assert len(pairs(drawn(everything, 6, generator()))) == 6
    assert pairs(drawn(everything, 100, generator())) == pairs(everything)
    with pytest.raises(ValueError, match="number must be an integer of at least 1, got 0"):
        drawn(everything, 0, generator())


def test_some_classes_are_numbered_in_the_given_order():
    everything = examples([5, 9, 3])
    some = only(everything, [2, 0])
    assert some.classes == 2
    expected = {(x, {2: 0, 0: 1}[y]) for x, y in pairs(everything) if y != 1}
    assert pairs(some) == expected


@pytest.mark.parametrize("classes", [[], [0, 0], [3], [-1]])
def test_classes_that_there_are_not_are_refused(classes):
    with pytest.raises(ValueError, match="classes must name some of 0 to 2, each once, got"):
        only(examples([5, 9, 3]), classes)
