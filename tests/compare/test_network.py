import pytest
import torch
from torch import nn

from pprs.compare.network import relu_network


def build(seed, depth=20):
    return relu_network(64, 32, 10, depth, generator=torch.Generator().manual_seed(seed))


def test_depth_counts_linear_layers_and_each_is_a_child():
    network = build(0)
    linear = [m for m in network.modules() if isinstance(m, nn.Linear)]
    assert len(linear) == len(network) == 20
    assert network(torch.ones(3, 64)).shape == (3, 10)


def test_weights_come_from_the_given_generator_alone():
    before = torch.get_rng_state()
    a, b, c = build(0), build(0), build(1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(a[3][0].weight, b[3][0].weight)
    assert not torch.equal(a[3][0].weight, c[3][0].weight)


def test_activations_keep_their_size_through_the_depth():
    x = torch.randn(500, 64, generator=torch.Generator().manual_seed(2))
    ratio = build(0)(x).std() / x.std()
    assert 0.05 < ratio < 20  # halved or doubled at every layer would be 1e-6 or 1e6


def test_a_network_of_images_has_the_same_pieces_and_weights():
    options = dict(generator=torch.Generator().manual_seed(0), flatten=True)
    network, plain = relu_network(64, 32, 10, 20, **options), build(0)
    assert len(network) == 20
    images = torch.randn(3, 4, 4, 4, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(network(images), plain(images.flatten(1)))


def test_a_single_layer_is_refused():
    with pytest.raises(ValueError, match="depth must be at least 2, got 1"):
        build(0, depth=1)
