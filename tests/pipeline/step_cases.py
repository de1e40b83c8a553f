"""Steps of a pipeline of two processes, each case with what it found."""

import copy
import logging
import random
from functools import partial

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from pipeline.networks import (
    Averaging,
    Dropping,
    Sometimes,
    Towers,
    batch,
    gradients,
    linear,
    refused,
    right,
    same,
    seeded,
    stepped,
)
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

from pprs.pipeline import Pipeline, chain

PLAIN = dict(split="examples", microbatches=4)


def two_towers(found):
    x, y = batch()
    (model,) = seeded(Towers)
    pieces = chain(model, x, 2 * x)
    F.cross_entropy(model(x, 2 * x), y).backward()
    whole = gradients(model)
    for schedule in ("interleaved-zero-bubble", "zb-v", "dualpipe-v"):
        for samples, split in ((1, PLAIN), (4, dict(microbatches=4))):
            options = dict(schedule=schedule, samples=samples, seed=0) | split
            mine = stepped(Pipeline(pieces, F.cross_entropy, **options), (x, 2 * x), y)
            found[f"towers, {schedule}, {samples}"] = same(mine, whole)


def buffers(found):
    x, y = batch()
    network = seeded(linear, Averaging, linear, Averaging)
    plain = copy.deepcopy(network)
    pipe = Pipeline(network, F.cross_entropy, cut=["2"], **PLAIN)
    for rows, training in ((8, True), (4, True), (8, False), (8, True)):
        pipe.train(training)
        pipe.step(x[:rows], y[:rows])
        for part in x[:rows].chunk(4):
            plain(part)
    own = 1 + 2 * dist.get_rank()
    found["buffers"] = torch.allclose(network[own].mean, plain[own].mean)
    found["attributes"] = network[own].calls == plain[own].calls == 16
    found["recomputed"] = refused(
        lambda: Pipeline(network, F.cross_entropy, recompute=True, **PLAIN).step(x, y)
    )
    again = nn.Sequential(*network[:3], network[1])  # in a place of both stages
    found["a buffer of two stages"] = refused(
        lambda: Pipeline(again, F.cross_entropy, cut=["2"], **PLAIN).step(x, y)
    )


def buffers_of(stage):
    infos = (*stage.args_recv_info.values(), *stage.grad_recv_info.values())
    found = [getattr(info, "buffer", None) for some in infos for info in some]
    return [buffer for buffer in found if buffer is not None]


def many_shapes(found):
    torch.manual_seed(0)
    pipe = Pipeline(seeded(linear, linear), F.mse_loss, split="examples", microbatches=1)
    for rows in range(1, 21):
        x, _ = batch(rows)
        pipe.step(x, x)
    ready = pipe._engine._ready.values()
    found["shapes kept"] = len(ready)
    found["shapes in memory"] = sum(
        any(not buffer.is_meta for buffer in buffers_of(stage))
        for each in ready
        for stage in each.stages
    )
    x, _ = batch(13)  # one that has given its memory back
    plain = seeded(linear, linear)
    found["an earlier shape"] = same(stepped(pipe, x, x), right(plain, F.mse_loss, x, x))


def changes(found):
    """Precision, and which layers are frozen, change from step to step."""
    x, y = batch()
    network = seeded(linear, nn.Tanh, linear, nn.Tanh, linear)
    plain = copy.deepcopy(network)
    pipe = Pipeline(network, F.cross_entropy, schedule="zb-v", seed=0, **PLAIN)
    steps = ((0, False), (2, False), (0, True), (2, True))
    for layer, needed in steps:
        for model in (network, plain):
            model[layer].requires_grad_(needed)
        if layer or needed:
            mine, whole = stepped(pipe, x, y), right(plain, F.cross_entropy, x, y)
            found[f"{layer} needs a gradient: {needed}"] = same(mine, whole)
    with torch.autocast("cpu", dtype=torch.bfloat16):  # around several steps, as loops have it
        before = stepped(pipe, x, y)
        doubled(pipe.named_parameters().values())
        after = stepped(pipe, x, y)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found["autocast"] = same(before, right(plain, F.cross_entropy, x, y), 1e-2)
    doubled(plain.parameters())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found["autocast, moved"] = same(after, right(plain, F.cross_entropy, x, y), 1e-2)


