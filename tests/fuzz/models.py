"""Random small models of the kinds that people have, each drawn from a number.

Layers are repeated, tied, nested, hooked, frozen, stateful, random, in place; they pass tuples and
views on; models have skips, towers, several inputs and outputs. All in float64.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

WIDTH, ROWS = 4, 8


@dataclass
class Case:
    """A model and a batch for it.

    Args:
        model: in training mode.
        inputs: the arguments of its forward, `(ROWS, ...)` each.
        target: what the loss compares with.
        traits: what is special about the model.
    """

    model: nn.Module
    inputs: tuple[Tensor, ...]
    target: Tensor
    traits: set[str] = field(default_factory=set)

    def loss(self, outputs: Tensor | tuple[Tensor, ...], target: Tensor) -> Tensor:
        """Mean over examples, of one output or of a tuple."""
        parts = outputs if isinstance(outputs, tuple) else (outputs,)
        losses = [F.mse_loss(part.mean(-1), target) for part in parts]
        return torch.stack(losses).sum()

    def plain(self, model: nn.Module | None = None) -> Tensor:
        """The loss of the batch, as plain torch gives it."""
        inputs = tuple(x.clone() for x in self.inputs)
        return self.loss((model or self.model)(*inputs), self.target)

    def single(self) -> Case:
        """The same in float32."""
        inputs = tuple(x.float() if x.is_floating_point() else x for x in self.inputs)
        return replace(self, model=self.model.float(), inputs=inputs, target=self.target.float())

    def part(self, number: int, count: int) -> Case:
        """One of so many equal parts of the batch."""
        *inputs, target = (x.chunk(count)[number] for x in (*self.inputs, self.target))
        return replace(self, inputs=tuple(inputs), target=target)

    def example(self, by_name: bool) -> tuple[Any, ...]:
        """What the model takes, the last of several maybe by its name."""
        if len(self.inputs) == 1 or not by_name:
            return self.inputs
        return *self.inputs[:-1], {"z": self.inputs[-1]}

    def runs(self) -> bool:
        """Whether plain torch takes a step; it refuses some changes in place."""
        try:
            self.plain(copy.deepcopy(self.model)).backward()
        except (RuntimeError, TypeError):
            return False
        return True


class Reverse(torch.autograd.Function):
    """A backward of its own."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return -grad


class Layer(nn.Module):
    """A layer that is a function of a vector, and what it holds."""

    def __init__(self, function: Callable[..., Tensor], **held: object) -> None:
        super().__init__()
        self.function = function
        for name, value in held.items():
            if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)

    def forward(self, *x):
        return self.function(self, *x)


def _linear(r):
    return nn.Linear(WIDTH, WIDTH, bias=r.random() < 0.8)


def _reassigned(self, x):
    if self.training:
        self.centre = 0.9 * self.centre + 0.1 * x.detach().mean(0)
    return x - self.centre


def _counted(self, x):
    self.seen += 1
    return x


def _noted(self, x):
    self.last = x
    return x * 1.5


def _in_place(self, x):
    x += self.bias
    return x


def _hooked(r):
    layer = _linear(r)
    layer.register_forward_hook(lambda module, given, out: 1.5 * out)
    return layer


def _nested(r):
    inner = nn.Sequential(_linear(r), nn.Tanh(), _linear(r))
    if r.random() < 0.5:
        inner.register_forward_hook(lambda module, given, out: 0.5 * out)
    return inner


def _backward_hooked(r):
    layer = _linear(r)
    layer.register_full_backward_hook(lambda module, gi, go: tuple(-g for g in gi if g is not None))
    return layer


def _tensor_hook(self, x):
    h = x * 1.0
    if h.requires_grad:
        h.register_hook(lambda grad: 2 * grad)
    return h


def _checkpointed(r, reentrant):
    inner = nn.Sequential(_linear(r), nn.Tanh())
    return Layer(lambda self, x: checkpoint(self.inner, x, use_reentrant=reentrant), inner=inner)


def _frozen(r):
    return _linear(r).requires_grad_(False)


def _pair(self, x):
    return x, self.side(x)


def _joined(self, pair):
    return pair[0] + pair[1].tanh()


def _coupling(self, x):
    a, b = x.chunk(2, dim=-1)
    return torch.cat([b * self.inner(a).tanh(), a], -1)


def _parameter():
    return nn.Parameter(torch.randn(WIDTH) / 2)


