"""Whatever a user's functions return or raise, `pprs train` says which, and what it has seen."""

import io
import shutil
import warnings
from contextlib import chdir, redirect_stderr, redirect_stdout
from importlib import import_module
from itertools import count
from pathlib import Path

import pytest
from amount import tries
from hypothesis import given
from hypothesis import strategies as st

from pprs.cli import main

RIGHT = """
import sys
from pathlib import Path

import torch
from torch import nn
from torch.optim import SGD
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

class Odd(BaseException):
    pass

class Silent(Exception):
    def __str__(self):
        raise ValueError

class Strange:
    def __getattr__(self, name):
        raise KeyError(name)

class Head(nn.Module):
    def __init__(self, function, width=4):
        super().__init__()
        self.linear, self.function = nn.Linear(width, 3), function

    def forward(self, x):
        return self.function(self.linear(x))

class Answer:
    @property
    def logits(self):
        raise KeyError("logits")

def deep(function):
    return nn.Sequential(nn.Linear(4, 5), Head(function, 5))

class Items(Dataset):
    def __init__(self, length, item):
        self.length, self.item = length, item

    def __len__(self):
        return self.length() if callable(self.length) else self.length

    def __getitem__(self, i):
        return self.item(i)

def fails(error):
    raise error

X, Y = torch.zeros(10, 4), torch.arange(10) % 3

def model():
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))

def data():
    return TensorDataset(X, Y)

def loss(outputs, targets):
    return nn.functional.cross_entropy(outputs, targets)

def optimizer(parameters, lr):
    return SGD(parameters, lr)

def decay(optimizer):
    return torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
"""
ARGUMENTS = {
    "model": "",
    "data": "",
    "loss": "outputs, targets",
    "optimizer": "parameters, lr",
    "decay": "optimizer",
}
# What no function may return, whatever it is for.
NOTHING = (
    "None", "3", "nan", "'text'", "b'x'", "object()", "Strange()", "Strange", "type", "print",
    "sys",
    "(i for i in range(3))", "iter([])", "range(0)", "set()", "{}", "[]", "()", "[None]",
    "(1, 2, 3)",
    "{'a': 1}", "Ellipsis", "float('nan')", "nn.Linear", "TensorDataset", "IterableDataset()",
    "Path()",
    "torch.ones(2, 3)", "torch.ones(())", "torch.float32", "nn.Parameter(X)", "lambda: 0", "Items",
)  # fmt: skip
ERRORS = (
    "KeyError('key')", "KeyError()", "SystemExit()", "SystemExit(0)", "SystemExit('bye')", "Odd()",
    "GeneratorExit()", "StopIteration()", "Silent()", "RecursionError('deep')", "MemoryError()",
    "ImportError('no')", "ModuleNotFoundError(name='pprs.x')", "ModuleNotFoundError(name='gone')",
    "OSError(5, 'broken')", "UnicodeDecodeError('utf-8', b'', 0, 1, 'bad')", "ValueError('a\\nb')",
    "AssertionError", "Warning('w')", "Exception('\\udcff [/b]')", "torch.OutOfMemoryError('full')",
)  # fmt: skip
# For each function, what only it must not return.
WRONG = {
    "model": (
        "nn.Identity()", "nn.Sequential()", "nn.ReLU()", "model",
        "nn.Linear(4, 3).requires_grad_(False)",
        "nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))", "model().double()",
        "model().to(torch.bfloat16)", "model().to('meta')", "model().to(torch.complex64)",
        "nn.LSTM(4, 3)",
        "nn.Linear(3, 3)", "nn.Linear(4, 3)", "nn.Embedding(4, 3)",
        "nn.ModuleList([nn.Linear(4, 3)])",
        "nn.Module()", "nn.LazyLinear(3)", "nn.Sequential(nn.LazyLinear(3), nn.Linear(3, 3))",
        "nn.Sequential(nn.Flatten(0), nn.Linear(8, 3), nn.ReLU())", "nn.Bilinear(4, 4, 3)",
    ),
    "data": (
        "X", "(X, Y)", "TensorDataset(X[:0], Y[:0])", "TensorDataset(X)", "DataLoader(data())",
        "X.numpy()",
        "TensorDataset(X.double(), Y)", "TensorDataset(X * torch.nan, Y)",
        "TensorDataset(X, Y + 5)",
        "TensorDataset(X, Y.float())", "TensorDataset(X, Y - 7)", "TensorDataset(X, X)",
        "(data(), 3)",
        "TensorDataset(X.long(), Y)", "TensorDataset(X[None], Y[:1])", "(data(), data(), data())",
        "(data(), TensorDataset(X[:, :3], Y))", "TensorDataset(X + torch.inf, Y)", "(None, data())",
        "TensorDataset(X.to('meta'), Y)", "TensorDataset(X, Y.bool())", "TensorDataset(X + 1j, Y)",
        "Items(-1, lambda i: (X[i], 0))", "Items(2**70, lambda i: (X[0], 0))", "{'train': data()}",
        "Items('3', lambda i: (X[i], 0))", "Items(3, lambda i: X[i])", "Items(3, lambda i: 'text')",
        "Items(3, lambda i: (X[i], 'text'))", "Items(3, lambda i: (None, 0))",
        "Items(3, lambda i: {})",
        "Items(3, lambda i: (X[0, :4 - i], 0))", "Items(3, lambda i: {'x': X[i], 'labels': 0})",
        "Items(3, lambda i: {1: X[i], 'labels': 0})", "Items(3, lambda i: {'labels': 0})",
        "Items(3, lambda i: {'input': X[i], 'labels': 'a'})",
        "Items(3, lambda i: (X[i],) * (2 + i))",
        "Items(3, lambda i: [(X[0], 0), {'x': X[0], 'labels': 1}][i])",
        "Items(1, lambda i: fails(Odd()))",
        "Items(lambda: fails(SystemExit()), None)", "Items(lambda: fails(KeyError()), None)",
        "Items(3, lambda i: (X[i], X[i], 0))", "Items(3, lambda i: (X[i].to_sparse(), 0))",
    ),
    "loss": (
        "outputs", "outputs.sum(1)", "outputs.detach().sum()", "outputs.sum().item()",
        "(outputs.sum(),)",
        "outputs.sum() / 0", "outputs.sum() * torch.nan", "outputs.argmax()", "outputs.sum() + 1j",
        "torch.ones((), requires_grad=True)", "outputs[9].sum()", "outputs @ outputs",
        "targets.sum()",
        "outputs.sum().backward()", "nn.functional.mse_loss(outputs, targets + torch.zeros(2, 7))",
        "outputs.sum() if outputs.sum() > -1e9 else 0", "torch.tensor(outputs.sum().item())",
        "nn.CrossEntropyLoss(reduction='none')(outputs, targets)", "torch.ones((), device='meta')",
    ),
    "optimizer": (
        "SGD", "SGD(parameters)(3)", "SGD([], lr)", "SGD(parameters, -lr)", "parameters", "model()",
        "torch.optim.LBFGS(parameters)", "torch.optim.Optimizer(parameters, {})",
    ),
    "decay": (
        "torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)",
        "torch.optim.lr_scheduler.LRScheduler",
        "optimizer", "torch.optim.lr_scheduler.LambdaLR(optimizer, 3)", "SGD(model().parameters())",
        "torch.optim.lr_scheduler.LambdaLR(optimizer, Strange())", "0.9", "(decay(optimizer),)",
    ),
}  # fmt: skip
# What a model must not answer with: f(outputs).
ANSWERS = (
    "None", "y.tolist()", "{'scores': y}", "(y, y)", "y[:1]", "y.sum()", "y.argmax(1)", "Answer()",
    "y + 1j",
    "y.repeat(2, 1)", "y * torch.nan", "y.int()", "fails(SystemExit())", "fails(Odd())", "y[0]",
    "[y]",
    "y.numpy()", "y.to('meta')", "y.T", "y.bool()", "'text'", "y.sum(1)", "fails(KeyError(3))",
)  # fmt: skip


