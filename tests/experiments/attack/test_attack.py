"""The attack on a network and images of chance: nothing is trained, and no data are read."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import minimize as solve

from pprs_experiments.attack import plan, working
from pprs_experiments.attack.comparing import compare, result
from pprs_experiments.attack.network import frozen
from pprs_experiments.attack.objective import Attack, objective
from pprs_experiments.attack.plan import FROGS, METHODS, Job, jobs
from pprs_experiments.attack.proximal import onto_l1_ball, prox_of_largest
from pprs_experiments.attack.report import write_report
from pprs_experiments.attack.results import Row, Setting, read, tuned
from pprs_experiments.attack.running import marks, run, steps_for
from pprs_experiments.attack.working import Problem
from pprs_experiments.rows import append

SHAPE = (3, 4, 4)
DIMENSION = 48


def linear():
    """A network of one layer, whose outputs change steeply, and that of the target is low."""
    generator = torch.Generator().manual_seed(0)
    layer = torch.nn.Linear(DIMENSION, 10)
    layer.weight.data = 20 * torch.randn(10, DIMENSION, generator=generator)
    layer.bias.data = -layer.weight.data.sum(1) / 2  # grey gives 0
    layer.bias.data[7] -= 5
    return frozen(torch.nn.Sequential(torch.nn.Flatten(), layer))


MODEL = linear()
IMAGES = 0.5 + 0.01 * torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(1))
ATTACK = Attack(MODEL, IMAGES[:2], 7)
PROBLEM = Problem(MODEL, {FROGS.name: ([5, 8, 3, 4], IMAGES)}, each=2, plain_steps=6)


def literal_loss(image, original, target):
    outputs = MODEL(image[None])[0].tolist()
    hinges = [max(0, 1 - outputs[target] + z) for i, z in enumerate(outputs) if i != target]
    return sum(hinges) + 300 * float((image - original).abs().max())


def test_the_objective_is_the_sources():
    changed = IMAGES[:2] + 0.01 * torch.randn(2, *SHAPE)
    expected = [literal_loss(x, original, 7) for x, original in zip(changed, IMAGES, strict=False)]
    torch.testing.assert_close(
        objective(MODEL, changed, IMAGES[:2], 7), torch.tensor(expected), rtol=1e-5, atol=1e-4
    )
    points = torch.stack([changed.flatten(1), ATTACK.start])
    torch.testing.assert_close(
        ATTACK.losses(points)[0], torch.tensor(expected), rtol=1e-5, atol=1e-4
    )
    assert torch.equal(ATTACK.taken(points)[0], MODEL(changed).argmax(1) == 7)


def test_gradients_are_the_mean_over_the_draws_and_do_not_depend_on_what_runs_beside():
    lanes = torch.stack([ATTACK.start, ATTACK.start + 0.01])
    draws = [torch.Generator().manual_seed(seed) for seed in (5, 8)]
    found = ATTACK.gradient(lanes, 0.1, 300, draws)  # in several passes
    for lane, b in ((0, 0), (1, 1)):
        noise = torch.randn(300, DIMENSION, generator=torch.Generator().manual_seed((5, 8)[b]))
        x = (lanes[lane, b] + 0.1 * noise).view(-1, *SHAPE).requires_grad_()
        objective(MODEL, x, IMAGES[b : b + 1].expand(300, -1, -1, -1), 7).sum().backward()
        torch.testing.assert_close(found[lane, b], x.grad.flatten(1).mean(0), rtol=1e-3, atol=1e-4)


def test_the_proximal_map_is_a_brute_force_solvers():
    v, weight = np.array([0.9, -1.4, 0.2, 1.1]), 0.7
    # u and its largest entry t, as a smooth problem with constraints
    found = solve(
        lambda z: 0.5 * ((z[:4] - v) ** 2).sum() + weight * z[4],
        np.array([*v, 2.0]),
        constraints=[{"type": "ineq", "fun": lambda z, s=s: z[4] - s * z[:4]} for s in (1, -1)],
        options={"ftol": 1e-12},
    ).x[:4]
    ours = prox_of_largest(torch.tensor(v)[None], torch.tensor([[weight]]))
    np.testing.assert_allclose(ours[0], found, atol=1e-5)
    inside = torch.tensor([[0.1, -0.2]])
    assert torch.equal(onto_l1_ball(inside, torch.tensor([[1.0]])), inside)
    torch.testing.assert_close(prox_of_largest(inside, torch.tensor([[1.0]])), 0 * inside)


@pytest.mark.parametrize(
    ("samples", "depth", "steps"), [(1, 200, 300), (100, 200, 200), (10, 20, 206), (2, 1, 150)]
)
def test_time_is_that_of_the_pipeline(samples, depth, steps):
    assert steps_for(samples, depth, 300) == steps
    assert 2 * steps * (samples + depth - 1) <= 2 * 300 * depth
    assert 2 * (steps + 1) * (samples + depth - 1) > 2 * 300 * depth


def test_what_is_spent_is_what_the_budget_allows():
    outcome = run(ATTACK, METHODS["pprs"].rule, [1e-5], 3, 1e-3, False, 4, 6, [5, 8])
    assert (outcome.queries, outcome.time) == (4 * 3, 4 * 2 * (3 + 4 - 1))
    for name in ("auto", "searched-measured"):
        outcome = METHODS[name].untuned(ATTACK, 4, 40, [5, 8])
        assert outcome.queries > 0
        assert 0.9 * 2 * 40 * 4 < outcome.time <= 2 * 40 * 4
    assert marks(300)[-1] == 300


LITERAL = {
    "gd": lambda x, g, t, s: x - s * g,
    "sign": lambda x, g, t, s: x - s * g.sign(),
    "subgradient": lambda x, g, t, s: x - s / math.sqrt(t) * g,
}


@pytest.mark.parametrize("name", LITERAL)
def test_a_rule_takes_the_steps_that_it_says(name):
    x = ATTACK.start[None]
    for t in (1, 2, 3):
        x = LITERAL[name](x, ATTACK.gradient(x, 0.0, 1, []), t, 1e-6)
    found = run(ATTACK, METHODS[name].rule, [1e-6], 1, 0.0, False, 1, 3, [0, 0])
    torch.testing.assert_close(found.curve[..., -1], ATTACK.losses(x))


@pytest.mark.parametrize(("name", "falling"), [("adam", False), ("adam-falling", True)])
def test_adam_is_torchs(name, falling):
    x = torch.nn.Parameter(ATTACK.start[None].clone())
    optimizer = torch.optim.Adam([x], 1e-3)
    for step in range(4):
        if falling:
            optimizer.param_groups[0]["lr"] = 1e-3 * (1 - step / 4)
        x.grad = ATTACK.gradient(x.detach(), 0.0, 1, [])
        optimizer.step()
    found = run(ATTACK, METHODS[name].rule, [1e-3], 1, 0.0, False, 1, 4, [0, 0])
    torch.testing.assert_close(
        found.curve[..., -1], ATTACK.losses(x.detach()), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("name", METHODS)
def test_every_method_reduces_the_loss(name):
    method = METHODS[name]
    problem = Problem(MODEL, PROBLEM.images, each=2, plain_steps=30 if method.untuned else 12)
    job = Job(FROGS, 0, 10, name, method.samples[0], method.sigmas[-1])
    rows = problem.compute(job, method.sigmas[-1], method.lrs)
    first = ATTACK.losses(ATTACK.start[None])[0].numpy()
    best = np.min([row.final for row in rows], axis=0)
    assert (best < first).all()
    assert len(rows) == job.lanes or method.untuned


def small_plan():
    """Two methods: one that is tuned at every depth, and one at its grid for all depths."""
    listed = [Job(FROGS, part, 0, "gd", 1, 0.0) for part in (0, 1)]
    listed += [Job(FROGS, 1, 5, "pprs", 2, None)]
    return [*listed, *(Job(FROGS, 0, 5, "pprs", 2, sigma) for sigma in (1e-3, 1e-4))]


def test_jobs_are_run_once_tuned_first_and_gone_on_with(tmp_path, monkeypatch, capsys):
    file = tmp_path / "results.jsonl"
    monkeypatch.setattr(working, "ProcessPoolExecutor", Here)
    working.work(PROBLEM, small_plan(), file, 1)
    rows = read(file)
    assert [row.job.split("|")[3:] for row in rows[-1:]] == [["pprs", "2", "tuned"]]
    assert rows[-1].setting == tuned(rows, "pprs", 5, 2)
    assert "5 of 5, 0 s left: frog-horse|1|5|pprs|2|tuned" in capsys.readouterr().out
    whole = file.read_bytes()
    working.work(PROBLEM, small_plan(), file, 1)
    assert file.read_bytes() == whole
    last = whole.splitlines(keepends=True)[-1]
    file.write_bytes(whole[: -len(last) - 20])  # killed while it wrote a job's five rows
    working.work(PROBLEM, small_plan(), file, 1)
    assert "5 jobs, 3 of them finished before" in capsys.readouterr().out
    again = read(file)
    assert [(row.job, row.setting, row.curve) for row in again] == [
        (row.job, row.setting, row.curve) for row in rows
    ]


class Here:
    """A pool that runs jobs in this process, when they are submitted."""

    def __init__(self, workers, context, begin, given):
        self._problem = given[0]

    def submit(self, function, *given):
        from concurrent.futures import Future

        future = Future()
        future.set_result(self._problem.compute(*given))
        return future

    def shutdown(self, cancel_futures):
        pass


def test_a_damaged_line_is_named(tmp_path):
    file = tmp_path / "results.jsonl"
    file.write_text('{"job": 1}\n')
    with pytest.raises(ValueError, match="results.jsonl, line 1: not a result"):
        read(file)


def test_all_of_the_plan_is_told_apart_and_can_be_tuned():
    listed = jobs()
    assert len({job.key for job in listed}) == len(listed)
    grids = {job.grid for job in listed if job.part == 0}
    assert all(job.grid in grids for job in listed if job.sigma is None)
    assert {job.pair.name for job in listed} == {pair.name for pair in plan.PAIRS}


def row(method, part, lr, finals, depth=0, sigma=0.0, samples=1):
    images = [10 * part + i for i in range(len(finals))]
    curve = [[9.0] * 19 + [final] for final in finals]
    return Row(
        f"{method}{part}{sigma}", FROGS.name, part, depth, method, Setting(samples, sigma, lr),
        images, curve, [0.01] * len(finals), [True] * len(finals), 300, 600.0, 1.0,
    )  # fmt: skip


def grid(method, part, finals, depth=0):
    """With the losses of the step sizes, the first of which is far off elsewhere."""
    return [
        row(method, part, lr, finals if n == 0 else [9.0 + n] * len(finals), depth)
        for n, lr in enumerate(METHODS[method].lrs)
    ]


def test_methods_are_compared_at_what_was_best_in_tuning_or_in_hindsight():
    rows = [
        *grid("adam", 0, [1.0, 1.0]),
        *grid("adam", 1, [4.0, 5.0]),
        *grid("adam", 2, [6.0, 2.0]),
    ]
    rows[7] = row("adam", 1, METHODS["adam"].lrs[2], [3.0, 7.0])
    rows.append(row("adam", 3, METHODS["adam"].lrs[0], [1.0]))  # no more of its grid
    found = result(rows, FROGS.name, "adam", 20)
    assert found.setting.lr == METHODS["adam"].lrs[0]
    assert found.final == {10: 4.0, 11: 5.0, 20: 6.0, 21: 2.0, 30: 1.0}
    assert found.hindsight == {10: 3.0, 11: 5.0, 20: 6.0, 21: 2.0}
    same = compare(found.hindsight, found.final)
    assert (same.images, same.lower, same.relative.value) == (4, 1, 0.0)
    lower = compare(dict.fromkeys(range(20), 0.9), dict.fromkeys(range(20), 1.0))
    assert (lower.answer, lower.bar, lower.p < 1e-4) == ("yes", True, True)
    none = compare({1: math.inf, 2: 1.0}, {1: math.inf, 2: 1.0})
    assert (none.lower, none.p, none.difference.value) == (0, 1.0, 0.0)


def test_the_report_is_made_of_what_there_is(tmp_path):
    rows = [*grid("adam", 0, [1.0, 1.0]), *grid("adam", 1, [4.0, 5.0])]
    rows += [row("auto", 1, 0.0, [2.0, 2.5], depth=200, samples=0)]
    page = write_report(rows, tmp_path).read_text()
    assert "| Adam, decades | 0.01 | 2 | 4.50 [4.00, 5.00] |" in page
    assert "pprs.minimize, nothing tuned below Adam, decades, best of its grid" in page
    assert "| 2 of 2 | -50% [-50%, -50%] |" in page
    by_pair = page.partition("## Claims, equal pipeline time, Δ = 200\n")[2].partition("## ")[0]
    assert by_pair.splitlines()[1].startswith("| claim | frog-horse | cat-dog |")
    assert "| 2 of 2, -50% [-50%, -50%] |  |  |  |" in by_pair
    for name in ("curves-200.svg", "finals-200.svg", "curves-1.svg"):
        assert name in page
        assert "Adam, decades" in (tmp_path / "finals-200.svg").read_text()


def test_rows_survive_their_file(tmp_path):
    file = tmp_path / "results.jsonl"
    rows = [row("gd", 1, 1e-3, [math.inf, 2.0])]
    append(file, rows)
    assert read(file) == rows
    assert json.loads(file.read_text())["setting"] == [1, 0.0, 1e-3]


def test_the_tables_of_the_page_are_those_of_the_committed_results(tmp_path):
    root = Path(__file__).parents[3]
    made = write_report(read(root / "experiments/attack/results.jsonl"), tmp_path).read_text()
    page = (root / "docs/attack.md").read_text().partition("## Results")[2]
    shown = [line for line in page.splitlines() if line.startswith("|")]
    assert len(shown) > 80
    assert set(shown) <= set(made.splitlines())
    triple = r"(\d+)%? ?%? \[[-+]?(\d+)%?, [-+]?(\d+)%?\]"
    rows, texts = (
        {(middle, *sorted(ends, key=int)) for middle, *ends in re.findall(triple, " ".join(lines))}
        for lines in (shown, [line for line in page.splitlines() if line not in shown])
    )
    assert len(texts) >= 20
    assert texts - rows == set()
    for depth in (20, 200):
        picture = root / f"docs/images/attack-curves-{depth}.svg"
        assert picture.read_text() == (tmp_path / f"curves-{depth}.svg").read_text()
