"""Every kind of use of a parameter, against the literal loop with the very same noise.

With all weights materialised the draws are those of the loop, so the gradients agree to rounding:
whatever was forgotten, shared wrongly or left unperturbed shows.
"""

import warnings

import pytest
import torch
from smoothing.uses import (
    Biased,
    Cells,
    CrossAttention,
    Graphs,
    LookUp,
    LoRA,
    Odd,
    Own,
    Packed,
    Padded,
    Sequences,
    TargetFirst,
    Tied,
    Viewed,
)
from torch import nn
from torch.nn.utils import parametrizations

import pprs
from pprs.smoothing import (
    Noise,
    Perturbation,
    _target,
    force_way,
    has_native_kernels,
    losses_at,
    repeat,
)

pytestmark = pytest.mark.filterwarnings("ignore:Sparse CS. tensor support")  # torch's own


def double(module):
    torch.manual_seed(0)
    return module().double()


def images(*shape):
    return (torch.randn(3, *shape, generator=torch.Generator().manual_seed(1)).double(),)


def tokens(high=11, length=5):
    return (torch.randint(0, high, (3, length), generator=torch.Generator().manual_seed(1)),)


USES = {
    "linear": (lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2)), images(6)),
    "linear, more dimensions": (lambda: nn.Linear(6, 8), images(2, 4, 6)),
    "conv 1d": (lambda: nn.Conv1d(4, 8, 3, stride=2, padding=1, groups=2), images(4, 9)),
    "conv 2d": (lambda: nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0)), images(4, 7, 6)),
    "conv 2d, same, dilated": (
        lambda: nn.Conv2d(4, 8, 3, padding="same", dilation=2, groups=4),
        images(4, 7, 6),
    ),
    "conv 2d, after one": (
        lambda: nn.Sequential(nn.Conv2d(4, 6, 3, bias=False), nn.ReLU(), nn.Conv2d(6, 5, 3, 2)),
        images(4, 8, 8),
    ),
    "conv 2d, circular": (
        lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular"),
        images(4, 5, 5),
    ),
    "in place": (
        lambda: nn.Sequential(
            *(nn.Conv2d(4, 6, 3, bias=False), nn.ReLU(inplace=True), nn.Flatten()),
            *(
                nn.LazyLinear(5),
                nn.ReLU(True),
                nn.Linear(5, 5, bias=False),
                nn.ELU(1, True),
            ),
            *(nn.Linear(5, 5), nn.LeakyReLU(0.1, inplace=True)),
        ),
        images(4, 6, 6),
    ),
    "in place, at once": (
        lambda: nn.Sequential(
            nn.Linear(6, 5, bias=False), nn.ReLU(True), nn.Linear(5, 3), nn.ReLU(True)
        ),
        images(6),
    ),
    "conv 3d": (lambda: nn.Conv3d(2, 4, 2, padding="valid"), images(2, 4, 4, 4)),
    "transposed conv": (lambda: nn.ConvTranspose2d(3, 4, 3, stride=2), images(3, 5, 5)),
    "group norm": (lambda: nn.Sequential(nn.Conv2d(4, 6, 1), nn.GroupNorm(2, 6)), images(4, 3, 3)),
    "group norm of the inputs, then of rows, in place": (
        lambda: nn.Sequential(
            nn.GroupNorm(2, 6), nn.Linear(6, 4), nn.GroupNorm(2, 4), nn.ReLU(True)
        ),
        images(6),
    ),
    "layer norm": (lambda: nn.LayerNorm((4, 5)), images(4, 5)),
    "rms norm": (lambda: nn.RMSNorm(5), images(4, 5)),
    "instance norm": (lambda: nn.InstanceNorm1d(4, affine=True), images(4, 5)),
    "prelu": (lambda: nn.PReLU(4), images(4, 5)),
    "bilinear": (lambda: nn.Bilinear(6, 6, 3), images(6) + images(6)),
    "embedding": (lambda: nn.Embedding(11, 5, padding_idx=2), tokens()),
    "embedding bag": (lambda: nn.EmbeddingBag(11, 5), tokens()),
    "tied embedding": (Tied, tokens()),
    "transformer": (lambda: Tied(tied=False), tokens()),
    "attention": (CrossAttention, images(5, 6)),
    "lstm": (lambda: Sequences(nn.LSTM, bidirectional=True), images(4, 6)),
    "gru": (lambda: Sequences(nn.GRU), images(4, 6)),
    "rnn": (lambda: Sequences(nn.RNN), images(4, 6)),
    "cells": (Cells, images(4, 6)),
    "own cell": (Own, images(4, 6)),
    "lora": (LoRA, images(6)),
    "weight norm": (lambda: parametrizations.weight_norm(nn.Linear(6, 3)), images(6)),
    "odd": (Odd, images(6)),
    "learned attention bias": (lambda: Biased(3, 3), images(3, 4)),
    "learned attention bias of heads": (lambda: Biased(1, 1, 1, 3), images(3, 4)),
    "look-up": (LookUp, tokens()),
    "packed": (Packed, tokens()),
    "sparse": (Graphs, images(6)),
    "viewed": (Viewed, images(5, 6)),
    "padded": (Padded, tokens()),
    "without gradients first": (TargetFirst, images(4, 6)),
    "no rule": (lambda: nn.Sequential(nn.Linear(6, 4), nn.RReLU(0.2, 0.2).eval()), images(6)),
}
LAWS = {
    "shared": dict(),
    "pairs": dict(antithetic=True),
    "filters": dict(scale="filter"),
    "example": dict(noise="example"),
    "example, pairs, filters": dict(noise="example", antithetic=True, scale="filter"),
}


