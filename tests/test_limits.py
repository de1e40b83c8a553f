"""What the page of limits says is refused, is refused, with the words that it says."""

import random
import re
import warnings
from contextlib import chdir
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import pprs
from pprs.pipeline import Pipeline, chain, launch
from pprs.training import TrainConfig
from pprs.training.check import check

PAGE = Path(__file__).parent.parent / "docs" / "limits.md"
X, Y = torch.randn(4, 6, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0])


class Net(nn.Module):
    """Two linear maps, a buffer, an attribute and a number, put together as a case asks for."""

    def __init__(self, forward=None):
        super().__init__()
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)
        self.register_buffer("mean", torch.zeros(6))
        self.seen, self.number = torch.zeros(6), 0
        self.run = forward or (lambda net, x: net.b(net.a(x)))

    def forward(self, x):
        return self.run(self, x)


class Holding(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, layer):
        return layer(x)


def smoothed(forward, model=None, **options):
    """Smooth a function of a model."""
    net = Net() if model is None else model
    return pprs.smooth(lambda *row: forward(net, *row), net, 0.1, 2, **options)


def stepped(model, closure):
    pprs.PPRS(model, 0.1, sigma=0.1, samples=2).step(closure)


def traced(forward):
    chain(Net(forward), X.clone())


def piped(network, loss=F.cross_entropy, y=Y, **options):
    """One step of a pipeline in this process."""
    alone = dict(sigma=0.1, samples=2, seed=0) | options
    pipeline = Pipeline(network, loss, **alone)
    pipeline.step(X, y)
    return pipeline


def average_of_labels(scores, y):  # one that is not known
    return F.cross_entropy(scores, y)


def trained(source="", **options):
    file = f"mine{len(list(Path().iterdir()))}.py"  # a module is imported once
    Path(file).write_text(
        "import numpy, torch\n"
        "from torch import nn\n"
        "from torch.utils.data import DataLoader, TensorDataset\n"
        "X, Y = torch.randn(10, 4), torch.arange(10) % 3\n"
        "def model():\n    return nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 3))\n"
        f"def data():\n    return TensorDataset(X, Y)\n{source}\n"
    )
    wanted = dict(model="MINE:model", data="MINE:data", steps=3) | options
    check(
        TrainConfig(
            **{k: v.replace("MINE", file) if isinstance(v, str) else v for k, v in wanted.items()}
        )
    )


def in_place(net, x=X):
    out = torch.zeros(4, 6)
    out += net(x)
    return out.sum()


def set_buffer(net, x=X):
    h = net.a(x)
    net.mean = net.mean + h.mean(0)
    return net.b(h).sum()


def changing(net):
    with torch.no_grad():
        net.a.weight.clamp_(-1, 1)
    return net(X).sum()


def clearing(net):
    net.a.weight.grad = None
    return net(X).sum()


def hooked(net):
    h = net.a(X)
    h.register_hook(torch.neg)
    return net.b(h).sum()


def with_hook(model):
    model.register_full_backward_hook(lambda *_: None)
    return model


def at_zero(layer):
    nn.init.zeros_(layer.bias)
    return layer


def comparing(net):
    return net(X).sum() * torch.equal(net.bias > 0, torch.tensor([True]))


def counting(net, x):
    net.number += 1
    return net.a(x) * net.number


def one_in_two():
    net = Net()
    net.b.weight.data = net.a.weight.data
    return net


def tied():
    ends = nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False)
    ends[1].weight = ends[0].weight
    piped(nn.Sequential(ends[0], nn.Tanh(), ends[1]), schedule="looped-bfs")


class Parts(nn.Module):
    def forward(self, x):
        return {"x": x}


class Counter(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x):
        self.count += 1
        return x


class Checkpointed(nn.Linear):
    def forward(self, x):
        return checkpoint(super().forward, x, use_reentrant=True)


def layers(*more):
    return nn.Sequential(nn.Linear(6, 3), *more)


def sharing_memory():
    twice = Net(lambda net, x: (x, x))
    writing = Net(lambda net, pair: net.a(pair[0].mul_(2) + pair[1]))
    piped(nn.Sequential(nn.Linear(6, 6), twice, writing), schedule="looped-bfs", cut=["2"])


def in_two_places():
    counter = Counter()
    piped(nn.Sequential(counter, *layers(counter)), schedule="looped-bfs", cut=["1"])


