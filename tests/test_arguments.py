import inspect

import numpy as np
import pytest
from amount import tries
from hypothesis import given
from hypothesis import strategies as st

from pprs.theory import bounds, choose

FUNCTIONS = [
    function
    for _, function in inspect.getmembers(bounds, inspect.isfunction)
    if "epsilon" in inspect.signature(function).parameters
]
odd = st.one_of(st.floats(), st.integers(-5, 10**400), st.booleans(), st.none())


@pytest.mark.parametrize("function", [*FUNCTIONS, choose], ids=lambda f: f.__name__)
@tries(60)
@given(data=st.data())
def test_any_constants_give_numbers_or_a_sentence_that_names_one(function, data):
    """Thousands of wrong and right constants: a result, or a ValueError, never another error."""
    required = [
        name
        for name, p in inspect.signature(function).parameters.items()
        if name not in {"printed", "noise"}
    ]
    good = st.one_of(st.floats(1e-3, 1e3), st.integers(1, 1000))
    chosen = {name: data.draw(st.one_of(good, odd)) for name in required}
    if "noise" in inspect.signature(function).parameters:
        chosen["noise"] = data.draw(st.sampled_from(["shared", "example"]))
    message, result = None, 0.0
    try:
        result = function(**chosen)
    except ValueError as error:
        message = str(error)
    assert message is None or any(name in message for name in chosen), message
    value = result if isinstance(result, float) else result.time
    assert np.isfinite(value)
    assert value >= 0
