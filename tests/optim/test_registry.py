import inspect
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from pprs.compare import CompareConfig
from pprs.compare.methods import METHODS
from pprs.optim import registry
from pprs.optim.registry import OPTIMIZERS, KnownOptimizer
from pprs.training import TrainConfig
from pprs.training.learning import Learning

ROOT = Path(__file__).parent.parent.parent
BASE = {"model": "a:b", "data": "a:c", "steps": 10, "lr": 0.5}


def trained(**settings):
    return Learning(TrainConfig(**BASE | settings), [nn.Parameter(torch.ones(2))], 10).optimizer


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_takes_the_options_that_it_names(name):
    known = OPTIMIZERS[name]
    options = {"momentum": 0.3, "weight_decay": 0.2, "foreach": False}
    made = known.make([nn.Parameter(torch.ones(2))], 0.1, options)
    assert isinstance(made, Optimizer)
    group = made.param_groups[0]
    assert {option: group[option] for option in known.options} == {
        option: options[option] for option in known.options
    }
    assert group["lr"] == 0.1


def test_an_optimizer_that_is_added_can_be_trained_by(monkeypatch):
    rprop = KnownOptimizer("Rprop", torch.optim.Rprop, adaptive=True)
    monkeypatch.setitem(registry.OPTIMIZERS, "rprop", rprop)
    assert isinstance(trained(optimizer="rprop", samples=8), torch.optim.Rprop)
    with pytest.raises(ValueError, match="weight_decay is for sgd, adam.*, got rprop"):
        TrainConfig(**BASE, optimizer="rprop", weight_decay=0.1)


def test_methods_are_made_of_optimizers_that_are_known():
    for method in METHODS.values():
        if method.optimizer is not None:
            assert (method.fixed or {}).keys() <= set(OPTIMIZERS[method.optimizer].options)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_help_and_page_name_it(name):
    for config in (TrainConfig, CompareConfig):
        assert f'"{name}"' in inspect.getsource(config).partition("optimizer: str")[2][:200]
    page = (ROOT / "docs" / "training.md").read_text().partition("## Learning")[2]
    assert f"`{name}`" in page[:200]


def test_one_is_made_without_torchs_compiler_and_torch_is_left_as_it_was(monkeypatch):
    mark, function = "__dynamo_disable", inspect.unwrap(Optimizer.add_param_group)
    monkeypatch.delitem(sys.modules, "torch._dynamo", raising=False)
    monkeypatch.delattr(function, mark, raising=False)
    for known in OPTIMIZERS.values():
        known.make([nn.Parameter(torch.ones(2))], 0.1, {})
    assert "torch._dynamo" not in sys.modules
    assert not hasattr(function, mark)
