"""Whatever is wrong on a command line, code 2 and a sentence that names it; nothing is written."""

import io
import json
import os
import time
import warnings
from contextlib import chdir, redirect_stderr, redirect_stdout
from importlib import import_module
from itertools import product
from pathlib import Path

import pytest
from amount import tries
from bad_lines import CONFIG, EXTREME, KINDS, flag_with, odd, with_values, wrong
from hypothesis import given
from hypothesis import strategies as st
from pipeline.trace.handmade import timeline_of
from report.handmade_runs import train_run

from pprs.cli import main
from pprs.theory import Graph

USER = """
import torch
from torch import nn
from torch.utils.data import TensorDataset

def model():
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))

def data():
    return TensorDataset(torch.zeros(10, 4), torch.arange(10) % 3)

def decay(optimizer):
    return torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)

number = 3
"""
RIGHT = {
    "train": ["--model", "mine.py:model", "--data", "mine.py:data", "--steps", "3"],
    "compare": [],
    "plan": ["--model", "mine.py:model", "--data", "mine.py:data"],
    "bounds": [],
    "report": ["run"],
    "simulate": ["--ratio", "5", "--limit", "2", "--depths", "1", "2"],
    "trace": ["timeline.json"],
    "explore": ["--no-open"],
}
# How many lines of each, by what one costs: about 25 ms, 10 ms, and 3 ms.
LINES = {"train": 200, "compare": 250}
# What would take its time once a line is right.
WORK = {
    "pprs.training.train": "launch",
    "pprs.compare.experiment": "start",
    "pprs.cli.plan": "measured_profile",
    "pprs.theory.simulation": "sweep",
}
FRAMES = dict.fromkeys(map(ord, "│╭╮╰╯─"))


class Accepted(Exception):
    """A line was right: now the work would begin."""


def accepted(*_, **__):
    raise Accepted


@pytest.fixture(scope="module", autouse=True)
def workplace(tmp_path_factory):
    """A folder with what lines name; no work is done there."""
    folder = tmp_path_factory.mktemp("workplace")
    with chdir(folder), pytest.MonkeyPatch.context() as patched:
        Path("mine.py").write_text(USER)
        Path("damaged.py").write_text("def x(")
        Path("leaves.py").write_text("raise SystemExit")
        Path("right.toml").write_text("seed = 1")
        timeline_of(Graph.chain(2), 2, steps=2).save("timeline.json")
        train_run(Path("run"))
        Path("file").touch()
        for name in ("folder.png", "module.py"):
            Path(name).mkdir()
        Path("dangling").symlink_to("nowhere")
        Path("loop").symlink_to("loop")
        for module, work in WORK.items():
            patched.setattr(import_module(module), work, accepted)
        yield folder


def ran(words):
    """How a command line ends, and what it says, without the spaces and frames of its lines.

    Wrong ones leave the folder as it is; what right ones make is taken away.
    """
    out = io.TextIOWrapper(io.BytesIO(), "utf-8")
    said = io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace")  # as standard error is
    before, start = files(), time.process_time()
    with redirect_stdout(out), redirect_stderr(said), warnings.catch_warnings(action="ignore"):
        try:
            code = main(words)
        except SystemExit as ended:
            code = ended.code
        except Accepted:
            code = 0
    assert time.process_time() - start < 30, "hung"  # usually 0.03
    made = files() - before
    for path in sorted(made, reverse=True):
        (Path.rmdir if path.is_dir() else Path.unlink)(path)
    assert code == 0 or not made
    said.seek(0)
    return code, plain(said.read())


def files():
    return {Path(top, name) for top, *names in os.walk(".") for some in names for name in some}


def plain(text):
    seen = text.encode("utf-8", "backslashreplace").decode()
    return "".join(seen.translate(FRAMES).split())


