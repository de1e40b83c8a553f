"""Shapes, types and layouts that torch's functions take: at a tiny sigma all is as without noise.

In float64, so that whatever was read from the wrong place or summed over the wrong dimension shows.
"""

import contextlib
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import pprs
from pprs.smoothing import force_way, has_native_kernels
from pprs.smoothing.native import kernels

needs_compiler = pytest.mark.skipif(
    not has_native_kernels() or torch.get_default_device().type != "cpu",
    reason="no C compiler, or no CPU",
)
WAYS = ("implicit", "materialised")
LAWS = (dict(), dict(antithetic=True), dict(scale="filter"))


def generated(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape))).double()


def result(loss, leaves):
    loss.backward()
    gradients = [leaf.grad for leaf in leaves]
    for leaf in leaves:
        leaf.grad = None
    return [loss.detach(), *gradients]


def as_without_noise(closure, model, *others, samples=4, tolerance=1e-6):
    """Check the loss and the gradients by the model's parameters, and by other leaves."""
    leaves = [p for p in model.parameters() if p.requires_grad] + [*others]
    expected = result(closure(), leaves)
    for way in WAYS:
        for law in LAWS:
            with force_way(way):
                loss = pprs.smooth(closure, model, 1e-9, samples, **law)
            for found, wanted in zip(result(loss, leaves), expected, strict=True):
                torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)


class Map(nn.Module):
    """A layer, and then a linear map whose bias comes from a place of choice."""

    def __init__(self, bias, origin):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.weight = nn.Linear(3, 5), nn.Parameter(torch.randn(4, 5))
        self.frozen = nn.Parameter(torch.randn(bias), requires_grad=False)
        self.own, self.wide = nn.Parameter(torch.randn(bias)), nn.Parameter(torch.randn(2, *bias))
        self.double()
        self.leaf = torch.randn(bias).double().requires_grad_()
        self.origin = origin
        for unused in {"own", "wide"} - {origin}:
            delattr(self, unused)

    def bias(self):
        return self.wide[1] if self.origin == "wide" else getattr(self, self.origin)

    def forward(self, x, form):
        h, b = torch.tanh(self.first(x)), self.bias()
        if form == "linear":
            return F.linear(h, self.weight, b)
        if form == "left":
            return torch.addmm(b.mT if b.dim() == 2 else b, self.weight, h.mT).mT
        options = dict(beta=2, alpha=0.5) if form == "scaled" else {}
        return torch.addmm(b, h, self.weight.T, **options)


@pytest.mark.parametrize("origin", ["own", "wide", "frozen", "leaf"])
@pytest.mark.parametrize("bias", [(), (1,), (4,), (1, 4), (2, 4), (2, 1)], ids=str)
def test_a_bias_of_any_shape_and_origin_is_added_as_torch_adds_it(bias, origin):
    model, x, factors = Map(bias, origin), generated(2, 3), generated(2, 4)
    for form in ("linear", "addmm", "scaled", "left"):
        if form == "left" and bias == (4,):
            continue
        # As many perturbations as there are rows: a row of the bias is not a sample's.
        closure = lambda form=form: (model(x, form) * factors).square().mean()  # noqa: E731
        as_without_noise(closure, model, *([model.leaf] if origin == "leaf" else []), samples=2)


def test_a_bias_that_torch_would_refuse_is_refused_in_a_sentence():
    x, model = generated(2, 3), Map((3, 4), "own")
    refused(lambda: model(x[:1], "linear"), model, r"'weight' of shape \(1, 4\).*\(3, 4\)|\(3, 4\)")
    refused(lambda: model(x[:1], "scaled"), model, r"bias of shape \(3, 4\).*shape \(1, 4\)")
    model = Map((4,), "own")
    model.own.data = model.own.data.float()
    refused(lambda: model(x, "linear"), model, "bias of torch.float32.*'weight' of torch.float64")
    model = nn.Conv1d(3, 4, 2)
    model.bias = nn.Parameter(torch.ones(1))
    refused(
        lambda: model(torch.ones(2, 3, 5)), model, r"'weight' has 4 outputs.*\(4,\), got \(1,\)"
    )


