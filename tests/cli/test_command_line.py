"""The command line as a user meets it: real processes, real signals."""

import json
import os
import re
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import warm
from waiting import children, wait

from pprs.cli import main
from pprs.compare import CompareConfig
from pprs.io.settings import read_settings

pytestmark = [pytest.mark.dist, pytest.mark.slow]
TINY = [
    "compare", "--methods", "gd", "smoothed", "--depth", "4", "--width", "8", "--seeds", "2",
    "--steps", "15", "--samples", "4", "--points", "3", "--trials", "2", "--tuning-seeds", "1",
]  # fmt: skip


def command(*arguments):
    return [sys.executable, "-m", "pprs", *arguments]


def pprs(*arguments, cwd=None):
    return warm.run("pprs", *arguments, cwd=cwd)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A tiny run, the same again, and a part of it with another seed, all into one folder."""
    out = tmp_path_factory.mktemp("runs")
    other = ["--seed", "1", "--methods", "gd"]
    done = [pprs(*TINY, "--out", str(out), *more) for more in ([], [], other)]
    return out, done


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def numbers(folder):
    """The result without what depends on the machine's speed."""
    methods = {m: row["at"]["pipeline_time"] for m, row in summary(folder)["methods"].items()}
    return {m: {k: v for k, v in row.items() if k != "seconds"} for m, row in methods.items()}


def test_a_run_writes_its_folder_and_shows_its_table(runs):
    out, done = runs
    assert [d.returncode for d in done] == [0, 0, 0], done[0].stderr
    folder = out / "digits"
    assert str(folder) in done[0].stdout.replace("\n", "")
    assert "\x1b" not in done[0].stdout  # no progress bar and no colours in a file
    data = summary(folder)
    for row in data["methods"].values():
        assert all(f"{at['mean']:.1%}" in done[0].stdout for at in row["at"].values())
    assert data["answer"] in done[0].stdout
    plain, smoothed = (
        data["methods"][name]["at"]["pipeline_time"] for name in ("plain", "smoothed")
    )
    assert (plain["steps"], plain["pipeline_time"]) == (15, 120)
    assert (smoothed["steps"], smoothed["pipeline_time"]) == (8, 112)
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert read_settings(CompareConfig, folder / "config.toml").width == 8


def test_the_log_has_every_point_and_the_summary_its_last(runs):
    folder = runs[0] / "digits"
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    trained = [x for x in lines if x["phase"] == "train" and x["method"] == "gd"]
    assert [(x["seed"], x["step"]) for x in trained] == [
        (s, t) for s in (0, 1) for t in (5, 10, 15)
    ]
    last = [x["metric"]["accuracy"] for x in trained if x["step"] == 15]
    row = summary(folder)["methods"]["gd"]["at"]["pipeline_time"]
    assert row["metric"] == last
    assert row["mean"] == pytest.approx(sum(last) / 2)
    tried = {
        x["lr"]: x["metric"]["accuracy"]
        for x in lines
        if (x["phase"], x["method"]) == ("search", "gd")
    }
    assert set(tried) == {0.1, 0.03}
    assert tried[row["lr"]] == max(tried.values())
    assert {x["lr"] for x in trained} == {row["lr"]}


def test_the_seed_makes_the_numbers_and_no_run_is_overwritten(runs):
    out, _ = runs
    assert sorted(p.name for p in out.iterdir()) == ["digits", "digits-2", "digits-3"]
    assert numbers(out / "digits") == numbers(out / "digits-2")
    assert numbers(out / "digits")["plain"] != numbers(out / "digits-3")["plain"]


def test_flags_win_over_the_file_and_torchrun_is_joined(tmp_path, runs):
    file = tmp_path / "c.toml"
    text = (runs[0] / "digits" / "config.toml").read_text()
    file.write_text("microbatches = 2\n" + text)
    arguments = ["--config", str(file), "--name", "joined", "--trials", "1", "--stages", "2"]
    for done in warm.torchrun(2, "pprs", "compare", *arguments, "--out", str(tmp_path)):
        assert done.returncode == 0, done.stderr
    config = summary(tmp_path / "joined")["config"]
    assert (config["trials"], config["width"], config["microbatches"]) == (1, 8, 2)


def test_output_that_is_closed_is_no_error():
    done = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *command("--help")], capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("arguments", [["--help"], ["simulate", "--help"]])
