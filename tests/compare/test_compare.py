"""`pprs compare` on a user's model, from the command line to the sentence."""

import json
import shutil
import signal
from contextlib import chdir
from pathlib import Path

import pytest
import torch
from compare import user

from pprs.cli import main
from pprs.compare import CompareConfig, experiment
from pprs.compare.costs import Cost
from pprs.compare.experiment import _Comparison
from pprs.compare.run import PlannedRun
from pprs.compare.store import Store, goes_on, opened
from pprs.compare.subject import Subject

pytestmark = pytest.mark.slow
OWN = ["--model", "user.py:model", "--data", "user.py:data"]
SMALL = [
    "--steps", "12", "--seeds", "2", "--trials", "2", "--samples", "6", "--points", "3", "--time",
    "1h",
]  # fmt: skip


@pytest.fixture
def place(tmp_path):
    """Where the user works."""
    shutil.copy(Path(user.__file__), tmp_path)
    with chdir(tmp_path):
        yield tmp_path


def compared(*arguments, code=0):
    assert main(["compare", *arguments]) == code


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def points(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def numbers(folder):
    """What was measured at the same steps, without what depends on the machine's speed."""
    return {
        (p["phase"], p["method"], p["seed"], p["lr"], p["sigma"], p["step"]): (
            p["train_loss"], p["metric"], p["pipeline_time"], p["evaluations"]
        )
        for p in points(folder)
    }  # fmt: skip


def test_an_own_model_gets_a_sentence_and_all_that_it_rests_on(place, capsys):
    compared(*OWN, *SMALL)
    folder, said = place / "runs" / "compare", capsys.readouterr().out
    data = summary(folder)
    assert data["answer"] in said
    assert {p.name for p in folder.iterdir()} >= {
        "config.toml", "curves.png", "metrics.jsonl", "report.html", "summary.json"
    }  # fmt: skip
    assert data["metric"]["name"] == "accuracy"
    assert data["task"] | {"name": ""} == {
        "name": "", "examples": 50, "held_out": 10, "test": 30, "parameters": 67
    }  # fmt: skip
    assert data["depth"] == {"value": 2, "means": "the model's layers with weights"}
    assert list(data["methods"]) == ["plain", "one-draw", "pprs", "smoothed", "searched"]
    plain, smoothed = data["methods"]["plain"], data["methods"]["smoothed"]
    assert (plain["step"]["pipeline_time"], smoothed["step"]["pipeline_time"]) == (4, 14)
    assert plain["at"]["pipeline_time"]["steps"] == plain["at"]["seconds"]["steps"] == 12
    at = smoothed["at"]["pipeline_time"]
    assert (at["steps"], at["pipeline_time"], at["evaluations"]) == (3, 42, 18)
    assert len(at["metric"]) == 2
    assert smoothed["step"]["memory"] > plain["step"]["memory"] > 0
    # Every method has as many trials, whose runs are seen at their ends only.
    assert {m: len(t) for m, t in data["search"].items() if m != "searched"} == dict.fromkeys(
        ["plain", "one-draw", "pprs", "smoothed"], 2
    )
    trials = [p for p in points(folder) if p["phase"] == "search"]
    assert all(p["budgets"] for p in trials)


def test_where_smoothing_cannot_help_it_is_not_recommended(place, capsys, monkeypatch):
    # Of a few steps of a millisecond the answer at equal wall time would depend on other programs.
    seconds = {"plain": 0.001, "one-draw": 0.00125, "smoothed": 0.0014}
    costs = {method: Cost(step, 1, other=0.0, start=0.0) for method, step in seconds.items()}
    monkeypatch.setattr(experiment, "measured", lambda *_: (costs, 1.0))
    monkeypatch.setattr(experiment, "corrected", lambda *_: costs)
    own = ["--model", "user.py:line", "--data", "user.py:numbers", "--loss", "mse"]
    compared(*own, *SMALL, "--seeds", "3", "--methods", "smoothed", "one-draw", "--lr", "0.1")
    said = capsys.readouterr().out
    assert "Do not use smoothing here, stay with Adam: " in said
    data = summary(place / "runs" / "compare")
    assert data["answers"] == {"pipeline_time": "plain", "seconds": "plain"}
    assert data["metric"] == {"name": "loss", "higher_is_better": False}


def test_an_interrupted_comparison_goes_on_to_the_same_numbers(place, capsys, monkeypatch):
    own = ["--model", "user.py:model", "--data", "user.py:signalling", "--methods", "smoothed"]
    compared(*own, *SMALL, "--out", "whole")
    folder = place / "cut" / "compare"
    for once, end in (
        ("config.toml", " before the first run was finished: nothing is kept"),
        ("metrics.jsonl", "; 1 finished runs are kept in cut/compare: the same command goes on"),
    ):
        monkeypatch.setenv("SIGNAL_ONCE_THERE", str(folder / once))
        compared(*own, *SMALL, "--out", "cut", code=128 + signal.SIGINT)
        assert f"pprs: interrupted by SIGINT{end}" in capsys.readouterr().err
        assert folder.exists() == (once == "metrics.jsonl")
    kept = numbers(folder)
    with (folder / "metrics.jsonl").open("a") as log:
        log.write('{"phase": "train", "met')  # as if it had been killed while it wrote
    compared(*own, *SMALL, "--out", "cut")
    assert "going on in cut/compare" in capsys.readouterr().out
    assert kept.items() <= numbers(folder).items()
    whole = numbers(place / "whole" / "compare")
    common = whole.keys() & numbers(folder).keys()
    assert len(common) > len(kept)
    assert all(whole[key] == numbers(folder)[key] for key in common)
    # What is finished is not touched by the same command.
    assert opened(CompareConfig(model=own[1], data=own[3], out=Path("cut")))[1]


def test_the_same_command_runs_the_seeds_that_time_was_not_enough_for(place, capsys, monkeypatch):
    own = [*OWN, *SMALL, "--methods", "one-draw", "--trials", "1", "--seeds", "3"]
    with monkeypatch.context() as soon:
        soon.setattr(_Comparison, "_is_late", lambda _, needed: needed > 0)
        compared(*own)
    said, folder = capsys.readouterr().out, place / "runs" / "compare"
    assert "--time 1h was enough for 1 of 3 seeds; the same command goes on from there" in said
    assert "cannot tell a difference from chance; go on by the same command with --time " in said
    kept, plan = numbers(folder), json.loads((folder / "plan.json").read_text())
    compared(*own, "--time", "2h")
    assert "going on in runs/compare" in capsys.readouterr().out
    assert kept.items() <= numbers(folder).items()
    assert json.loads((folder / "plan.json").read_text()) | {"spent": 0} == plan | {"spent": 0}
    assert summary(folder)["ran"]["seeds"] == 3
    assert summary(folder)["left_out"] == []


def test_trials_that_were_too_short_are_run_again_where_time_is_left(place, capsys, monkeypatch):
    """Costs were measured on a busy machine, and the trials show what steps really take."""
    busy, quiet = (Cost(step=step, memory=1, other=0.0, start=0.0) for step in (0.3, 0.001))
    methods = ("plain", "one-draw")
    monkeypatch.setattr(experiment, "measured", lambda *_: (dict.fromkeys(methods, busy), 1.0))
    monkeypatch.setattr(experiment, "corrected", lambda *_: dict.fromkeys(methods, quiet))
    monkeypatch.setattr(_Comparison, "_left", lambda _: 100.0)
    monkeypatch.setattr(_Comparison, "_is_late", lambda *_: False)
    compared(*OWN, *SMALL, "--methods", "one-draw", "--seeds", "3", "--steps", "40")
    folder, said = place / "runs" / "compare", capsys.readouterr().out
    assert "3 seeds, 20 steps of Adam" in said
    tried = [p["of"] for p in points(folder) if (p["phase"], p["method"]) == ("search", "plain")]
    assert tried == [20, 20, 40, 40]
    assert summary(folder)["left_out"] == []
    assert json.loads((folder / "plan.json").read_text())["tried"] == 40


@pytest.mark.parametrize(
    ("ran", "time", "more"),
    [
        ((5, 100), "3m", False), ((3, 100), "3m", True), ((3, 100), "9m", True),
        ((3, 50), "3m", True), ((3, 50), "9m", False), ((5, 50), "3m", False),
    ],
)  # fmt: skip
def test_only_seeds_of_the_same_steps_are_added(tmp_path, ran, time, more):
    amounts = [dict(zip(("seeds", "steps"), each, strict=True)) for each in (ran, (5, 100))]
    kept = {"ran": amounts[0], "wanted": amounts[1], "config": {"time": "3m"}}
    (tmp_path / "summary.json").write_text(json.dumps(kept))
    assert goes_on(tmp_path, CompareConfig(time=time)) == more


def test_other_settings_or_another_file_are_another_comparison(place):
    def config(**options):
        return CompareConfig(model="user.py:model", data="user.py:data", **options)

    first, new = opened(config())
    assert (first.name, new) == ("compare", True)
    assert opened(config(time="1h")) == (first, False)  # not what is compared, but how long
    assert opened(config(seeds=7)) == (first.parent / "compare-2", True)
    with Path("user.py").open("a") as file:
        file.write("\n# changed\n")
    assert opened(config())[0].name == "compare-3"


def test_runs_that_were_not_written_to_their_end_do_not_count(tmp_path):
    run = {
        "phase": "train", "method": "plain", "lr": 0.1, "sigma": 0.0, "samples": 1, "of": 4,
        "pipeline_time": 8, "seconds": 1.0, "evaluations": 2, "train_loss": None,
        "metric": {"loss": None}, "budgets": [],
    }  # fmt: skip
    done = ((0, 2), (0, 4), (1, 2), (2, 4))
    lines = [json.dumps(run | {"seed": s, "step": step}).encode() + b"\n" for s, step in done]
    damaged = [*lines[:2], b"[1]\n\xff\0\n", *lines[2:], lines[0][:9]]
    (tmp_path / "metrics.jsonl").write_bytes(b"".join(damaged))
    assert {point.seed for point in Store(tmp_path).points} == {0, 2}


def test_results_that_cannot_be_read_are_not_written_over(tmp_path):
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(ValueError, match=r"^cannot read .*metrics.jsonl: Is a directory$"):
        Store(tmp_path)


def test_the_test_examples_are_never_searched_on(place):
    alone = Subject(CompareConfig(model="user.py:model", data="user.py:alone"))
    seen = []
    for seed in range(3):
        parts, held = alone.parts(seed), alone.held_out(seed)
        rows = [part.batch(range(len(part))).inputs[0] for part in (
            parts.training, parts.other, held.training, held.other
        )]  # fmt: skip
        training, test, tried, kept = ({tuple(row.tolist()) for row in part} for part in rows)
        assert not training & test
        assert tried | kept == training
        assert not tried & kept
        seen.append((frozenset(test), frozenset(kept)))
    assert len({test for test, _ in seen}) == 1
    assert len({kept for _, kept in seen}) == 3


def test_a_model_that_is_traced_once_starts_anew_with_each_seed(place):
    config = CompareConfig(model="user.py:Residual", data="user.py:data")
    subject = Subject(config)
    training = subject.parts(0).training
    settings = [config.training("plain", config.candidates("plain", 1)[0], 1, s) for s in (0, 1)]
    models = [subject.task(each, training).model for each in settings]
    wanted = [subject.task(each, training, whole=True).model for each in settings]
    with torch.no_grad():
        for parameter in models[0].parameters():
            parameter.add_(1.0)
    again = subject.task(settings[0], training).model
    for model, own in ((again, wanted[0]), (models[1], wanted[1])):
        torch.testing.assert_close(model(user.X), own(user.X))
    assert not torch.equal(wanted[0](user.X), wanted[1](user.X))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--metric", "accuracy", "--loss", "mse", "--data", "user.py:numbers", "--model",
          "user.py:line"], "metric=accuracy needs whole numbers as labels"),
        (["--data", "user.py:singles"], "no validation examples are left: none of 3 training"),
        (["--model", "user.py:normed"], "replace it by nn.GroupNorm or nn.LayerNorm"),
        (["--model", "user.py:modle"], "did you mean 'model'"),
        (["--steps", "1"], "does not pay for one step of PPRS"),
        (["--time", "0.001s"], "--time 0.001s is not enough: it has passed before a step of each"),
        (["--lr", "1e30", "--optimizer", "sgd", "--loss", "mse", "--model", "user.py:line",
          "--data", "user.py:numbers"], "SGD diverged with every step size tried"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_a_sentence_and_no_folder(place, capsys, arguments, message):
    compared(*OWN, *SMALL, *arguments, code=2)
    assert message in capsys.readouterr().err
    kept = place / "runs" / "compare"
    assert not kept.exists() or (kept / "metrics.jsonl").exists()


def test_an_error_of_the_users_loss_is_no_divergence_but_a_sentence(place, capsys):
    compared(*OWN, *SMALL, "--loss", "user.py:failing_late", code=1)
    said = capsys.readouterr().err
    assert "not positive-definite (user.py, line " in said
    assert "Traceback" not in said
    log = place / "runs" / "compare" / "rank-0.log"
    assert f"its stack is in {log.relative_to(place)}" in said
    assert "failing_late" in log.read_text()


def test_a_run_is_measured_where_its_budgets_end():
    run = PlannedRun("train", "plain", None, 0, (("pipeline_time", 10), ("seconds", 7)))
    assert run.measured_at(2) == [5, 7, 10]
    assert run.measured_at(100) == list(range(1, 11))
