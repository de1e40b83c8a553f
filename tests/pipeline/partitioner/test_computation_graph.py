import pytest
import torch
from torch import nn

from pprs.pipeline.partitioner.computation_graph import trace_graph
from pprs.theory import Node


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        hidden = self.first(x)
        return hidden + torch.relu(self.second(hidden))


class Sum(nn.Module):
    def forward(self, a, b):
        return (a + 1) * (b + 2)


class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x):
        x.cos().sin()
        return (x * self.scale.exp()).sum() + torch.arange(3).sum()


class Indices(nn.Module):
    def forward(self, x):
        best = x.max(dim=1)
        return best.values + best.indices


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


def traced(model, *inputs, **options):
    return trace_graph(model, *inputs, repeats=1, **options)


def test_a_sequence_of_layers_is_a_chain_below_the_input():
    layers = [nn.Linear(3, 8), nn.ReLU(inplace=True), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2)]
    graph = traced(nn.Sequential(*layers), torch.randn(5, 3), latency=0.5)
    assert graph.depth == len(graph.nodes) == len(layers) + 1
    assert len(graph.edges) == len(layers)
    assert set(graph.edges.values()) == {0.5}
    assert graph.nodes[graph.root] == Node(0.0, 0.0)


def test_a_residual_block_keeps_its_skip():
    graph = traced(Residual(), torch.randn(5, 4))
    assert graph.order == ("x", "first", "second", "relu", "add")
    assert set(graph.parents["add"]) == {"first", "relu"}
    assert graph.depth == 5
    assert graph.leaves == ("add",)


def test_several_inputs_are_one_root():
    graph = traced(Sum(), torch.ones(2), torch.ones(2))
    assert graph.root == "inputs"
    assert graph.nodes["inputs"] == Node(0.0, 0.0)
    assert set(graph.children["inputs"]) == {"add", "add_1"}
    assert graph.leaves == ("mul",)


def test_what_only_the_parameters_reach_hangs_on_the_root_and_dead_or_constant_code_is_left_out():
    graph = traced(Unused(), torch.randn(3))
    through = {("exp", "mul"), ("mul", "sum_1"), ("sum_1", "add")}
    assert set(graph.edges) == {("x", "exp"), ("x", "mul")} | through


def test_an_input_that_is_returned_is_a_graph_of_one_node():
    graph = traced(nn.Sequential(), torch.randn(3))
    assert list(graph.nodes.values()) == [Node(0.0, 0.0)]


def test_wide_layers_cost_more_than_narrow_ones():
    # 67 million multiplications against 64; measured, 30 to 60 times as long.
    wide = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1024), nn.Linear(1024, 1024))
    graph = trace_graph(wide, torch.randn(64, 1))
    narrow, broad = graph.nodes["_0"], graph.nodes["_2"]
    assert narrow.forward > 0
    assert narrow.backward > 0
    assert broad.forward > narrow.forward
    assert broad.backward > narrow.backward


def test_what_has_no_gradient_has_no_backward():
    graph = traced(Indices(), torch.randn(3, 4))
    costs = {name: node.backward for name, node in graph.nodes.items()}
    assert [name for name, backward in costs.items() if backward] == ["max_1", "getattr_1", "add"]
    assert costs["getattr_2"] == 0


def test_the_network_its_gradients_and_the_random_numbers_stay_as_they_are():
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(), nn.ReLU(inplace=True))
    inputs = torch.randn(5, 3)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    before, given = torch.get_rng_state(), inputs.clone()
    with torch.no_grad():
        graph = traced(model, inputs)
    assert graph.nodes["_0"].backward > 0
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(inputs, given)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_networks_that_cannot_be_traced_are_refused_with_a_way_out():
    with pytest.raises(ValueError, match="cannot trace Branching: .*torch.fx.wrap"):
        traced(Branching(), torch.randn(3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(repeats=0), "repeats must be an integer of at least 1, got 0"),
        (dict(latency=-1.0), "latency must be a finite number of at least 0, got -1.0"),
    ],
)
def test_wrong_numbers_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        trace_graph(nn.ReLU(), torch.randn(3), **options)


def test_inputs_that_the_network_does_not_take_are_refused():
    with pytest.raises(ValueError, match="arguments of Sum.forward: missing .* 'b'"):
        trace_graph(Sum(), torch.ones(2))


def test_an_input_that_skips_layers_has_its_edge():
    class Skip(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x):
            return x + self.b(self.a(x))

    graph = trace_graph(Skip(), torch.randn(2, 3))
    assert set(graph.edges) == {("x", "a"), ("a", "b"), ("b", "add"), ("x", "add")}


def test_inputs_that_the_network_does_not_take_are_named():
    model = nn.Sequential(nn.Linear(3, 3))
    with pytest.raises(ValueError, match=r"Sequential does not take inputs of shape \(4, 9\): "):
        trace_graph(model, torch.randn(4, 9))
    with pytest.raises(ValueError, match="inputs must be tensors, got a str"):
        trace_graph(model, "x")
