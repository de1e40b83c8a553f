"""The commands of `pprs-study`, by name."""

from __future__ import annotations

from collections.abc import Sequence

from pprs.cli.dispatch import dispatch, say
from pprs.cli.run_command import configured

USAGE = """usage: pprs-study <command> [options]

commands:
  run        tune many methods in many tasks, and run them on new seeds
  report     tables, figures and a page of a study's results
  confirmed  what came out of the held-out confirmation
  depth      tables and a figure of accuracy against depth

`pprs-study <command> --help` lists a command's options."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    commands = {"run": _run, "report": _report, "confirmed": _confirmed, "depth": _depth}
    return dispatch("pprs-study", USAGE, commands, arguments, install="pip install ./experiments")


def _run(arguments: Sequence[str]) -> int:
    from pprs_experiments.study.command import (
        StudyConfig,
        StudyError,
        StudyInterrupted,
        run_study,
    )

    try:
        return configured("pprs-study run", StudyConfig, run_study, arguments)
    except StudyError as error:
        return say(str(error), 1)
    except StudyInterrupted as error:
        return say(str(error), 128 + error.signal)


def _confirmed(arguments: Sequence[str]) -> int:
    from pprs_experiments.study.confirmation import ConfirmationConfig, report

    return configured("pprs-study confirmed", ConfirmationConfig, report, arguments)


def _depth(arguments: Sequence[str]) -> int:
    from pprs_experiments.study.depth import DepthConfig, report

    return configured("pprs-study depth", DepthConfig, report, arguments)


def _report(arguments: Sequence[str]) -> int:
    from pprs_experiments.study.command import ReportConfig, run_report

    return configured("pprs-study report", ReportConfig, run_report, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
