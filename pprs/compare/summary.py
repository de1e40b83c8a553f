"""What `summary.json` holds of a comparison."""

from __future__ import annotations

from typing import Any

from pprs.compare.baseline import weak_search
from pprs.compare.choose import scores
from pprs.compare.doubt import doubt
from pprs.compare.methods import METHODS, MethodName
from pprs.compare.result import Result, Row
from pprs.compare.run import BUDGETS
from pprs.compare.statistics import LEVEL
from pprs.io.settings import as_toml


def as_data(result: Result, answer: str, seconds: float) -> dict[str, Any]:
    """What `summary.json` holds."""
    config, found = result.config, result.found
    return {
        "format": "pprs compare 1",
        "answer": answer,
        "config": as_toml(config),
        "task": {
            "name": config.task,
            "examples": found.examples,
            "held_out": found.held_out,
            "test": found.test,
            "parameters": found.parameters,
        },
        "metric": {"name": found.metric, "higher_is_better": result.higher_is_better},
        "depth": {"value": found.depth, "means": found.counted},
        "budgets": result.budgets,
        "ran": vars(result.ran),
        "wanted": vars(result.wanted),
        "left_out": [*result.left_out, *weak_search(result)],
        "level": LEVEL,
        "methods": {method: _method(result, method) for method in result.choices},
        "search": {method: _trials(result, method) for method in result.choices},
        "answers": {b: None if doubt(result, b) else result.best(b) for b in BUDGETS},
        "doubts": {b: said for b in BUDGETS if (said := doubt(result, b))},
        "seconds": seconds,
    }


def _method(result: Result, method: MethodName) -> dict[str, Any]:
    cost = result.plan.costs[method]
    samples = result.config.samples_of(method)
    return {
        "label": result.config.label(method),
        "samples": samples,
        "step": {
            "pipeline_time": result.step_time(method),
            "seconds": cost.step,
            "memory": cost.memory,
            "evaluations": samples,
        },
        "at": {budget: _row(result.rows(budget)[method], result) for budget in BUDGETS},
    }


def _row(row: Row, result: Result) -> dict[str, Any]:
    first, ahead = row.points[0], row.ahead
    sign = 1 if result.higher_is_better else -1
    return {
        "lr": row.setting.lr,
        "sigma": row.setting.sigma,
        "steps": first.step,
        "pipeline_time": first.pipeline_time,
        "seconds": row.seconds,
        "evaluations": first.evaluations,
        "train_loss": [point.train_loss for point in row.points],
        "metric": row.values,
        "mean": row.mean,
        "deviation": row.deviation,
        # As the metric counts, not as it is better.
        "difference": ahead
        and {
            "mean": sign * ahead.mean,
            "low": min(sign * ahead.low, sign * ahead.high),
            "high": max(sign * ahead.low, sign * ahead.high),
        },
    }


def _trials(result: Result, method: MethodName) -> list[dict[str, Any]]:
    trials = [point for point in result.points if point.phase == "search"]
    tried = result.config.candidates(method, result.ran.trials)
    if len(tried) == 1:
        return []
    return [
        {
            "lr": setting.lr,
            "sigma": setting.sigma,
            **{b: scores(trials, method, setting, b, result.found.metric) for b in BUDGETS},
        }
        for setting in tried
        if METHODS[method].gradient != "searched"
    ]
