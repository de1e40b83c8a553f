"""Models that train through real processes, from the command line."""

import re
import tomllib

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training.runs import NOISY, NOISY_STEPS, metrics, summary, trained, weights, workplace
from training.user import data, gpt2, mlp, sentences

from pprs.io.settings import read_settings
from pprs.training import TrainConfig
from pprs.training.losses import cross_entropy

pytestmark = [pytest.mark.dist, pytest.mark.slow]
MLP = [
    "--model", "user.py:mlp", "--data", "user:data", "--epochs", "5", "--batch", "16", "--lr",
    "0.6", "--clip", "5", "--microbatches", "4",
]  # fmt: skip

ONE_PROCESS = ["--schedule", "zb-v"]  # which holds both stages


@pytest.fixture(scope="module")
def mlps(tmp_path_factory):
    """The same run on 1, 2 and 4 stages, and with batches of half the size."""
    folder = workplace(tmp_path_factory.mktemp("mlp"))
    runs = {
        "1": ["--stages", "1"],
        "2": ["--stages", "2", "--tensorboard"],
        "4": ["--stages", "4", "--schedule", "zb-v"],
        "halves": ["--stages", "1", "--batch", "8", "--accumulate", "2"],
    }
    said = {name: trained(folder, *MLP, *more, "--name", name) for name, more in runs.items()}
    return folder / "runs", said


@pytest.mark.parametrize("stages", ["1", "2", "4"])
def test_the_loss_falls_on_any_number_of_stages(mlps, stages):
    losses = [record["loss"] for record in metrics(mlps[0] / stages)]
    assert len(losses) == 20
    assert sum(losses[-4:]) < 0.6 * sum(losses[:4])


@pytest.mark.parametrize("name", ["2", "4", "halves"])
def test_stages_and_accumulated_batches_do_not_change_the_weights(mlps, name):
    one, other = weights(mlps[0] / "1"), weights(mlps[0] / name)
    assert one.keys() == other.keys()
    assert all(torch.allclose(one[name], other[name], rtol=1e-8) for name in one)


def test_the_log_says_what_the_first_step_compared(mlps):
    for name in mlps[1]:
        assert re.search(
            r"compared .* with yours on \d+ examples: results equal to \S+ of their norms, \S+ s",
            mlps[1][name],
        )


def test_the_weights_load_into_the_model_and_evaluate_as_was_logged(mlps):
    run = mlps[0] / "2"
    model = mlp()
    initial = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(weights(run))
    assert not any(torch.equal(initial[n], p) for n, p in model.named_parameters())
    x, y = data()[1].tensors
    outputs = model(x)
    last = metrics(run)[-1]
    assert last["validation_loss"] == pytest.approx(cross_entropy(outputs, y).item(), rel=1e-6)
    assert last["validation_accuracy"] == (outputs.argmax(1) == y).double().mean().item()
    assert summary(run)["validation_loss"] == last["validation_loss"]


