"""Processes that start in milliseconds: forked from one that has imported torch and pprs already.

A new interpreter spends seconds on these imports, and many tests need several processes. Such a
process has the streams, environment and folder of the one that starts it, like any other.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import context, forkserver, reduction, util
from pathlib import Path
from unittest.mock import patch

from torch.distributed import TCPStore

from pprs import _processes
from pprs.pipeline.launcher import rank
from pprs_experiments.study import working

# What ranks run, and what they import on the way: what traces a model, and models that are traced.
IMPORTED = [
    "pytest", "hypothesis", "safetensors.torch", "scipy.stats", "networkx", "matplotlib.pyplot",
    "sklearn.datasets", "torch.export._trace", "transformers.models.bert.modeling_bert",
    "transformers.models.gpt2.modeling_gpt2", "transformers.models.vit.modeling_vit",
    "pprs.cli", "pprs.compare.reporter", "pprs.pipeline.trace.timed_stage", "pprs.training",
    "pprs_experiments.study.command",
]  # fmt: skip
multiprocessing.set_forkserver_preload(IMPORTED)
if len(tempfile.gettempdir()) > 60:  # a socket in it must have a path of less than 108 characters
    with patch.object(tempfile, "tempdir", "/tmp"):
        util.get_temp_dir()  # from here on that of multiprocessing


class Process(context.ForkServerProcess):
    """Like a spawned one."""

    def __init__(self, *, target, args=(), daemon=None):
        with _processes.blocked():  # for the server, and so for each until it has what is given
            forkserver._forkserver.ensure_running()
        given = _Streams(), dict(os.environ), target, args
        super().__init__(target=_begin, args=given, daemon=daemon)


class Context(context.ForkServerContext):
    """What starts such processes."""

    Process = Process


COLD = multiprocessing.get_context("spawn")


@contextmanager
def starting(how):
    """Inside, the library starts its processes from this context."""
    with patch.object(_processes, "PROCESSES", how), patch.object(working, "PROCESSES", how):
        yield


class Started:
    """A process of `python -m *arguments` (or a script), with a session of its own."""

    def __init__(self, *arguments, cwd=None, env=None):
        self._folder = tempfile.TemporaryDirectory()
        self._process = Process(target=_module, args=(self._folder.name, cwd, env, arguments))
        self._process.start()
        self.pid, self.kill = self._process.pid, self._process.kill

    @property
    def returncode(self):
        """Its exit code; nothing as long as it runs."""
        return self._process.exitcode

    def communicate(self):
        """Wait for its end; what it has printed."""
        self._process.join()
        with self._folder as folder:
            return tuple(Path(folder, name).read_text() for name in ("out", "err"))


def run(*arguments, cwd=None, env=None):
    """What such a process does and prints, as subprocess.run returns it."""
    started = Started(*arguments, cwd=cwd, env=env)
    out, err = started.communicate()
    return subprocess.CompletedProcess(arguments, started.returncode, out, err)


def torchrun(processes, *arguments, cwd=None):
    """What each of so many ranks does and prints, that a launcher like torchrun has started."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    group = {
        "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": store.port, "TORCHELASTIC_USE_AGENT_STORE": True,
    }  # fmt: skip
    ranks = [group | {"RANK": rank, "LOCAL_RANK": rank} for rank in range(processes)]
    with ThreadPoolExecutor(processes) as threads:
        found = threads.map(lambda rank: run(*arguments, cwd=cwd, env=rank), ranks)
    return list(found)


def call(function, *arguments):
    """What a function returns in a process of its own."""
    reader, writer = multiprocessing.Pipe(duplex=False)
    process = Process(target=_answer, args=(writer, function, arguments))
    process.start()
    writer.close()
    answer = reader.recv()
    process.join()
    return answer


class _Streams:
    """The standard output and error of who pickles this, and the signals that it blocks."""

    def __getstate__(self):
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        return [reduction.DupFd(number) for number in (1, 2)], blocked

    def __setstate__(self, state):
        copies, blocked = state
        for number, copy in enumerate(copies, 1):
            os.dup2(copy.detach(), number)
        # The server blocks them all, so that none that is sent at once comes before this.
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _begin(_, environment, target, args):
    os.environ.clear()
    os.environ.update(environment)
    # It asks the server that it comes from for more, and must not start another.
    forkserver._forkserver.ensure_running = lambda: None
    with starting(Context()), patch.object(rank, "threads", lambda: 1):
        target(*args)


def _answer(writer, function, arguments):
    writer.send(function(*arguments))


def _module(folder, cwd, env, arguments):
    os.setsid()
    for number, name in enumerate(("out", "err"), 1):
        with Path(folder, name).open("wb") as file:
            os.dup2(file.fileno(), number)
    os.environ.update({name: str(value) for name, value in (env or {}).items()})
    os.chdir(cwd or ".")
    sys.argv = list(arguments)
    if arguments[0].endswith(".py"):
        runpy.run_path(arguments[0], run_name="__main__")
    else:
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
