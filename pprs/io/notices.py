"""Messages beside a command's result: progress and warnings."""

from __future__ import annotations

import os
import sys


def progress(sentence: str) -> None:
    """Say what happens now; of several processes the first one says it."""
    if os.environ.get("RANK", "0") == "0":
        print(sentence, flush=True)


def warn(sentence: str) -> None:
    """Warn on stderr of something that is allowed but most likely not meant."""
    if os.environ.get("RANK", "0") == "0":
        print(f"pprs: warning: {sentence}", file=sys.stderr, flush=True)