def refused(closure, model, match):
    with pytest.raises(RuntimeError, match=match):
        pprs.smooth(lambda: closure().square().mean(), model, 0.1, 2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_addmm_under_autocast_is_as_without_noise(dtype):
    torch.manual_seed(0)
    weight, bias = nn.Parameter(torch.randn(6, 5)), nn.Parameter(torch.ones(5))
    model, x = nn.ParameterList([weight, bias]), torch.randn(4, 6, requires_grad=True)

    def closure():
        with torch.autocast("cpu", dtype):
            return torch.addmm(bias, x * 1, weight).float().square().mean()

    as_without_noise(closure, model, tolerance=0.1)


LAYOUTS = {
    "negated by a bit": lambda x: torch.complex(x, -x).conj().imag,
    "expanded": lambda x: x[:1].expand_as(x),
    "strided": lambda x: torch.stack([x, -x], -1)[..., 0],
    "transposed": lambda x: x.mT.contiguous().mT,
    "no rows": lambda x: x[:0],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_tensors_may_lie_in_memory_as_they_like(layout):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 5)).double()
    change, x, images = LAYOUTS[layout], generated(4, 3), generated(2, 2, 4, 4)
    inside = change if layout != "negated by a bit" else torch.sin  # torch.vmap makes none of these
    x, images = change(x), change(images)
    as_without_noise(lambda: model[2](inside(model[:2](x))).square().sum(), model)
    convolution = nn.Conv2d(2, 3, 2).double()
    as_without_noise(lambda: convolution(images).square().sum(), convolution)


def test_parameters_may_be_negated_by_a_bit_or_empty():
    model = nn.Linear(3, 4, dtype=torch.float64)
    model.weight = nn.Parameter(torch.complex(*[model.weight.detach()] * 2).conj().imag)
    assert model.weight.is_neg()
    x = generated(2, 3)
    as_without_noise(lambda: model(x).square().mean(), model)
    empty = nn.ModuleList([nn.Linear(3, 1), nn.Module()]).double()
    empty[1].weight, empty[1].bias = nn.Parameter(torch.ones(0, 3)), nn.Parameter(torch.ones(0))
    if x.device.type == "cpu":  # torch itself reads what is not there on a GPU
        empty.append(nn.Embedding(5, 0))
    empty.double()

    def closure():
        nothing = F.linear(x, empty[1].weight, empty[1].bias).sum()
        for look_up in empty[2:]:
            nothing = nothing + look_up(torch.tensor([1, 4])).sum()
        return empty[0](x).square().mean() + nothing

    as_without_noise(closure, empty)


@pytest.mark.parametrize("index", [torch.tensor([[1, 4], [4, 0]]), torch.tensor(3)], ids=str)
def test_look_ups_take_every_kind_of_index(index):
    torch.manual_seed(0)
    model = nn.Embedding(5, 3)

    def loss(index):
        return pprs.smooth(lambda: model(index).square().sum(), model, 0.3, 4, seed=1, step=0)

    assert torch.equal(loss(index.int()), loss(index))
    assert loss(index.reshape(-1)[:0].int()) == 0
    model.double()
    as_without_noise(lambda: model(index.int()).square().mean(), model)


@contextlib.contextmanager
def default_dtype(dtype):
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


DEFAULTS: dict[str, Any] = {
    "device": lambda: torch.device("meta"),
    "float64": lambda: default_dtype(torch.float64),
    "float16": lambda: default_dtype(torch.float16),
}


