import pytest
import torch
import torch.nn.functional as F
from torch import nn

import pprs
from pprs.pipeline import chain
from pprs.tasks.networks import convolutional_network


def build(seed=0, shape=(3, 16, 16), depth=6, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return convolutional_network(shape, 8, 10, depth, generator=generator, dtype=dtype)


def images(*shape, seed=1):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 9, 20)])
def test_depth_counts_the_pieces_and_the_last_is_the_head(shape):
    network = build(shape=shape, depth=6)
    assert len(network) == 6
    assert [isinstance(piece[0], nn.Conv2d) for piece in network] == [True] * 5 + [False]
    assert network(images(4, *shape)).shape == (4, 10)


def test_no_image_shrinks_below_4_pixels():
    features = images(2, 3, 32, 32)
    sides = []
    for piece in build(shape=(3, 32, 32), depth=8)[:-1]:
        features = piece(features)
        sides.append(features.shape[2])
    assert sides == [16, 16, 8, 8, 4, 4, 4]


def test_weights_come_from_the_given_generator_alone():
    before = torch.get_rng_state()
    a, b, c = build(0), build(0), build(1)
    assert torch.equal(torch.get_rng_state(), before)
    for name, weight in a.state_dict().items():
        assert torch.equal(weight, b.state_dict()[name])
    assert not torch.equal(a[2][0].weight, c[2][0].weight)
    assert not torch.equal(a[4][0].weight, a[3][0].weight)


def test_an_example_does_not_see_the_others():
    network, x = build(), images(5, 3, 16, 16)
    torch.testing.assert_close(network(x)[2:3], network(x[2:3]))


def test_the_network_learns():
    network, x, y = build(), images(20, 3, 16, 16), torch.arange(20) % 10
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        loss = F.cross_entropy(network(x), y)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1  # 2.3 is chance


@pytest.mark.parametrize("noise", ["shared", "example"])
def test_the_network_can_be_smoothed(noise):
    network, x, y = build(), images(4, 3, 16, 16), torch.arange(4)
    loss = pprs.smooth(
        lambda x, y: F.cross_entropy(network(x), y),
        network,
        sigma=1e-9,
        samples=3,
        noise=noise,
        batch=(x, y),
        seed=0,
    )
    loss.backward()
    torch.testing.assert_close(loss, F.cross_entropy(network(x), y))
    assert all(p.grad is not None for p in network.parameters())


def test_a_pipeline_can_cut_it():
    network, x = build(), images(2, 3, 16, 16)
    pieces = chain(network)
    assert len(pieces) >= 6
    torch.testing.assert_close(pieces(x), network(x))


@pytest.mark.parametrize(("filters", "depth"), [(1, 6), (8, 1)])
def test_too_small_ones_are_refused(filters, depth):
    with pytest.raises(ValueError, match=f"at least 2, got {filters} and {depth}"):
        convolutional_network((1, 8, 8), filters, 10, depth, generator=torch.Generator())
