"""Random models, smoothed and through pipelines: equal to plain torch, or refused.

`make test` tries a few, `make fuzz` thousands.
"""

import secrets
from contextlib import suppress

import pytest
from amount import FUZZ
from fuzz.pipelined import lines, run
from fuzz.smoothing import smoothed_case
from pipeline.ranks import on_ranks

from pprs.pipeline import LaunchError

pytestmark = [pytest.mark.fuzz] if FUZZ else []
SMOOTHED, PIPELINED = (2000, 1000) if FUZZ else (40, 7)
FIRST = secrets.randbelow(10**9) if FUZZ else 0  # failures name the numbers


@pytest.mark.slow
def test_smoothed_models_are_as_in_plain_torch_or_refused():
    found = {number: smoothed_case(number) for number in range(FIRST, FIRST + SMOOTHED)}
    assert not {n: f for n, f in found.items() if not f.startswith(("equal", "refused"))}
    assert sum(f == "equal" for f in found.values()) > SMOOTHED / 2


@pytest.mark.dist
@pytest.mark.slow
def test_models_in_pipelines_are_as_in_plain_torch_or_refused(tmp_path):
    path, first, last = tmp_path / "found", FIRST, FIRST + PIPELINED
    while first < last:
        with suppress(LaunchError):  # one rank was refused a case, while the others waited
            on_ranks(2, run, first, last, path)
        first = max([first + 1, *(number + 1 for number, _ in lines(path))])
    found = dict(reversed([*lines(path)]))  # the first that a rank said of a case
    assert not {n: f for n, f in found.items() if f.startswith("WRONG")}
    assert sum(f == "equal" for f in found.values()) > PIPELINED / 3
