"""What the study compares: its cells, and how much is computed for each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pprs_experiments.study.cell import Cell, Goal, Spent, Task
from pprs_experiments.study.job import Effort
from pprs_experiments.study.tasks import AdversarialTask, FewShotTask, FineTuningTask
from pprs_experiments.study.tasks.linear import MaximumOfLinearTask, RegressionTask
from pprs_experiments.study.tasks.objective import ObjectiveName
from pprs_experiments.study.tasks.svm import SvmTask
from pprs_experiments.study.tasks.worst_case import WorstCaseTask

FULL = Effort(trials=12, tuning_seeds=2, seeds=10)
QUICK = Effort(trials=2, tuning_seeds=1, seeds=3, points=5)

BUDGETS: tuple[Spent, ...] = ("time", "evaluations")

# Rivals first, then those with one draw for each step, then those that average.
CORE = (
    *("gd", "agd", "sgd", "adam", "sam", "lpf-sgd", "schedule-free"),
    *("one-draw-filter", "one-draw-adam"),
    *("pprs-filter", "pprs-adam"),
)
# All others, where a case is looked at from every side.
MORE = (
    "nesterov",
    *("one-draw", "one-draw-annealed"),
    *("pprs", "pprs-annealed", "pprs-example", "pprs-antithetic"),
)
DEFAULTS = ("default-0.01", "default-0.02", "default-adam-0.01", "default-adam-0.02")
PARTS = ("k-1-filter", "k-4-filter", "k-16-filter", "k-64-filter", "no-momentum-filter")
# Parts of the batch say nothing of a maximum.
WHOLE = tuple(name for name in CORE if name not in ("sgd", "lpf-sgd"))
CONVEX = (
    *("subgradient", "agd", "nesterov", "adam", "randomized-smoothing"),
    *("one-draw-annealed", "pprs", "pprs-annealed"),
)
DRAWS = ("k-1", "k-4", "k-16", "k-64", "k-128", "no-momentum")

_ACCURACY = Goal("validation", "higher"), Goal("test", "higher")
_ROBUST = Goal("validation", "higher"), Goal("pgd-20", "higher")
_LOSS = Goal("training_loss", "lower"), Goal("training_loss", "lower")
_WORST_CASE = "worst-case/fashion-mnist/5 shots/depth 10/{}"
_WORST_CASE_METHODS = (*WHOLE, *PARTS)


def plan(quick: bool) -> tuple[list[Cell], Effort]:
    """All cells and the effort for each; the quick study shows that all works, and no more."""
    return (_quick(), QUICK) if quick else (_full(), FULL)


def _full() -> list[Cell]:
    return [
        *_few_shot(100),
        *_linear(1000),
        *_machines(600),
        *_worst_case(100),
        *_long(500),
        *_fine_tuning(100),
        *_adversarial(40),
    ]


def _cells(
    name: str,
    task: Task,
    steps: int,
    methods: Iterable[str],
    goals: tuple[Goal, Goal],
    *questions: int,
) -> list[Cell]:
    """The cells of a task, one for each budget; the goals are of tuning and of the comparison."""
    return [Cell(name, task, spent, steps, tuple(methods), *goals, questions) for spent in BUDGETS]


def _few_shot(steps: int) -> list[Cell]:
    """A base case, others that differ from it in one thing, and one that is hard to train."""

    def cells(methods: Iterable[str], *questions: int, **settings: Any) -> list[Cell]:
        task = FewShotTask(**{"data": "fashion-mnist"} | settings)
        name = f"few-shot/{task.data}/{task.shots} shots/depth {task.depth}/{task.loss}"
        return _cells(name, task, steps, methods, _ACCURACY, *questions)

    core = (*CORE, *DEFAULTS)
    return [
        *cells((*core, *MORE, *PARTS), 3, 5, 6, 7),
        *cells((*core, *MORE, *PARTS), 3, 5, 6, data="digits", depth=20, loss="hinge"),
        *cells(core, 3, 5, 6, depth=20),
        *cells(core, 3, 5, 6, 7, shots=20),
        *cells(core, 3, 5, 6, 7, shots=1),
        *cells(core, 3, 5, 6, loss="hinge"),
        *cells(core, 3, 5, 6, loss="l1"),
        *cells(core, 3, 5, 6, data="cifar-10", network="convolutional", depth=4, width=8),
        *cells(core, 5, 7, shots=100),
    ]


def _worst_case(steps: int) -> list[Cell]:
    """Objectives with a maximum in them, by their training loss."""
    return [
        cell
        for objective in ("maximum", "cvar", "worst group")
        for cell in _cells(
            _WORST_CASE.format(objective),
            _worst_case_task(objective),
            steps,
            _WORST_CASE_METHODS,
            _LOSS,
            6,
        )
    ]


def _long(steps: int) -> list[Cell]:
    """The maximum once more, since it falls slowly."""
    name = f"{_WORST_CASE.format('maximum')}/{steps} steps"
    return _cells(name, _worst_case_task("maximum"), steps, _WORST_CASE_METHODS, _LOSS, 6)


def _worst_case_task(objective: ObjectiveName) -> FewShotTask:
    return FewShotTask(data="fashion-mnist", objective=objective)


def _adversarial(steps: int) -> list[Cell]:
    rivals = ("gd", "agd", "sgd", "adam", "sam")
    methods = (*rivals, "one-draw-filter", "pprs-filter", "pprs-adam", *DEFAULTS)
    tasks = [
        AdversarialTask(data="digits", shots=5),
        AdversarialTask(data="digits", shots=50),
        AdversarialTask(data="fashion-mnist", shots=5, epsilon=0.05),
    ]
    return [
        cell
        for task in tasks
        for cell in _cells(
            f"adversarial/{task.data}/{task.shots} shots", task, steps, methods, _ROBUST, 4, 5
        )
    ]


def _fine_tuning(steps: int) -> list[Cell]:
    methods = (*CORE, *DEFAULTS)
    return _cells("fine-tuning/digits/5 shots", FineTuningTask(), steps, methods, _ACCURACY, 3, 5)


def _linear(steps: int) -> list[Cell]:
    """Maxima of linear functions, by depth and dimension; and the function of the lower bound."""

    def cells(
        dimension: int, depth: int, *questions: int, more: tuple[str, ...] = ()
    ) -> list[Cell]:
        task = MaximumOfLinearTask(functions=200, dimension=dimension, depth=depth)
        name = f"convex/maximum of 200 linear functions/d {dimension}/depth {depth}"
        return _cells(name, task, steps, (*CONVEX, *more), _reaching(0.05), *questions)

    hardest = WorstCaseTask(pairs=3, coordinates=30, depth=10)
    return [
        *cells(50, 50, 2, 6, more=DRAWS),
        *_timed(cells(50, 5, 2)),
        *_timed(cells(50, 500, 2)),
        *cells(10, 50, 2),
        *cells(25, 50, 2),
        *_timed(_cells("convex/function (8)/depth 10", hardest, steps, CONVEX, _reaching(0.1), 2)),
    ]


def _machines(steps: int) -> list[Cell]:
    """Support vector machines and regression on real data, by depth and number of examples."""

    def hardest(examples: int, depth: int, *questions: int) -> list[Cell]:
        task = SvmTask(
            data="mushrooms", examples=examples, aggregate="maximum", l2=0.1, depth=depth
        )
        name = f"convex/mushrooms/maximum of {examples} hinges/depth {depth}"
        return _cells(name, task, steps, CONVEX, _reaching(0.1), *questions)

    def mean(examples: int, *questions: int) -> list[Cell]:
        task = SvmTask(data="a9a", examples=examples, depth=10)
        name = f"convex/a9a/mean of {examples} hinges/depth 10"
        return _cells(name, task, steps, (*CONVEX, "sgd"), _reaching(0.03), *questions)

    absolute = RegressionTask(data="mushrooms", examples=300, depth=10)
    return [
        *hardest(300, 10, 2),
        *_timed(hardest(300, 1, 2)),
        *_timed(hardest(300, 100, 2)),
        *hardest(100, 10, 2),
        *hardest(1000, 10, 2),
        *mean(100, 2, 7),
        *mean(1000, 2, 7),
        *_cells(
            "convex/mushrooms/mean of 300 absolute deviations/depth 10",
            absolute,
            steps,
            (*CONVEX, "sgd"),
            _reaching(0.03),
            2,
        ),
    ]


def _timed(cells: Iterable[Cell]) -> list[Cell]:
    """Only those by pipeline time: the depth does not change what is evaluated."""
    return [cell for cell in cells if cell.spent == "time"]


def _reaching(gap: float) -> tuple[Goal, Goal]:
    goal = Goal("relative gap", "lower", target=gap)
    return goal, goal


def _quick() -> list[Cell]:
    """Small cells of every kind, of data that comes with a package or is drawn."""
    methods = ("gd", "adam", "one-draw-filter", "pprs-filter")
    small: dict[str, Any] = {"depth": 5, "width": 32, "test": 300}
    linear = MaximumOfLinearTask(functions=50, dimension=10, depth=20)
    attacked = AdversarialTask(**small, attacked=20, queries=20)
    tuned = FineTuningTask(pretraining=100, test=300)
    return [
        *_cells("few-shot/digits", FewShotTask(**small), 20, methods, _ACCURACY, 3, 5, 6),
        *_cells(
            "worst-case/digits", FewShotTask(objective="maximum", **small), 20, methods, _LOSS, 6
        ),
        *_cells("adversarial/digits", attacked, 10, methods, _ROBUST, 4),
        *_cells("fine-tuning/digits", tuned, 10, methods, _ACCURACY, 3),
        *_cells(
            "convex/maximum", linear, 100, ("agd", "k-1", "k-16", "pprs"), _reaching(0.1), 2, 6
        ),
    ]
