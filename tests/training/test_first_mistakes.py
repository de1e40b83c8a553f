"""What people get wrong first is said in a sentence that leads to the place and to the way out."""

import re
from contextlib import chdir

import pytest

from pprs.training import TrainConfig
from pprs.training.check import check

GOOD = """
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

X, Y = torch.randn(10, 4), torch.arange(10) % 3

class Stream(IterableDataset):
    def __iter__(self):
        return iter(zip(X, Y))

class DataFrame:
    def __len__(self):
        return 3
    def __getitem__(self, key):
        raise KeyError(key)

def model():
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))

def data():
    return TensorDataset(X, Y)

def tokens():
    x = torch.randint(9, (10, 5), generator=torch.Generator().manual_seed(0))
    y = x.clone()
    y[1, 2:] = -100
    return TensorDataset(x, y)

def reader():
    return nn.Sequential(nn.Embedding(9, 6), nn.Linear(6, 9))

def summed(outputs, targets):
    return nn.functional.cross_entropy(outputs, targets, reduction="sum")
"""


@pytest.fixture
def workplace(tmp_path):
    """A folder to work in, with a file to which a test adds functions."""
    with chdir(tmp_path):
        yield tmp_path / "mine.py"


def settings(**changes):
    return TrainConfig(**{"model": "mine.py:model", "data": "mine.py:data", "steps": 3} | changes)


def refusal(file, source, **changes):
    """The sentence with which settings are refused, and where its last line is in the file."""
    file.write_text(GOOD + source)
    with pytest.raises(ValueError, match=".") as error:
        check(settings(**changes))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("returned", "way"),
    [
        ("DataLoader(TensorDataset(X, Y), 5)", r"got a DataLoader: return its data set, loader\."),
        ("Stream()", r"got a Stream: return one with items by number"),
        ("[X, Y]", r"got tensors: wrap them, torch.utils.data.TensorDataset\(x, y\)"),
        ("X.numpy(), Y.numpy()", r"TensorDataset\(torch.from_numpy\(x\), torch.from_numpy\(y\)\)"),
        ("X.numpy()", r"got a ndarray: wrap them, .*from_numpy"),
        ("(X, Y), (X, Y)", r"got tensors as the training data: wrap them"),
        (
            "TensorDataset(X, Y), (X.numpy(), Y.numpy())",
            r"got a tuple as the validation data: wrap",
        ),
        ("{'train': [1], 'test': [2]}", r"got a dict: return \(data\['train'\], data\['test'\]\)"),
        ("DataFrame()", r"got a DataFrame: wrap them, .*\.to_numpy\(\)"),
        ("[{'x': X[0], 'label': 1}] * 3", r"got the keys 'x', 'label': rename 'label'"),
        ("'digits'", r"got a str: load it"),
    ],
)
def test_data_of_another_kind_are_named_with_what_to_return(workplace, returned, way):
    assert re.search(way, refusal(workplace, f"\ndef data():\n    return {returned}\n"))


@pytest.mark.parametrize(
    ("layers", "examples", "said"),
    [
        (
            "nn.Linear(4, 5), nn.Linear(6, 3)",
            "X",
            r'layer "1" \(Linear 6->3\) expects 6 feat.*got 5',
        ),
        ("nn.Linear(4, 3)", "X.double()", r'"0" \(Linear 4->3\) has float32 .* got float64: give'),
        ("nn.Linear(4, 3)", "Y[:, None].expand(-1, 4)", r"has float32 parameters, got int64"),
        ("nn.Embedding(1, 3)", "Y", r'"0" \(Embedding\) has rows for the numbers 0 to 0, got 1'),
        ("nn.Embedding(2, 3)", "X[:, 0]", r"\(Embedding\) expects whole numbers \(int64\), got"),
        (
            "nn.Sequential(nn.LayerNorm(7))",
            "X",
            r'"0\.0" \(LayerNorm\) expects .*\(\.\.\., 7\), got',
        ),
        ("nn.Conv2d(3, 8, 3)", "X", r"\(Conv2d\) expects .* \(m, 3, height, width\), got \(2, 4\)"),
        ("nn.Linear(4, 8), nn.GRU(7, 3)", "X", r'layer "1" \(GRU\) failed on \(2, 8\) float32: Ru'),
    ],
)
def test_the_layer_that_does_not_take_the_inputs_is_named(workplace, layers, examples, said):
    source = f"""
def model():
    return nn.Sequential({layers})

def data():
    return TensorDataset({examples}[:3], Y[:3])
"""
    assert re.search(said, refusal(workplace, source))


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ("Y.float()", r"needs the numbers of classes.*: y\.long\(\) may give them"),
        ("nn.functional.one_hot(Y, 3).float()", r"y\.argmax\(1\) may give them"),
        ("Y[:, None]", r"needs targets of shape \(2,\).*: y.squeeze\(-1\) has it"),
        (
            "Y + 1",
            r"item 2 of the training data has the label 3, but .* from 0 to 2, the 3 classes",
        ),
        ("torch.where(Y == 2, -1, Y)", r"item 2 of the training data has the label -1"),
    ],
)
def test_labels_that_are_no_classes_are_named(workplace, labels, said):
    source = f"\ndef data():\n    return TensorDataset(X, {labels})\n"
    assert re.search(said, refusal(workplace, source))


