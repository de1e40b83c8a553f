import pytest
import torch
from torch import nn

from pprs.compare.network import relu_network
from pprs_experiments.tasks.networks import image_transformer, with_new_head


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def networks():
    return [
        relu_network(16, 8, 5, 3, generator=generator(), flatten=True),
        image_transformer((1, 4, 4), 2, 8, 2, 1, 5, generator=generator(), dtype=torch.float64),
    ]


@pytest.mark.parametrize("network", networks(), ids=["relu", "transformer"])
def test_all_but_the_last_layer_is_that_of_the_network(network):
    before = {name: p.clone() for name, p in network.named_parameters()}
    state = torch.get_rng_state()
    new = with_new_head(network, 3, generator=generator(1))
    assert torch.equal(torch.get_rng_state(), state)
    parameters = dict(new.named_parameters())
    *_, last_weight, last_bias = before
    assert parameters[last_weight].shape[0] == len(parameters[last_bias]) == 3
    assert parameters[last_weight].dtype == before[last_weight].dtype
    for name in before.keys() - {last_weight, last_bias}:
        assert torch.equal(parameters[name], before[name])
    assert new(torch.ones(2, 1, 4, 4, dtype=before[last_weight].dtype)).shape == (2, 3)


@pytest.mark.parametrize("network", networks(), ids=["relu", "transformer"])
def test_training_the_new_network_leaves_the_old_one(network):
    before = [p.clone() for p in network.parameters()]
    new = with_new_head(network, 3, generator=generator())
    with torch.no_grad():
        for parameter in new.parameters():
            parameter.add_(1)
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_a_network_that_ends_otherwise_is_refused():
    network = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    with pytest.raises(ValueError, match="last layer of the network must be linear, got a ReLU"):
        with_new_head(network, 3, generator=generator())
