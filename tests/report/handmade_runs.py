"""Folders such as `pprs train` and `pprs compare` write, without training."""

import json
import math

import tomli_w

USED = {
    "samples": 4, "sigma": 0.01, "scale": "filter", "batch": 32, "examples": 100, "steps": 40,
    "steps_per_epoch": 4, "microbatches": 2, "seed": 0, "processes": 2, "pprs": "0.1.0",
}  # fmt: skip
SETTINGS = {
    "model": "mine:model", "data": "mine:data", "optimizer": "adam", "lr": 0.003, "samples": 4,
    "accumulate": 1, "stages": 2, "replicas": 1, "schedule": "gpipe", "recompute": False,
    "seed": 0, "name": "train", "out": "runs",
}  # fmt: skip


def loss_at(step, seed=0):
    return round(math.exp(-step / 30) + 0.01 * (seed + 1) * math.sin(step), 4)


def train_run(folder, steps=40, seed=0, every=10, ended="epochs", **settings):
    """A run that was trained; returns its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = SETTINGS | settings | {"seed": seed, "name": folder.name}
    used = USED | {"seed": seed, "steps": steps, "samples": settings["samples"]}
    (folder / "config.toml").write_text(tomli_w.dumps(settings | {"used": used}))
    records = []
    for step in range(1, steps + 1):
        record = {"step": step, "epoch": 1, "loss": loss_at(step, seed), "lr": settings["lr"]}
        record["seconds"] = 0.25 if step > 1 else 1.0
        if step % every == 0:
            loss = loss_at(step, seed) + 0.1
            record |= {"validation_loss": loss, "validation_accuracy": round(1 - loss / 2, 4)}
            record |= {"evaluation_seconds": 0.5}
        records.append(record)
    write_lines(folder, records)
    if ended:
        last = {k: v for k, v in records[-1].items() if k not in ("lr", "seconds")}
        summary = {"config": settings, "used": used, "ended": ended, **last}
        (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def write_lines(folder, records):
    text = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "metrics.jsonl").write_text(text)


COMPARED = {"plain": ("Adam", 1, 0.0), "smoothed": ("Adam after K draws", 8, 0.01)}
ANSWER = "Use the plain optimizer here: smoothing costs 2.1 times as much and gains nothing."


def compare_run(folder, seeds=3, ended=True):
    """A comparison; returns its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(tomli_w.dumps({"name": folder.name, "seeds": seeds}))
    lines = [{"phase": "search", "method": "plain", "seed": 0, "lr": 0.1, "step": 3, "budgets": []}]
    methods = {}
    for method, (label, samples, sigma) in COMPARED.items():
        finals = []
        for seed in range(seeds):
            for step in (10, 20, 30):
                accuracy = 0.5 + step / 100 + seed / 50 + samples / 1000
                lines.append(
                    {"phase": "train", "method": method, "seed": seed, "lr": 0.003,
                     "sigma": sigma, "samples": samples, "step": step,
                     "pipeline_time": 2 * step * (samples + 19), "seconds": step * samples / 64,
                     "evaluations": step * samples, "train_loss": 1 / step,
                     "metric": {"loss": 2 / step, "accuracy": accuracy},
                     "budgets": ["pipeline_time", "seconds"] if step == 30 else []}
                )  # fmt: skip
            finals.append(accuracy)
        mean = sum(finals) / seeds
        at = {"lr": 0.003, "sigma": sigma, "steps": 30, "pipeline_time": 60 * (samples + 19),
              "seconds": 30 * samples / 64, "evaluations": 30 * samples,
              "train_loss": [1 / 30] * seeds, "metric": finals, "mean": mean, "deviation": 0.02,
              "difference": None if method == "plain" else
              {"mean": 0.007, "low": -0.01, "high": 0.024}}  # fmt: skip
        methods[method] = {"label": label, "samples": samples,
                           "at": {"pipeline_time": at, "seconds": at}}  # fmt: skip
    write_lines(folder, lines)
    if ended:
        summary = {
            "format": "pprs compare 1", "answer": ANSWER, "methods": methods, "level": 0.95,
            "metric": {"name": "accuracy", "higher_is_better": True},
        }  # fmt: skip
        (folder / "summary.json").write_text(json.dumps(summary))
    return folder