def test_classes_that_come_second_are_told_to_come_last(workplace):
    source = """
def model():
    return nn.Conv1d(1, 3, 1)

def data():
    return TensorDataset(X[:, None], torch.zeros(10, 4).long())
"""
    said = refusal(workplace, source)
    assert said.endswith("classes: classes come last here, as outputs.movedim(1, -1) has them")


def test_labels_of_any_whole_numbers_are_right(workplace):
    kinds = ("int8", "uint8", "int16", "int32")
    for kind in kinds:
        source = f"\ndef data_{kind}():\n    return TensorDataset(X, Y.to(torch.{kind}))\n"
        workplace.write_text((workplace.read_text() if workplace.exists() else GOOD) + source)
    for kind in kinds:
        check(settings(data=f"mine.py:data_{kind}"))


def test_what_a_function_raises_leads_to_the_users_own_line(workplace):
    source = """
class Layer(nn.Linear):
    def forward(self, x):
        return super().forward(x.reshape(3, 7))  # here

def model():
    return nn.Sequential(nn.Linear(4, 5), Layer(5, 3))

def works():
    return nn.Linear(4, 5)

def mine(outputs, targets):
    return nn.functional.l1_loss(outputs, "a")
"""
    line = 1 + (GOOD + source)[: (GOOD + source).index("# here")].count("\n")
    said = refusal(workplace, source)
    assert 'layer "1" (Layer 5->3) failed on (2, 5) float32: RuntimeError: ' in said
    assert said.endswith(f"(mine.py, line {line})")
    said = refusal(workplace, source, model="mine.py:works", loss="mine.py:mine")
    assert said.endswith(f"(mine.py, line {(GOOD + source).count(chr(10))})")


@pytest.mark.parametrize(
    ("source", "changes", "said"),
    [
        (
            "def model(width):",
            {},
            r"mine:model must take no arguments, but it takes width \(mine\d*",
        ),
        (
            "def mine(outputs):",
            {"loss": "?"},
            r"mine, must take \(outputs, targets\), but .* outputs",
        ),
        (
            "def mine(p, rate):",
            {"optimizer": "?"},
            r"must take \(parameters, lr=lr\), but it takes p",
        ),
        ("def mine():", {"decay": "?"}, r"must take the optimizer, but it takes nothing"),
    ],
)
def test_a_function_that_takes_something_else_is_named(workplace, source, changes, said):
    line = 1 + GOOD.count("\n")
    workplace.write_text(GOOD + source + "\n    return None\n")
    config = settings(**dict.fromkeys(changes, "mine.py:mine"))
    with pytest.raises(ValueError, match=said.replace("mine:", "mine.py:")) as error:
        check(config)
    assert f"(mine.py, line {line})" in str(error.value)


def test_inputs_that_the_model_does_not_take_are_named(workplace):
    source = """
class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)
    def forward(self, x, scale):
        return self.linear(x) * scale

def model():
    return Two()

def keyed():
    return [{"x": X[0], "index": 1, "labels": 0}] * 4
"""
    said = refusal(workplace, source)
    assert "must take the inputs of the training data, 1, but it takes x, scale (mine.py" in said
    said = refusal(workplace, source, data="mine.py:keyed")
    assert "must take the inputs of the training data, x, index, but it takes x, scale" in said


