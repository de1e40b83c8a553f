"""The layers of an nn.Sequential, cut apart, are the nn.Sequential."""

import copy
from collections import namedtuple

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from pprs.pipeline.partitioner.chain import Chain, chain, full_names, ties
from pprs.pipeline.partitioner.costs import measure

X = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
Pair = namedtuple("Pair", "a b")


class Calls(nn.Module):
    """A layer that calls a function of what it is given and of its own layers."""

    def __init__(self, function, *layers):
        super().__init__()
        self.function, self.layers = function, nn.ModuleList(layers)

    def forward(self, x):
        return self.function(x, *self.layers)


class Doubling(nn.Sequential):
    def __call__(self, x):
        return 2 * super().__call__(x)


def shared_activation():
    act = nn.ReLU(inplace=True)
    return nn.Sequential(nn.Linear(6, 8), act, nn.Linear(8, 8), act, nn.Linear(8, 3))


def shared_layer():
    layer = nn.Linear(6, 6)
    return nn.Sequential(layer, nn.Tanh(), nn.Sequential(layer, nn.Tanh()), nn.Linear(6, 3))


def shared_container():
    inner = nn.Sequential(nn.Linear(6, 6), nn.Tanh())
    return nn.Sequential(inner, nn.Linear(6, 6), inner, nn.Sequential(inner, nn.Linear(6, 3)))


def tied():
    model = nn.Sequential(*(nn.Linear(6, 6) for _ in range(4)))
    model[2].weight = model[1].weight
    return model


def hooked():
    inner = nn.Sequential(nn.Linear(6, 6), nn.Tanh())
    inner.register_forward_hook(lambda module, given, output: 2 * output)
    inner.register_full_backward_hook(lambda module, into, out: (3 * into[0],))
    return nn.Sequential(nn.Linear(6, 6), inner, nn.Linear(6, 3))


def passing(give, take):
    last = nn.Linear(6, 3)
    return lambda: nn.Sequential(
        nn.Linear(6, 6), Calls(give), Calls(lambda x, layer: layer(take(x)), last), nn.Tanh()
    )


PASSING = {
    "tuple": passing(lambda x: (x, 2 * x), lambda t: t[0] * t[1]),
    "a tuple of one": passing(lambda x: (x,), lambda t: t[0]),
    "list": passing(lambda x: [x, x.detach()], lambda t: t[0] * t[1]),
    "dictionary": passing(lambda x: dict(x=x), lambda t: t["x"]),
    "named tuple": passing(lambda x: Pair(x, 3), lambda t: t.a * t.b),
    "a tensor and none": passing(lambda x: (x, None), lambda t: t[0]),
    "scalars and integers": passing(
        lambda x: (x.mean(), x.argmax(1), x > 0, x), lambda t: t[0] * t[1][:, None] * t[2] * t[3]
    ),
}
MODELS = PASSING | {
    "shared activation": shared_activation,
    "shared layer": shared_layer,
    "shared container": shared_container,
    "tied": tied,
    "hooked": hooked,
    "a call of its own": lambda: nn.Sequential(Doubling(nn.Linear(6, 6)), nn.Linear(6, 3)),
    "parametrized": lambda: nn.Sequential(
        parametrizations.weight_norm(nn.Linear(6, 6)), nn.Linear(6, 3)
    ),
    "recurrent": lambda: nn.Sequential(
        Calls(lambda x: x[:, None].expand(-1, 3, -1)), nn.LSTM(6, 5), Calls(lambda x: x[0] + 1)
    ),
    "empty inside": lambda: nn.Sequential(nn.Sequential(), nn.Linear(6, 3), nn.Identity()),
    "a dictionary at the end": lambda: nn.Sequential(
        nn.Linear(6, 3), Calls(lambda x: {"scores": x, "none": None})
    ),
}


def taken(output):
    return output["scores"] if isinstance(output, dict) else output


