"""Models to cut, and what they are called with."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    ViTConfig,
    ViTForImageClassification,
)

SMALL = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4)


GPT2 = dict(vocab_size=17, n_embd=16, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0)


IDS = torch.randint(0, 17, (3, 5), generator=torch.Generator().manual_seed(1))


MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0]])


IMAGES = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1)).double()


VECTORS = torch.randn(3, 6, generator=torch.Generator().manual_seed(1)).double()


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(8), nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, x):
        return x + self.down(F.gelu(self.up(self.norm(x))))


class ResidualMLP(nn.Module):
    """A list of residual blocks."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(6, 8)
        self.blocks = nn.ModuleList(Block() for _ in range(3))
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


class Skip(nn.Module):
    """A result of the first layer is added before the last one; a mask is used by all."""

    def __init__(self, layers=10):
        super().__init__()
        self.stem = nn.Linear(6, 8)
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(layers))
        self.head = nn.Linear(8, 4)
        self.register_buffer("scale", torch.full((8,), 0.5), persistent=False)

    def forward(self, x, *, mask, negate=False):
        keep = 1.0 - mask.to(x.dtype)[:, None]
        first = x = self.stem(x)
        for layer in self.layers:
            x = torch.tanh(layer(x) * keep) * self.scale
        y = self.head(x + first)
        return -y if negate else y


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(17, 8)
        self.lstm = nn.LSTM(8, 8, num_layers=2, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 4)

    def forward(self, ids):
        h, _ = self.lstm(self.embedding(ids))
        return self.head(self.norm(self.encoder(h)))


class Matrices(nn.Module):
    """Parameters in functions of torch, as they are and transposed."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Parameter(torch.randn(4, 6)), nn.Parameter(torch.randn(6, 4))
        self.third, self.table = nn.Parameter(torch.randn(5, 6)), nn.Embedding(5, 6)

    def forward(self, x):
        y = torch.addmm(torch.ones(4, dtype=x.dtype), x, self.first.T)
        y = y @ self.second.transpose(0, 1) + self.table.weight[1]
        return torch.einsum("bi,oi->bo", y, self.third)


class InPlace(nn.Module):
    """Results and masks are changed in place after others have seen them."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x):
        keep = torch.ones(len(x), 8, dtype=x.dtype)
        doubled = keep * 2
        keep[:, 0] = 0
        h = self.a(x)
        earlier = h + 1
        h.add_(2)
        h.view(-1, 2, 4)[:, 1] *= 3
        g = self.b(h) * keep + earlier * doubled
        return self.c(g) + self.c(h) * keep[:, :4]


def bert():
    return BertForSequenceClassification(BertConfig(vocab_size=17, **SMALL))


def gpt2(tied=False):
    return GPT2LMHeadModel(GPT2Config(**GPT2, tie_word_embeddings=tied))


def llama():
    return LlamaForCausalLM(LlamaConfig(vocab_size=17, num_key_value_heads=2, **SMALL))


def vit():
    return ViTForImageClassification(ViTConfig(image_size=8, patch_size=4, **SMALL))


# What builds a model, its example, and the least number of pieces: a transformer's layers have two.
MODELS: dict[str, Any] = {
    "bert": (bert, (IDS,), {}, 6),
    "bert, masked": (bert, (IDS,), dict(attention_mask=MASK), 6),
    "gpt2": (gpt2, (IDS,), {}, 6),
    "gpt2, tied": (lambda: gpt2(tied=True), (IDS,), {}, 6),
    "gpt2, masked": (gpt2, (IDS,), dict(attention_mask=MASK, use_cache=False), 6),
    "vit": (vit, (IMAGES,), {}, 6),
    "llama": (llama, (IDS,), {}, 6),
    "llama, masked": (llama, (IDS,), dict(attention_mask=MASK), 6),
    "residual mlp": (ResidualMLP, (VECTORS,), {}, 5),
    "recurrent": (Recurrent, (IDS,), {}, 6),
    "matrices": (Matrices, (VECTORS,), {}, 2),
    "skip": (Skip, (VECTORS,), dict(mask=torch.tensor([1, 0, 0])), 3),
}
