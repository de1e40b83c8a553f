"""What the command line says to wrong arguments."""

import re

from pprs.cli import main


def refusal(arguments, capsys, main=main):
    """The message of a command that ends with code 2, on one line."""
    try:
        code = main(arguments)
    except SystemExit as end:
        code = end.code
    assert code == 2
    return re.sub(r"\s+", " ", capsys.readouterr().err)