def test_the_log_has_each_step_and_an_evaluation_after_each_epoch(mlps):
    records = metrics(mlps[0] / "2")
    assert [r["step"] for r in records] == list(range(1, 21))
    assert [r["epoch"] for r in records] == [1 + i // 4 for i in range(20)]
    assert [r["step"] for r in records if "validation_loss" in r] == [4, 8, 12, 16, 20]
    assert {r["lr"] for r in records} == {0.6}
    assert all(r["seconds"] > 0 and r["gradient_norm"] > 0 for r in records)


def test_the_folder_is_told_and_lines_are_few_and_plain(mlps):
    run, said = mlps[0] / "2", mlps[1]["2"]
    assert "\x1b" not in said
    assert 5 <= len(said.splitlines()) <= 25
    assert "writing to runs/2" in said
    assert "runs/2 has weights.safetensors" in said.splitlines()[-1]
    assert summary(run)["ended"] == "epochs"
    assert read_settings(TrainConfig, run / "config.toml").clip == 5


def test_a_run_ends_with_its_report(mlps):
    run = mlps[0] / "2"
    last = metrics(run)[-1]
    reached = f"After 20 steps the validation accuracy is {last['validation_accuracy']:.4g}"
    for name in ("report.html", "report.md"):
        assert reached in (run / name).read_text()
    assert all(r["evaluation_seconds"] > 0 for r in metrics(run) if "validation_loss" in r)
    assert "evaluation_seconds" not in summary(run)


def test_each_evaluation_has_a_line_and_all_that_is_said_comes_once(mlps):
    lines = mlps[1]["2"].splitlines()
    assert lines[:2] == ["checking the model and the data…", "starting 2 processes…"]
    assert len(lines) == len(set(lines))
    records = [r for r in metrics(mlps[0] / "2") if "validation_loss" in r]
    for record in records:
        shown = f"validation loss {record['validation_loss']:.4g}"
        assert (
            len([x for x in lines if x.startswith(f"step {record['step']} of") and shown in x]) == 1
        )


def test_what_was_used_is_recorded_where_nothing_was_set(mlps):
    run = mlps[0] / "2"
    settings = tomllib.loads((run / "config.toml").read_text())
    used = settings["used"]
    assert used == summary(run)["used"]
    assert used["torch"] == torch.__version__
    expected = {
        "perturbation": "1 perturbation, sigma 0.0",
        "sigma": 0.0, "scale": "absolute", "samples": 1, "batch": 16, "examples": 50,
        "split": "examples", "microbatches": 4, "steps": 20, "evaluate": 4, "processes": 2,
        "device": "cpu", "seed": 0,
    }  # fmt: skip
    assert {name: used[name] for name in expected} == expected
    assert "split" not in settings


def test_the_events_of_tensorboard_are_the_log(mlps):
    run = mlps[0] / "2"
    events = EventAccumulator(str(run)).Reload()
    for name in ("loss", "lr", "validation_accuracy"):
        logged = [(r["step"], r[name]) for r in metrics(run) if name in r]
        assert [(e.step, e.value) for e in events.Scalars(name)] == [
            (step, pytest.approx(value, rel=1e-6)) for step, value in logged
        ]


def test_a_language_model_with_tied_weights_trains_smoothed_and_goes_on_in_one_stage(tmp_path):
    said = trained(
        workplace(tmp_path), "--model", "user.py:gpt2", "--data", "user.py:sentences",
        "--steps", "8", "--batch", "8", "--sigma", "0.01", "--samples", "2", "--optimizer",
        "adamw", "--lr", "0.02", "--microbatches", "auto", "--target-loss", "0.0001",
        "--evaluate", "8", "--clip", "5",
    )  # fmt: skip
    trained(tmp_path, "--resume", "runs/train", "--steps", "16", "--stages", "1")
    run = tmp_path / "runs" / "train"
    losses = [record["loss"] for record in metrics(run)]
    assert losses[-1] < 0.7 * losses[0]
    assert summary(run)["microbatches"] in (1, 2)
    costs = "2 perturbations through 2 stages take 6 units of pipeline time a batch"
    assert said.count(costs) == 1
    assert "one plain pass takes 4, or 3 as 2 microbatches of its examples" in said
    assert "too large" not in said
    model = gpt2().eval()
    model.load_state_dict(weights(run))
    tokens = torch.stack([s["input_ids"] for s in sentences()])
    labels = torch.stack([s["labels"] for s in sentences()])
    expected = cross_entropy(model(tokens).logits, labels).item()
    assert metrics(run)[-1]["training_loss"] == pytest.approx(expected, rel=1e-4)


def test_a_sigma_that_is_too_large_is_told(tmp_path):
    said = trained(
        workplace(tmp_path), *MLP, "--sigma", "3", "--samples", "4", "--epochs", "1", *ONE_PROCESS
    )
    assert said.count("sigma 3.0 is too large") == 1


def test_an_image_model_trains_in_bfloat16_and_stops_at_its_target(tmp_path):
    said = trained(
        workplace(tmp_path), "--model", "user.py:vit", "--data", "user.py:images", "--stages",
        "4", "--schedule", "zb-v", "--steps", "400", "--optimizer", "adam", "--lr", "0.01",
        "--precision", "bfloat16", "--evaluate", "1", "--target-accuracy", "0.9", "--trace",
        "trace.json",
    )  # fmt: skip
    run = tmp_path / "runs" / "train"
    records, end = metrics(run), summary(run)
    assert end["ended"] == "target_accuracy"
    assert end["step"] == records[-1]["step"] < 400
    assert records[-1]["training_accuracy"] >= 0.9
    assert all(r.get("training_accuracy", 0) < 0.9 for r in records[:-1])
    assert records[-1]["loss"] < records[0]["loss"]
    assert (tmp_path / "trace.json").stat().st_size > 1000
    assert (run / "trace.json").read_bytes() == (tmp_path / "trace.json").read_bytes()
    assert "Where the time of a step goes" in (run / "report.md").read_text()
    assert said.count(f"step {end['step']} of 400") == 1


def test_another_number_of_microbatches_than_asked_for_is_told_once_with_its_reason(tmp_path, mlps):
    more = ["--microbatches", "5", "--replicas", "1", "--name", "few", *ONE_PROCESS]
    said = trained(workplace(tmp_path), *MLP, *more)
    reason = "microbatches: 4, as a batch of 16 examples cannot be divided into 5 equal parts\n"
    assert said.count("microbatches:") == said.count(reason) == 1
    assert not any("microbatches:" in other for other in mlps[1].values())


def test_processes_of_torchrun_claim_one_folder_together(uninterrupted):
    run, said = uninterrupted
    assert [path.name for path in run.parent.iterdir()] == ["train"]
    assert said.count("runs/train has weights.safetensors") == 1
    assert len(metrics(run)) == NOISY_STEPS


def test_dropout_does_not_depend_on_who_holds_the_stages(tmp_path, uninterrupted):
    trained(workplace(tmp_path), *NOISY, *ONE_PROCESS)
    two, one = weights(uninterrupted[0]), weights(tmp_path / "runs" / "train")
    assert all(torch.allclose(two[name], one[name], atol=1e-4) for name in two)


def test_a_full_disk_ends_in_a_sentence(tmp_path):
    arguments = ["--model", "user.py:mlp", "--data", "user.py:on_a_full_disk", "--steps", "100"]
    arguments += ONE_PROCESS
    said = trained(workplace(tmp_path), *arguments, code=1)
    assert "cannot write runs/train/metrics.jsonl: File too large; make room there" in said
    lines = (tmp_path / "runs" / "train" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) > 10


def test_what_fails_in_the_middle_is_told_with_rank_stage_and_step(tmp_path):
    arguments = ["--model", "user.py:mlp_with_dropout", "--data", "user.py:failing"]
    arguments += ["--batch", "1", "--epochs", "1", "--save-every", "1", *ONE_PROCESS]
    said = trained(workplace(tmp_path), *arguments, code=1)
    assert "item 33 of data failed: OSError: image 33 is damaged (user.py, line" in said
    assert "rank" in said
    assert "stage" in said
    assert "step" in said
    assert "Traceback" not in said
    log = tmp_path / "runs" / "train" / "rank-0.log"
    assert re.search(
        r"^pprs: rank 0 .*; its stack is in runs/train/rank-0.log$", said, re.MULTILINE
    )
    assert re.search(r"Traceback(.|\n)*image 33 is damaged", log.read_text())
    assert re.search(r"Step \d+ was saved; go on with: pprs train --resume runs/train", said)
