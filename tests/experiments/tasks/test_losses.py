import pytest
import torch
from torch.func import grad, vmap

from pprs.training.losses import LOSSES
from pprs_experiments.tasks.losses import PER_EXAMPLE, distances

LABELS = torch.arange(7) % 5


def outputs(seed=0):
    return torch.randn(
        7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    ).requires_grad_()


@pytest.mark.parametrize("name", sorted(PER_EXAMPLE.keys() & LOSSES))
def test_a_loss_is_the_mean_of_those_of_the_examples(name):
    scores = outputs()
    losses = PER_EXAMPLE[name](scores, LABELS)
    assert losses.shape == (7,)
    torch.testing.assert_close(losses.mean(), LOSSES[name](scores, LABELS))
    alone = torch.stack([LOSSES[name](scores[i : i + 1], LABELS[i : i + 1]) for i in range(7)])
    torch.testing.assert_close(losses, alone)


def test_distances_are_those_to_the_unit_vectors_of_the_labels():
    scores = torch.tensor([[0.25, -1.0, 2.0], [0.0, 1.0, 0.0]])
    assert distances(scores, torch.tensor([2, 0])).tolist() == [0.25 + 1 + 1, 2.0]


@pytest.mark.parametrize("name", PER_EXAMPLE)
def test_losses_of_examples_go_through_vmap(name):
    loss = PER_EXAMPLE[name]
    stack = torch.stack([outputs(seed).detach() for seed in range(3)])
    together = vmap(grad(lambda scores: loss(scores, LABELS).square().sum()))(stack)
    for scores, gradient in zip(stack, together, strict=True):
        leaf = scores.clone().requires_grad_()
        (alone,) = torch.autograd.grad(loss(leaf, LABELS).square().sum(), leaf)
        torch.testing.assert_close(gradient, alone)