def doubled(parameters):
    with torch.no_grad():
        for parameter in parameters:
            parameter.mul_(2)


def in_place(found):
    x, y = batch()
    network = seeded(partial(nn.ELU, inplace=True), linear, partial(nn.ReLU, inplace=True), linear)
    plain = copy.deepcopy(network)
    before = x.clone()
    for samples, split in ((1, PLAIN), (4, dict(microbatches=4))):
        pipe = Pipeline(network, F.cross_entropy, cut=["2"], samples=samples, seed=0, **split)
        for _ in range(2):
            mine, whole = stepped(pipe, x, y), right(plain, F.cross_entropy, x.clone(), y)
            found[f"in place, {samples}"] = same(mine, whole)
    found["the batch"] = torch.equal(x, before)


def dropout(found):
    """Masks are keyed; the generators stay as they were."""
    x, y = batch()
    layers = (linear, partial(nn.Dropout, 0.5), linear, Dropping, linear, nn.Dropout, linear)
    reference = None
    for schedule, each in (("gpipe", 1), ("looped-bfs", 2), ("looped-bfs", 3), ("zb-v", 2)):
        pipe = Pipeline(
            seeded(*layers),
            F.cross_entropy,
            schedule=schedule,
            stages_per_rank=each,
            seed=3,
            **PLAIN,
        )
        states = torch.get_rng_state(), random.getstate(), str(np.random.get_state())
        first = stepped(pipe, x, y)
        found[f"generators, {schedule} {each}"] = (
            torch.equal(states[0], torch.get_rng_state())
            and states[1:] == (random.getstate(), str(np.random.get_state()))
        )  # fmt: skip
        reference = reference or first
        found[f"masks, {schedule} {each}"] = same(first, reference)
        found[f"other masks, {schedule} {each}"] = not same(stepped(pipe, x, y), first)
    torch.manual_seed(7)
    for a, b in [pair for _ in range(2) for pair in DataLoader(TensorDataset(x, y), 4, True)]:
        pipe.step(a, b)


def disagreements(found):
    x, y = batch()
    rank = dist.get_rank()
    pipe = Pipeline(seeded(linear, linear), F.cross_entropy, **PLAIN)
    order = torch.arange(8).flip(0) if rank else torch.arange(8)
    found["other order"] = refused(lambda: pipe.step(x[order], y[order]))
    found["other targets"] = refused(lambda: pipe.step(x, y[order]))
    found["other test inputs"] = refused(lambda: pipe(x[order]))
    found["other shape"] = refused(lambda: pipe.step(x[: 8 - 4 * rank], y[: 8 - 4 * rank]))
    with torch.autocast("cpu", torch.bfloat16, enabled=rank == 1):
        found["other precision"] = refused(lambda: pipe.step(x, y))
    with torch.no_grad():
        found["no gradients"] = refused(lambda: pipe.step(x, y))
    plain = seeded(linear, linear)
    pipe(torch.full_like(x, -0.0 if rank else 0.0))  # the same number
    found["after all that"] = same(stepped(pipe, x, y), right(plain, F.cross_entropy, x, y))
    scores = pipe(x if pipe.is_first else ())
    assert (scores is None) != pipe.is_last


def labels(found):
    x, y = batch()
    y[[0, 1, 6]] = -100  # of the first microbatch, all
    weighted = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2, 3, 4]), label_smoothing=0.1)
    losses = {"function": F.cross_entropy, "weighted": weighted}
    for name, loss in losses.items():
        for noise in ("shared", "example"):
            network = seeded(linear, linear)
            options = PLAIN | dict(noise=noise, samples=2, seed=0)
            mine = stepped(Pipeline(network, loss, **options), x, y)
            found[f"labels, {name}, {noise}"] = same(mine, right(network, loss, x, y))

    def own(outputs, targets):
        return F.cross_entropy(outputs, targets)

    def total(outputs, targets):
        return F.cross_entropy(outputs, targets, reduction="sum") * 4 / 5

    pipe = Pipeline(seeded(linear, linear), total, group=alone(), check=False, **PLAIN)
    pipe.step(x, y)
    network = seeded(linear, linear)
    found["labels, a sum"] = same(gradients(pipe), right(network, F.cross_entropy, x, y))
    pipe = Pipeline(network, own, group=alone(), **PLAIN)
    found["labels, unknown"] = refused(lambda: pipe.step(x, y))
    y[:] = -100
    found["no label"] = refused(lambda: pipe.step(x, y))


