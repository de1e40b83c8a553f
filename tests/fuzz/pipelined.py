"""Random models through real pipelines, in one launch: gradients, outputs and state as in plain torch."""

from __future__ import annotations

import copy
import random
import sys
import warnings
from datetime import timedelta

import torch
import torch.distributed as dist
from fuzz.models import RANDOM, ROWS, STATEFUL, draw

from pprs.pipeline import Pipeline
from pprs.smoothing import Law, Noise, always, check_model, repeat

SCHEDULES = ("gpipe", "1f1b", "looped-bfs", "interleaved-1f1b", "interleaved-zero-bubble", "zb-v", "dualpipe-v")
LAWS = ({}, {"antithetic": True}, {"scale": "filter"}, {"noise": "example"})
SEED, SIGMA, SAMPLES = 5, 0.1, 8


def settings(number: int):
    r = random.Random(number * 7919)
    schedule = r.choice(SCHEDULES)
    smoothed = r.random() < 0.5
    chosen = {"schedule": schedule, "seed": SEED, "microbatches": r.choice([1, 2, 4]) if schedule == "gpipe" else 4}
    if smoothed:
        law = r.choice(LAWS)
        chosen |= {"samples": SAMPLES, "sigma": SIGMA, **law}
    else:
        chosen["split"] = "examples"
    if schedule in SCHEDULES[:4] and r.random() < 0.15:
        chosen["recompute"] = True
    return chosen


def reference(case, model, chosen, step):
    """The mean loss and gradients in one process, in ``.grad``."""
    model.zero_grad()
    if "samples" not in chosen:
        loss = case.plain(model)
        loss.backward()
        return loss.detach()
    count = chosen["microbatches"]
    options = {k: chosen[k] for k in ("antithetic", "scale", "noise") if k in chosen}
    law = Law(SIGMA, SAMPLES // count, **options)
    batch = (*case.inputs, case.target) if "noise" in chosen else None
    total, losses = {}, []

    def closure(*rows):
        *inputs, target = rows or (*(x.clone() for x in case.inputs), case.target)
        return case.loss(model(*inputs), target)

    for microbatch in range(count):
        parameters = check_model(model)
        losses.append(repeat(closure, parameters, law, law.sigmas(parameters, step), Noise(SEED, step, microbatch), batch).mean())
        for name, p in parameters.items():
            if p.grad is not None:
                total[name] = total.get(name, 0) + p.grad / count
    for name, p in model.named_parameters():
        p.grad = total.get(name)
    return torch.stack(losses).mean()


def pipelined_case(number: int) -> str:
    case, chosen = draw(number), settings(number)
    plain = copy.deepcopy(case.model)
    example = case.inputs if type(case.model) is not torch.nn.Sequential else ()
    x, y = case.inputs, case.target
    kept = [t.clone() for t in x]
    comparable = not case.traits & RANDOM and not (case.traits & STATEFUL and chosen["microbatches"] > 1)
    if "samples" in chosen and case.traits & STATEFUL:
        comparable = False
    with always("materialised"):
        pipeline = Pipeline(case.model, case.loss, example=example, **chosen)
        for step in range(2):
            loss = pipeline.step(tuple(t.clone() for t in x) if len(x) > 1 else x[0].clone(), y)
            right = reference(case, plain, chosen, step)
            own = {n: p.grad for n, p in pipeline.named_parameters().items()}
            if comparable:
                found = _compared(own, plain, loss, right)
                if found:
                    return f"WRONG step {step}: {found} {chosen} {sorted(case.traits)}"
            with torch.no_grad():
                for p in [*pipeline.named_parameters().values(), *(q for q in plain.parameters() if q.requires_grad)]:
                    if p.grad is not None:
                        p -= 0.1 * p.grad
    if any(not torch.equal(a, b) for a, b in zip(kept, x)):
        return "WRONG: the batch was changed"
    pipeline.eval()
    plain.eval()
    out = pipeline(x)
    pipeline.train()
    if out is not None and comparable and "dropout always" not in case.traits:
        with torch.no_grad():
            want = plain(*(t.clone() for t in x))
        pairs = zip(out, want) if isinstance(want, tuple) else [(out, want)]
        if isinstance(want, tuple) != isinstance(out, tuple) or not all(torch.allclose(a, b, atol=1e-6) for a, b in pairs):
            return f"WRONG outputs in eval {chosen} {sorted(case.traits)}"
    return "equal" if comparable else "ran"


def _compared(own, plain, loss, right):
    wanted = dict(plain.named_parameters())
    every = [None] * dist.get_world_size()
    dist.all_gather_object(every, own)
    names = [n for part in every for n in part]
    trainable = sorted(n for n, p in wanted.items() if p.requires_grad)
    if sorted(names) != trainable:
        missing = set(trainable) - set(names)
        unused = all(wanted[n].grad is None for n in missing)
        if not unused or set(names) - set(trainable) or len(set(names)) != len(names):
            return f"names {sorted(names)} of {trainable}"
    scale = max([1e-6, *(float(p.grad.abs().max()) for p in wanted.values() if p.grad is not None)])
    bad = {}
    for part in every:
        for name, grad in part.items():
            want = wanted[name].grad
            if grad is None and want is None:
                continue
            if grad is None or want is None:
                if (grad is None and want.abs().max() > 0) or (want is None and grad.abs().max() > 0):
                    bad[name] = "None" if grad is None else "not None"
            elif (grad - want).abs().max() > 1e-8 * scale:
                bad[name] = float((grad - want).abs().max() / scale)
    if bad:
        return f"gradients {bad}"
    if loss is not None and abs(loss - right) > 1e-8 * (1 + abs(right)):
        return f"loss {loss} {right}"
    return None


def main(first: int, last: int) -> None:
    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    torch.set_num_threads(1)
    rank, store = dist.get_rank(), dist.distributed_c10d._get_default_store()
    warnings.simplefilter("ignore")
    for number in range(first, last):
        raised = False
        try:
            found = pipelined_case(number)
        except Exception as error:
            raised = True
            cause = error
            found = f"refused: {type(error).__name__} {str(cause).strip()[:300]!r} {settings(number)} {sorted(draw(number).traits)}"
        store.set(f"{number}/{rank}", found)
        others = [f"{number}/{r}" for r in range(dist.get_world_size())]
        try:
            broken = raised and any(w in found for w in ("gloo", "Connection", "pair closure"))
            store.wait(others, timedelta(seconds=1 if broken else 8 if raised else 60))
            assert not broken
        except Exception:
            if not broken:
                print(f"{number}\talone, rank {rank}: {found}", flush=True)
            import os
            os._exit(5)
        all_found = [store.get(o).decode() for o in others]
        if rank == 0:
            worst = next((f for f in all_found if f.startswith("WRONG")), None) or next((f for f in all_found if f.startswith("refused")), all_found[0])
            print(f"{number}\t{worst}", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
