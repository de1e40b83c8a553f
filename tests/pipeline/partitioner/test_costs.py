import pytest
import torch
from torch import nn

from pprs.pipeline.partitioner.chain import chain
from pprs.pipeline.partitioner.costs import measure


class Noise(nn.Module):
    def forward(self, x):
        return x + torch.rand_like(x)


def test_a_layer_that_is_30_times_wider_costs_more():
    # 77 million multiplications against 86 thousand; measured, 20 to 60 times as long.
    model = nn.Sequential(nn.Linear(48, 48), nn.Linear(48, 1440), nn.Linear(1440, 1440))
    narrow, _, wide = measure(chain(model), torch.randn(37, 48))
    assert narrow.forward > 0
    assert narrow.backward > 0
    assert wide.forward > 2 * narrow.forward
    assert wide.backward > 2 * narrow.backward


def test_bytes_are_counted_once_for_each_tensor():
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Flatten(), nn.Linear(5, 2))
    costs = measure(model, torch.randn(7, 3, dtype=torch.float32), repeats=1)
    assert [cost.parameters for cost in costs] == [80, 0, 0, 48]
    # A linear map keeps its input, a ReLU its output, a reshaping nothing.
    assert [cost.activations for cost in costs] == [4 * 7 * 3, 4 * 7 * 5, 0, 4 * 7 * 5]
    assert [cost.output for cost in costs] == [140, 140, 140, 56]


def test_what_needs_no_gradient_has_no_backward():
    first, second = measure([nn.Embedding(5, 4).requires_grad_(False), nn.Tanh()], torch.arange(5))
    assert first.backward == 0
    assert first.activations == 0
    assert second.backward > 0
    assert second.activations == 80


def test_pieces_may_pass_several_tensors_on():
    class Both(nn.Module):
        def forward(self, x, mask):
            return x * mask, mask

    costs = measure([Both(), Both()], torch.randn(4), {"mask": torch.tensor([1, 0, 1, 1])})
    assert [cost.output for cost in costs] == [16 + 32] * 2


def test_the_pieces_their_gradients_and_the_random_numbers_stay_as_they_are():
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(), Noise())
    state = {name: value.clone() for name, value in model.state_dict().items()}
    before = torch.get_rng_state()
    with torch.no_grad():
        costs = measure(model, torch.randn(5, 3, generator=torch.Generator().manual_seed(0)))
    assert costs[0].backward > 0
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_repeats_below_one_are_refused():
    with pytest.raises(ValueError, match="repeats must be an integer of at least 1, got 0"):
        measure([nn.ReLU()], torch.ones(1), repeats=0)