def test_a_reader_who_has_seen_enough_is_no_error(arguments):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        done = subprocess.run(
            command(*arguments), stdout=closed, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no command given"),
        (["trian"], "unknown command 'trian': did you mean 'train'\\?"),
        (["compare", "--sigma", "-1"], "sigma .* got -1.0"),
        (["compare", "--sgima", "1"], "--sgima"),
        (["compare", "--samples", "ten"], "samples"),
        (["compare", "--config", "nowhere.toml"], "nowhere.toml: No such file"),
        (["compare", "--stages", "2", "--microbatches", "5"], "divide samples=12: got 5"),
        (["compare", "--antithetic", "--samples", "9"], "come in pairs: samples=9 is odd"),
        (["train", "--steps", "3"], "model is missing: pass --model package.module:function"),
        (["train", "--resume", "nowhere"], "cannot go on from nowhere: there is no run's config"),
        (["bench", "gradient"], "call `python -m benchmarks.gradient.main` or"),
        (["study", "run"], "`pprs study` is no longer a command: call `pprs-study`"),
        (["compare", "--shots", "500"], "cannot take 500 images .* smallest class has 174"),
    ],
)
def test_wrong_arguments_end_in_a_sentence_and_code_2(arguments, message, tmp_path):
    done = pprs(*arguments, cwd=tmp_path)
    said = re.sub(r"[│╭╮╰╯─\s]+", " ", done.stdout + done.stderr)
    assert done.returncode == 2
    assert re.search(message, said)
    assert "Traceback" not in said
    assert not list(tmp_path.iterdir())


def test_the_laws_of_the_noise_run_and_are_kept(tmp_path):
    law = ["--noise", "example", "--antithetic", "--scale", "filter", "--sigma", "0.03"]
    done = pprs(*TINY, "--out", str(tmp_path), *law, "--trials", "1")
    assert done.returncode == 0, done.stderr
    config = summary(tmp_path / "digits")["config"]
    assert (config["noise"], config["antithetic"], config["scale"]) == ("example", True, "filter")
    written = CompareConfig(noise="example", antithetic=True, scale="filter", sigma=0.03)
    setting = written.candidates("smoothed", 1)[0]
    law = written.training("smoothed", setting, 1, 0).perturbation
    assert f"{law}".endswith("in pairs of each example, 0.03 of each filter's norm")


LONG = [*TINY, "--seeds", "1000000", "--trials", "9"]


def ends(process):
    """Whether the process behind a pidfd ends: then its pidfd becomes readable."""
    return bool(select.select([process], [], [], 600)[0])


def writer(file):
    """The process that has a file open, as Linux tells."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            for link in (process / "fd").iterdir():
                with suppress(OSError):  # it has closed that one
                    if link.samefile(file):
                        found.add(int(process.name))
    (pid,) = found
    return pid


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_an_interrupt_ends_everything(tmp_path):
    process = subprocess.Popen(
        command(*LONG, "--out", str(tmp_path)),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    log = tmp_path / "digits" / "metrics.jsonl"
    try:
        wait(lambda: process.poll() is not None or (log.exists() and log.stat().st_size))
        assert process.poll() is None, process.communicate()  # training is under way
        family = []
        for pid in children(process.pid):
            with suppress(ProcessLookupError):  # a compiler, which has ended
                family.append(os.pidfd_open(pid))
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
        _, said = process.communicate(timeout=600)
    finally:
        process.kill()
    assert len(family) > 2
    assert all(map(ends, family))
    assert "Traceback" not in said
    assert process.returncode == 130
    kept = r"^pprs: interrupted by SIGINT; \d+ finished runs are kept in "
    assert re.search(kept, said, re.MULTILINE)  # after what others say who cannot use the home


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_rank_that_is_killed_ends_the_command(tmp_path):
    process = warm.Started("pprs", *LONG, "--out", str(tmp_path))
    log = tmp_path / "digits" / "metrics.jsonl"
    try:
        wait(lambda: process.returncode is not None or (log.exists() and log.stat().st_size))
        assert process.returncode is None, process.communicate()  # training is under way
        os.kill(writer(log), signal.SIGKILL)  # the rank that reports
        _, said = process.communicate()
    finally:
        process.kill()
    assert "Traceback" not in said
    assert process.returncode == 1
    assert re.search(r"rank \d .* was killed by SIGKILL; all ranks were stopped", said)


def test_a_package_that_is_not_installed_is_named_with_its_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tyro", None)
    assert main(["train"]) == 2
    said = "pprs: the command line needs tyro: pip install 'pprs[train]'\n"
    assert capsys.readouterr().err == said