# Every law with uses of every kind; with others, the first and all of the rest together.
KINDS = ("linear", "conv 2d, after one", "tied embedding", "lstm", "layer norm")
PAIRS = [
    (law, use)
    for law in LAWS
    for use in USES
    if law in ("shared", "example, pairs, filters") or use in KINDS
]
# Where no use is of a linear map, both ways are one.
ONE_WAY = {
    "group norm", "layer norm", "rms norm", "instance norm", "prelu", "embedding", "embedding bag",
    "packed",
}  # fmt: skip


def loss_of(model):
    return lambda *batch: torch.tanh(model(*batch)).pow(2).mean()


def gradients(model):
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}


def built(use):
    make, batch = USES[use]
    model = double(make)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # 'same' of an even kernel
        model(*batch)
    return model, batch


@pytest.mark.parametrize(("law", "use"), PAIRS)
def test_gradients_are_those_of_the_literal_loop(use, law):
    agrees_with_the_literal_loop(use, law)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("use", ["linear", "linear, more dimensions", "attention", "lora"])
def test_so_are_those_of_large_weights_which_are_drawn_in_parts(use, law, monkeypatch):
    sizes, draw = [], Noise.perturbed

    def drawn(*args, **kwargs):
        result = draw(*args, **kwargs)
        sizes.append(len(result))
        return result

    monkeypatch.setattr(_target, "_LARGE", 0)
    monkeypatch.setattr(_target, "_PART", 1)
    monkeypatch.setattr(Noise, "perturbed", drawn)
    agrees_with_the_literal_loop(use, law)
    if has_native_kernels():
        count = 4 * (3 if "example" in law else 1)
        assert any(size < count for size in sizes)


def agrees_with_the_literal_loop(use, law):
    model, batch = built(use)
    law = Perturbation(0.1, 4, **LAWS[law])
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    sigmas, noise = law.sigmas(parameters, 0), Noise(5, 0)
    expected = repeat(loss_of(model), parameters, law, sigmas, noise, batch)
    literal = gradients(model)
    model.zero_grad()
    with force_way("materialised"):
        losses = losses_at(loss_of(model), parameters, law, sigmas, noise, batch)
    losses.mean().backward()
    torch.testing.assert_close(losses.detach(), expected, rtol=1e-9, atol=1e-12)
    for name, grad in gradients(model).items():
        torch.testing.assert_close(grad, literal[name], rtol=1e-8, atol=1e-11, msg=name)
    assert expected.std() > 1e-6  # the losses do differ


# A recurrent layer's weights are used many times, the slowest by far: twice is enough of it.
BOTH_WAYS = [
    (law, use)
    for law, use in PAIRS
    if use not in ONE_WAY and (use != "lstm" or law in ("shared", "example, pairs, filters"))
]


@pytest.mark.parametrize(("law", "use"), BOTH_WAYS)
def test_the_implicit_way_has_the_same_mean(use, law):
    """Against the literal mean, whose noise is another one: within 6 standard errors."""
    model, batch = built(use)
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    draws = []
    for way in ("implicit", "materialised"):
        law_of = Perturbation(0.1, 16, **LAWS[law])
        repeats = []
        for step in range(6):
            model.zero_grad()
            with force_way(way):
                noise, sigmas = Noise(7, step), law_of.sigmas(parameters, 0)
                losses = losses_at(loss_of(model), parameters, law_of, sigmas, noise, batch)
            losses.mean().backward()
            flat = torch.cat([g.flatten() for g in gradients(model).values()])
            repeats.append(torch.cat([losses.mean().detach()[None], flat]))
        draws.append(torch.stack(repeats))
    a, b = draws
    error = ((a.var(0) + b.var(0)).sum() / 6).sqrt()
    assert (a.mean(0) - b.mean(0)).norm() < 3 * error
    assert (a.mean(0)).norm() > 0


