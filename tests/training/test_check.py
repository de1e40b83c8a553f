"""What is wrong is said in a sentence before anything starts."""

import re
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import pytest

from pprs.cli import main
from pprs.training import TrainConfig
from pprs.training.check import check

GOOD = """
import torch
from torch import nn
from torch.utils.data import TensorDataset

def model():
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))

def data():
    return TensorDataset(torch.randn(10, 4), torch.arange(10) % 3)
"""


@pytest.fixture
def workplace(tmp_path):
    """A folder to work in, with a file to which a test adds functions."""
    file = tmp_path / "mine.py"
    file.write_text(GOOD)
    with chdir(tmp_path):
        yield file


def settings(**changes):
    return TrainConfig(**{"model": "mine.py:model", "data": "mine.py:data", "steps": 3} | changes)


def refused(file, source, message, **changes):
    file.write_text(GOOD + source)
    with pytest.raises(ValueError, match=message) as error:
        check(settings(**changes))
    assert "\n" not in str(error.value).strip()


def test_what_is_right_passes(workplace):
    check(settings())


@pytest.mark.dist
def test_to_check_takes_neither_torchs_compiler_nor_its_pipelines(workplace):
    code = """
import sys
from pprs.training import TrainConfig
from pprs.training.check import check
check(TrainConfig(model="mine.py:model", data="mine.py:data", steps=3))
print({"torch._dynamo", "torch.distributed.pipelining", "sympy"} & sys.modules.keys())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("set()\n", "")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine", r"model must be package.module:function or file.py:function, got 'mine'"),
        ("nowhere:model", r"there is no module 'nowhere' in the current folder"),
        ("nowhere.py:model", r"there is no file .*nowhere.py"),
        ("mine.py:modle", r"mine.py has no 'modle': did you mean 'model'\?"),
        ("mine.py:fnuction", r"mine.py has no 'fnuction', only .*model, .*data$"),
        ("mine.py:__name__", r"model=mine.py:__name__ must be a function, but is of type str"),
        ("torch:ones", r"model=torch:ones failed: TypeError"),
        (
            "mine.py:made",
            r"made must be a function that returns one, but is a model itself",
        ),
        ("builtins:dict", r"model=builtins:dict must return a torch.nn.Module, got a dict"),
        ("torch.nn:Identity", r"model=torch.nn:Identity has no parameter that can be trained"),
    ],
)
def test_a_wrong_model_is_named(workplace, name, message):
    refused(workplace, "\nmade = model()\n", message, model=name)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("torch.ones(3, 4), torch.ones(3)", r"got tensors: wrap them, .*TensorDataset\(x, y\)"),
        ("3", r"data must return a data set with __len__ .*, got a int"),
        ("[]", r"data must have examples, but has none"),
        ("{'train': [1]}", r"got a dict: return data\['train'\]"),
        ("([1], [2], [3])", r"got a tuple of 3"),
        ("[3, 4]", r"an item of data must be \(x, y\), .*, got a int"),
        ("[(torch.ones(4),)] * 2", r"an item of data must be .* got a tuple of 1"),
        ("[{'x': torch.ones(4)}] * 2", r"must have 'labels' and an input, got the keys 'x'"),
        ("[(torch.ones(4), 'cat')] * 2", r"must hold tensors or numbers, got a tuple"),
        (
            "[{'x': [1, 2], 'labels': 0}] * 2",
            r"got a list of them: torch.tensor.*with_format\('torch'\)",
        ),
        ("([[[1.0] * 4] * 3, [0, 1, 0]],) * 2", r"side by side .*TensorDataset\(torch.tensor\(x\)"),
        ("[(torch.ones(4 + i), 0) for i in range(2)]", r"cannot stand side by side in a batch"),
        (
            "[(torch.ones(5), 0)] * 2",
            r"failed .*\(2, 5\) float32: layer .0. \(Linear 4->5\) expects 4 features, got 5$",
        ),
        ("[(torch.ones(4), 0.5)] * 2", r"cross-entropy, of outputs \(2, 3\) .* needs the numbers"),
        ("1 / 0", r"data=mine.py:data failed: ZeroDivisionError: .*\(mine.py, line \d+\)"),
    ],
)
def test_wrong_data_are_named(workplace, returned, message):
    refused(workplace, f"\ndef data():\n    return {returned}\n", message)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return outputs", r"must be a scalar tensor, got \(2, 3\) float32: its .mean\(\) is"),
        ("return 1.0", r"must be a scalar tensor, got a float"),
        ("return outputs.detach().sum()", r"has no gradient"),
        ("return outputs.sum() / 0", r"must be finite, got -?inf"),
        ("return outputs[7]", r"the loss, mine.py:mine, of outputs .* failed: IndexError"),
        ("return outputs.sum() * outputs.sum().item()", r"failed under torch.func.vmap"),
    ],
)
def test_a_wrong_loss_is_named(workplace, body, message):
    source = f"\ndef mine(outputs, targets):\n    {body}\n"
    refused(workplace, source, message, loss="mine.py:mine")


@pytest.mark.parametrize(
    ("source", "changes", "message"),
    [
        ("import notthere", {}, r"importing mine.py failed: ModuleNotFoundError: .*notthere"),
        ("", {"loss": "mse"}, r"mse, of outputs \(2, 3\) .* classes, take --loss cross-entropy$"),
        (
            "\ndef model():\n    return nn.Linear(4, 1)",
            {"loss": "mse"},
            r"two of one shape: y.unsqueeze\(-1\) has it$",
        ),
        ("\ndef model():\n    return nn.Linear(4, 1)", {}, "1 classes .* let the model have two"),
        ("", {"target_accuracy": 0.9, "loss": "mine.py:mine"}, "integer labels and outputs with"),
        ("", {"stages": 4}, r"a network of 3 layers can be cut into 1 to 3 stages, got 4"),
        ("", {"cut": ("head",)}, r"cut names 'head', but no layer"),
        ("", {"cut": ("0", "1")}, r"2 stages have 1 of these, got 2"),
        (
            "",
            {"schedule": "dualpipe-v", "batch": 9},
            r"a batch of 1 of the 10 examples does not fit",
        ),
        ("", {"replicas": 2, "batch": 3}, r"2 replicas share the examples"),
        ("", {"optimizer": "mine.py:model"}, r"mine.py:model must take \(parameters, lr=lr\), but"),
        ("", {"optimizer": "mine.py:none"}, r"must return a torch Optimizer, got a NoneType"),
        ("", {"decay": "torch.optim.lr_scheduler:ReduceLROnPlateau"}, r"must depend on steps only"),
        ("", {"schedule": "zb-v", "recompute": True}, r"cannot: use another schedule"),
        (
            "",
            {"resume": Path("nowhere")},
            r"cannot go on from nowhere: there is no run's config.toml",
        ),
    ],
)
def test_what_does_not_fit_is_said(workplace, source, changes, message):
    functions = """
