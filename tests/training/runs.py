"""`pprs train` as a user starts it, and what it leaves."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import NamedTemporaryFile
from unittest.mock import patch

from safetensors.torch import load_file

from pprs.cli import main

USER = Path(__file__).parent / "user.py"
# Dropout, random data, a last step with one batch instead of two, and that with two examples.
NOISY = [
    "--data", "user.py:noisy", "--model", "user.py:mlp_with_dropout", "--batch", "8",
    "--accumulate", "2", "--epochs", "3", "--optimizer", "adam", "--lr", "0.02", "--decay",
    "cosine", "--warmup", "2",
]  # fmt: skip
NOISY_STEPS = 12


def workplace(folder):
    """A folder with the user's file."""
    shutil.copy(USER, folder)
    return folder


def started(folder, *arguments, **environment):
    """A process of its own, as tests of signals need it."""
    return subprocess.Popen(
        [sys.executable, "-m", "pprs", "train", *arguments],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | environment, start_new_session=True,
    )  # fmt: skip


def trained(folder, *arguments, code=0, **environment):
    """What a run has printed, once it has ended with the exit code; this process starts it."""
    with chdir(folder), patch.dict(os.environ, environment), printed() as said:
        ended = main(["train", *arguments])
    assert ended == code, said.read_text()
    return said.read_text()


@contextmanager
def printed():
    """The file that this process and its children print to."""
    kept = os.dup(1), os.dup(2)
    with NamedTemporaryFile("a", buffering=1, delete=False) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            with redirect_stdout(file), redirect_stderr(file):
                yield Path(file.name)
        finally:
            for number, before in enumerate(kept, 1):
                os.dup2(before, number)
                os.close(before)


def metrics(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def without_time(run):
    return [
        {k: v for k, v in record.items() if not k.endswith("seconds")} for record in metrics(run)
    ]


def summary(run):
    return json.loads((run / "summary.json").read_text())


def weights(run):
    return load_file(run / "weights.safetensors")


def same_bytes(run, other):
    name = "weights.safetensors"
    return (run / name).read_bytes() == (other / name).read_bytes()
