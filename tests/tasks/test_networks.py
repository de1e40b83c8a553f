import torch
from torch import nn

from pprs.tasks.networks import relu_network


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
