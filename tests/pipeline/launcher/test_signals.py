"""Handlers that are set for a while: real signals to this process."""

import signal
import sys

import pytest

from pprs.pipeline.launcher.signals import handled

if sys.platform == "win32":
    pytest.skip("has other signals", allow_module_level=True)


@pytest.fixture
def before():
    """The handlers of this process, which are set again afterwards."""
    kept = {each: signal.getsignal(each) for each in (signal.SIGHUP, signal.SIGTERM)}
    yield
    for each, handler in kept.items():
        signal.signal(each, handler)


@pytest.mark.parametrize("ignored", [True, False])
def test_signals_are_handled_inside_only_and_a_hangup_unless_it_was_ignored(before, ignored):
    came = []
    hangup = signal.SIG_IGN if ignored else signal.SIG_DFL
    signal.signal(signal.SIGHUP, hangup)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with (
        pytest.raises(ArithmeticError),
        handled(lambda number, _: came.append(number), (signal.SIGHUP, signal.SIGTERM)),
    ):
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGTERM)
        raise ArithmeticError
    assert came == ([] if ignored else [signal.SIGHUP]) + [signal.SIGTERM]
    assert signal.getsignal(signal.SIGHUP) is hangup
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
