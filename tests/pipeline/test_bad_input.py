"""Whatever wrong a user passes, a sentence names the argument and what was seen."""

import re
from copy import deepcopy

import pytest
import torch
import torch.distributed as dist
from amount import tries
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from pprs.pipeline import Pipeline
from pprs.smoothing import Perturbation
from pprs.training.losses import hinge

MANY = settings(
    tries(300),
    suppress_health_check=[*settings().suppress_health_check, HealthCheck.function_scoped_fixture],
)

TEXT = st.text(max_size=5)
NOT_A_NUMBER = st.one_of(st.none(), TEXT, st.lists(st.integers(), max_size=2), st.just(object()))
NO_COUNT = st.one_of(NOT_A_NUMBER, st.integers(max_value=0), st.floats(), st.booleans())
NO_FLAG = st.one_of(NOT_A_NUMBER, st.integers(), st.floats())
NO_NAME = st.one_of(NOT_A_NUMBER, st.integers(), st.floats(), st.booleans())
BAD = {
    "sigma": st.one_of(
        NOT_A_NUMBER, st.floats(max_value=-1e-9), st.just(float("nan")), st.just(float("inf")),
        st.dictionaries(TEXT.filter(bool), st.floats(0, 1), min_size=1),
    ),
    "samples": NO_COUNT,
    "noise": NO_NAME,
    "antithetic": NO_FLAG,
    "scale": NO_NAME.filter(lambda value: value is not None),
    "split": NO_NAME,
    "microbatches": NO_COUNT.filter(lambda value: value is not None) | st.integers(9),
    "schedule": NO_NAME,
    "stages_per_rank": NO_COUNT.filter(lambda value: value is not None),
    "replicas": NO_COUNT | st.integers(2),
    "seed": NO_NAME.filter(lambda v: v is not None and not isinstance(v, int)),
    "balance": NO_NAME,
    "cut": st.one_of(st.integers(), TEXT.filter(bool), st.lists(st.integers(), min_size=1)),
    "memory": NO_NAME.filter(lambda value: value is not None),
    "recompute": NO_FLAG,
    "finite": NO_FLAG,
    "record": NO_COUNT.filter(lambda v: v is False or v != 0),
    "device": NO_NAME,
    "loss": NOT_A_NUMBER,
    "network": NOT_A_NUMBER,
    "example": st.one_of(st.integers(), st.lists(st.integers(), min_size=1)),
}  # fmt: skip


@pytest.fixture(scope="module")
def alone():
    """A process group of this process only."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def network():
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))


def built(**options):
    given = dict(network=network(), loss=hinge, sigma=0.1, samples=8, seed=1) | options
    return Pipeline(given.pop("network"), given.pop("loss"), **given)


@MANY
@given(data=st.data(), name=st.sampled_from(sorted(BAD)))
def test_a_wrong_argument_of_a_pipeline_is_named_with_what_was_seen(alone, data, name):
    value = data.draw(BAD[name])
    with pytest.raises(ValueError, match=re.escape(name)) as caught:
        built(**{name: value})
    parts = list(value) if isinstance(value, list | dict) and value else [value]
    assert any(repr(part) in str(caught.value) for part in [value, *parts])


def test_a_pipeline_takes_a_perturbation_whole_or_in_parts(alone):
    x, y = torch.eye(4), torch.tensor([0, 1, 2, 0])
    parts = dict(sigma=0.1, samples=4, noise="example", antithetic=True, scale="filter")
    for whole, same in ((Perturbation(**parts), parts), (Perturbation(0.0, 1), {})):
        torch.manual_seed(0)
        model, found = network(), []
        for how in (dict(perturbation=whole), same):
            pipeline = Pipeline(deepcopy(model), hinge, seed=1, check=False, **how)
            pipeline.step(x, y)
            found.append([p.grad for p in pipeline.named_parameters().values()])
        assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
        with pytest.raises(ValueError, match="perturbation=Perturbation.*besides, samples=1: give"):
            Pipeline(model, hinge, perturbation=whole, samples=1)
    with pytest.raises(ValueError, match=r"must be a pprs\.Perturbation, got 0\.1"):
        Pipeline(network(), hinge, perturbation=0.1)  # of how many samples?


SHAPES = st.lists(st.integers(0, 3), max_size=3).map(tuple)
DTYPES = st.sampled_from([torch.float32, torch.float64, torch.int64, torch.bool, torch.complex64])


def tensors(shapes=SHAPES, dtypes=DTYPES):
    return st.builds(lambda s, d: torch.ones(s, dtype=d), shapes, dtypes)


@MANY
@given(x=tensors() | NOT_A_NUMBER, y=tensors() | NOT_A_NUMBER)
def test_a_wrong_batch_ends_in_a_sentence(alone, x, y):
    pipeline = built()
    right = isinstance(x, torch.Tensor) and isinstance(y, torch.Tensor)
    right = right and x.shape[1:] == (4,) and y.shape == x.shape[:1]
    if right and len(x) and x.dtype == torch.float32 and y.dtype == torch.int64:
        pipeline.step(x, y)
        return
    with pytest.raises((ValueError, RuntimeError)) as caught:
        pipeline.step(x, y)
    assert len(str(caught.value).split()) > 4
    assert pipeline.steps == 0


def test_inputs_and_targets_of_different_length_are_counted(alone):
    with pytest.raises(ValueError, match="the same number: x has 3, y has 2"):
        built().step(torch.ones(3, 4), torch.zeros(2, dtype=torch.int64))


@pytest.mark.parametrize(
    ("x", "said"),
    [
        ("hello", "x must be a tensor or a tuple of tensors, got str 'hello'"),
        ((), "x must be a tensor or a tuple of tensors, got none"),
        ([1.0], r"x must be a tensor or a tuple of tensors, got list \[1.0\]"),
        ((torch.ones(2, 4), None), r"x\[1\] must be a tensor, got NoneType None"),
        (torch.ones(0, 4), r"x must have a row for each example, at least one, got shape \(0, 4\)"),
    ],
)
def test_what_is_no_input_has_no_outputs(alone, x, said):
    with pytest.raises(ValueError, match=said):
        built()(x)


def test_a_network_without_trainable_parameters_is_refused(alone):
    for layers in ([nn.ReLU()], [nn.Linear(4, 3).requires_grad_(False), nn.ReLU()]):
        with pytest.raises(ValueError, match="network must have a parameter that can be trained"):
            built(network=nn.Sequential(*layers))


def test_a_lazy_layer_that_has_not_run_is_named(alone):
    with pytest.raises(ValueError, match=r"'1.weight' has no shape yet.*run the model on one"):
        built(network=nn.Sequential(nn.Linear(4, 5), nn.LazyLinear(3)))
