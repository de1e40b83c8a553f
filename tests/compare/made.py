"""Results that were made up: what methods have reached, without any training."""

from pprs.compare.amount import Amount
from pprs.compare.config import CompareConfig
from pprs.compare.costs import Cost, ends
from pprs.compare.methods import METHODS
from pprs.compare.result import Result
from pprs.compare.run import BUDGETS, Point
from pprs.compare.store import Plan
from pprs.compare.subject import Facts

FOUND = Facts(50, 20, 1000, 300, 20, "the layers of the network", "accuracy", 100)
COSTS = {
    name: Cost(0.004 if METHODS[name].averages else 0.002, 2**20, 0.001, 0.01) for name in METHODS
}


def result(reached, found=FOUND, *, steps=None, busy=None, **options):
    """A result with these values of the metric, by method: at both budgets, or for each of them.

    Args:
        reached: the values, one for each seed.
        found: what is known of the task.
        steps: that were run, if fewer than wanted.
        busy: by how much longer than planned the steps of a method took.
    """
    config = CompareConfig(methods=tuple(name for name in reached if name != "plain"), **options)
    seeds = len(next(iter(reached.values()))[-1])
    amount = Amount(1, 1, seeds, steps or found.steps)
    paid = ends(config, found, COSTS, amount.steps)
    choices, points = {}, []
    for method in config.compared:
        setting = config.candidates(method, 1)[0]
        choices[method] = dict.fromkeys(BUDGETS, setting)
        for budget, values in zip(BUDGETS, both(reached[method]), strict=True):
            points += [
                point(method, setting, seed, paid[method][budget], budget, value, found, busy or {})
                for seed, value in enumerate(values)
            ]
    return Result(config, found, Plan(COSTS, amount), amount, choices, points)


def both(values):
    return values if len(values) == 2 else (*values, *values)


def point(method, setting, seed, step, budget, value, found, busy):
    metric = {"loss": 1.0} | {found.metric: value}
    how = ("train", method, seed, setting.lr, setting.sigma, 1, step, step)
    seconds = COSTS[method].step * busy.get(method, 1.0) * step
    return Point(*how, 2 * step, seconds, step, 0.5, metric, (budget,))