class Accepted(Exception):
    """Nothing was wrong: now the processes would start."""


def accepted(*_, **__):
    raise Accepted


@pytest.fixture(scope="module", autouse=True)
def workplace(tmp_path_factory):
    """A folder in which nothing is launched."""
    with chdir(tmp_path_factory.mktemp("workplace")), pytest.MonkeyPatch.context() as patched:
        patched.setattr(import_module("pprs.training.train"), "launch", accepted)
        yield


NUMBERS = count()


def ended(source, *used):
    """How `pprs train` ends with functions of a user's file, and what it says."""
    file = Path(f"mine{next(NUMBERS)}.py")  # a module is imported once
    file.write_text(RIGHT + source)
    functions = [w for name in {"model", "data", *used} for w in (f"--{name}", f"{file}:{name}")]
    said = io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace")
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(said), warnings.catch_warnings(action="ignore"):
        try:
            code = main(["train", *functions, "--steps", "3"])
        except SystemExit as left:
            code = f"SystemExit {left.code}"
        except Accepted:
            code = "accepted"
            shutil.rmtree("runs")
    assert not Path("runs").exists()
    said.seek(0)
    return code, said.read()


def defined(name, line):
    return f"\ndef {name}({ARGUMENTS[name]}):\n    {line}\n"


