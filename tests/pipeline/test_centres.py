"""What a step at several centres takes, refuses and leaves as it was."""

import gc
import math
import re
import weakref

import pytest
import torch
import torch.distributed as dist
from torch import nn

from pprs.pipeline import Pipeline
from pprs.training.losses import hinge


@pytest.fixture(scope="module", autouse=True)
def alone():
    """A process group of this process only."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def built(**options):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)).double()
    given = dict(sigma=0.1, samples=12, seed=1, check=False) | options
    pipe = Pipeline(network, given.pop("loss", hinge), **given)
    x = torch.randn(6, 4, dtype=torch.float64)
    return pipe, x, torch.arange(6) % 3


def near(pipe, count=3, scale=0.1):
    return [
        {n: p + scale * i * torch.ones_like(p) for n, p in pipe.named_parameters().items()}
        for i in range(count)
    ]


def left(pipe):
    return {n: (p.detach().clone(), p.grad) for n, p in pipe.named_parameters().items()}


def same(before, after):
    return all(
        torch.equal(before[n][0], after[n][0]) and before[n][1] is after[n][1] for n in before
    )


def refused(pipe, x, y, **given):
    before, steps = left(pipe), pipe.steps
    with pytest.raises(ValueError, match=".") as caught:
        pipe.step(x, y, **given)
    assert same(before, left(pipe))
    assert pipe.steps == steps
    pipe.step(x, y)  # it goes on
    return str(caught.value)


def test_what_does_not_fit_is_refused_in_a_sentence():
    pipe, x, y = built(microbatches=4)
    pipe.step(x, y)
    two = near(pipe, 2)
    assert "microbatches must be a multiple of 3: got 4; " in refused(
        pipe, x, y, centres=near(pipe)
    )
    assert "3, 6, 12 would fit" in refused(pipe, x, y, centres=near(pipe))
    assert "leave one of them out" in refused(pipe, x, y, centres=two, accumulate=True)
    for wrong in ([], 3, [two[0], 3], two[0]):
        assert "centres must be a sequence" in refused(pipe, x, y, centres=wrong)
    lacking = [two[0], {n: v for n, v in two[1].items() if n != "0.bias"}]
    assert "centres[1] lacks '0.bias'" in refused(pipe, x, y, centres=lacking)
    assert "centres[1] has 'b'" in refused(pipe, x, y, centres=[two[0], two[1] | {"b": x}])
    for wrong, said in (
        (x, "(6, 4) and torch.float64"),
        (torch.ones(5), "(5,) and torch.float32"),
        ("a", "got str"),
    ):
        message = refused(pipe, x, y, centres=[two[0] | {"0.bias": wrong}, two[1]])
        assert re.search(r"centres\[0\]\['0.bias'\] must be .*shape \(5,\) and", message)
        assert said in message
    pipe, x, y = built(split="examples", microbatches=3)
    assert 'take split="perturbations"' in refused(pipe, x, y, centres=near(pipe))
    pipe, x, y = built(samples=8)
    assert "none fits: change samples" in refused(pipe, x, y, centres=near(pipe))


def test_microbatches_are_shared_evenly_where_their_number_is_not_given():
    pipe, x, y = built()
    assert pipe.microbatches == 1
    pipe.step(x, y, centres=near(pipe))
    assert pipe.microbatches == 3
    pipe, x, y = built(microbatches="auto")
    pipe.step(x, y, centres=near(pipe, 1))
    pipe.step(x, y, centres=near(pipe))
    assert pipe.microbatches % 3 == 0


def test_a_plain_step_is_as_it_was_afterwards_and_nothing_of_the_centres_is_kept():
    found = []
    for several in (True, False):
        pipe, x, y = built(microbatches=6)
        pipe.step(x, y)
        if several:
            centres = near(pipe)
            values = [weakref.ref(value) for centre in centres for value in centre.values()]
            held = left(pipe)
            losses = pipe.step(x, y, centres=centres)
            chosen = int(losses.argmin())
            for name, p in pipe.named_parameters().items():
                assert torch.equal(p, centres[chosen][name])
                assert p.data_ptr() != centres[chosen][name].data_ptr()
                p.data.copy_(held[name][0])
            del centres, held
            gc.collect()
            assert not any(value() is not None for value in values)
        pipe.steps = 2
        found.append((pipe.step(x, y), [p.grad for p in pipe.named_parameters().values()]))
    assert torch.equal(found[0][0], found[1][0])
    assert all(map(torch.equal, found[0][1], found[1][1]))


def test_a_centre_without_a_finite_loss_is_passed_over_and_without_any_all_is_as_it_was():
    pipe, x, y = built(microbatches=3)
    pipe.step(x, y)
    centres = near(pipe)
    centres[0]["2.bias"] = torch.full_like(centres[0]["2.bias"], math.nan)
    centres[2]["2.bias"] = torch.full_like(centres[2]["2.bias"], math.inf)
    losses = pipe.step(x, y, centres=centres)
    assert losses.isfinite().tolist() == [False, True, False]
    assert all(torch.equal(p, centres[1][n]) for n, p in pipe.named_parameters().items())
    before, steps = left(pipe), pipe.steps
    losses = pipe.step(x, y, centres=[centres[0], centres[2], centres[0]])
    assert not losses.isfinite().any()
    assert same(before, left(pipe))
    assert pipe.steps == steps
    assert pipe.step(x, y).isfinite()


def test_an_error_within_a_step_leaves_parameters_and_gradients():
    calls = []

    def loss(outputs, y):
        calls.append(0)
        if len(calls) > 4:
            raise RuntimeError("enough")
        return hinge(outputs, y)

    pipe, x, y = built(loss=loss, microbatches=3, samples=3, sigma=0.0)
    pipe.step(x, y)
    before, where = left(pipe), {n: p.data_ptr() for n, p in pipe.named_parameters().items()}
    with pytest.raises(RuntimeError, match="enough"):
        pipe.step(x, y, centres=near(pipe))
    assert same(before, left(pipe))
    assert where == {n: p.data_ptr() for n, p in pipe.named_parameters().items()}


def test_hooks_of_parameters_see_the_gradient_of_the_best_alone():
    pipe, x, y = built(microbatches=6)
    name, parameter = next(iter(pipe.named_parameters().items()))
    seen = []
    parameter.register_hook(lambda gradient: seen.append((parameter.clone(), gradient.clone())))
    centres = near(pipe)
    losses = pipe.step(x, y, centres=centres)
    ((value, gradient),) = seen
    assert torch.equal(value, centres[int(losses.argmin())][name])
    assert torch.equal(gradient, parameter.grad)


def test_centres_in_another_order_of_memory_give_the_same_bits():
    found = []
    for turned in (False, True):
        pipe, x, y = built(microbatches=3, sigma=0.0)
        centres = near(pipe)
        if turned:
            centres = [
                {n: v.t().contiguous().t() if v.dim() == 2 else v for n, v in c.items()}
                for c in centres
            ]
        pipe.step(x, y, centres=centres)
        found.append([p.grad for p in pipe.named_parameters().values()])
    assert all(map(torch.equal, *found))