@pytest.mark.parametrize("known", [False, True], ids=["", "with an example"])
@pytest.mark.parametrize("name", MODELS)
def test_the_pieces_give_what_the_model_gives_and_the_same_gradients_by_name(name, known):
    torch.manual_seed(0)
    model = MODELS[name]()
    pieces = chain(model, *([X] if known else []))
    parameters = dict(model.named_parameters())
    assert list(full_names(pieces)) == list(parameters)
    results = []
    for run in (model, pieces):
        torch.manual_seed(1)
        output = run(X.clone())
        gradients = torch.autograd.grad(taken(output).pow(2).sum(), list(parameters.values()))
        results.append([taken(output), *gradients])
    assert type(model(X.clone())) is type(pieces(X.clone()))
    assert all(map(torch.equal, *results))


@pytest.mark.parametrize("name", MODELS)
def test_each_piece_is_measured_on_what_the_one_before_gives(name):
    pieces = chain(MODELS[name]())
    assert len(measure(pieces, X, repeats=1)) == len(pieces)


def test_a_layer_is_called_wherever_it_stands_and_ties_its_places():
    pieces = chain(shared_container())
    assert pieces.layers == ["0.0", "0.1", "1", "2.0", "2.1", "3.0.0", "3.0.1", "3.1"]
    assert ties(pieces) == [{0, 3, 5}]
    assert ties(chain(shared_activation())) == []


def test_tied_parameters_have_the_first_of_their_names():
    model = tied()
    pieces = chain(model)
    assert ties(pieces) == [{1, 2}]
    assert "1.weight" in full_names(pieces[2:3])
    assert "2.weight" in pieces[2].state_dict()  # as in the model's


def test_a_container_with_a_hook_is_one_piece():
    assert chain(hooked()).layers == ["0", "1", "2"]


def test_hooks_of_the_whole_sequence_are_refused_or_traced():
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 3))
    model.register_forward_hook(lambda module, given, output: 2 * output)
    with pytest.raises(ValueError, match="has forward hooks, which its layers alone would not run"):
        chain(model)
    assert torch.equal(chain(model, X)(X), model(X))


@pytest.mark.parametrize("name", ["a tuple of one", "list", "dictionary", "named tuple"])
def test_with_an_example_layers_stay_together_between_which_no_tensors_pass(name):
    model = PASSING[name]()
    assert chain(model).layers == ["0", "1", "2", "3"]
    assert chain(model, X).layers == ["0", "1", "3"]


def test_an_example_leaves_a_sequence_and_the_random_numbers_as_they_were():
    model = nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(), nn.Linear(6, 3))
    state, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    chain(model, X)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)


def test_a_layer_that_cannot_take_the_example_is_named():
    model = nn.Sequential(nn.Linear(6, 6), nn.Sequential(nn.Linear(7, 3)))
    with pytest.raises(ValueError, match=r"layer '1\.0' failed on the example: .*mat1 and mat2"):
        chain(model, X)


def test_several_inputs_are_the_tuple_that_the_first_layer_takes():
    model = nn.Sequential(Calls(lambda t, layer: layer(t[0]) + t[1], nn.Linear(6, 6)), nn.Tanh())
    assert torch.equal(chain(model)(X, 2 * X), model((X, 2 * X)))


def test_a_model_inside_something_that_runs_it_is_refused():
    model = nn.DataParallel(nn.Sequential(nn.Linear(6, 3)))
    with pytest.raises(ValueError, match="wrapped in DataParallel: pass the plain model, network"):
        chain(model)


def test_an_error_names_the_layer_where_it_arose():
    pieces = chain(nn.Sequential(nn.Tanh(), nn.Linear(5, 3)))
    with pytest.raises(RuntimeError) as caught:
        pieces(X)
    assert caught.value.__notes__ == ["in the piece that begins with layer '1'"]
    assert isinstance(pieces[1:], Chain)
