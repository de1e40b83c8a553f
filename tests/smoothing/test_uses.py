"""Every kind of use of a parameter, against the literal loop with the very same noise.

With all weights materialised the draws are those of the loop, so the gradients agree to rounding:
whatever was forgotten, shared wrongly or left unperturbed shows.
"""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import pprs
from pprs.smoothing import Noise, Perturbation, force_way, losses_at, repeat


def double(module):
    torch.manual_seed(0)
    return module().double()


def images(*shape):
    return (torch.randn(3, *shape, generator=torch.Generator().manual_seed(1)).double(),)


def tokens(high=11, length=5):
    return (torch.randint(0, high, (3, length), generator=torch.Generator().manual_seed(1)),)


class Sequences(nn.Module):
    """A recurrent layer and a head."""

    def __init__(self, kind, **options):
        super().__init__()
        self.body = kind(6, 8, 2, batch_first=True, **options)
        self.head = nn.LazyLinear(2)

    def forward(self, x):
        return self.head(self.body(x)[0])


class Cells(nn.Module):
    """Weights that are used again at every position."""

    def __init__(self):
        super().__init__()
        self.lstm, self.gru, self.rnn = nn.LSTMCell(6, 8), nn.GRUCell(8, 8), nn.RNNCell(8, 8)

    def forward(self, x):
        h = c = x.new_zeros(len(x), 8)
        for position in range(x.shape[1]):
            h, c = self.lstm(x[:, position], (h, c))
            h = self.rnn(self.gru(h, h), h)
        return h


class Own(nn.Module):
    """A recurrent cell written out."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 8, bias=False)

    def forward(self, x):
        h = x.new_zeros(len(x), 8)
        for position in range(x.shape[1]):
            h = torch.tanh(self.a(x[:, position]) + self.b(h))
        return h


class Tied(nn.Module):
    """Embedding, positions, attention, and an output layer that is the embedding again."""

    def __init__(self, tied=True):
        super().__init__()
        self.embedding = nn.Embedding(11, 16, padding_idx=0)
        self.positions = nn.Parameter(torch.randn(5, 16) / 4)
        layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, dropout=0.0)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 11, bias=False)
        if tied:
            self.head.weight = self.embedding.weight

    def forward(self, i):
        return self.head(self.body(self.embedding(i) + self.positions))


class CrossAttention(nn.Module):
    """nn.MultiheadAttention with separate projections, and with a packed one and a mask."""

    def __init__(self):
        super().__init__()
        self.a = nn.MultiheadAttention(8, 2, kdim=6, vdim=6, batch_first=True, add_bias_kv=True)
        self.b = nn.MultiheadAttention(8, 2, batch_first=True)
        self.query = nn.Parameter(torch.randn(1, 4, 8))

    def forward(self, x):
        q = self.a(self.query.expand(len(x), -1, -1), x, x)[0]
        mask = nn.Transformer.generate_square_subsequent_mask(4, dtype=x.dtype)
        return self.b(q, q, q, attn_mask=mask, need_weights=False)[0] + self.b(q, q + 1, q)[0]


class LoRA(nn.Module):
    """A frozen layer with a trainable update of low rank."""

    def __init__(self):
        super().__init__()
        self.base = nn.Linear(6, 8).requires_grad_(False)
        self.a, self.b = nn.Parameter(torch.randn(2, 6)), nn.Parameter(torch.randn(8, 2))

    def forward(self, x):
        return self.base(x) + F.linear(x, self.b @ self.a) + (x @ self.a.T) @ self.b.T


class Odd(nn.Module):
    """Parameters in lists, in einsum, sliced, in a product on the left, as a bias of two uses."""

    def __init__(self):
        super().__init__()
        self.w, self.v = nn.Parameter(torch.randn(6, 6)), nn.Parameter(torch.randn(6))
        self.rest = nn.ParameterList([nn.Parameter(torch.randn(6)) for _ in range(2)])

    def forward(self, x):
        y = torch.einsum("ni,ij->nj", x, self.w) + torch.stack([*self.rest, self.v]).sum(0)
        y = F.linear(y, self.w.T[:, :6], self.v) + (self.w @ x.T).T + (self.w @ self.v)
        return torch.baddbmm(self.v, y[None], self.w[None])[0] * self.v.size(0)


class Biased(nn.Module):
    """Attention with a learned bias, and from a learned query that has no batch."""

    def __init__(self, *bias):
        super().__init__()
        self.q, self.bias = nn.Linear(4, 4), nn.Parameter(torch.randn(bias))
        self.query = nn.Parameter(torch.randn(1, 1, 3, 4))

    def forward(self, x):
        q = self.q(x)[:, None]
        q = F.scaled_dot_product_attention(q, q, q, attn_mask=self.bias)
        return F.scaled_dot_product_attention(self.query * 1, q, x[:1, None])


class LookUp(nn.Module):
    """Single, short and no indices, and those that the model finds itself."""

    def __init__(self):
        super().__init__()
        self.embedding, self.score = nn.Embedding(11, 6), nn.Linear(6, 11)

    def forward(self, i):
        found = [self.embedding(i.int()), self.embedding(i[0, 0]), self.embedding(i[:, :0])]
        best = self.embedding(self.score(found[1].detach()).argmax())
        return torch.cat([part.flatten() for part in (*found, best)]) + self.score(found[1]).sum()


class Packed(nn.Module):
    """Sentences of three lengths, looked up and packed."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 4)
        self.body = nn.LSTM(4, 3, batch_first=True, bidirectional=True)

    def forward(self, i):
        lengths = [4, 5, 2][: len(i)]
        x = pack_padded_sequence(self.embedding(i), lengths, batch_first=True, enforce_sorted=False)
        x, (h, _) = self.body(x)
        return pad_packed_sequence(x, batch_first=True)[0].mean(1) + h.sum(0).repeat(1, 2)


