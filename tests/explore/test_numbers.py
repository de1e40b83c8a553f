"""What the page computes itself is what `pprs.theory` and the schedules' own code say."""

import json
import random
from dataclasses import asdict
from itertools import combinations, pairwise

import numpy as np
import pytest
from explore.numbers import (
    EDGES,
    constants,
    expected_bounds,
    expected_step,
    settings,
    unlike,
)
from pipeline.trace.handmade import timeline_of
from plan.made import profile_of, times_of

from pprs.explore.page import program
from pprs.pipeline.trace.shares import shares
from pprs.pipeline.trace.timeline import Event, Timeline
from pprs.plan.predict import Setting, Stages
from pprs.plan.profile import Curve, Layer
from pprs.theory import Graph, makespan
from pprs.theory.bounds import all_bounds, gap_nonsmooth
from pprs.theory.bounds._optimal import _least, _steps

BOUNDS, STEPS = 900, 1200  # random inputs of each


@pytest.fixture(scope="module")
def calculated(chromium):
    """Calls of the page's functions, many at once, in a page of nothing else."""
    page = chromium.new_page()
    page.set_content(f'<script type="module">{program("calculation.js")}</script>')

    def call(expression, given):
        code = f"many => JSON.stringify(many.map(given => {expression}))"
        return json.loads(page.evaluate(code, given))

    yield call
    page.close()


def for_page(given):
    names = {"goldstein_radius": "goldsteinRadius"}
    return {names.get(name, name): value for name, value in given.items()}


def differences(found, expected):
    """Where rows of bounds differ."""
    for one, other in zip(found, expected, strict=True):
        assert (one["regime"], one["method"]) == (other["regime"], other["method"])
        mine, theirs = one["bound"], other["bound"]
        assert mine["equation"] == theirs["equation"]
        assert mine.get("momentum") == theirs["momentum"]
        names = ["time", "iterations", "samples", "sigma", "lr", "dimension"]
        # Of K and K + 1 that take equally long, to rounding, either may be the least.
        large = theirs["samples"] and theirs["samples"] > 1e6
        if large and abs(mine["samples"] - theirs["samples"]) == 1:
            names = ["time", "sigma", "lr"]
        for name in names:
            if unlike(mine.get(name), theirs[name]):
                yield one["method"], name, mine.get(name), theirs[name]


def test_every_bound_of_random_constants_and_of_edges_is_that_of_the_theory(calculated):
    given = [*constants(BOUNDS), *EDGES]
    found = calculated("pprsExplore.allBounds(given)", [for_page(one) for one in given])
    for one, rows in zip(given, found, strict=True):
        assert list(differences(rows, expected_bounds(one))) == [], one


def test_the_precision_that_no_procedure_beats_at_a_time_is_that_of_the_theory(calculated):
    draw = random.Random(0)
    given = [
        (float(int(10 ** draw.uniform(0, 7))), int(10 ** draw.uniform(0, 4))) for _ in range(200)
    ]
    found = calculated("pprsExplore.sharpDecay(...given)", given)
    for (time, depth), gap in zip(given, found, strict=True):
        assert not unlike(gap, gap_nonsmooth(lipschitz=1.0, radius=1.0, time=time, depth=depth))


def test_constants_out_of_their_range_are_refused_as_in_python(calculated):
    right = constants(1)[0]
    wrong = [
        right | more
        for more in (
            {"epsilon": 0.0}, {"epsilon": -1.0}, {"depth": 0}, {"depth": 1.5}, {"dimension": 0},
            {"batch": 0}, {"lipschitz": 0.0}, {"radius": 0.0}, {"smoothness": 0.0}, {"gap": 0.0},
            {"goldstein_radius": 0.0}, {"dimension": 9, "width": 4.0}, {"width": 0.0},
        )
    ]  # fmt: skip
    call = "(() => {{ try {{ return {}; }} catch (error) {{ return error.message; }} }})()"
    said = calculated(call.format("pprsExplore.allBounds(given)"), [for_page(one) for one in wrong])
    for one, message in zip(wrong, said, strict=True):
        with pytest.raises(ValueError, match="must be") as refused:
            expected_bounds(one)
        assert message.split(", got")[0] == str(refused.value).split(", got")[0], one


