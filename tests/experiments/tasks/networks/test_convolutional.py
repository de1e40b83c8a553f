import pytest
import torch
from torch import nn

from experiments.tasks.networks.small import convolutional, normal
from pprs_experiments.tasks.networks import convolutional_network


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 9, 20)])
def test_depth_counts_the_pieces_and_the_last_is_the_head(shape):
    network = convolutional(shape=shape, depth=6)
    assert len(network) == 6
    assert [isinstance(piece[0], nn.Conv2d) for piece in network] == [True] * 5 + [False]
    assert network(normal(4, *shape)).shape == (4, 10)


def test_no_image_shrinks_below_4_pixels():
    features = normal(2, 3, 32, 32)
    sides = []
    for piece in convolutional(shape=(3, 32, 32), depth=8)[:-1]:
        features = piece(features)
        sides.append(features.shape[2])
    assert sides == [16, 16, 8, 8, 4, 4, 4]


def test_weights_come_from_the_given_generator_alone():
    before = torch.get_rng_state()
    a, b, c = convolutional(0), convolutional(0), convolutional(1)
    assert torch.equal(torch.get_rng_state(), before)
    for name, weight in a.state_dict().items():
        assert torch.equal(weight, b.state_dict()[name])
    assert not torch.equal(a[2][0].weight, c[2][0].weight)
    assert not torch.equal(a[4][0].weight, a[3][0].weight)


@pytest.mark.parametrize(("filters", "depth"), [(1, 6), (8, 1)])
def test_too_small_ones_are_refused(filters, depth):
    with pytest.raises(ValueError, match=f"at least 2, got {filters} and {depth}"):
        convolutional_network((1, 8, 8), filters, 10, depth, generator=torch.Generator())
