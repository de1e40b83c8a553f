"""`pprs compare`: should you smooth, and how? Its flags are in `pprs/compare/config.py`."""

from __future__ import annotations

from collections.abc import Sequence

from pprs.cli.dispatch import say
from pprs.cli.run_command import launched
from pprs.compare import CompareConfig, Interrupted, compare


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    try:
        return launched("pprs compare", CompareConfig, compare, arguments)
    except Interrupted as error:
        return say(str(error), 128 + error.signal)
