"""The command line: `pprs <command>`, one thin function per command."""

from __future__ import annotations

import difflib
import io
import os
import select
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from pprs import __version__

T = TypeVar("T")

USAGE = """usage: pprs <command> [options]

commands:
  train            train your own model on your own data through a pipeline
  compare          train a few-shot classifier through a pipeline with several methods, at equal
                   pipeline time
  bench gradient   time a smoothed gradient against a plain one, the literal loop and vmap
  bench pipeline   time a pipeline against its ideal, the same rows without noise, and one process
  bounds           how long a precision takes, at least and by method, for given constants
  simulate         run methods on a worst-case function over depths of the pipeline
  trace            where the time of a recorded pipeline went, and a picture of it
  study run        tune many methods in many tasks, and run them on new seeds
  study worker     take part in a study that runs on another machine
  study report     tables, figures and a page of a study's results

`pprs <command> --help` lists a command's options, `pprs --version` prints the version."""


_HELP = (["-h"], ["--help"])
_PYTHON = (3, 11)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        0 after success, 1 if the run failed, 2 for wrong arguments, 128 + n after signal n (13 if
        who reads plain output, such as `head`, has seen enough; 1 in the midst of a table).
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        try:
            return _main(arguments)
        finally:
            if sys.stdout is not None:  # it is where it was closed before
                sys.stdout.flush()
    except BrokenPipeError:
        if not _nobody_reads():
            raise
        return 128 + signal.SIGPIPE


def _nobody_reads() -> bool:
    """Whether the output is a pipe that is closed; then what is left to write is dropped."""
    if not isinstance(sys.stdout, io.TextIOWrapper):
        return False
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)
    if not any(event & select.POLLERR for _, event in output.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


def _main(arguments: list[str]) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):  # the name of a file need not be text
        sys.stdout.reconfigure(errors="backslashreplace")
    told = _told(arguments)
    if told:
        print(told)
        return 0
    command, rest = _command(arguments)
    if command is None:
        return _say(f"{_unknown(arguments)}\n{USAGE}", 2)
    if sys.version_info < _PYTHON:
        needed, here = (".".join(map(str, v[:2])) for v in (_PYTHON, sys.version_info))
        return _say(f"pprs needs Python {needed} or newer, this is {here}", 2)
    try:
        return command(rest)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("pprs"):
            raise
        extra = "study" if arguments[:1] == ["study"] else "train"
        return _say(f"the command line needs {error.name}: pip install 'pprs[{extra}]'", 2)
    except KeyboardInterrupt:
        return _say("interrupted", 130)


def _told(arguments: list[str]) -> str | None:
    """What is asked for before any command."""
    if arguments[:1] == ["--version"]:
        return f"pprs {__version__}"
    inner = arguments[1:] if arguments[:1] in (["bench"], ["study"]) else arguments
    return USAGE if inner[:1] in _HELP else None


def _command(
    arguments: list[str],
) -> tuple[Callable[[Sequence[str]], int] | None, list[str]]:
    """The function of the command that the arguments begin with, and the rest of them."""
    for words, command in _commands().items():
        if tuple(arguments[: len(words)]) == words:
            return command, arguments[len(words) :]
    return None, arguments


def _unknown(arguments: list[str]) -> str:
    """What is no command, and the one that may have been meant."""
    if not arguments:
        return "no command given"
    known = [" ".join(words) for words in _commands()]
    some = {name.partition(" ")[0] for name in known} - {arguments[0]}
    two = " ".join(arguments[:2])
    near = [
        *difflib.get_close_matches(two, known, 1),
        *difflib.get_close_matches(arguments[0], some, 1),
    ]
    hint = f": did you mean {near[0]!r}?" if near else ""
    return f"unknown command {arguments[0]!r}{hint}"


