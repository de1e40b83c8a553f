"""The modules and parameters of a model are those that torch names."""

import pytest
from torch import nn

from pprs.smoothing._modules import modules_of, parameters_of


class Renamed(nn.Linear):
    """As wrappers do it that shard parameters."""

    def named_modules(self, *args, **kwargs):
        return (
            (f"wrapped.{name}", module) for name, module in super().named_modules(*args, **kwargs)
        )

    def named_parameters(self, *args, **kwargs):
        return ((f"wrapped.{name}", p) for name, p in super().named_parameters())


def shared():
    model = nn.Sequential(nn.Linear(3, 3), nn.ModuleDict({"in": nn.Linear(3, 3, bias=False)}))
    model.again, model.nothing = model[0], None
    model[1].tied = nn.Linear(3, 3)
    model[1].tied.weight = model[0].weight
    model.register_module("empty", None)
    model[1].back = nn.Module()
    model[1].back.__dict__["_modules"]["up"] = model  # a circle
    return model


@pytest.mark.parametrize("build", [shared, lambda: Renamed(2, 2), nn.Module])
def test_they_are_found_in_torch_s_order_each_once(build):
    model = build()
    assert modules_of(model) == list(model.named_modules())
    assert modules_of(model, "a") == list(model.named_modules(prefix="a"))
    found = parameters_of(model, modules_of(model))
    assert list(found) == [name for name, _ in model.named_parameters()]
    assert [*map(id, found.values())] == [*map(id, model.parameters())]


def test_known_ones_are_left_out():
    model = shared()
    known = {model[1]}
    found = modules_of(model, "", known)
    assert found == list(model.named_modules({model[1]}))
    assert known == {model[1], *(module for _, module in found)}