def check_sentence(ending, *names):
    code, said = ending
    assert code == 2, said
    assert said.startswith("pprs: ")
    assert said.count("\n") == 1
    assert "Traceback" not in said
    assert any(name in said for name in names), said


# The functions beside the one that is wrong: the user's own, or those that pprs has.
OTHERS = st.sampled_from([[], ["loss"], ["optimizer"], ["decay"], list(ARGUMENTS)])


def test_what_is_right_is_accepted():
    assert ended("")[0] == "accepted"
    assert ended("", *ARGUMENTS)[0] == "accepted"


CASES = [(name, value) for name, some in WRONG.items() for value in some + NOTHING]
# Where a fault may show besides its function: targets in the loss, too few layers where they are
# cut.
ALSO = {"data": ["the loss, "], "model": ["stages, got 2"]}


@pytest.mark.parametrize(("name", "value"), CASES)
def test_what_a_function_must_not_return_is_named(name, value):
    check_sentence(ended(defined(name, f"return {value}"), name), name, *ALSO.get(name, []))


@tries(60)
@given(st.lists(st.sampled_from(CASES), min_size=2, max_size=3), OTHERS)
def test_of_several_wrong_functions_one_is_named(cases, others):
    source = "".join(defined(name, f"return {value}") for name, value in cases)
    names = [name for name, _ in cases]
    also = [said for name in names for said in ALSO.get(name, [])]
    check_sentence(ended(source, *names, *others), *names, *also)


@tries(100)
@given(st.sampled_from(list(ARGUMENTS)), st.sampled_from(ERRORS), OTHERS)
def test_what_a_function_raises_is_named(name, error, others):
    kind = error.partition("(")[0].rpartition(".")[2]
    said = ended(defined(name, f"raise {error}"), name, *others)
    check_sentence(said, name)
    check_sentence(said, kind)


@tries(60)
@given(st.sampled_from(list(ARGUMENTS)), st.integers(0, 4))
def test_a_function_of_too_many_or_too_few_arguments_is_named(name, number):
    needed = ARGUMENTS[name].count(",") + bool(ARGUMENTS[name])
    if number == needed:
        return
    given = ", ".join("abcd"[:number])
    check_sentence(ended(f"\ndef {name}({given}):\n    return 0\n", name), name)


@tries(100)
@given(st.sampled_from(ANSWERS), st.sampled_from(["Head", "deep"]))
def test_a_model_that_answers_wrongly_is_named(answer, model):
    source = defined("model", f"return {model}(lambda y: {answer})")
    check_sentence(ended(source), "model", "outputs")


@pytest.mark.parametrize("error", ERRORS)
def test_what_importing_the_file_raises_is_named(error):
    check_sentence(ended(f"\nraise {error}\n"), "importing mine")


@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_interrupt_is_no_fault_of_the_function(name):
    assert ended(defined(name, "raise KeyboardInterrupt"), name)[0] == 130
