"""The benchmark end to end, at a small size: what it reports, not how fast anything is."""

import json
import math
import os
from pathlib import Path

import pytest
import torch
from cli.refusals import refusal
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.pipeline import ranks, stages
from benchmarks.pipeline.main import _CASES, PipelineBench, bench_pipeline, main
from benchmarks.pipeline.stages import Size, ideal_time, suitable_width
from pprs.pipeline import launch
from pprs.theory import Graph, makespan

pytestmark = [pytest.mark.dist, pytest.mark.slow]


@pytest.mark.parametrize("schedule", ["gpipe", "1f1b"])
@pytest.mark.parametrize(("microbatches", "count"), [(16, 2), (5, 4), (7, 1)])
def test_the_ideal_is_the_makespan_of_stages_as_slow_as_the_slowest(schedule, microbatches, count):
    passes = [(0.2, 0.4)] * (count - 1) + [(0.5, 0.3)]
    graph = Graph.chain(count, forward=0.5, backward=0.3)
    ideal = ideal_time(microbatches, passes)
    assert ideal == pytest.approx(makespan(graph, microbatches, schedule))


def test_the_slowest_stage_is_that_with_the_longest_forward_and_backward_together():
    assert ideal_time(3, [(1.0, 5.0), (4.0, 1.0)]) == (3 + 1) * 6


@pytest.mark.parametrize(("milliseconds", "width"), [(40, 1024), (2.5, 256), (1e-6, 64)])
def test_the_width_is_the_one_that_takes_the_time_asked_for(monkeypatch, milliseconds, width):
    # A machine where a stage of width 512 takes 10 ms, and a fixed part of it is 1 ms.
    monkeypatch.setattr(stages, "_stage_time", lambda size: 1e-3 + 9e-3 * (size.width / 512) ** 2)
    found = suitable_width(Size(64), milliseconds)
    assert found % 64 == 0
    assert found == pytest.approx(width, abs=64 + 0.05 * width)


def count_products(folder):
    size = Size(width=64)
    _, step = ranks._plain(size, size.network(1))
    step()  # the engine's first one also learns shapes
    with FlopCounterMode(display=False) as counter:
        step()
    (Path(folder) / "flops").write_text(str(counter.get_total_flops()))


def test_a_step_without_noise_multiplies_all_rows_that_a_smoothed_one_has(tmp_path):
    launch(count_products, 1, str(tmp_path))
    size = Size(width=64)
    product = 2 * (size.batch * size.samples) * size.width**2
    # Forward, and backward by inputs and weights; the first layer's inputs need no gradient.
    expected = (3 * size.layers - 1) * product
    assert int((tmp_path / "flops").read_text()) == expected


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    file = tmp_path_factory.mktemp("bench") / "figures.json"
    options = ["--milliseconds", "1", "--batch", "3", "--repeats", "1", "--json", str(file)]
    assert main(options) == 0
    return json.loads(file.read_text())


def numbers(value):
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from numbers(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def test_all_cases_are_reported_with_positive_numbers(figures):
    assert set(figures) == {"machine", "size", "results"}
    assert set(figures["machine"]) == {"device", "cores", "torch", "load"}
    assert figures["machine"]["torch"] == torch.__version__
    assert figures["size"]["width"] >= 64
    assert figures["size"]["batch"] == 3
    several = len(os.sched_getaffinity(0)) >= 4
    assert [row["case"] for row in figures["results"]] == (
        ["efficiency"] * (8 if several else 4)
        + ["noise"] * 2
        + ["speedup"] * 2
        + ["microbatches", "checkpoints"]
    )
    for row in figures["results"]:
        assert {"what", "value", "bar", "above", "seconds"} <= set(row)
        timed = [row["value"], *numbers(row["seconds"])]
        assert all(math.isfinite(number) and number > 0 for number in timed)


def test_an_efficiency_is_the_ideal_of_the_slowest_stage_over_the_step(figures):
    rows = [row for row in figures["results"] if row["case"] == "efficiency"]
    for row in rows:
        count, schedule, law = row["what"].split(", ")
        assert schedule in {"gpipe", "1f1b"}
        assert law in {"no noise", "smoothed"}
        assert len(row["passes"]) == int(count)
        assert row["bar"] == {"2": 0.95, "4": 0.90}[count]
        slowest = max(forward + backward for forward, backward in row["passes"])
        seconds = row["seconds"]
        assert slowest == pytest.approx(seconds["forward"] + seconds["backward"])
        assert row["value"] * seconds["step"] == pytest.approx((16 + int(count) - 1) * slowest)
        assert set(row["shares"]) == {"busy", "bubble", "communication", "other"}
        assert sum(row["shares"].values()) == pytest.approx(1)
        assert row["replay"] > 0
    assert len({row["what"] for row in rows}) == len(rows)


def test_a_ratio_is_that_of_the_times_beside_it(figures):
    rows = {row["what"]: row for row in figures["results"]}
    smoothed = rows["shared noise / no noise"]
    seconds = smoothed["seconds"]
    assert smoothed["value"] == pytest.approx(seconds["shared"] / seconds["no noise"])
    assert (smoothed["bar"], smoothed["above"]) == (1.15, False)
    alone = rows["one process / two stages"]
    assert alone["value"] == pytest.approx(
        alone["seconds"]["one process"] / alone["seconds"]["two stages"]
    )
    assert (alone["bar"], alone["above"]) == (1.7, True)
    saved = rows["with / without a checkpoint"]
    assert saved["value"] == pytest.approx(saved["seconds"]["with"] / saved["seconds"]["without"])


def test_the_choice_is_compared_with_every_divisor_of_the_samples(figures):
    (row,) = [row for row in figures["results"] if row["case"] == "microbatches"]
    assert set(row["seconds"]) == {f"M {m}" for m in (1, 2, 4, 8, 16, 32)}
    assert row["value"] >= 1
    chosen = row["what"].split("(")[1].split(")")[0]
    assert row["value"] == pytest.approx(row["seconds"][chosen] / min(row["seconds"].values()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--repeats", "0"], "repeats must be an integer of at least 1, got 0"),
        (["--batch", "-1"], "batch must be an integer of at least 1, got -1"),
        (["--milliseconds", "0.5"], "milliseconds must be from 1 to 1000, got 0.5"),
        (["--json", "nowhere/figures.json"], "nowhere is not a folder"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_anything_starts(capsys, options, message):
    assert message in refusal(options, capsys, main)


def test_busy_machines_are_warned_of(monkeypatch, capsys):
    monkeypatch.setattr(os, "getloadavg", lambda: (2.5, 1.0, 1.0))
    monkeypatch.setattr("benchmarks.pipeline.main.measured", lambda *_: [{"width": 64}])
    monkeypatch.setitem(_CASES, "noise", [])
    bench_pipeline(PipelineBench(only=("noise",)))
    assert "other programs are busy (load 2.5" in capsys.readouterr().out
