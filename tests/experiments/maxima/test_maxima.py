"""A small version of the runs on objectives with a maximum."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from pprs_experiments.attack.rules import adam, nesterov, subgradient
from pprs_experiments.maxima import command, plan, problems
from pprs_experiments.maxima.bundle import bundle
from pprs_experiments.maxima.comparing import Time, ratio, times
from pprs_experiments.maxima.lanes import Vectors, first_steps, polyak
from pprs_experiments.maxima.library import minimized, reached, searched
from pprs_experiments.maxima.plan import LABELS, Job, jobs
from pprs_experiments.maxima.report import write_report
from pprs_experiments.maxima.results import Row, read
from pprs_experiments.maxima.running import compute
from pprs_experiments.maxima.solvers import projected_dual, total_variation, worst_group
from pprs_experiments.rows import append
from pprs_experiments.tasks.convex.optimum import Optimum

GOAL = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)


def farthest(x):
    return (x - GOAL).abs().max(0).values


START = torch.zeros(3, dtype=torch.float64)
SMALL = problems.Problem("minimax", 0, farthest, START, Optimum(0.0, GOAL), 0.5)


@pytest.mark.parametrize("build", [problems.minimax, lambda *a: problems.digits(*a, count=20),
                                   lambda *a: problems.image(*a, side=6)])  # fmt: skip
def test_no_point_near_a_solvers_answer_is_below_its_value(build):
    problem = build(None, 0)
    theta, least = problem.optimum.theta, problem.optimum.value
    assert float(problem.fun(theta)) == pytest.approx(least, rel=1e-6)
    random = torch.Generator().manual_seed(0)
    for scale in (1e-1, 1e-3):
        noise = torch.randn(50, len(theta), generator=random, dtype=theta.dtype)
        assert all(float(problem.fun(theta + scale * each)) >= least - 1e-9 for each in noise)
    assert problem.first > least
    assert problem.goal(0.0) == least
    assert not torch.equal(build(None, 1).fun(theta), problem.fun(theta))


def test_the_worst_group_is_a_brute_force_solvers():
    random = np.random.default_rng(0)
    signed, groups = random.standard_normal((8, 2)), np.repeat([0, 1], 4)

    def value(w):
        hinges = np.maximum(0, 1 - signed @ w).reshape(2, 4).mean(1)
        return hinges.max() + 0.01 * np.abs(w).max()

    brute = min(
        minimize(value, start, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-11}).fun
        for start in random.standard_normal((6, 2))
    )
    found = worst_group(signed, groups, 0.01)
    assert found.value == pytest.approx(brute, abs=1e-5)
    assert value(found.theta.numpy()) == pytest.approx(found.value)


def test_the_dual_of_total_variation_comes_to_the_same_value():
    noisy = problems.noisy_image(0, 8)
    least = total_variation(noisy, 0.1).value
    _, steps = projected_dual(noisy, 0.1, 2000, least * (1 + 1e-4))
    assert steps < 2000


def test_the_groups_are_those_of_a9a(tmp_path, monkeypatch):
    x = torch.zeros(40, 123, dtype=torch.float64)
    x[:, 0] = torch.arange(40)
    x[::2, 71] = 1  # women
    y = (torch.arange(40) % 4 < 2).long()
    examples = problems.read_svm_examples.__globals__["Examples"](x, y, classes=2)
    monkeypatch.setattr(problems, "read_svm_examples", lambda name, folder: examples)
    problem = problems.groups(tmp_path, 0, each=3)
    assert problem.first == 1
    assert 0 <= problem.optimum.value < 1
    with pytest.raises(ValueError, match="a9a is needed"):
        problems.groups(None, 0)


def slope(x):
    x = x.clone().requires_grad_()
    farthest(x).backward()
    return x.grad


def test_lanes_take_the_steps_that_they_say_and_stop_when_the_best_is_known():
    x, losses = START.clone(), []
    for t in range(40):
        x = x - 0.5 / math.sqrt(t + 1) * slope(x)
        losses.append(float(farthest(x)))
    y, polyaks = START.clone(), []
    for _ in range(40):
        y = y - farthest(y) / slope(y).square().sum() * slope(y)
        polyaks.append(float(farthest(y)))
    goals = [1.0, 0.3]
    rules = {"subgradient": (subgradient, [1e-9, 0.5]), "polyak": (polyak(0.0), [1.0]),
             "agd": (nesterov(0.5), [0.1]), "adam": (adam(), [0.1])}  # fmt: skip
    found = first_steps(Vectors(farthest, START), rules, goals, 40)
    assert found["subgradient"] == [[None, None], reached(losses, goals)]
    assert found["polyak"] == [reached(polyaks, goals)]
    assert None not in found["adam"][0]
    with pytest.raises(ValueError, match="one gradient"):
        Vectors(farthest, START).gradient(START[None, None], 0.1)


def test_the_bundle_method_finds_the_least_value_and_never_goes_up():
    values = []
    for value in bundle(farthest, START, 1.0):
        values.append(value)
        if value < 1e-6 or len(values) == 60:
            break
    assert values[-1] < 1e-6
    assert values == sorted(values, reverse=True)
    assert values[0] == 2


def test_untuned_methods_arrive_and_count_what_they_take():
    goals = [1.0, 0.1]
    auto = minimized(SMALL, 10, goals, 300, 0)
    told = minimized(SMALL, 10, goals, 300, 0, lower=0.0)
    assert (auto.passes, auto.begun, told.passes, told.begun) == (7, 3, 7, 1)
    for adam_before in (True, False):
        taken = searched(SMALL, 10, goals, 300, 0, adam=adam_before)
        assert (taken.passes, taken.begun, taken.most) == (7, 1, 300)
        assert None not in taken.steps
        assert taken.steps == sorted(taken.steps)
        assert taken.steps == searched(SMALL, 1, goals, 300, 0, adam=adam_before).steps
    assert None not in (*auto.steps, *told.steps)


def test_a_rows_time_is_that_of_the_pipeline():
    row = Row("minimax", 0, "auto", "auto", 10, [], 7, 1, [3, None], 5, 1.0, 2.0, 0.0)
    assert row.time(0, 10) == 1 * 20 + 3 * 2 * (7 + 9)
    assert row.time(1, 10) is None
    assert row.last(10) == 20 + 5 * 32
    import pprs

    found = pprs.minimize(farthest, START, depth=10, lower=0.0, steps=9, seed=0)
    known = replace(row, steps=[found.nit], begun=found.ngrad - 7 * found.nit)
    assert known.time(0, 10) == found.time


def test_all_jobs_are_run_once_and_gone_on_with(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "PROBLEMS", {"minimax": lambda data, seed: SMALL})
    monkeypatch.setattr(plan, "SINGLE", 30)
    monkeypatch.setattr(plan, "SEVERAL", 20)
    file = tmp_path / "results.jsonl"
    listed = [job for job in jobs() if job.problem == "minimax" and job.seed == 0]
    assert len(set(jobs())) == len(jobs())
    command.work(listed, None, file)
    rows = read(file)
    assert {row.method for row in rows} == {*LABELS, "solver"}
    assert len([row for row in rows if row.method == "duchi"]) == 6
    whole = file.read_bytes()
    file.write_bytes(whole[:-9])  # killed while it wrote
    command.work(listed, None, file)
    assert [row.came_of for row in read(file)] == [row.came_of for row in rows]
    assert "15 of 15" in capsys.readouterr().out
    (solver,) = compute(Job("minimax", 0, "solver"), SMALL)
    assert solver.setting == [0.5]
    page = write_report(rows, tmp_path).read_text()
    assert "| Adam |" in page
    assert "Polyak" in (tmp_path / "ratios.svg").read_text()


def test_the_tables_of_the_page_are_those_of_the_committed_results(tmp_path):
    root = Path(__file__).parents[3]
    made = write_report(read(root / "experiments/maxima/results.jsonl"), tmp_path).read_text()
    page = (root / "docs/maxima.md").read_text().partition("## Results")[2]
    shown = [line for line in page.splitlines() if line.startswith("|")]
    assert len(shown) == 4 * 14 + 6
    assert set(shown) <= set(made.splitlines())
    picture = root / "docs/images/maxima-ratios.svg"
    assert picture.read_text() == (tmp_path / "ratios.svg").read_text()


def test_a_damaged_line_is_named(tmp_path):
    file = tmp_path / "results.jsonl"
    file.write_text('{"job": 1}\n')
    with pytest.raises(ValueError, match="results.jsonl, line 1: not a result"):
        read(file)


def test_rows_survive_their_file(tmp_path):
    row = Row("image", 1, "dual", "dual", 0, [], 1, 0, [2, None], 9, 0.1, 3.0, 1.0)
    append(tmp_path / "results.jsonl", [row])
    assert read(tmp_path / "results.jsonl") == [row]
    assert json.loads((tmp_path / "results.jsonl").read_text())["steps"] == [2, None]


def test_methods_are_compared_at_their_best_seed_by_seed():
    def row(seed, method, steps, passes=1, depth=0):
        return Row("image", seed, method, method, depth, [], passes, 0, [steps], 100, 1.0, 2.0, 0.0)

    rows = [row(0, "adam", 50), row(0, "adam", 40), row(0, "agd", None), row(1, "agd", None)]
    rows += [row(0, "auto", 10, 3, 10), row(0, "auto", 1, 3, 100), row(0, "searched", 5, 7, 1)]
    assert times(rows, "image", ("adam", "agd"), 0, 10) == {
        0: Time(40 * 20, True),
        1: Time(100 * 20, False),
    }
    assert times(rows, "image", ("auto",), 0, 10) == {0: Time(10 * 2 * 12, True)}
    assert times(rows, "image", ("searched",), 0, 10) == {0: Time(5 * 2 * 16, True)}
    assert times(rows, "image", ("searched",), 0, 100) == {}


def test_a_claim_holds_by_its_interval_and_says_what_hangs_on_a_method_that_did_not_arrive():
    ours = {0: Time(10, True), 1: Time(11, True), 2: Time(9, True)}
    slower = {seed: Time(2 * time.value, True) for seed, time in ours.items()}
    found = ratio(ours, slower)
    assert found.mean.value == pytest.approx(0.5)
    assert (found.answer, ratio(slower, ours).answer) == ("yes", "no, more")
    never = {seed: Time(30, False) for seed in ours}
    assert (ratio(ours, never).sign, ratio(never, ours).sign) == ("≤", "≥")
    assert ratio(ours, never).answer == "yes"
    assert ratio(never, never).answer == "not compared"
    assert ratio(ours, {0: Time(1, True)}).answer == "not compared"
    late = {seed: Time(0.5 * time.value, False) for seed, time in ours.items()}
    assert ratio(late, ours).answer == "cannot say"