@pytest.mark.parametrize("default", DEFAULTS)
@pytest.mark.parametrize("with_kernels", [pytest.param(True, marks=needs_compiler), False])
def test_torch_s_default_device_and_type_change_nothing(default, with_kernels, monkeypatch):
    if not with_kernels:
        monkeypatch.setattr(kernels, "_library", lambda: None)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 4), nn.PReLU(2), nn.Linear(4, 2))
    tokens = torch.tensor([[1, 4], [4, 0]])
    for way in WAYS:
        for law in (*LAWS, dict(noise="example", batch=(tokens,))):
            given = dict(sigma=0.1, samples=4, seed=1, step=0)

            def found(law=law, way=way, given=given):
                closure = lambda i=tokens: model(i).square().mean()  # noqa: E731
                with force_way(way):
                    return result(
                        pprs.smooth(closure, model, **given, **law), [*model.parameters()]
                    )

            expected = found()
            with DEFAULTS[default]():
                assert all(map(torch.equal, found(), expected))


class Twice(nn.Module):
    """A bilinear map of an input and its sine."""

    def __init__(self):
        super().__init__()
        self.map = nn.Bilinear(3, 3, 2)

    def forward(self, x):
        return self.map(x, x.sin())


INSIDE = {
    "prelu, as many channels as examples": (lambda: nn.PReLU(3), generated(4, 2, 3, 3)),
    "bilinear": (Twice, generated(4, 2, 5, 3)),
    "weight norm": (
        lambda: nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)),
        generated(4, 2, 5, 3),
    ),
    "recurrent cell": (lambda: nn.GRUCell(3, 2), generated(4, 2, 5, 3)),
    "linear": (lambda: nn.Linear(3, 3), generated(4, 2, 3, 3)),
    "embedding": (lambda: nn.Embedding(5, 3), torch.arange(24).view(4, 2, 3) % 5),
    "embedding bag": (lambda: nn.EmbeddingBag(5, 3), torch.arange(48).view(4, 2, 3, 2) % 5),
    "convolution": (lambda: nn.Conv1d(3, 2, 2), generated(4, 2, 3, 3, 4)),
    "layer norm": (lambda: nn.LayerNorm(3), generated(4, 2, 3, 3)),
    "bias of one element": (lambda: nn.Linear(3, 1), generated(4, 2, 3, 3)),
}


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("use", INSIDE)
def test_in_vmaps_of_the_closure_s_own_each_element_is_by_itself(use):
    make, x = INSIDE[use]
    torch.manual_seed(0)
    model, vmap = make().double(), torch.func.vmap

    def loss(outputs):
        places = torch.arange(outputs.numel(), dtype=outputs.dtype)
        return (outputs * places.view(outputs.shape).cos()).mean()

    one_by_one = torch.stack([torch.stack([model(y) for y in row]) for row in x])
    torch.testing.assert_close(vmap(vmap(model))(x), one_by_one)
    as_without_noise(lambda: loss(vmap(model)(x[0])), model, samples=2)
    as_without_noise(lambda: loss(vmap(vmap(model))(x)), model, samples=2)
    other = lambda: loss(vmap(vmap(model, 1, 1), 1, 1)(x.movedim(0, 2)))  # noqa: E731
    as_without_noise(other, model, samples=2)


def test_derivatives_that_a_closure_takes_by_torch_func_are_refused():
    model, x = nn.Linear(3, 1), torch.ones(2, 3)
    for derivative in (torch.func.grad, torch.func.jacrev):
        refused(lambda d=derivative: d(lambda y: model(y).sum())(x), model, "takes derivatives")


@needs_compiler
def test_native_code_is_handed_only_what_it_takes():
    good = torch.ones(2, 3)
    assert kernels._at(good, torch.float32, 2, 3) == good.data_ptr()
    for bad in (
        *(good.double(), good[:1], good.view(-1), good.to("meta"), good.mT.contiguous().mT),
        *(good[:, :1].expand(2, 3), torch._neg_view(good), torch._efficientzerotensor(2, 3)),
    ):
        with pytest.raises(RuntimeError, match="a kernel was to take"):
            kernels._at(bad, torch.float32, 2, 3)
