"""From a command line to a command and its exit code."""

from __future__ import annotations

import io
import os
import select
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from pprs import __version__
from pprs._arguments import meant

Command: TypeAlias = Callable[[Sequence[str]], int]
"""From the arguments of a command to its exit code."""

_HELP = (["-h"], ["--help"])
_PYTHON = (3, 11)


def dispatch(
    program: str,
    usage: str,
    commands: Mapping[str, Command],
    arguments: Sequence[str] | None = None,
    *,
    install: str,
) -> int:
    """Run a command.

    Args:
        program: its name.
        usage: what is printed for `--help`, or where no command is named.
        commands: by name; each imports what it needs when it is run.
        arguments: of the command line, by default those of this process.
        install: what brings a package that is missing.

    Returns:
        0 after success, 1 if the run failed, 2 for wrong arguments, 128 + n after signal n; n is 13
        if the reader closes the output early, as `head` does (within a table the code is 1).
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        try:
            return _dispatch(program, usage, commands, words, install)
        finally:
            if sys.stdout is not None:  # None if it was closed before
                sys.stdout.flush()
    except BrokenPipeError:
        if not _nobody_reads():
            raise
        return 128 + signal.SIGPIPE


def say(message: str, code: int, program: str = "pprs") -> int:
    """Say on stderr how a command ended; returns the exit code."""
    print(f"{program}: {message}", file=sys.stderr)
    return code


def _nobody_reads() -> bool:
    """Whether the reader of the output has closed it; then what is left to write is dropped."""
    if not isinstance(sys.stdout, io.TextIOWrapper):
        return False
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)
    if not any(event & select.POLLERR for _, event in output.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


def _dispatch(
    program: str, usage: str, commands: Mapping[str, Command], words: list[str], install: str
) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):  # the name of a file need not be text
        sys.stdout.reconfigure(errors="backslashreplace")
    if words[:1] in [*_HELP, ["--version"]]:
        print(usage if words[:1] in _HELP else f"{program} {__version__}")
        return 0
    if not words or words[0] not in commands:
        return say(f"{_unknown(words, commands)}\n{usage}", 2, program)
    if sys.version_info < _PYTHON:
        needed, here = (".".join(map(str, v[:2])) for v in (_PYTHON, sys.version_info))
        return say(f"pprs needs Python {needed} or newer, this is {here}", 2, program)
    try:
        return commands[words[0]](words[1:])
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("pprs"):
            raise
        return say(f"the command line needs {error.name}: {install}", 2, program)
    except KeyboardInterrupt:
        return say("interrupted", 130, program)


def _unknown(words: list[str], commands: Mapping[str, Command]) -> str:
    """The message about an unknown command, with the nearest known one."""
    if not words:
        return "no command given"
    return f"unknown command {words[0]!r}{meant(words[0], commands)}"