def test_names_that_are_nearly_right_are_guessed(workplace):
    assert refusal(workplace, "", model="mien.py:model").endswith("did you mean 'mine.py'?")
    assert refusal(workplace, "", model="mien:model").endswith("did you mean 'mine'?")
    assert "stages=4: a network of 3 layers" in refusal(workplace, "", stages=4)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("torch.optim.LBFGS(p, lr)", r"must take a step without arguments, such as a closure"),
        ("SAM(p, lr)", r"climbs along the gradient by all parameters together, but each process"),
        ("Prodigy(p, lr)", r"finds its step size from all parameters together"),
        ("Lamb(p, lr)", r"limits the norm of all gradients together \(max_grad_norm; --clip"),
        ("Closed(p, lr)", r"failed to take a step: TypeError: .* \(mine.py, line \d+\)"),
    ],
)
def test_optimizers_that_need_more_than_a_process_has_are_refused(workplace, body, said):
    source = f"""
class Option(torch.optim.SGD):
    def __init__(self, p, lr, **more):
        super().__init__(p, lr)
        self.defaults |= more
        for group in self.param_groups:
            group |= more

class SAM(Option):
    def __init__(self, p, lr):
        super().__init__(p, lr, rho=0.05)

class Prodigy(Option):
    pass

class Lamb(Option):
    def __init__(self, p, lr):
        super().__init__(p, lr, max_grad_norm=1.0)

class Closed(Option):
    def step(self, closure=None):
        return closure()

def optimizer(p, lr):
    return {body}
"""
    assert re.search(said, refusal(workplace, source, optimizer="mine.py:optimizer"))
    if "together" in said:
        check(settings(optimizer="mine.py:optimizer", stages=1))


COPIES = "the labels are the model's inputs, token for token, and are not shifted"


def test_labels_that_are_the_inputs_are_told(workplace, capsys):
    workplace.write_text(GOOD)
    reader = {"model": "mine.py:reader", "data": "mine.py:tokens"}
    check(settings(**reader))
    assert f"pprs: warning: {COPIES}" in capsys.readouterr().err
    check(settings(**reader, shift_labels=True))
    check(settings())
    assert capsys.readouterr().err == ""


def test_labels_are_shifted_only_where_they_are_of_tokens(workplace):
    said = refusal(workplace, "", shift_labels=True)
    assert (
        "labels of tokens, whole numbers of shape (m, tokens): those of data are (2,) int64" in said
    )
    with pytest.raises(ValueError, match="shift_labels is for cross-entropy, got mse"):
        settings(loss="mse", shift_labels=True)


def test_a_loss_that_is_no_mean_over_examples_is_told(workplace, capsys):
    workplace.write_text(GOOD)
    check(settings(loss="mine.py:summed"))
    assert "the loss, mine.py:summed, is no mean over examples" in capsys.readouterr().err
    check(settings(loss="mine.py:summed", microbatches=1))
    check(settings(loss="torch.nn.functional:cross_entropy"))
    assert capsys.readouterr().err == ""


def test_a_backward_that_fails_is_found_with_its_stage(workplace):
    source = """
class Broken(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return x.clone()
    @staticmethod
    def backward(context, gradient):
        raise ArithmeticError("no gradient")

class Layer(nn.Module):
    def forward(self, x):
        return Broken.apply(x)

def model():
    return nn.Sequential(nn.Linear(4, 50), Layer(), nn.Linear(50, 3))
"""
    said = refusal(workplace, source, cut=("1",))
    assert re.search(r"backward of the model failed, layers \"1\" to \"2\" in stage 1: Arith", said)
    assert re.search(r"no gradient \(mine.py, line \d+\)$", said)


@pytest.mark.parametrize(("seed", "right"), [("", False), ("0", True)])
def test_data_that_no_seed_reaches_are_refused(workplace, seed, right):
    source = f"""
class Drawn:
    def __init__(self):
        self.own = np.random.default_rng({seed})
    def __len__(self):
        return 8
    def __getitem__(self, i):
        return self.own.normal(size=4).astype("float32"), i % 3

def data():
    return Drawn()
"""
    if right:
        workplace.write_text(GOOD + source)
        check(settings())
    else:
        assert "so each process would read others: seed their own" in refusal(workplace, source)
        check(settings(stages=1))


def test_every_law_of_the_noise_is_rehearsed_as_it_will_run(workplace):
    workplace.write_text(GOOD)
    for noise in ("shared", "example"):
        for antithetic in (False, True):
            law = {"samples": 4, "sigma": 0.1, "noise": noise, "antithetic": antithetic}
            check(settings(**law, split="examples", recompute=True))
            check(settings(**law, precision="bfloat16", schedule="zb-v"))