def alone():
    """A group of this rank only."""
    return [dist.new_group([rank]) for rank in range(dist.get_world_size())][dist.get_rank()]


def failures(found):
    """A pipeline of one rank, whose step fails, takes the next one as ever."""
    x, y = batch()
    network = seeded(linear, linear)
    fails = []

    def loss(outputs, targets):
        if fails and fails.pop():
            raise KeyError("of the user")
        return F.cross_entropy(outputs, targets)

    pipe = Pipeline(network, loss, group=alone(), check=False, **PLAIN)  # it counts its calls
    pipe.step(x, y, accumulate=True)
    before = gradients(pipe)
    fails += [True, False, False]  # in the third microbatch
    found["failure"] = refused(lambda: pipe.step(x, y, accumulate=True))
    found["gradients after it"] = same(gradients(pipe), before)
    pipe.step(x, y)
    found["step after it"] = same(
        gradients(pipe), right(copy.deepcopy(network), F.cross_entropy, x, y)
    )


def words(found):
    """A layer fails in the schedule, after it ran once before."""
    x, y = batch()
    calls = []

    class Breaking(nn.Module):
        def forward(self, x):
            calls.append(x)
            if len(calls) > 1:
                raise ValueError("my layer broke")
            return x

    network = seeded(linear, Breaking, linear)
    pipe = Pipeline(network, F.cross_entropy, group=alone(), check=False, **PLAIN)
    found["a layer's words"] = refused(lambda: pipe.step(x, y))

    class Checkpointed(nn.Linear):
        def forward(self, x):
            return checkpoint(super().forward, x, use_reentrant=True)

    network, logged = seeded(linear, partial(Checkpointed, 4, 4), linear), []
    options = dict(schedule="interleaved-1f1b", recompute=True, check=False) | PLAIN
    pipe = Pipeline(network, F.cross_entropy, group=alone(), **options)
    logger = logging.getLogger("torch.distributed.pipelining.schedules")
    logger.addHandler(handler := Handler(logged))
    found["a backward's words"] = refused(lambda: pipe.step(x, y)) + "".join(logged)
    logger.removeHandler(handler)


class Handler(logging.Handler):
    """Keeps what is logged."""

    def __init__(self, logged):
        super().__init__()
        self.logged = logged

    def emit(self, record):
        self.logged.append(record.getMessage())


def copies(found):
    """A copy of the pipeline uses a parameter that the other one does not."""
    x, y = batch()
    x[0, 0], x[4, 0] = 1.0, -1.0
    network = seeded(Sometimes)
    options = dict(split="examples", microbatches=2, replicas=2)
    # One process would use it for all examples, which the pipeline's own check tells.
    checked = Pipeline(network, F.cross_entropy, **options)
    found["examples that depend on others"] = refused(lambda: checked.step(x, y))
    found["the step after a failed one"] = refused(lambda: checked.step(x, y))
    pipe = Pipeline(network, F.cross_entropy, check=False, **options)
    pipe.step(x, y)
    plain = copy.deepcopy(network)
    plain.zero_grad()
    ((F.cross_entropy(plain(x[:4]), y[:4]) + F.cross_entropy(plain(x[4:]), y[4:])) / 2).backward()
    found["unused in a copy"] = same(gradients(pipe), gradients(plain))


CASES = (two_towers, buffers, many_shapes, changes, in_place, dropout, disagreements, labels)


def worker():
    found = {}
    for case in (*CASES, failures, words, copies):
        case(found)
    return found
