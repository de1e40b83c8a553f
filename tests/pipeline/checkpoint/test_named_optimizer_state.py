"""An optimizer goes on, bit for bit, from the state that another one has left."""

import json

import pytest
import torch
from torch import nn

import pprs
from pprs.pipeline.checkpoint.named_optimizer_state import (
    belongs_to,
    load_optimizer_state,
    optimizer_state,
)


def network():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 2))


def loss(model):
    return (model(torch.arange(20.0).reshape(4, 5).sin()) ** 2).sum()


def two_groups(kind, **options):
    def build(names):
        weights = [(n, p) for n, p in names.items() if n.endswith("weight")]
        biases = [(n, p) for n, p in names.items() if n.endswith("bias")]
        return kind([{"params": weights, "lr": 0.02}, {"params": biases, "lr": 0.07}], **options)

    return build


BUILDERS = {
    "AGD": two_groups(pprs.AGD, momentum="nesterov", lr=0.01),
    "SGD": two_groups(torch.optim.SGD, momentum=0.9),
    "Adam": two_groups(torch.optim.Adam, betas=(0.8, 0.99)),
    "AMSGrad, one by one": two_groups(torch.optim.Adam, amsgrad=True, foreach=False),
    "AdamW": two_groups(torch.optim.AdamW, weight_decay=0.1),
    "AdamW, its lr a tensor": lambda names: torch.optim.AdamW(
        names.items(), lr=torch.tensor(0.1), foreach=False
    ),
    "NAdam": two_groups(torch.optim.NAdam),
    "Rprop": two_groups(torch.optim.Rprop),
}


def steps(optimizer, model, count):
    for _ in range(count):
        optimizer.zero_grad()
        loss(model).backward()
        optimizer.step()


def taken(optimizers):
    """What several ranks save, as a checkpoint gives it back."""
    tensors, numbers = {}, []
    for optimizer, names in optimizers:
        some, number = optimizer_state(optimizer, names)
        assert not tensors.keys() & some.keys()
        tensors |= {name: tensor.clone() for name, tensor in some.items()}
        numbers.append(number)
    assert all(number == numbers[0] for number in numbers)
    return tensors, json.loads(json.dumps(numbers[0]))


def split(model, ranks):
    """The parameters of each rank: all on one, or the layers of each on its own."""
    names = dict(model.named_parameters())
    if ranks == 1:
        return [names]
    return [{n: p for n, p in names.items() if n.startswith(layer)} for layer in ("0", "2")]


@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
@pytest.mark.parametrize(("before", "after"), [(1, 1), (1, 2), (2, 1)])
def test_an_optimizer_goes_on_bit_for_bit_however_the_parameters_are_spread(build, before, after):
    # The ranks' optimizers run one after the other here: the updates are parameter by parameter.
    model = network()
    optimizers = [(build(names), names) for names in split(model, before)]
    for _ in range(3):
        model.zero_grad()
        loss(model).backward()
        for optimizer, _ in optimizers:
            optimizer.step()
    tensors, numbers = taken(optimizers)

    other = network()
    other.load_state_dict(model.state_dict())
    resumed = [(build(names), names) for names in split(other, after)]
    for optimizer, _ in resumed:
        steps(optimizer, other, 1)  # leaves something that loading must remove
    other.load_state_dict(model.state_dict())
    for optimizer, names in resumed:
        mine = {name: t for name, t in tensors.items() if belongs_to(names)(name)}
        load_optimizer_state(optimizer, names, mine, numbers)

    for each, ways in ((model, optimizers), (other, resumed)):
        for _ in range(3):
            each.zero_grad()
            loss(each).backward()
            for optimizer, _ in ways:
                optimizer.step()
    start = network().state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])
        assert not torch.equal(value, start[name])


def test_what_is_saved_does_not_lie_on_torch_s_default_device():
    model = network()
    optimizer = pprs.AGD(model.parameters(), 0.1, "nesterov")
    steps(optimizer, model, 2)
    tensors, _ = optimizer_state(optimizer, dict(model.named_parameters()))
    with torch.device("meta"):
        again, _ = optimizer_state(optimizer, dict(model.named_parameters()))
    assert tensors.keys() == again.keys()
    assert all(torch.equal(tensor, again[name]) for name, tensor in tensors.items())


@pytest.mark.parametrize("momentum", [0.8, "nesterov"])
def test_pprs_goes_on_bit_for_bit_with_its_noise(momentum):
    def build(model):
        sigma = {"": 0.1, "2": 0.3}
        return pprs.PPRS(model, 0.05, momentum, sigma=sigma, samples=4, seed=5)

    model, other = network(), network()
    optimizer, resumed = build(model), build(other)
    for _ in range(3):
        optimizer.step(lambda: loss(model))
    tensors, numbers = taken([(optimizer, dict(model.named_parameters()))])
    other.load_state_dict(model.state_dict())
    load_optimizer_state(resumed, dict(other.named_parameters()), tensors, numbers)
    for _ in range(3):
        optimizer.step(lambda: loss(model))
        resumed.step(lambda: loss(other))
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])
    with optimizer.evaluating(), resumed.evaluating():
        for name, value in model.state_dict().items():
            assert torch.equal(value, other.state_dict()[name])