def line(command, faults):
    words = [*command.split(), *RIGHT[command], *(word for some, _ in faults for word in some)]
    for place, word in enumerate(words):
        if word == CONFIG:
            Path("wrong.toml").write_bytes(words[place + 1])
            words[place : place + 2] = ["--config", "wrong.toml"]
    return words


def check_named(faults, said):
    assert any(plain(name) in said for _, names in faults for name in names if plain(name)), said
    assert "Traceback" not in said
    assert len(said) > 15


@pytest.mark.slow
@pytest.mark.hypothesis
@pytest.mark.parametrize("command", KINDS)
def test_a_line_with_something_wrong_ends_with_code_2_and_names_it(command):
    @tries(LINES.get(command, 150))
    @given(st.lists(wrong(command), min_size=1, max_size=3))
    def refused(faults):
        code, said = ran(line(command, faults))
        assert code == 2
        check_named(faults, said)

    refused()


@pytest.mark.hypothesis
@pytest.mark.parametrize("command", KINDS)
def test_whatever_the_values_a_line_is_either_right_or_named(command):
    @tries(LINES.get(command, 150) // 3)
    @given(st.lists(odd(command), min_size=1, max_size=3))
    def told(faults):
        code, said = ran(line(command, faults))
        assert code in (0, 2)
        if code == 2:
            check_named(faults, said)

    told()


@pytest.mark.slow
@pytest.mark.parametrize("command", KINDS)
def test_extremes_are_either_right_or_named(command):
    for flag, value in product(with_values(command), EXTREME):
        code, said = ran(line(command, [flag_with(flag, value)]))
        assert code in (0, 2)
        if code == 2:
            check_named([flag_with(flag, value)], said)


@pytest.mark.parametrize("command", KINDS)
def test_the_right_lines_are_right(command):
    assert ran(line(command, []))[0] == 0


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
    | st.sampled_from([10**15, -1, 2, "[/b]", "\ud800", "$x_$", "F", "W", "I", "wait"]),
    lambda some: st.lists(some, max_size=2) | st.dictionaries(st.sampled_from("ab"), some),
    max_leaves=3,
)  # fmt: skip


@st.composite
def damaged_timelines(draw):
    """A timeline in which something is missing or something else."""
    written = json.loads(Path("timeline.json").read_text())
    for _ in range(draw(st.integers(1, 3))):
        holder = written
        while isinstance(holder, dict | list) and holder:
            keys = list(holder) if isinstance(holder, dict) else range(len(holder))
            key = draw(st.sampled_from(keys))
            inner = holder[key]
            if isinstance(inner, dict | list) and inner and draw(st.integers(0, 9)):
                holder = inner
                continue
            if draw(st.booleans()):
                holder[key] = draw(ANYTHING)
            else:
                del holder[key]
            break
    return json.dumps(written).encode()


@tries(200)
@given(damaged_timelines(), st.sampled_from([[], [], [], ["--picture", "x.svg"]]))
def test_a_damaged_timeline_is_named_or_was_not_needed(text, options):
    Path("damaged.json").write_bytes(text)
    code, said = ran(["trace", "damaged.json", *options])
    assert code in (0, 2)
    if code == 2:
        assert "damaged.json" in said


@tries(100)
@given(st.integers(0, 700).map(lambda end: Path("timeline.json").read_bytes()[:end]) | st.binary())
def test_what_is_no_timeline_is_named(text):
    Path("damaged.json").write_bytes(text)
    code, said = ran(["trace", "damaged.json"])
    assert code == 2
    assert "damaged.json" in said


@pytest.mark.parametrize("name", ["$x_$", "[/b]", "\ud800", ""])
def test_a_schedule_that_is_no_name_is_neither_printed_nor_drawn(name):
    written = json.loads(Path("timeline.json").read_text())
    written["otherData"]["schedule"] = name
    Path("damaged.json").write_text(json.dumps(written))
    code, said = ran(["trace", "damaged.json", "--picture", "x.png"])
    assert code == 2
    assert "damaged.json" in said