def refused(model, closure, match):
    with pytest.raises(RuntimeError, match=match):
        pprs.smooth(closure, model, 0.1, 2)


def test_changing_a_parameter_in_the_closure_is_refused_by_name():
    model = nn.Linear(3, 2)
    x = torch.ones(4, 3)

    def clamped():
        with torch.no_grad():
            model.weight.clamp_(-1, 1)
        return model(x).sum()

    refused(model, clamped, r"clamp_ changes parameter 'weight'")

    def assigned():
        model.weight.data = torch.zeros(2, 3)
        return model(x).sum()

    refused(model, assigned, r"__set__ changes parameter 'weight'")
    embedding = nn.Embedding(5, 3, max_norm=1.0)
    refused(embedding, lambda: embedding(torch.tensor([1])).sum(), r"max_norm=1.0.*'weight'")


def test_parameters_used_past_torch_s_functions_are_refused_by_name():
    model = nn.Linear(3, 2)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated")
        scripted = torch.jit.script(nn.Linear(3, 2))
        function = torch.jit.script(_scaled)
    refused(scripted, lambda: scripted(torch.ones(1, 3)).sum(), "torch.jit")
    refused(model, lambda: function(model.weight).sum(), "'weight'.*unperturbed")
    # Also before a layer that is smoothed as it should be.
    two = nn.Sequential(model, nn.Linear(3, 1))
    refused(two, lambda: two[1](function(model.weight)).sum(), "'0.weight'.*unperturbed")


def _scaled(x: torch.Tensor) -> torch.Tensor:
    return x * 2


def test_a_parameter_may_be_turned_by_the_names_of_the_arguments():
    model, x = double(lambda: nn.Linear(3, 2, bias=False)), images(3)[0]
    turns = (
        lambda w: w.T,
        lambda w: torch.t(input=w),
        lambda w: torch.transpose(input=w, dim0=0, dim1=1),
    )
    with force_way("materialised"):
        first, *others = [
            pprs.smooth(lambda t=t: (x @ t(model.weight)).sum(), model, 0.1, 2, seed=1, step=0)
            for t in turns
        ]
    for loss in others:
        torch.testing.assert_close(loss, first)


def test_values_that_are_no_tensors_must_be_those_of_all_perturbations():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    zero, above = torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool)

    def closure(found):
        y = model(torch.ones(1, 1))
        return y.sum() * (2 if torch.equal(*found(y)) else 1)

    assert pprs.smooth(lambda: closure(lambda y: (y, zero)), model, 1.0, 2).isfinite()
    with pytest.raises(RuntimeError, match=r"torch.equal gives .* and another value at others"):
        pprs.smooth(lambda: closure(lambda y: (y > 0, above)), model, 1.0, 2, antithetic=True)


def test_metadata_is_not_a_use():
    model = nn.Linear(3, 2)

    def closure():
        w = model.weight
        assert w.shape == (2, 3)
        assert w.dtype == torch.float32
        assert w.requires_grad
        assert w.grad is None
        assert len(w) == 2
        assert w.numel() == w.nelement() == 6
        assert w.is_cuda == (w.device.type == "cuda")
        return model(torch.ones(1, 3, dtype=w.dtype, device=w.device)).sum()

    with force_way("implicit"):
        assert pprs.smooth(closure, model, 0.1, 2).isfinite()


def test_a_closure_may_use_vmap_itself():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    x = torch.randn(5, 3).double()
    options = dict(sigma=0.1, samples=4, seed=1, step=0)
    with force_way("materialised"):
        inside = pprs.smooth(lambda: torch.vmap(model)(x).pow(2).mean(), model, **options)
        outside = pprs.smooth(lambda: model(x).pow(2).mean(), model, **options)
    torch.testing.assert_close(inside, outside, rtol=1e-12, atol=1e-12)
    with force_way("implicit"):
        loss = pprs.smooth(lambda: torch.vmap(model)(x).pow(2).mean(), model, **options)
    loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())
