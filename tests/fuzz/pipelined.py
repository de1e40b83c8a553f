"""Random models through real pipelines: gradients, outputs and state are those of plain torch."""

from __future__ import annotations

import copy
import random
import warnings
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from fuzz.models import RANDOM, REFUSED, STATEFUL, Case, draw

from pprs.pipeline import Pipeline
from pprs.smoothing import Law, Noise, always, check_model, repeat

SCHEDULES = (
    "gpipe", "1f1b", "looped-bfs", "interleaved-1f1b", "interleaved-zero-bubble", "zb-v",
    "dualpipe-v",
)  # fmt: skip
LAWS = ({}, {"antithetic": True}, {"scale": "filter"}, {"noise": "example"})
SEED, SIGMA, SAMPLES = 5, 0.1, 8
TOLERANCE = 1e-8


def settings(number):
    """How the pipeline of a number runs."""
    r = random.Random(number * 7919)
    schedule = r.choice(SCHEDULES)
    chosen = {"schedule": schedule, "seed": SEED, "microbatches": 4}
    if schedule == "gpipe":
        chosen["microbatches"] = r.choice([1, 2, 4])
    if r.random() < 0.5:
        chosen |= {"samples": SAMPLES, "sigma": SIGMA, **r.choice(LAWS)}
    else:
        chosen["split"] = "examples"
    if schedule in SCHEDULES[:4] and r.random() < 0.15:
        chosen["recompute"] = True
    return chosen


def drawn(number, chosen):
    """The case of a number."""
    few = "samples" in chosen and number % 5
    return draw(number, REFUSED if few else frozenset())


def pipelined_case(number):
    """``"equal"``, ``"ran"`` (chance forbids to compare), ``"refused: ..."`` or what is wrong."""
    chosen = settings(number)
    case = drawn(number, chosen)
    plain = copy.deepcopy(case.model)
    if not case.runs():
        return "refused: by plain torch"
    exact = not case.traits & RANDOM
    if case.traits & STATEFUL and ("samples" in chosen or chosen["microbatches"] > 1):
        exact = False  # microbatches move the state on by themselves
    example = () if type(case.model) is torch.nn.Sequential else case.inputs
    x = case.inputs if len(case.inputs) > 1 else case.inputs[0]
    before = [t.clone() for t in case.inputs]
    with always("materialised"):
        pipeline = Pipeline(case.model, case.loss, example=example, **chosen)
        for step in range(2):
            loss, right = pipeline.step(x, case.target), reference(case, plain, chosen, step)
            wrong = exact and different(pipeline, plain, loss, right)
            if wrong:
                return f"WRONG in step {step}: {wrong}"
            move([*pipeline.named_parameters().values(), *plain.parameters()])
    if any(not torch.equal(a, b) for a, b in zip(before, case.inputs, strict=True)):
        return "WRONG: the batch was changed"
    if exact and other_outputs(pipeline, plain, case, x):
        return "WRONG outputs in evaluation mode"
    return "equal" if exact else "ran"


def reference(case: Case, model, chosen, step):
    """The mean loss in one process, whose gradients are left in ``.grad``."""
    model.zero_grad()
    if "samples" not in chosen:
        loss = case.plain(model)
        loss.backward()
        return loss.detach()
    count = chosen["microbatches"]
    options = {k: chosen[k] for k in ("antithetic", "scale", "noise") if k in chosen}
    law = Law(SIGMA, SAMPLES // count, **options)
    batch = (*case.inputs, case.target) if "noise" in chosen else None

    def closure(*rows):
        *inputs, target = rows or (*(x.clone() for x in case.inputs), case.target)
        return case.loss(model(*inputs), target)

    parameters, total, losses = check_model(model), {}, []
    for microbatch in range(count):
        noise = Noise(SEED, step, microbatch)
        found = repeat(closure, parameters, law, law.sigmas(parameters, step), noise, batch)
        losses.append(found.mean())
        for name, p in parameters.items():
            if p.grad is not None:
                total[name] = total.get(name, 0) + p.grad / count
    for name, p in model.named_parameters():
        p.grad = total.get(name)
    return torch.stack(losses).mean()


def different(pipeline, plain, loss, right):
    """What of a step is not as in one process, if anything; a collective call."""
    wanted = {n: p for n, p in plain.named_parameters() if p.requires_grad}
    every = [None] * dist.get_world_size()
    dist.all_gather_object(every, {n: p.grad for n, p in pipeline.named_parameters().items()})
    names = [name for part in every for name in part]
    missing = wanted.keys() - set(names)
    if len(set(names)) < len(names) or set(names) - wanted.keys():
        return f"names {sorted(names)}, not {sorted(wanted)}"
    if any(wanted[name].grad is not None for name in missing):
        return f"{missing} are not there"
    found = {name: grad for part in every for name, grad in part.items()}
    scale = max([1e-6, *(p.grad.abs().max().item() for p in wanted.values() if p.grad is not None)])
    off = {name: apart(grad, wanted[name].grad) / scale for name, grad in found.items()}
    off = {name: size for name, size in off.items() if size > TOLERANCE}
    if loss is not None and apart(loss, right) > TOLERANCE * (1 + abs(right)):
        off["loss"] = apart(loss, right)
    return off


def apart(one, two):
    """The largest difference, where none is as good as 0."""
    return float(
        ((0 if one is None else one) - (0 if two is None else two) + torch.zeros(())).abs().max()
    )


def other_outputs(pipeline, plain, case, x):
    """Whether the pipeline gives something else in evaluation mode; a collective call."""
    pipeline.eval()
    given = pipeline(x)
    pipeline.train()
    if given is None:
        return False
    plain.eval()
    with torch.no_grad():
        wanted = plain(*(t.clone() for t in case.inputs))
    pairs = zip(given, wanted, strict=True) if isinstance(wanted, tuple) else [(given, wanted)]
    same = type(given) is type(wanted)
    return not (same and all(torch.allclose(a, b, atol=TOLERANCE) for a, b in pairs))


def move(parameters):
    """A step of gradient descent."""
    with torch.no_grad():
        for p in parameters:
            if p.grad is not None:
                p.add_(p.grad, alpha=-0.1)


def run(first, last, path):
    """Try the cases of some numbers, as one rank of several; the first writes what was found."""
    warnings.simplefilter("ignore")
    for number in range(first, last):
        try:
            found = pipelined_case(number)
        except Exception as error:
            if not everywhere(number):
                raise  # ends the others, too, who may be waiting for this rank
            found = f"refused: {error}"
        every = [None] * dist.get_world_size()
        dist.all_gather_object(every, found)
        if dist.get_rank() == 0:
            worst = next((f for f in every if f.startswith("WRONG")), found)
            with Path(path).open("a") as file:
                print(number, worst.replace("\n", " "), file=file)


def everywhere(number):
    """Whether all ranks are refused the case of this number."""
    store = dist.distributed_c10d._get_default_store()
    store.set(f"{number}/{dist.get_rank()}", "")
    try:
        keys = [f"{number}/{rank}" for rank in range(dist.get_world_size())]
        store.wait(keys, timedelta(seconds=5))
    except RuntimeError:
        return False
    return True


def lines(path) -> Iterator[tuple[int, str]]:
    """What was written, by number."""
    for line in Path(path).read_text().splitlines() if Path(path).exists() else ():
        number, _, found = line.partition(" ")
        yield int(number), found
