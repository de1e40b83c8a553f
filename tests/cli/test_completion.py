"""What the first page says completes `pprs` in a shell, does."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "start.md"
TYPED = """
pprs() { "$0" -m pprs "$@"; }
COMP_WORDS=(pprs trai) COMP_CWORD=1
_pprs; echo "${COMPREPLY[@]}"
COMP_WORDS=(pprs bounds --de) COMP_CWORD=2
_pprs; echo "${COMPREPLY[@]}"
COMP_WORDS=(pprs "") COMP_CWORD=1
_pprs; echo "${COMPREPLY[@]}"
"""


@pytest.mark.dist
def test_bash_completes_commands_and_flags():
    (script,) = re.findall(r"```sh\n(declare.+?)```", PAGE.read_text(), re.DOTALL)
    done = subprocess.run(
        ["bash", "-c", script + TYPED, sys.executable], capture_output=True, text=True, check=True
    )
    train, depth, commands = done.stdout.splitlines()
    assert (train, depth) == ("train", "--depth")
    assert {"train", "compare", "explore"} <= {*commands.split()}