def padded_later():
    def average_of_words(scores, y):  # 0 stands for none
        return F.cross_entropy(scores, y, ignore_index=0)

    parts = dict(split="examples", microbatches=2)
    pipeline = piped(layers(), average_of_words, torch.tensor([1, 2, 2, 1]), **parts)
    pipeline.step(X, torch.tensor([1, 2, 0, 1]))


def penalised():
    network = layers()
    piped(network, lambda s, y: F.cross_entropy(s, y) + network[0].weight.square().sum())


def changed_since():
    model = Net()
    pieces = chain(model, X)
    model.run = lambda net, x: net.b(net.a(x).tanh())
    piped(pieces)


def replaced_after_use():
    def forward(net, x):
        scaled = net.a(x) * net.mean
        net.mean = net.mean + x.detach().mean(0)
        return net.b(scaled)

    piped(Net(forward), example=(X,), sigma=0.0, samples=1)


def rechecked():
    with warnings.catch_warnings(action="ignore"):  # torch's: at first it runs without gradients
        piped(layers(Checkpointed(3, 3)), recompute=True, sigma=0.0, samples=1)


def scripted():
    with warnings.catch_warnings(action="ignore"):
        return torch.jit.script(nn.Linear(6, 6))


def sparse():
    model = nn.Embedding(5, 3, sparse=True)
    stepped(model, lambda: model(Y).sum())


def scaled():
    model, scaler = Net(), torch.amp.GradScaler("cpu")
    stepped(model, lambda: scaler.scale(model(X).sum()))


def cycled():
    model = Net()
    optimizer = pprs.AGD(model.parameters(), 0.1, momentum="nesterov")
    torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=5)
    optimizer.step()


def frozen_mode():
    model = Net(lambda net, x: net.b(net.a(x)) * (2 if net.training else torch.sigmoid(x)))
    piped(model, example=(X,)).eval()


def without_gradients():
    with torch.no_grad():
        piped(layers())


