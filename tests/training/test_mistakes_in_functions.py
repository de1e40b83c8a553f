"""Mistakes in functions are said in a sentence that leads to the place and to the way out."""

import re

import pytest
from training.mistakes import GOOD, refusal, settings

from pprs.training.check import check


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


def test_a_loss_that_is_no_mean_over_examples_is_refused_before_anything_starts(workplace, capsys):
    workplace.write_text(GOOD)
    with pytest.raises(
        ValueError, match=r"mine.py:summed, is no mean over .* --microbatches 1 has"
    ):
        check(settings(loss="mine.py:summed"))
    check(settings(loss="mine.py:summed", check=False))
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


def test_every_law_of_the_noise_is_rehearsed_as_it_will_run(workplace):
    workplace.write_text(GOOD)
    for noise in ("shared", "example"):
        for antithetic in (False, True):
            law = {"samples": 4, "sigma": 0.1, "noise": noise, "antithetic": antithetic}
            check(settings(**law, split="examples", recompute=True))
            check(settings(**law, precision="bfloat16", schedule="zb-v"))