def test_without_the_state_it_goes_elsewhere():
    """What the tests above compare does depend on the state."""
    model, other = network(), network()
    optimizer = BUILDERS["Adam"](dict(model.named_parameters()))
    steps(optimizer, model, 3)
    other.load_state_dict(model.state_dict())
    steps(optimizer, model, 1)
    steps(BUILDERS["Adam"](dict(other.named_parameters())), other, 1)
    assert not torch.equal(model[0].weight, other[0].weight)


def test_python_numbers_of_a_parameter_keep_their_types():
    model = network()
    names = dict(model.named_parameters())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    values = {"count": 2**40 + 1, "norm": 0.1, "seen": True}
    optimizer.state[names["0.bias"]].update(values)
    tensors, numbers = taken([(optimizer, names)])
    fresh = torch.optim.SGD(model.parameters(), lr=0.3)
    fresh.state[names["0.weight"]]["old"] = 1
    load_optimizer_state(fresh, names, tensors, numbers)
    assert fresh.state[names["0.bias"]] == values
    assert {type(v) for v in fresh.state[names["0.bias"]].values()} == {int, float, bool}
    assert not fresh.state.get(names["0.weight"])
    assert fresh.param_groups[0]["lr"] == 0.1


def test_hyperparameters_keep_their_types():
    _, names, adam, tensors, numbers = an_adam()
    before = [dict(group) for group in adam.param_groups]
    load_optimizer_state(adam, names, tensors, numbers)
    assert [dict(group) for group in adam.param_groups] == before
    assert adam.param_groups[0]["betas"] == (0.8, 0.99)  # no list


def test_state_has_the_strides_of_its_parameter():
    parameter = nn.Parameter(torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last))
    optimizer = pprs.AGD([("filter", parameter)], 0.1)
    parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    tensors, numbers = optimizer_state(optimizer, {"filter": parameter})
    saved = {name: tensor.contiguous() for name, tensor in tensors.items()}
    load_optimizer_state(optimizer, {"filter": parameter}, saved, numbers)
    assert optimizer.state[parameter]["y"].stride() == parameter.stride()
    assert torch.equal(optimizer.state[parameter]["y"], tensors["optimizer.filter.y"])


def test_only_the_state_of_the_named_parameters_belongs_to_them():
    belongs = belongs_to({"0.weight"})
    names = ("optimizer.0.weight.y", "model.0.weight", "optimizer.0.weight_v.y", "optimizer.0.bias")
    assert [belongs(name) for name in names] == [True, False, False, False]


def an_adam():
    model = network()
    names = dict(model.named_parameters())
    adam = BUILDERS["Adam"](names)
    tensors, numbers = taken([(adam, names)])
    return model, names, adam, tensors, numbers


def test_another_optimizer_other_groups_and_missing_state_are_refused():
    model, names, adam, tensors, numbers = an_adam()
    with pytest.raises(ValueError, match="is SGD with 1 param groups, but .* Adam with 2"):
        load_optimizer_state(torch.optim.SGD(model.parameters(), 0.1), names, tensors, numbers)
    weights, biases = adam.param_groups
    turned = torch.optim.Adam([{"params": biases["params"]}, {"params": weights["params"]}])
    with pytest.raises(ValueError, match="'0.bias' is in group 0 of the optimizer, but was in 1"):
        load_optimizer_state(turned, names, tensors, numbers)
    del tensors["optimizer.2.bias.param_group"]
    with pytest.raises(ValueError, match="state of '2.bias', but hold none of it"):
        load_optimizer_state(adam, names, tensors, numbers)


def test_parameters_without_a_name_are_refused():
    _, names, adam, _, _ = an_adam()
    del names["2.weight"]
    with pytest.raises(ValueError, match=r"lacks one of shape \[2, 7\] in its group 0"):
        optimizer_state(adam, names)


def test_state_and_hyperparameters_that_cannot_be_saved_are_refused():
    _, names, adam, _, _ = an_adam()
    adam.param_groups[1]["rule"] = len
    with pytest.raises(ValueError, match=r"param_groups\[1\]\['rule'\] must be a number.*len"):
        optimizer_state(adam, names)
    adam.state[names["0.bias"]]["history"] = []
    with pytest.raises(ValueError, match="Adam keeps 'history' of type list for '0.bias'"):
        optimizer_state(adam, names)