SAM = """
class SAM(torch.optim.SGD):
    def __init__(self, parameters, lr, rho=0.05):
        super().__init__(parameters, lr)
        self.defaults["rho"] = rho
"""
UNSEEDED = """
class Noisy(TensorDataset):
    def __getitem__(self, i):
        x, y = super().__getitem__(i)
        return x + numpy.random.default_rng().random(), y
def data():
    return Noisy(X, Y)
"""
OTHER, SCALE = Net(), torch.ones((), requires_grad=True)
# By what the page says that is said.
CASES = {
    "is in training mode: its running statistics": lambda: smoothed(
        lambda net: net(X).sum(), nn.BatchNorm1d(6)
    ),
    "is compiled by torch.jit": lambda: smoothed(lambda net: net(X).sum(), scripted()),
    "was used unperturbed": lambda: smoothed(
        lambda net: net(X).sum() + (X @ nn.Parameter(net.a.weight)).sum()
    ),
    "the closure did not use": lambda: smoothed(lambda net: net.a(X).sum()),
    "the closure used none of": lambda: smoothed(lambda _: OTHER(X).sum()),
    "changes parameter": lambda: smoothed(changing),
    "sets the gradient of parameter": lambda: smoothed(clearing),
    "needs a real floating-point type": lambda: smoothed(
        lambda net: net(X).sum(), nn.Linear(6, 6, dtype=torch.cfloat)
    ),
    "must return a scalar loss": lambda: smoothed(lambda net: net(X)),
    "the loss is not finite": lambda: smoothed(lambda net: net(X).sum() / 0),
    "it must not be larger": lambda: smoothed(
        lambda net, x: torch.addmm(X, x, net.weight).sum(),
        nn.Linear(6, 6, bias=False),
        noise="example",
        batch=(X,),
    ),
    "counts the tokens of a batch": lambda: smoothed(
        lambda net, y: net(y).sum(),
        nn.Embedding(3, 2, scale_grad_by_freq=True),
        noise="example",
        batch=(Y[:, None],),
    ),
    "has no shape yet": lambda: smoothed(lambda net: net(X).sum(), nn.LazyLinear(3)),
    "as OneCycleLR and CyclicLR do": cycled,
    "PPRS does not go with a GradScaler": scaled,
    "does not take sparse gradients": sparse,
    "but share their memory": lambda: smoothed(lambda net: net(X).sum(), one_in_two()),
    "is not one of the model's": lambda: pprs.PPRS(Net(), 0.1, sigma=0.1).add_param_group(
        {"params": [*Net().parameters()]}
    ),
    "is set from perturbed values": lambda: smoothed(set_buffer),
    "which all perturbations share": lambda: smoothed(in_place),
    "and another value at others": lambda: smoothed(
        comparing, at_zero(nn.Linear(6, 1)), antithetic=True
    ),
    "no sparse gradient of it together": lambda: smoothed(
        lambda bag: bag(Y[None]).sum(), nn.EmbeddingBag(3, 2, mode="sum", sparse=True)
    ),
    "has backward hooks": lambda: smoothed(lambda net: net(X).sum(), with_hook(nn.Linear(6, 6))),
    "knows no hooks": lambda: smoothed(hooked),
    "activation checkpointing": lambda: smoothed(
        lambda net: checkpoint(net, X, use_reentrant=False).sum()
    ),
    "takes derivatives itself": lambda: smoothed(
        lambda net: torch.func.grad(lambda x: net(x).sum())(X).sum()
    ),
    "the network is wrapped in": lambda: chain(nn.DataParallel(Net()), X),
    "torch.export cannot trace": lambda: traced(lambda net, x: x if net.a(x).sum() > 0 else -x),
    "which its trace does not repeat in every step": lambda: traced(
        lambda net, x: net.a(x) * random.random()
    ),
    "has a backward hook": lambda: chain(with_hook(Net()), X),
    "whose parameters a trace would not see": lambda: traced(
        lambda net, x: Holding.apply(net.a(x), net.b)
    ),
    "which its layers alone would not run": lambda: chain(
        with_hook(nn.Sequential(nn.Linear(6, 6)))
    ),
    "and computes something else in": frozen_mode,
    "places to cut": tied,
    "traced for": lambda: chain(Net(), X)(torch.randn(4, 5)),
    "which has no row for each example": lambda: piped(
        Net(lambda net, x: net.b(net.a(x)).sum(0)), noise="example", example=(X,)
    ),
    "needs a loss that is a mean over examples": lambda: piped(
        layers(),
        lambda s, y: F.cross_entropy(s, y, reduction="sum"),
        split="examples",
        microbatches=2,
    ),
    "other numbers of labels that are not -100": lambda: piped(
        layers(), average_of_labels, torch.tensor([0, -100, 2, 1]), split="examples", microbatches=2
    ),
    "weighs labels unequally": padded_later,
    "is no parameter of the network": lambda: piped(layers(), lambda s, y: (SCALE * s).sum()),
    "which only its layer perturbs": penalised,
    "the pipeline would not train your model": changed_since,
    "something reaches a later stage otherwise": sharing_memory,
    "passes from one stage to the next": lambda: piped(
        nn.Sequential(Parts(), nn.Linear(6, 3)), schedule="looped-bfs", cut=["1"]
    ),
    "that the backward pass needs was changed in place": replaced_after_use,
    "which recompute=True runs twice": lambda: piped(layers(Counter()), recompute=True),
    "each of which would change a copy of its own": in_two_places,
    "use_reentrant=True, which recompute=True cannot run again": rechecked,
    "a step needs gradients": without_gradients,
    "data must return": lambda: trained("def data():\n    return DataLoader(TensorDataset(X, Y))"),
    "whose running statistics mix": lambda: trained(
        "def model():\n    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3).eval())"
    ),
    "takes labels from 0 to": lambda: trained("def data():\n    return TensorDataset(X, Y + 1)"),
    "must take a step without arguments": lambda: trained(optimizer="torch.optim:LBFGS"),
    "so the result would depend on where the model is cut": lambda: trained(
        SAM, optimizer="MINE:SAM"
    ),
    "so each process would read others": lambda: trained(UNSEEDED),
    "worker must be": lambda: launch(lambda: None, 2),
}


# What takes several processes, and has its tests with them.
AMONG_RANKS = ["rank 1 has", "a step has failed on this rank"]


@pytest.fixture(scope="module", autouse=True)
def alone(tmp_path_factory):
    """A process group of this process only, and a folder to write in."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    with chdir(tmp_path_factory.mktemp("user")):
        yield
    dist.destroy_process_group()


def test_every_refusal_of_the_page_has_a_case():
    table = PAGE.read_text().partition("\n## What is inherited")[0]
    rows = [row.split(" | ") for row in table.splitlines() if row.startswith("| ")]
    said = [words for row in rows for words in re.findall("`([^`]+)`", row[1])]
    assert sorted(said) == sorted([*CASES, *AMONG_RANKS])


@pytest.mark.parametrize("said", CASES)
def test_what_the_page_calls_refused_is_refused(said):
    with pytest.raises((ValueError, TypeError, RuntimeError), match=re.escape(said)):
        CASES[said]()
