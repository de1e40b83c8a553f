"""Whole models, unchanged: all parameters get finite gradients, near those of the literal loop."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    ViTConfig,
    ViTForImageClassification,
)

from benchmarks.gradient.cases import resnet
from pprs import capture, smooth
from pprs.smoothing import Noise, Perturbation, force_way, losses_at, repeat

SMALL = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64)
WORDS = dict(vocab_size=50, max_position_embeddings=16)
IDS = torch.randint(0, 50, (3, 7), generator=torch.Generator().manual_seed(2))
IMAGES = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(2)).double()


def language_model(kind, config):
    def build(attention):
        model = kind(config(attention)).double()
        return model, lambda ids: model(input_ids=ids, labels=ids).loss, (IDS,)

    return build


def bert(attention):
    # Dropout would differ between the loop and vmap.
    off = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    return BertConfig(**SMALL, **WORDS, **off, attn_implementation=attention)


def gpt2(attention):
    size = dict(vocab_size=50, n_positions=16, n_embd=32, n_layer=2, n_head=4)
    off = dict(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    ends = dict(bos_token_id=0, eos_token_id=0)
    return GPT2Config(**size, **off, **ends, attn_implementation=attention)


def llama(attention):
    return LlamaConfig(**SMALL, **WORDS, num_key_value_heads=2, attn_implementation=attention)


def vit(attention):
    config = ViTConfig(**SMALL, image_size=16, patch_size=4, num_labels=5)
    config._attn_implementation = attention
    model = ViTForImageClassification(config).double()
    y = torch.tensor([1, 2, 3])
    return model, lambda x, y: model(pixel_values=x, labels=y).loss, (IMAGES, y)


def group_norm_resnet(attention):
    model = resnet(8).double()
    y = torch.tensor([1, 2, 3])
    return model, lambda x, y: F.cross_entropy(model(x), y), (IMAGES, y)


class Recurrent(nn.Module):
    """Tied embedding, LSTM, attention over its states: a mixture of everything."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(50, 16)
        self.lstm = nn.LSTM(16, 16, batch_first=True)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.norm = nn.LayerNorm(16)
        self.bias = nn.Parameter(torch.zeros(50))

    def forward(self, ids):
        h, _ = self.lstm(self.embedding(ids))
        h = self.norm(h + self.attention(h, h, h)[0])
        return F.linear(h, self.embedding.weight, self.bias)


def mixture(attention):
    model = Recurrent().double()
    return model, lambda ids: F.cross_entropy(model(ids).flatten(0, 1), ids.flatten()), (IDS,)


MODELS = {
    "bert": language_model(BertForMaskedLM, bert),
    "gpt2": language_model(GPT2LMHeadModel, gpt2),
    "llama": language_model(LlamaForCausalLM, llama),
    "vit": vit,
    "resnet": group_norm_resnet,
    "mixture": mixture,
}


def gradients(closure, batch, law, parameters, way, step):
    for p in parameters.values():
        p.grad = None
    noise = Noise(3, step)
    sigmas = law.sigmas(parameters, 0)
    if way == "literal":
        losses = repeat(closure, parameters, law, sigmas, noise, batch)
    else:
        with force_way(way):
            losses = losses_at(closure, parameters, law, sigmas, noise, batch)
        losses.mean().backward()
    return torch.cat([p.grad.flatten() for p in parameters.values()]), losses.detach()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("noise", ["shared", "example"])
@pytest.mark.parametrize("name", MODELS)
def test_forward_and_backward(name, noise, attention):
    if attention == "eager" and name in {"resnet", "mixture"}:
        pytest.skip("has no such switch")
    torch.manual_seed(0)
    model, closure, batch = MODELS[name](attention)
    model.train()
    law = Perturbation(0.02, 4, noise)
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    # Parameters that the model does not use have no gradient in either way.
    closure(*batch).backward()
    parameters = {n: p for n, p in parameters.items() if p.grad is not None}
    literal, expected = gradients(closure, batch, law, parameters, "literal", 0)
    found, losses = gradients(closure, batch, law, parameters, "materialised", 0)
    torch.testing.assert_close(losses, expected, rtol=1e-6, atol=0)  # some losses are single
    assert (found - literal).norm() < 1e-5 * literal.norm()
    # Other noise, same law: as far from the literal gradient as that is from its next one.
    spread = (gradients(closure, batch, law, parameters, "literal", 1)[0] - literal).norm()
    implicit, losses = gradients(closure, batch, law, parameters, "implicit", 2)
    assert 0.3 * spread < (implicit - literal).norm() < 2 * spread
    assert losses.isfinite().all()
    assert 0.2 < losses.std() / expected.std() < 5


@pytest.mark.parametrize("name", ["gpt2", "llama", "vit", "resnet"])
def test_what_is_recorded_of_a_whole_model_gives_the_same(name):
    torch.manual_seed(0)
    model, closure, batch = MODELS[name]("sdpa")
    law = Perturbation(0.02, 4)
    gradient = capture(closure, model, law, seed=3, unused="allow")
    for step in range(3):  # the third runs the recording alone
        model.zero_grad()
        loss = gradient(*batch)
        found = [p.grad for p in model.parameters()]
        model.zero_grad()
        own = smooth(closure, model, law, batch=batch, seed=3, step=step, unused="allow")
        own.backward()
        torch.testing.assert_close(loss, own.detach())
        torch.testing.assert_close(found, [p.grad for p in model.parameters()])
    assert gradient.uncaptured is None
