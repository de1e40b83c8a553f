"""`pprs compare`: several methods at equal pipeline time.

Its flags are in `pprs/compare/config.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from pprs.cli.run_command import launched
from pprs.compare import CompareConfig, compare


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    return launched("pprs compare", CompareConfig, compare, arguments)
