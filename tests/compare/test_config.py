from pathlib import Path

import pytest

from pprs.compare import CompareConfig


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(seeds=0), "seeds must be at least 1, got 0"),
        (dict(stages=3, depth=2), "depth 2 and 3 stages"),
        (dict(methods=("gd", "gd")), "each method once"),
        (dict(samples=10, microbatches=3), "possible are 1, 2, 5, 10"),
        (dict(schedule="1f1b", microbatches=1, stages=2, samples=4, depth=4), None),
        (dict(schedule="1f1b", microbatches=2, stages=4), "2 microbatches for 4 stages"),
        (dict(budget=57), "budget must pay for a step.*58, got 57"),
        (dict(name="a/b"), "single folder"),
        (dict(lr=(0.1, -1.0)), "positive step sizes, got -1.0"),
        (dict(shots=1), "shots=1"),
        (dict(shots=1, lr=(0.1,)), None),
        (dict(momentum=-0.5), "momentum.*-0.5"),
        (dict(trace=Path("nowhere/t.json")), "nowhere is not a folder"),
        (dict(trace=Path()), "cannot write .: it is a folder"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(options, message):
    if message is None:
        CompareConfig(**options)
    else:
        with pytest.raises(ValueError, match=message):
            CompareConfig(**options)