def _commands() -> dict[tuple[str, ...], Callable[[Sequence[str]], int]]:
    return {
        ("compare",): _compare,
        ("bench", "gradient"): _bench_gradient,
        ("bench", "pipeline"): _bench_pipeline,
        ("bounds",): _bounds,
        ("simulate",): _simulate,
        ("study", "run"): _study_run,
        ("study", "worker"): _study_worker,
        ("study", "report"): _study_report,
        ("trace",): _trace,
        ("train",): _train,
    }


def _bench_gradient(arguments: Sequence[str]) -> int:
    from pprs.bench import GradientBench, bench_gradient

    return _configured("bench gradient", GradientBench, bench_gradient, arguments)


def _bench_pipeline(arguments: Sequence[str]) -> int:
    from pprs.bench.pipeline import PipelineBench, bench_pipeline

    return _launched("bench pipeline", PipelineBench, bench_pipeline, arguments)


def _bounds(arguments: Sequence[str]) -> int:
    from pprs.limits import BoundsConfig, bounds

    return _configured("bounds", BoundsConfig, bounds, arguments)


def _simulate(arguments: Sequence[str]) -> int:
    from pprs.limits import SimulateConfig, simulate

    return _configured("simulate", SimulateConfig, simulate, arguments)


def _study_run(arguments: Sequence[str]) -> int:
    from pprs.study.command import StudyConfig, StudyError, StudyInterrupted, run_study

    try:
        return _configured("study run", StudyConfig, run_study, arguments)
    except StudyError as error:
        return _say(str(error), 1)
    except StudyInterrupted as error:
        return _say(str(error), 128 + error.signal)


def _study_worker(arguments: Sequence[str]) -> int:
    from pprs.study.command import WorkerConfig, run_worker

    return _configured("study worker", WorkerConfig, run_worker, arguments)


def _study_report(arguments: Sequence[str]) -> int:
    from pprs.study.command import ReportConfig, run_report

    return _configured("study report", ReportConfig, run_report, arguments)


def _trace(arguments: Sequence[str]) -> int:
    from pprs.pipeline.timeline.command import TraceConfig, trace

    return _configured("trace", TraceConfig, trace, arguments)


def _train(arguments: Sequence[str]) -> int:
    from pprs.pipeline import LaunchError
    from pprs.training import Interrupted, parse, train

    try:
        train(parse(arguments))
    except ValueError as error:
        return _say(str(error), 2)
    except LaunchError as error:
        return _say(str(error), 1)
    except Interrupted as error:
        return _say(str(error), 128 + error.signal)
    return 0


def _configured(
    name: str, config: type[T], run: Callable[[T], object], arguments: Sequence[str]
) -> int:
    """Run a command whose options are the fields of a class."""
    import tyro

    try:
        run(tyro.cli(config, prog=f"pprs {name}", args=arguments))
    except ValueError as error:
        return _say(str(error), 2)
    return 0


def _compare(arguments: Sequence[str]) -> int:
    from pprs.compare import CompareConfig, compare

    return _launched("compare", CompareConfig, compare, arguments)


def _launched(
    name: str, config: type[T], run: Callable[[T], object], arguments: Sequence[str]
) -> int:
    """Run a command that starts processes, and whose options may stand in a TOML file."""
    import tyro

    from pprs.command.settings import path_option, read_settings
    from pprs.pipeline import LaunchError, LaunchInterrupted

    try:
        path, rest = path_option("--config", f"pprs {name}", arguments)
        default = read_settings(config, path) if path else config()
        run(tyro.cli(config, prog=f"pprs {name} [--config FILE]", args=rest, default=default))
    except ValueError as error:
        return _say(str(error), 2)
    except LaunchError as error:
        return _say(str(error), 1)
    except LaunchInterrupted as error:
        return _say(f"{error}; what was logged so far is kept", 128 + error.signal)
    return 0


def _say(message: str, code: int) -> int:
    print(f"pprs: {message}", file=sys.stderr)
    return code