def test_orders_and_timetables_of_random_settings_are_those_of_the_schedules(calculated):
    given = settings(STEPS)
    found = calculated(
        "(() => { const order = pprsExplore.orderOf(given.schedule, given.devices, given.each, "
        "given.microbatches); const { makespan, busy, bubble } = pprsExplore.timetableOf(order, "
        "pprsExplore.ownersOf(given.schedule, given.devices, given.each), given); "
        "return { order, makespan, busy, bubble }; })()",
        given,
    )
    for one, step in zip(given, found, strict=True):
        rows, span, busy = expected_step(one)
        assert [[tuple(task) for task in row] for row in step["order"]] == [*map(list, rows)], one
        assert not unlike(step["makespan"], span), one
        assert not unlike(step["busy"], busy), one
        assert step["bubble"] == pytest.approx(1 - busy / span / one["devices"], abs=1e-9)


def test_makespans_are_those_of_the_theory_where_it_knows_the_schedule(calculated):
    given = [one for one in settings(200, seed=1) if one["schedule"] in ("gpipe", "1f1b")]
    found = calculated(
        "pprsExplore.timetableOf("
        "pprsExplore.orderOf(given.schedule, given.devices, 1, given.microbatches), "
        "pprsExplore.ownersOf(given.schedule, given.devices, 1), given).makespan",
        given,
    )
    for one, span in zip(given, found, strict=True):
        graph = Graph.chain(one["devices"], one["forward"], one["backward"], one["latency"])
        assert not unlike(span, makespan(graph, one["microbatches"], one["schedule"]))


def test_the_steps_of_a_given_number_of_samples_are_those_of_theorem_3(calculated):
    draw = random.Random(0)
    given = [
        (10 ** draw.uniform(0.1, 4), draw.uniform(0.5, 500), draw.randint(1, 300))
        for _ in range(100)
    ]
    found = calculated("pprsExplore.pprsSteps(...given)", given)
    for (ratio, smoothing, samples), steps in zip(given, found, strict=True):
        assert steps == int(_steps(_least(ratio, smoothing, np.array([float(samples)])))[0])


def recorded(seed):
    """A timeline whose operations take and wait for random times."""
    draw = random.Random(seed)
    schedule = draw.choice(["gpipe", "1f1b", "zero-bubble"])
    graph = Graph.chain(draw.randint(1, 4), forward=1, backward=2)
    made = timeline_of(graph, draw.randint(1, 6), schedule, steps=3)
    free: dict[int, float] = {}
    events = []
    for e in sorted(made.events, key=lambda e: e.start):
        start = max(e.start + draw.choice([0, draw.random()]), free.get(e.rank, 0.0))
        free[e.rank] = start + (e.end - e.start) * draw.uniform(0.5, 1.5)
        events.append(Event(e.rank, e.stage, e.kind, e.microbatch, e.step, start, free[e.rank]))
    return Timeline(tuple(events), made.schedule, made.stages, made.microbatches, 0.0)


def test_shares_of_recorded_runs_are_those_of_pprs_trace(calculated, tmp_path):
    file, texts = tmp_path / "t.json", []
    for seed in range(100):
        recorded(seed).save(file)
        texts.append(file.read_text())
    found = calculated('pprsExplore.sharesOf(pprsExplore.readTrace(given, "t.json"))', texts)
    for text, mine in zip(texts, found, strict=True):
        file.write_text(text)
        theirs = shares(Timeline.load(file))
        assert not unlike(mine["seconds"], theirs.seconds)
        assert not unlike(mine["ideal"], theirs.ideal)
        for one, other in zip(mine["stages"], theirs.stages, strict=True):
            assert (one["stage"], one["rank"]) == (other.stage, other.rank)
            assert one["share"] == pytest.approx(vars(other.share), abs=1e-9)
        ranks = {one["rank"]: one["share"] for one in mine["ranks"]}
        for rank, share in theirs.ranks.items():
            assert ranks[rank] == pytest.approx(vars(share), abs=1e-9)