def mine(outputs, targets):
    return outputs.mean()

def none(parameters, lr):
    return None
"""
    if "target_accuracy" in changes:
        functions += "\ndef data():\n    return TensorDataset(torch.ones(9, 4), torch.ones(9))\n"
    refused(workplace, source + functions, message, **changes)


def test_batch_norm_is_refused(workplace):
    source = "\ndef model():\n    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))\n"
    refused(workplace, source, "BatchNorm1d '1'.*nn.GroupNorm")


def test_validation_data_are_tried_too(workplace):
    source = """
def data():
    return TensorDataset(torch.ones(9, 4), torch.arange(9) % 3), [(torch.ones(7), 0)] * 3
"""
    refused(workplace, source, r"the model failed on two examples of the validation data, \(2, 7\)")


def test_a_missing_tensorboard_is_said(workplace, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    refused(workplace, "", r"pip install 'pprs\[tensorboard\]'", tensorboard=True)


def test_the_command_line_says_it_with_code_2_and_makes_no_folder(workplace, capsys):
    arguments = ["train", "--model", "mine.py:modle", "--data", "mine.py:data", "--steps", "1"]
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert re.fullmatch(r"pprs: model=mine.py:modle: .*did you mean 'model'\?\n", said)
    assert not (workplace.parent / "runs").exists()
