"""Modules that use parameters in all kinds of ways."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


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
