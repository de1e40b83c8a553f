"""The command line: `pprs <command>`, a file for each command with its flags."""

from pprs.cli.command_line import main

__all__ = ["main"]
