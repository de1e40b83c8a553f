"""How runs of `minimize` end, and what they say of it. Seeds are stated in each test."""

import re

import pytest
import torch

import pprs

GOAL = torch.tensor([0.5, -0.5, 0.5, 0.5], dtype=torch.float64)
ZERO = torch.zeros(4, dtype=torch.float64)
CONSTANTS = {"epsilon": 0.05, "lipschitz": 1.0, "radius": 1.0}


def farthest(x):
    return (x - GOAL).abs().max()


@pytest.mark.parametrize(
    ("given", "success", "message"),
    [
        ({"method": "adam", "lr": 1e-3}, False, "no target says whether fun is low enough"),
        ({}, False, "no target says whether fun is low enough"),
        ({"epsilon": 0.01, "radius": 1.0}, False, "no target says whether fun is low enough"),
        ({"time": 200.0}, False, "all of the time is used up, and no target says"),
        ({"lower": -1.0}, False, "no target says whether fun is low enough"),
        ({"lower": -1.0, "epsilon": 0.01}, False, "above the minimum, more than epsilon"),
        ({"lower": 0.0, "epsilon": 0.49}, True, "at most the target 0.49"),
        ({"target": 0.49, "epsilon": 0.01}, True, "at most the target 0.49"),
        ({"method": "subgradient", **CONSTANTS, "steps": 400, "convex": True}, True,
         "all 400 steps are taken, fun is at most 0.05 above the minimum, within epsilon"),
        ({"method": "subgradient", **CONSTANTS, "convex": True}, False, "more than epsilon"),
        ({"method": "subgradient", **CONSTANTS, "steps": 400, "convex": True, "target": -1.0},
         False, "above the target"),
        ({"method": "subgradient", **CONSTANTS, "steps": 400}, False, "no target says"),
    ],
)  # fmt: skip
def test_success_is_a_target_that_is_reached_or_a_bound_within_epsilon(given, success, message):
    found = pprs.minimize(farthest, ZERO, seed=0, **{"steps": 20, **given})
    assert found.success == success
    assert message in found.message


def test_a_lower_far_below_the_minimum_is_left_aside_where_it_is_and_the_message_tells():
    offsets = torch.tensor([0.0, 5.0, 0.0], dtype=torch.float64)
    found = pprs.minimize(
        lambda x, offset: farthest(x) + offset, ZERO.expand(3, -1), (offsets,), batched=True,
        depth=10, steps=150, seed=0, lower=0.0, epsilon=0.01,
    )  # fmt: skip
    assert found.success.tolist() == [True, False, True]
    assert ["left aside" in message for message in found.message] == [False, True, False]
    assert re.search(
        r"5\.\S+ above the minimum, more than epsilon; lower=0 was left aside after \d+ steps, "
        r"with fun stalled at [56]\.\d+: do not give a lower",
        found.message[1],
    )
    assert found[1].bound == found[1].fun < 5.01  # with sigma by the lower value, 5.2
