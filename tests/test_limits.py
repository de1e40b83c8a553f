"""What the page of limits says is refused, is refused, with the words that it says."""

import random
import re
from contextlib import chdir
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from refused import (
    SAM,
    UNSEEDED,
    Counter,
    Holding,
    Net,
    Parts,
    X,
    Y,
    at_zero,
    average_of_labels,
    changed_since,
    changing,
    clearing,
    comparing,
    cycled,
    frozen_mode,
    hooked,
    in_place,
    in_two_places,
    layers,
    one_in_two,
    padded_later,
    penalised,
    piped,
    rechecked,
    replaced_after_use,
    scaled,
    scripted,
    searched,
    set_buffer,
    sharing_memory,
    smoothed,
    sparse,
    traced,
    trained,
    unshared,
    with_hook,
    without_gradients,
)
from torch import nn
from torch.utils.checkpoint import checkpoint

import pprs
from pprs.pipeline import chain, launch

PAGE = Path(__file__).parent.parent / "docs" / "limits.md"


def copy_changed(maps):
    maps.flatten().add_(1)
    return maps.sum()


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
    "then changes one of the two": lambda: smoothed(
        lambda net: copy_changed(net(X[:, :, None])), nn.Conv1d(6, 4, 1)
    ),
    "as_strided of a part": lambda: smoothed(
        lambda net: net(X[:, :, None])[:, 1:].as_strided((2,), (1,)).sum(), nn.Conv1d(6, 4, 1)
    ),
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
    "lr is searched, but was set from": searched,
    "cannot be searched, since": lambda: searched(torch.optim.Rprop),
    "samples must be a multiple of": lambda: searched(perturbation=pprs.Perturbation(0.1, 8)),
    "is not finite, though the loss is": lambda: searched(loss=lambda x: (0 * x).sqrt().sum()),
    "but share their memory": lambda: smoothed(lambda net: net(X).sum(), one_in_two()),
    "is not one of the model's": lambda: pprs.PPRS(Net(), 0.1, sigma=0.1).add_param_group(
        {"params": [*Net().parameters()]}
    ),
    "is set from perturbed values": lambda: smoothed(set_buffer),
    "which all perturbations share": lambda: smoothed(in_place),
    "reads a value that differs": lambda: smoothed(lambda net: net(X).sum() * net(X).max().item()),
    "whose shape may differ": lambda: smoothed(lambda net: net(X)[net(X) > 0].sum()),
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
    "the closure calls backward()": lambda: smoothed(lambda net: net(X).sum().backward()),
    "inside another one's closure": lambda: smoothed(
        lambda net: pprs.smooth(lambda: net(X).sum(), net)
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
    "share the microbatches of a step evenly": unshared,
    "a step needs gradients": without_gradients,
    "data must return": lambda: trained("def data():\n    return DataLoader(TensorDataset(X, Y))"),
    "whose running statistics mix": lambda: trained(
        "def model():\n    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3).eval())"
    ),
    "takes labels from 0 to": lambda: trained("def data():\n    return TensorDataset(X, Y + 1)"),
    "must take a step without arguments": lambda: trained(optimizer="torch.optim:LBFGS"),
    "so the result would depend on where the model is cut": lambda: trained(
        SAM, optimizer="MINE:SAM", lr=0.01
    ),
    "so each process would read others": lambda: trained(UNSEEDED),
    "worker must be": lambda: launch(lambda: None, 2),
}


# What takes several processes, and has its tests with them.
AMONG_RANKS = ["rank 1 has", "a step has failed on this rank", "is no longer equal"]


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
