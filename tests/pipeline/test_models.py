"""Models of a well-known library, unchanged, through real pipelines."""

from typing import Any

import pytest
import torch
import torch.distributed as dist
from pipeline.networks import refused
from pipeline.ranks import merged, on_ranks
from torch.nn.functional import cross_entropy
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    ViTConfig,
    ViTForImageClassification,
)

import pprs
from pprs.pipeline import Pipeline

pytestmark = [pytest.mark.dist, pytest.mark.slow]
STEPS = 2


def bert():
    config = BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=12, max_position_embeddings=8, num_labels=3,
    )  # fmt: skip
    tokens = torch.randint(20, (4, 6))
    mask = torch.ones(4, 6, dtype=torch.int64)
    mask[1, 4:] = 0
    example = (tokens, {"attention_mask": mask})
    return BertForSequenceClassification(config), example, torch.arange(4) % 3


def gpt2():
    config = GPT2Config(
        vocab_size=17, n_positions=8, n_embd=8, n_layer=1, n_head=2, tie_word_embeddings=False,
        use_cache=False, attn_pdrop=0.0,  # with dropout there, as in BERT, it is traced twice
    )  # fmt: skip
    tokens = torch.randint(17, (4, 6))
    return GPT2LMHeadModel(config), (tokens,), tokens.roll(-1, 1)


def vit():
    config = ViTConfig(
        image_size=8, patch_size=4, hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=12, num_labels=3,
    )  # fmt: skip
    return ViTForImageClassification(config), (torch.randn(4, 3, 8, 8),), torch.arange(4) % 3


MODELS = {"bert": bert, "gpt2": gpt2, "vit": vit}


def task(name):
    torch.manual_seed(0)
    model, example, y = MODELS[name]()
    double = tuple(x.double() if isinstance(x, torch.Tensor) and x.is_floating_point() else x
                   for x in example)  # fmt: skip
    return model.double().eval(), double, y


def loss(scores, y):
    return cross_entropy(scores.flatten(0, -2), y.flatten())


def tensors(example):
    return tuple(v for x in example for v in (x.values() if isinstance(x, dict) else [x]))


def train(name, schedule="gpipe", microbatches=2, **options):
    model, example, y = task(name)
    pipeline = Pipeline(
        model, loss, example=example, sigma=0.05, samples=4, microbatches=microbatches,
        schedule=schedule, seed=5, **options,
    )  # fmt: skip
    optimizer = pprs.AGD(pipeline.named_parameters().items(), 0.05)
    for _ in range(STEPS):
        pipeline.step(tensors(example), y)
        optimizer.step()
    scores = pipeline(tensors(example))
    assert scores is None or scores.shape[0] == 4
    return {n: p.detach().clone() for n, p in pipeline.named_parameters().items()}


# For each number of processes. What schedules and kinds of noise do to the result does not depend
# on the model; how a model is traced, cut and sent does, and zb-v cuts it into the most stages.
BY_TIME = dict(noise="example", balance="time")
RUNS: dict[int, Any] = {
    1: [("bert", {}), ("gpt2", {}), ("vit", BY_TIME)],
    2: [
        ("bert", {}),
        ("gpt2", dict(schedule="zb-v")),
        ("vit", BY_TIME),
        *((name, dict(schedule="zb-v", microbatches=1)) for name in ("bert", "vit")),
    ],
}


def tied():
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=17, n_positions=8, n_embd=8, n_layer=1, n_head=2)
    Pipeline(GPT2LMHeadModel(config), loss, example=(torch.ones(2, 4, dtype=torch.int64),), seed=0)


def worker():
    world = dist.get_world_size()
    trained = [train(name, **options) for name, options in RUNS[world]]
    return trained, refused(tied) if world > 1 else ""


@pytest.fixture(scope="module")
def results():
    found = {}
    for world, runs in RUNS.items():
        parts = on_ranks(world, worker)
        for (name, options), *some in zip(runs, *(trained for trained, _ in parts), strict=True):
            found[world, name, *options.values()] = merged(some)
        found[world, "tied"] = {said for _, said in parts}
    return found


def difference(a, b):
    assert a.keys() == b.keys()
    return max(((a[n] - b[n]).norm() / (1e-9 + b[n].norm())).item() for n in a)


BY_ONE_AND_TWO = {
    "bert": (("bert",), ("bert",)),
    "gpt2": (("gpt2",), ("gpt2", "zb-v")),
    "vit": (("vit", *BY_TIME.values()), ("vit", *BY_TIME.values())),
}


@pytest.mark.parametrize("name", BY_ONE_AND_TWO)
def test_two_processes_train_the_same_parameters_as_one(results, name):
    one, two = (results[1 + i, *run] for i, run in enumerate(BY_ONE_AND_TWO[name]))
    start = dict(task(name)[0].named_parameters())
    assert difference(one, {n: start[n].detach() for n in one}) > 1e-3
    assert difference(two, one) < 1e-8


@pytest.mark.parametrize("name", ["bert", "vit"])
def test_with_one_microbatch_the_pipeline_is_pprs_on_the_model(results, name):
    model, example, y = task(name)
    start = {n: p.detach().clone() for n, p in model.named_parameters()}
    *given, last = example
    positional, options = (given, last) if isinstance(last, dict) else (example, {})
    optimizer = pprs.PPRS(model, 0.05, sigma=0.05, samples=4, seed=5)
    for _ in range(STEPS):
        optimizer.step(lambda: loss(model(*positional, **options).logits, y))
    trained = {n: p.detach() for n, p in model.named_parameters()}
    found = results[2, name, "zb-v", 1]
    assert difference({n: trained[n] for n in found}, found) < 1e-8
    assert all(torch.equal(trained[n], start[n]) for n in trained.keys() - found.keys())


def test_tied_weights_that_two_stages_would_share_are_refused(results):
    (said,) = results[2, "tied"]
    assert "layers that share parameters must be in one stage" in said