def test_stages_of_a_profile_cost_what_pprs_plan_says(calculated):
    draw = random.Random(0)
    given, expected = [], []
    for _ in range(100):
        layers = draw.randint(2, 7)
        around, loss = (
            Layer(name, Curve.line(draw.random(), draw.random()), Curve.line(draw.random()))
            for name in ("around", "loss")
        )
        times = times_of(
            [draw.random() for _ in range(layers)],
            [draw.random() for _ in range(layers)],
            per_row=draw.random(),
            sent=100 * draw.random(),
            around=around,
            loss=loss,
        )
        profile = profile_of(times)
        places = sorted(draw.sample(range(1, layers), draw.randint(0, layers - 1)))
        cut, rows = [0, *places], draw.choice([1, 8, 3])
        ranges = tuple(map(range, cut, [*places, layers]))
        made = Stages.of(times, Setting("gpipe", ranges, 1, 1, rows))
        expected.append((made.forward.tolist(), made.backward.tolist(), made.output.tolist()))
        written = json.loads(json.dumps(asdict(profile) | {"link": {"latency": 0, "bandwidth": 1}}))
        given.append([written, dict(stages=len(cut), devices=2, rows=rows, smoothed=True, cut=cut)])
    found = calculated("pprsExplore.profileCosts(...given)", given)
    for one, (forward, backward, output) in zip(found, expected, strict=True):
        assert one["forward"] == pytest.approx(forward, rel=1e-9)
        assert one["backward"] == pytest.approx(backward, rel=1e-9)
        assert one["latency"] == pytest.approx(output, rel=1e-9)


def test_a_model_is_cut_where_its_slowest_stage_is_fastest(calculated):
    draw = random.Random(1)
    given = []
    for _ in range(40):
        times = times_of([draw.random() for _ in range(7)], [draw.random() for _ in range(7)])
        written = json.loads(json.dumps(asdict(profile_of(times)) | {"ties": [[2, 4]]}))
        written["link"] = {"latency": 0, "bandwidth": 1}
        given.append([written, dict(stages=3, devices=3, rows=1, smoothed=True)])
    cuts = calculated("pprsExplore.profileCosts(...given)", given)
    for (profile, _), found in zip(given, cuts, strict=True):
        layers = profile["times"][0]["layers"]
        costs = [sum(layer[k]["values"][0] for k in ("forward", "backward")) for layer in layers]
        slowest = {
            (0, a, b): max(sum(costs[:a]), sum(costs[a:b]), sum(costs[b:]))
            for a, b in combinations([1, 2, 5, 6], 2)
        }
        assert slowest[tuple(found["cut"])] == pytest.approx(min(slowest.values()))


def family(rows):
    """The method of least time, under the name that the map gives it."""
    names = {"GPipe": "subgradient descent", "subgradient": "subgradient descent"}
    methods = [row for row in rows if row.method != "linear-span"]
    best = min(methods, key=lambda row: row.bound.time)
    short = best.method.removesuffix(", least time").removesuffix(", noise per example")
    return best.bound.time, names.get(best.method, short)


@pytest.mark.parametrize("across", ["eps", "m"])
def test_the_map_names_the_method_that_promises_least(across, calculated):
    given = dict(constants(1)[0], epsilon=0.02, lipschitz=1.0, radius=1.0, dimension=500,
                 width=None, batch=3)  # fmt: skip
    (cells,) = calculated(
        f'pprsExplore.phasesOf("lipschitz", given, "{across}", 24, 16)', [for_page(given)]
    )
    seen = set()
    for cell in (cell for row in cells for cell in row):
        axis = {"eps": "epsilon", "m": "batch"}[across]
        rows = all_bounds(**given | {"depth": cell["depth"], axis: cell["value"]})
        time, name = family([row for row in rows if row.regime.startswith("convex, L")])
        assert time == 0 or cell["winner"] == name, cell
        assert time == 0 or not unlike(cell["time"], time, 0.02)
        seen.add(name)
    assert seen >= {"subgradient descent", "PPRS"}


def test_where_one_guarantee_overtakes_another_it_does(calculated):
    given = [dict(one, batch=1, width=None) for one in constants(12, seed=3)]
    found = calculated('pprsExplore.changesAlong("lipschitz", given, "depth")', map_for_page(given))
    crossings = 0
    for one, parts in zip(given, found, strict=True):
        for before, after in pairwise(parts):
            for depth, part in ((after["from"], after), (after["from"] - 1, before)):
                rows = all_bounds(**one | {"depth": depth})
                time, name = family([row for row in rows if row.regime.startswith("convex, L")])
                assert time == 0 or part["winner"] == name, (one, depth)
                crossings += 1
    assert crossings >= 6


def map_for_page(given):
    return [for_page(one) for one in given]
