"""Random models through real pipelines: gradients, outputs and state are those of plain torch."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from fuzz.models import RANDOM, REFUSED, STATEFUL, Case, draw
from fuzz.settings import SEED, SIGMA, by_hand, settings, turns

from pprs.pipeline import Pipeline
from pprs.smoothing import Noise, Perturbation, check_model, force_way, repeat

TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-4}
LAW = "antithetic", "scale", "noise"
# Under autocast, which may cross a kink: of the largest gradient, and of what it does to that.
ROUNDED = 0.05, 4.0


def drawn(number, chosen):
    """The case of a number."""
    few = "samples" in chosen and number % 5
    case = draw(number, REFUSED if few else frozenset())
    return case.single() if number % 4 == 0 else case


def pipelined_case(number):
    """`"equal"`, `"ran"` (chance forbids to compare), `"refused: ..."` or what is wrong."""
    chosen = settings(number, dist.get_world_size())
    case = drawn(number, chosen)
    plain = copy.deepcopy(case.model)
    if not case.runs():
        return "refused: by plain torch"
    exact = not case.traits & RANDOM
    planned = turns(number, case.target.dtype)
    again = any(turn.autocast for turn in planned)  # then the reference runs twice
    if case.traits & STATEFUL and (again or "samples" in chosen or chosen["microbatches"] != 1):
        exact = False  # microbatches move the state on by themselves
    example = () if type(case.model) is torch.nn.Sequential else case.example(number % 2 == 0)
    before = [t.clone() for t in case.inputs]
    with force_way("materialised"):
        chosen |= by_hand(number, case, example, chosen, dist.get_world_size())
        pipeline = Pipeline(case.model, case.loss, example=example, **chosen)
        for turn in planned:
            wrong = one_step(pipeline, plain, case, chosen, turn)
            if exact and wrong:
                return f"WRONG in step {pipeline.steps - 1}, {turn}: {wrong}"
            move([*pipeline.named_parameters().values(), *plain.parameters()])
    if any(not torch.equal(a, b) for a, b in zip(before, case.inputs, strict=True)):
        return "WRONG: the batch was changed"
    if exact and (wrong := other_outputs(pipeline, plain, case, turn)):
        return f"WRONG outputs in evaluation mode: {wrong}"
    return "equal" if exact else "ran"


def one_step(pipeline, plain, case, chosen, turn):
    """Take it twice; what is different, if anything."""
    batch, step = turn.of(case, plain), pipeline.steps
    modes = {module: module.training for module in plain.modules()}
    if turn.frozen is not None:
        names = [name for name, _ in plain.named_parameters()]
        for model in (case.model, plain):
            parameter = model.get_parameter(names[turn.frozen % len(names)])
            parameter.requires_grad_(not parameter.requires_grad)
    if turn.evaluation:
        pipeline.eval()
        plain.eval()
    x = batch.inputs if len(batch.inputs) > 1 else batch.inputs[0]
    with torch.autocast("cpu", torch.bfloat16, enabled=turn.autocast):
        loss = pipeline.step(x, batch.target, accumulate=turn.accumulate)
    earlier = {n: p.grad for n, p in plain.named_parameters() if turn.accumulate}
    options = {**chosen, "microbatches": pipeline.microbatches}
    try:
        tolerance = TOLERANCE[case.target.dtype]
        if turn.autocast:
            wide, _ = reference(batch, options, step, autocast=False)
        grads, right = reference(batch, options, step, autocast=turn.autocast)
    except (RuntimeError, ValueError) as error:
        return f"it took a step, but plain torch does not: {error}"
    if turn.autocast:
        lost = max((apart(wide.get(n), g) for n, g in grads.items()), default=0.0)
        tolerance = ROUNDED[0] + ROUNDED[1] * lost / largest(grads)
    for name, parameter in plain.named_parameters():
        parameter.grad = grads.get(name)
        if earlier.get(name) is not None and parameter.requires_grad:
            parameter.grad = earlier[name] + grads.get(name, 0)
    if turn.evaluation:
        pipeline.train()
        for module, training in modes.items():
            module.training = training
    return different(pipeline, plain, loss, right, tolerance)


def reference(batch: Case, options, step, *, autocast):
    """The gradients by name and the mean loss, in one process."""
    parameters, total, losses = check_model(batch.model), {}, []
    count = options["microbatches"]
    for microbatch in range(count):
        part = batch.part(microbatch, count) if options.get("split") == "examples" else batch
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            losses.append(literal(part, parameters, options, step, microbatch))
        for name, p in parameters.items():
            if p.grad is not None:
                total[name] = total.get(name, 0) + p.grad / count
    return total, torch.stack(losses).mean()


def literal(part: Case, parameters, options, step, microbatch):
    """The mean loss of a microbatch, whose gradients are left in `.grad`."""
    if "samples" not in options:
        part.model.zero_grad()
        loss = part.plain()
        loss.backward()
        return loss.detach()
    each = options["samples"]
    if options.get("split") != "examples":
        each //= options["microbatches"]
    law = Perturbation(SIGMA, each, **{k: options[k] for k in LAW if k in options})
    rows = (*part.inputs, part.target) if "noise" in options else None

    def closure(*given):
        *inputs, target = given or (*(x.clone() for x in part.inputs), part.target)
        return part.loss(part.model(*inputs), target)

    sigmas, noise = law.sigmas(parameters, step), Noise(SEED, step, microbatch)
    return repeat(closure, parameters, law, sigmas, noise, rows).mean()


def different(pipeline, plain, loss, right, tolerance):
    """What of a step is not as in one process, if anything; a collective call.

    Afterwards both go on with the same gradients, so that roundings do not add up.
    """
    parameters = {n: p for n, p in plain.named_parameters() if p.requires_grad}
    wanted = {n: p.grad for n, p in parameters.items()}
    every: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(every, {n: p.grad for n, p in pipeline.named_parameters().items()})
    off, ranks = {}, pipeline.mesh.ranks
    for first in range(0, len(every), ranks):
        parts = every[first : first + ranks]  # of one copy of the pipeline
        names = {name for part in parts for name in part}
        missing = wanted.keys() - names
        if names - wanted.keys():
            return f"names {sorted(names)}, not {sorted(wanted)}"
        for name in names:  # tied ones are in several
            one, *others = [part[name] for part in parts if name in part]
            if not all(g is one or torch.equal(g, one) for g in others):
                return f"copies of {name} have other gradients"
        if any(wanted[name] is not None for name in missing):
            return f"{missing} are not there"
        found = {name: grad for part in parts for name, grad in part.items()}
        sizes = {n: apart(grad, wanted[n]) / largest(wanted) for n, grad in found.items()}
        off |= {name: size for name, size in sizes.items() if size > tolerance}
    if loss is not None and apart(loss, right) > tolerance * (1 + abs(right)):
        off["loss"] = apart(loss, right)
    if loss is not None and loss.dtype != right.dtype:
        off["type of the loss"] = loss.dtype
    for name, grad in found.items():
        parameters[name].grad = grad
    return off


def largest(grads):
    """The largest number in any of them, or a little."""
    return max([1e-6, *(float(g.abs().max()) for g in grads.values() if g is not None)])


def apart(one, two):
    """The largest difference, where none is as good as 0."""
    return float(
        ((0 if one is None else one) - (0 if two is None else two) + torch.zeros(())).abs().max()
    )


def other_outputs(pipeline, plain, case, turn):
    """What the pipeline gives that is different in evaluation mode; a collective call."""
    batch = turn.of(case, plain)
    pipeline.eval()
    plain.eval()
    with torch.autocast("cpu", torch.bfloat16, enabled=turn.autocast):
        given = pipeline(batch.inputs)
        with torch.no_grad():
            wanted = plain(*(t.clone() for t in batch.inputs))
    if given is None:
        return None
    if type(given) is not type(wanted):
        return type(given)
    pairs = zip(given, wanted, strict=True) if isinstance(wanted, tuple) else [(given, wanted)]
    tolerance = ROUNDED[0] if turn.autocast else TOLERANCE[case.target.dtype]
    off = [(a.dtype, b.dtype, apart(a, b)) for a, b in pairs]
    return [(a, b, size) for a, b, size in off if a != b or size > tolerance * 10]


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
            told = isinstance(error, RuntimeError | ValueError)
            found = f"{'refused' if told else f'WRONG {type(error).__name__}'}: {error}"
            if not everywhere(number):
                note(path, number, f"{found} (by one rank)")
                raise  # ends the others, too, who may be waiting for this rank
        every: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(every, found)
        if dist.get_rank() == 0:
            each = " | ".join(dict.fromkeys(every))
            worst = next((f for f in every if f.startswith("WRONG")), each)
            note(path, number, worst)


def note(path, number, found):
    """Write what was found of a case."""
    with Path(path).open("a") as file:
        print(number, found.replace("\n", " "), file=file)


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