class Graphs(nn.Module):
    """Sparse matrices on either side of a parameter and of what came of one."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (nn.Parameter(torch.randn(6, 6)) for _ in range(3))
        self.head = nn.Linear(6, 6)

    def forward(self, x):
        near = torch.eye(6, dtype=x.dtype).roll(1, 0).to_sparse()
        h = near @ self.a + self.b @ near + self.head(near) + torch.mm(near, self.c)
        return (x @ (near @ h)).mean(0) + (near.to_sparse_csr() @ h).mean(0)


class Viewed(nn.Module):
    """Results that are seen as rows of another length."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 4), nn.Parameter(torch.randn(3, 4))
        self.up = nn.ConvTranspose1d(4, 3, 2)
        self.same = nn.Conv1d(4, 3, 3, padding="same")

    def forward(self, x):
        h = self.a(x).view(len(x), -1)
        left = (self.b @ x[0, :4]).view(-1)
        return sum(part.sum() for part in (h.sin(), left, *(m(x).view(-1) for m in self.images)))

    @property
    def images(self):
        return lambda x: self.up(x.mT[:, :4]), lambda x: self.same(x.mT[:, :4])


class Padded(nn.Module):
    """Sentences with padding, which torch's encoder asks whether it can leave out."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(4, 2, 4, batch_first=True)
        self.embedding, self.body = nn.Embedding(11, 4), nn.TransformerEncoder(layer, 1)
        self.eval()

    def forward(self, i):
        padding = torch.arange(5).expand(len(i), 5) > 3
        return self.body(self.embedding(i), src_key_padding_mask=padding)[:, :4]


class TargetFirst(nn.Module):
    """The same layers without gradients first, then with."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0, batch_first=True)
        self.body = nn.Sequential(layer, nn.PReLU(), nn.Linear(6, 4))
        self.recurrent = nn.GRU(4, 4, batch_first=True)

    def whole(self, x):
        w = self.body[2].weight
        return self.recurrent(self.body(x))[0] + (x @ w.T) @ w[:4, :4].T

    def forward(self, x):
        with torch.no_grad():
            target = self.whole(x + 1)
        with torch.inference_mode():
            other = self.whole(x - 1)
        return self.whole(x) - target - other.clone()


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
        warnings.simplefilter("ignore", DeprecationWarning)
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
