"""How many examples property tests try: a few, always the same; under `make fuzz` many others."""

import os

from hypothesis import HealthCheck, settings

FUZZ = bool(os.environ.get("FUZZ"))
_MORE = 20

settings.register_profile(
    "amount",
    # No test depends on how fast the machine is.
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=not FUZZ,
    database=None,
    print_blob=True,
    max_examples=100 * (_MORE if FUZZ else 1),
)
settings.load_profile("amount")


def tries(number):
    """A decorator for a property test: how many examples it tries."""
    return settings(max_examples=number * (_MORE if FUZZ else 1))
