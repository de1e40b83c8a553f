"""Models of a well-known library, unchanged, through real pipelines."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from pipeline.ranks import merged, on_ranks
from torch.nn.functional import cross_entropy
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    ViTConfig,
    ViTForImageClassification,
)

import pprs
from pprs.pipeline import Checkpoints, Pipeline, resume_run, save_run
from pprs.training.labels import shifted

pytestmark = [pytest.mark.dist, pytest.mark.slow]
STEPS, HALF = 2, 1
SMALL = dict(
    vocab_size=17, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=12,
    max_position_embeddings=8, bos_token_id=0, eos_token_id=0,
)  # fmt: skip


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
        vocab_size=17, n_positions=8, n_embd=8, n_layer=1, n_head=2, bos_token_id=0,
        eos_token_id=0, attn_pdrop=0.0,  # with dropout there, as in BERT, it is traced twice
    )  # fmt: skip
    return language_model(GPT2LMHeadModel(config))


def llama():
    return language_model(LlamaForCausalLM(LlamaConfig(num_key_value_heads=2, **SMALL)))


def qwen():
    config = Qwen3Config(num_key_value_heads=1, head_dim=4, tie_word_embeddings=True, **SMALL)
    return language_model(Qwen3ForCausalLM(config))


def language_model(model):
    tokens = torch.randint(17, (4, 6))
    return model, (tokens,), shifted(tokens)


def vit():
    config = ViTConfig(
        image_size=8, patch_size=4, hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=12, num_labels=3,
    )  # fmt: skip
    return ViTForImageClassification(config), (torch.randn(4, 3, 8, 8),), torch.arange(4) % 3


MODELS = {"bert": bert, "gpt2": gpt2, "llama": llama, "qwen": qwen, "vit": vit}
# How these run on two processes; one goes on from what those have saved.
RESUMED = {"gpt2": {}, "llama": {"schedule": "zb-v"}, "qwen": {}}


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


def train(name, folder, microbatches=2, **options):
    model, example, y = task(name)
    pipeline = Pipeline(
        model, loss, example=example, sigma=0.05, samples=4, microbatches=microbatches, seed=5,
        **options,
    )  # fmt: skip
    optimizer = pprs.AGD(pipeline.named_parameters().items(), 0.05)
    with Checkpoints(Path(folder) / name, every=HALF) as checkpoints:
        if checkpoints.latest():
            resume_run(checkpoints, pipeline, optimizer)
        while pipeline.steps < STEPS:
            pipeline.step(tensors(example), y)
            optimizer.step()
            if pipeline.steps == HALF and name in RESUMED:
                save_run(checkpoints, pipeline, optimizer)
    scores = pipeline(tensors(example))
    assert scores is None or scores.shape[0] == 4
    return {n: p.detach().clone() for n, p in pipeline.named_parameters().items()}


# For each number of processes. What schedules and kinds of noise do to the result does not depend
# on the model; how a model is traced, cut and sent does, and zb-v cuts it into the most stages.
BY_TIME = dict(noise="example", balance="time")
RUNS: dict[int, Any] = {
    2: [
        ("bert", {}),
        ("vit", BY_TIME),
        *((name, dict(schedule="zb-v", microbatches=1)) for name in ("bert", "vit")),
        *((name, options | dict(microbatches=1)) for name, options in RESUMED.items()),
    ],
    1: [("bert", {}), ("vit", BY_TIME), *((name, dict(microbatches=1)) for name in RESUMED)],
}


def worker(folder):
    return [train(name, folder, **options) for name, options in RUNS[dist.get_world_size()]]


@pytest.fixture(scope="module")
def results():
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for world, runs in RUNS.items():
            parts = on_ranks(world, worker, folder)
            for (name, options), *some in zip(runs, *parts, strict=True):
                found[world, name, *options.values()] = merged(some)
    return found


def difference(a, b):
    assert a.keys() == b.keys()
    return max(((a[n] - b[n]).norm() / (1e-9 + b[n].norm())).item() for n in a)


BY_ONE_AND_TWO = {
    "bert": (("bert",), ("bert",)),
    "vit": (("vit", *BY_TIME.values()), ("vit", *BY_TIME.values())),
}


@pytest.mark.parametrize("name", BY_ONE_AND_TWO)
def test_two_processes_train_the_same_parameters_as_one(results, name):
    one, two = (results[1 + i, *run] for i, run in enumerate(BY_ONE_AND_TWO[name]))
    start = dict(task(name)[0].named_parameters())
    assert difference(one, {n: start[n].detach() for n in one}) > 1e-3
    assert difference(two, one) < 1e-8


def on_the_model(name):
    """What PPRS on the model itself makes of its parameters, and which those were."""
    model, example, y = task(name)
    start = {n: p.detach().clone() for n, p in model.named_parameters()}
    *given, last = example
    positional, options = (given, last) if isinstance(last, dict) else (example, {})
    optimizer = pprs.PPRS(model, 0.05, sigma=0.05, samples=4, seed=5)
    for _ in range(STEPS):
        optimizer.step(lambda: loss(model(*positional, **options).logits, y))
    return {n: p.detach() for n, p in model.named_parameters()}, start


@pytest.mark.parametrize("name", ["bert", "vit"])
def test_with_one_microbatch_the_pipeline_is_pprs_on_the_model(results, name):
    trained, start = on_the_model(name)
    found = results[2, name, "zb-v", 1]
    assert difference({n: trained[n] for n in found}, found) < 1e-8
    assert all(torch.equal(trained[n], start[n]) for n in trained.keys() - found.keys())


@pytest.mark.parametrize("name", RESUMED)
def test_so_it_is_for_language_models_and_one_process_goes_on_where_two_have_been(results, name):
    trained, start = on_the_model(name)
    assert difference(trained, start) > 1e-3
    for found in (results[2, name, *RESUMED[name].values(), 1], results[1, name, 1]):
        assert difference(trained, found) < 1e-8
