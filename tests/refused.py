"""Models, closures and settings that are refused."""

import warnings
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import pprs
from pprs.pipeline import Pipeline, chain
from pprs.training import TrainConfig
from pprs.training.check import check

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


def searched(optimizer=torch.optim.SGD, loss=torch.sum, **options):
    """Two steps whose size is searched, between which something sets it."""
    model = Net()
    search = pprs.SearchedStep(optimizer(model.parameters()), model, **options)
    search.step(lambda: loss(model(X)))
    search.optimizer.param_groups[0]["lr"] *= 0.5
    search.step(lambda: loss(model(X)))


def frozen_mode():
    model = Net(lambda net, x: net.b(net.a(x)) * (2 if net.training else torch.sigmoid(x)))
    piped(model, example=(X,)).eval()


def unshared():
    pipeline = piped(layers(), samples=6, microbatches=2)
    pipeline.step(X, Y, centres=[pipeline.named_parameters()] * 3)


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
