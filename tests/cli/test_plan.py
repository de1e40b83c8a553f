"""`pprs plan`, from a profile to its sentences, its table and its file."""

import json
import shlex

import pytest
from cli.refusals import refusal
from plan.made import profile_of, times_of

from pprs.cli import main
from pprs.cli.train import parse

TIMES = times_of([0.01] * 4, [0.02] * 4, per_row=0.001, sent=40.0, size=1000, kept=10.0)


@pytest.fixture
def profile(tmp_path):
    file = tmp_path / "profile.json"
    profile_of(TIMES, processes=(1, 2)).save(file)
    return str(file)


def test_a_profile_gives_a_table_advice_and_the_command(profile, tmp_path, capsys):
    file = tmp_path / "plan.json"
    words = ["plan", "--profile", profile, "--samples", "8", "--devices", "2", "--json", str(file)]
    assert main(words) == 0
    shown = capsys.readouterr().out
    plan = json.loads(file.read_text())
    said = " ".join(shown.split())
    assert plan["advice"] in said
    assert plan["command"] in shown
    settings = parse(shlex.split(plan["command"])[2:])
    best = plan["best"]
    assert (settings.samples, settings.schedule) == (8, best["schedule"])
    assert settings.microbatches == best["microbatches"]
    assert settings.stages == len(best["cut"]) + 1
    assert settings.cut == tuple(plan["layers"][i] for i in best["cut"])


KEYS = {
    "schedule": str, "cut": list, "samples": int, "microbatches": int, "rows": int,
    "recompute": bool, "seconds": float, "bubble": float, "memory": list,
}  # fmt: skip


def test_the_file_holds_every_prediction(profile, tmp_path):
    file = tmp_path / "plan.json"
    assert main(["plan", "--profile", profile, "--samples", "4", "--json", str(file)]) == 0
    plan = json.loads(file.read_text(), parse_constant=pytest.fail)  # no Infinity, no NaN
    assert plan.keys() == {
        "format", "model", "layers", "batch", "samples", "simulated", "machine", "free", "best",
        "plain", "one_device", "plain_one_device", "predictions", "advice", "command",
    }  # fmt: skip
    assert plan["format"] == "pprs plan 1"
    assert plan["free"].keys() == {"tolerance", "unit_time", "devices", "one_device"}
    assert plan["machine"].keys() == {"speeds", "latency", "bandwidth", "overlaps", "memory"}
    for one in (*plan["predictions"], plan["best"], plan["plain"], plan["one_device"]):
        assert {key: type(value) for key, value in one.items()} == KEYS
    assert {one["samples"] for one in plan["predictions"]} == {0, 1, 2, 3, 4}
    assert plan["best"] in plan["predictions"]


def test_devices_beyond_the_machine_are_simulated_and_said_to_be(profile, capsys):
    line = ["plan", "--profile", profile, "--samples", "64", "--devices", "64", "--repeat", "32"]
    more = ["--latency", "0.1", "--bandwidth", "1e9", "--mtbf", "100", "--target", "60"]
    assert main([*line, *more]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "simulated" in shown
    assert "devices like the one that was measured" in shown
    assert "failure of one of 64 devices every 1.56 h" in shown
    assert "Within 60.00 s fits K = 64" in shown
    assert "pprs train" not in shown  # there is no such model


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "--model mine.py:model",
            "data is missing beside --model mine.py:model: pass --data package.module:function",
        ),
        (
            "--data mine.py:data",
            "model is missing beside --data mine.py:data: pass --model package.module:function",
        ),
        ("--speeds 1 2 3", "one number for each of 2 devices, got 3"),
        ("--speeds 1 0", "speeds must be a finite number above 0, got 0.0"),
        ("--devices 0", "devices must be an integer of at least 1, got 0"),
        ("--devices 100000", "devices go up to 10,000 here, got 100000"),
        ("--samples 0", "samples must be an integer of at least 1, got 0"),
        ("--latency -1", "latency must be a finite number of at least 0, got -1.0"),
        ("--bandwidth 0", "bandwidth must be a finite number above 0, got 0.0"),
        ("--memory nan", "memory must be a finite number above 0, got nan"),
        ("--profile nowhere.json", "cannot read the profile nowhere.json: No such file"),
        ("--devices 9", "the model's 4 layers have 3 places to cut, and 9 stages need 8"),
        ("--json nowhere/x.json", "cannot write nowhere/x.json: nowhere is not a folder"),
    ],
)
def test_wrong_arguments_end_in_a_sentence(words, message, profile, capsys):
    words = words.split()
    line = ["plan", *([] if "--profile" in words else ["--profile", profile]), *words]
    assert message in refusal(line, capsys)


def test_a_damaged_profile_ends_in_a_sentence(tmp_path, capsys):
    file = tmp_path / "profile.json"
    file.write_text('{"format": "pprs profile 1", "batch": 3}')
    said = refusal(["plan", "--profile", str(file)], capsys)
    assert "is no profile: the file must be an object with model, batch, cores" in said


@pytest.mark.dist
def test_a_model_of_ones_own_is_measured_and_its_profile_kept(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "import torch\nfrom torch import nn\nfrom torch.utils.data import TensorDataset\n\n"
        "def model():\n    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))\n\n"
        "def data():\n    return TensorDataset(torch.zeros(10, 4), torch.arange(10) % 3)\n"
    )
    line = ["plan", "--model", "mine.py:model", "--data", "mine.py:data", "--devices", "1"]
    more = ["--samples", "2", "--repeats", "1", "--save-profile", "p.json"]
    assert main([*line, *more]) == 0
    assert "in one process" in capsys.readouterr().out
    kept = json.loads((tmp_path / "p.json").read_text())
    assert (kept["model"], kept["batch"]) == ("mine.py:model", 8)
    assert "nothing" in refusal([*line[:2], "mine.py:nothing", *line[3:]], capsys)
