import pytest
import torch

from pprs_experiments.tasks.networks import residual_network


def test_every_hidden_layer_adds_to_what_it_takes():
    network = residual_network(6, 8, 3, 5, generator=torch.Generator().manual_seed(0))
    assert len(network) == 5
    images = torch.randn(4, 1, 2, 3)
    first = network[0](images)
    assert torch.equal(first, images.flatten(1) @ network[0][1].weight.T)
    norm, layer = network[1].norm, network[1].layer
    assert torch.equal(network[1](first), first + layer(norm(first)))
    for number in (1, 2, 3):
        torch.nn.init.zeros_(network[number].layer[1].weight)
    assert torch.equal(network(images), network[4](first))
    with pytest.raises(ValueError, match="depth must be at least 2, got 1"):
        residual_network(6, 8, 3, 1, generator=torch.Generator())