# Each kind gives one or more modules that follow one another, from a source of chance.
KINDS: dict[str, Callable[[random.Random], list[nn.Module]]] = {
    "linear": lambda r: [_linear(r)],
    "relu": lambda r: [nn.ReLU()],
    "relu in place": lambda r: [nn.ReLU(inplace=True)],
    "add in place": lambda r: [Layer(_in_place, bias=_parameter())],
    "gelu": lambda r: [nn.GELU()],
    "prelu": lambda r: [nn.PReLU(WIDTH if r.random() < 0.5 else 1)],
    "norm": lambda r: [r.choice([nn.LayerNorm(WIDTH), nn.GroupNorm(2, WIDTH), nn.RMSNorm(WIDTH)])],
    "eval batchnorm": lambda r: [nn.BatchNorm1d(WIDTH).eval()],
    "nested": lambda r: [_nested(r)],
    "forward hook": lambda r: [_hooked(r)],
    "backward hook": lambda r: [_backward_hooked(r)],
    "tensor hook": lambda r: [Layer(_tensor_hook)],
    "own backward": lambda r: [Layer(lambda self, x: Reverse.apply(x))],
    "checkpoint": lambda r: [_checkpointed(r, False)],
    "reentrant checkpoint": lambda r: [_checkpointed(r, True)],
    "frozen": lambda r: [_frozen(r)],
    "pair": lambda r: [Layer(_pair, side=_linear(r)), Layer(_joined)],
    "coupling": lambda r: [Layer(_coupling, inner=nn.Linear(WIDTH // 2, WIDTH // 2))],
    "residual": lambda r: [Layer(lambda self, x: x + self.inner(x).tanh(), inner=_linear(r))],
    "scale": lambda r: [Layer(lambda self, x: x * self.scale, scale=_parameter())],
    "bias of one": lambda r: [
        Layer(
            lambda self, x: F.linear(x, self.weight, self.bias),
            weight=nn.Parameter(torch.randn(WIDTH, WIDTH) / 2),
            bias=nn.Parameter(torch.randn(1)),
        )
    ],
    "addmm": lambda r: [
        Layer(
            lambda self, x: torch.addmm(self.bias, x, self.weight),
            weight=nn.Parameter(torch.randn(WIDTH, WIDTH) / 2),
            bias=_parameter(),
        )
    ],
    "weight norm": lambda r: [parametrizations.weight_norm(_linear(r))],
    "buffer reassigned": lambda r: [Layer(_reassigned, centre=torch.zeros(WIDTH))],
    "counter": lambda r: [Layer(_counted, seen=0)],
    "activation kept": lambda r: [Layer(_noted)],
    "dropout": lambda r: [nn.Dropout(0.5)],
    "dropout always": lambda r: [Layer(lambda self, x: F.dropout(x, 0.5, True))],
    "python chance": lambda r: [Layer(lambda self, x: x * (1.0 + random.random()))],
    "no_grad target": lambda r: [
        Layer(lambda self, x: self.inner(x) - _without_grad(self.inner, x), inner=_linear(r))
    ],
    "detached": lambda r: [Layer(lambda self, x: self.inner(x) + x.detach(), inner=_linear(r))],
}
RANDOM = {"dropout", "dropout always", "python chance"}
STATEFUL = {"buffer reassigned", "counter"}
# Smoothing refuses these, so that too many of them would hide all else.
REFUSED = frozenset([
    "own backward", "backward hook", "tensor hook", "checkpoint", "reentrant checkpoint",
    "buffer reassigned",
])  # fmt: skip


def _without_grad(layer, x):
    with torch.no_grad():
        return layer(x + 1)


class Looped(nn.Module):
    """Has to be traced; maybe with a skip from the input, or two heads."""

    def __init__(self, layers: list[nn.Module], skip: bool, second: nn.Module | None) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.skip, self.second = skip, second

    def forward(self, x):
        h = x
        for layer in self.layers:
            h = layer(h)
        if self.skip:
            h = h + x
        return h if self.second is None else (h, self.second(h))


class Towers(nn.Module):
    """Two inputs, of which each has layers of its own."""

    def __init__(self, one: list[nn.Module], two: list[nn.Module], head: list[nn.Module]) -> None:
        super().__init__()
        self.one, self.two, self.head = (nn.Sequential(*layers) for layers in (one, two, head))

    def forward(self, x, z):
        return self.head(self.one(x) + self.two(z))


def draw(number: int, without: frozenset[str] = frozenset()) -> Case:
    """The case of a number, with layers of any kinds but some."""
    r = random.Random(number)
    torch.manual_seed(number)
    traits: set[str] = set()
    if r.random() < 0.8:
        without |= RANDOM
    kinds = [kind for kind in KINDS if kind not in without]

    def layers(count: int) -> list[nn.Module]:
        found: list[nn.Module] = [_linear(r)]
        for _ in range(count):
            kind = r.choice([*kinds, "linear", "linear"])
            traits.add(kind)
            found += KINDS[kind](r)
            if r.random() < 0.3:
                found.append(_linear(r))
        return [*found, _linear(r)]

    shape = r.choice(["sequential", "sequential", "looped", "looped", "towers"])
    traits.add(shape)
    if shape == "towers":
        one, two = layers(2), layers(2)
        inputs: tuple[Tensor, ...] = torch.randn(ROWS, WIDTH), torch.randn(ROWS, WIDTH)
        if r.random() < 0.3:
            traits.add("tokens")
            two = [nn.Embedding(5, WIDTH), *two]
            inputs = inputs[0], torch.randint(5, (ROWS,))
        model: nn.Module = Towers(one, two, layers(2))
    else:
        body = layers(r.randint(2, 5))
        linears = [i for i, layer in enumerate(body) if type(layer) is nn.Linear]
        if r.random() < 0.15 and len(linears) > 1:
            traits.add("tied")
            at = r.randrange(len(linears) - 1)
            body[linears[at + 1]].weight = body[linears[at]].weight
        if r.random() < 0.25:
            traits.add("repeated")
            places = [i for i, layer in enumerate(body) if isinstance(layer, nn.ReLU | nn.Tanh)]
            source = r.choice([*linears, *places])
            body.insert(min(len(body) - 1, source + r.randint(1, 2)), body[source])
        skip, second = r.random() < 0.3, r.random() < 0.2
        looped = Looped(body, skip, _linear(r) if second else None)
        if shape == "looped":
            traits |= {name for name, has in (("skip", skip), ("two outputs", second)) if has}
        model = nn.Sequential(*body) if shape == "sequential" else looped
        inputs = (torch.randn(ROWS, WIDTH),)
    if r.random() < 0.2:
        traits.add("partly frozen")
        for parameter in list(model.parameters())[: r.randint(1, 5)]:
            parameter.requires_grad_(False)
    with torch.no_grad():
        for parameter in model.parameters():  # none is 0, where a kink may be
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    inputs = tuple(x.double() if x.is_floating_point() else x for x in inputs)
    return copy.deepcopy(Case(model.double(), inputs, torch.randn(ROWS).double(), traits))
