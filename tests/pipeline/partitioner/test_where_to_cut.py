import pytest
import torch
import torch.distributed as dist
from torch import nn

from pprs.pipeline import Memory, chain, cut_chain


@pytest.fixture(scope="module", autouse=True)
def _alone():
    """A process group of this process only."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def whole():
    """Three small layers in front of a large one."""
    small = [nn.Linear(8, 8) for _ in range(3)]
    return chain(nn.Sequential(*small, nn.Linear(8, 2000)))


EXAMPLE = (torch.ones(2, 8),)


def test_by_parameters_the_large_layer_is_alone():
    assert cut_chain(whole(), 2) == [range(3), range(3, 4)]


def test_by_hand():
    assert cut_chain(whole(), 3, cut=["1", 3]) == [range(1), range(1, 3), range(3, 4)]
    with pytest.raises(ValueError, match=r"3 stages have 2 of these, got 1: \['1'\]"):
        cut_chain(whole(), 3, cut=["1"])


def test_by_time_every_stage_keeps_within_the_memory_or_the_least_limit_is_told():
    # Parameters and gradients of 4 bytes each, and its input: no small layer fits in besides.
    large = 2 * 4 * (8 * 2000 + 2000)
    limit = Memory(large + 300)
    pieces = cut_chain(whole(), 2, example=EXAMPLE, balance="time", memory=limit)
    assert pieces == [range(3), range(3, 4)]
    with pytest.raises(ValueError, match="the least limit that one does is"):
        cut_chain(whole(), 2, example=EXAMPLE, balance="time", memory=Memory(large / 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(balance="time"), "pass example="),
        (dict(balance="size"), "balance must be 'parameters' or 'time', got 'size'"),
        (dict(memory=Memory(1.0)), "it needs balance='time' and no cut"),
        (dict(memory=Memory(1.0), balance="time", cut=["1"]), "it needs balance='time' and no"),
    ],
)
def test_what_does_not_go_together_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        cut_chain(whole(), 2, **options)
