import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from experiments.study.tasks.seeded import check_global_generator, check_json, check_seeds
from pprs_experiments.study.methods import METHODS
from pprs_experiments.study.problem import drawing
from pprs_experiments.study.run import Budget, run
from pprs_experiments.study.tasks import AdversarialTask, FewShotTask
from pprs_experiments.study.tasks.adversarial import lead
from pprs_experiments.tasks.attacks import pgd
from pprs_experiments.tasks.losses import PER_EXAMPLE

SMALL = dict(shots=2, depth=3, width=16, test=300, attacked=60, queries=40)
METRICS = {"validation", "clean", "pgd-20", "square"}


def trained(task, steps=40, seed=0):
    """The problem after some steps of Adam, and what was measured at the end."""
    problem = task.problem(seed, None)
    budget = Budget(evaluations=steps * problem.price().evaluations)
    outcome = run(
        lambda _: problem, METHODS["adam"], {"lr": 3e-3}, seed, budget, points=1, final=()
    )
    assert outcome.last.step == steps
    return problem


def measured(problem, *names):
    with torch.no_grad():
        return [problem.final_metrics[name]() for name in names]


def test_the_seed_draws_all():
    pytest.importorskip("art")
    task = AdversarialTask(**SMALL)
    check_seeds(task)
    check_global_generator(task)
    check_json(task)


def test_the_examples_and_the_network_are_those_of_few_shot_classification():
    same = dict(shots=2, depth=3, width=16)
    clean, problem = (task(**same).problem(0, None) for task in (FewShotTask, AdversarialTask))
    assert problem.batch[0].equal(clean.batch[0])
    pairs = zip(problem.model.parameters(), clean.model.parameters(), strict=True)
    assert all(a.equal(b) for a, b in pairs)


def test_the_steps_of_the_adversary_are_paid_for():
    problem = AdversarialTask(steps=5, **SMALL).problem(0, None)
    assert problem.price().evaluations == 6
    assert set(problem.final_metrics) == METRICS
    assert problem.metrics == {}


@pytest.mark.parametrize("loss", PER_EXAMPLE)
@pytest.mark.parametrize("objective", ["mean", "maximum", "cvar", "worst group"])
def test_the_adversary_raises_the_training_loss(loss, objective):
    settings = dict(SMALL, loss=loss, objective=objective)
    problem = AdversarialTask(**settings).problem(0, None)
    assert problem.training_loss() > 1.01 * problem.loss(*problem.batch).item()
    assert problem.training_loss() == problem.training_loss()
    assert problem.cost.divisible == (objective == "mean")


def test_the_adversary_changes_every_example_whatever_the_objective():
    found = []
    for objective in ("mean", "maximum"):
        problem = AdversarialTask(objective=objective, **SMALL).problem(0, None)
        x, y = problem.attacked(problem.batch, drawing(0, "attack"))
        assert y.equal(problem.batch[1])
        before, after = (F.cross_entropy(problem.model(z), y, reduction="none")
                         for z in (problem.batch[0], x))  # fmt: skip
        assert (after > before).all()
        found.append(x)
    assert found[0].equal(found[1])


def test_the_adversary_starts_where_its_generator_says():
    problem = AdversarialTask(**SMALL).problem(0, None)
    x, again, other = (
        problem.attacked(problem.batch, drawing(seed, "attack"))[0] for seed in (0, 0, 1)
    )
    assert x.equal(again)
    assert not x.equal(other)


def test_an_attack_lowers_the_accuracy_of_a_network_that_did_not_train_for_it():
    pytest.importorskip("art")
    # One step of training with changes that are too small to matter.
    task = AdversarialTask(**dict(SMALL, test=60), epsilon=1e-6, steps=1)
    clean = measured(trained(task), *sorted(METRICS))
    assert clean[0] == clean[1] == clean[2] > 0.4  # clean, pgd-20, square: all of the same images
    strong = AdversarialTask(**dict(SMALL, test=60), epsilon=0.2).problem(0, None)
    strong.model.load_state_dict(trained(task).model.state_dict())
    untouched, ascended, square, validation = measured(strong, *sorted(METRICS))
    assert untouched == clean[0]
    assert ascended < 0.5 * untouched
    assert square < untouched
    assert validation < 0.5 * clean[3]


def test_training_against_the_adversary_helps_under_attack():
    settings = dict(shots=10, depth=3, width=32, test=300)
    against = AdversarialTask(**settings, epsilon=0.06, attacked=300)
    problem = against.problem(0, None)
    problem.model.load_state_dict(trained(FewShotTask(**settings)).model.state_dict())
    [before] = measured(problem, "pgd-20")
    [after] = measured(trained(against), "pgd-20")
    assert after > before + 0.05


@pytest.mark.parametrize("name", ["validation", "pgd-20"])
def test_scores_that_are_far_apart_do_not_hide_from_gradients(name):
    # Cross-entropy of scores so far apart is 0 in single precision, and so is its gradient.
    problem = trained(AdversarialTask(**SMALL, epsilon=0.1))
    [before] = measured(problem, name)
    with torch.no_grad():
        for parameter in problem.model[-1].parameters():
            parameter.mul_(2.0**20)
    assert measured(problem, name) == [before]


def test_the_lead_is_the_best_wrong_score_less_the_right_one():
    scores = torch.tensor([[3.0, 1.0, 2.0], [0.0, -5.0, 4.0]])
    assert lead(scores, torch.tensor([0, 1])).item() == ((2 - 3) + (4 + 5)) / 2


def test_measuring_twice_gives_the_same():
    pytest.importorskip("art")
    problem = AdversarialTask(**SMALL).problem(0, None)
    assert measured(problem, *METRICS) == measured(problem, *METRICS)


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e38])
def test_a_network_that_diverged_is_right_about_nothing(value):
    pytest.importorskip("art")
    problem = AdversarialTask(**SMALL).problem(0, None)
    with torch.no_grad():
        for parameter in problem.model.parameters():
            parameter.fill_(value)
    assert measured(problem, *METRICS) == [0.0] * 4


def test_a_run_that_diverges_is_measured_at_its_end():
    pytest.importorskip("art")
    task = AdversarialTask(**SMALL)
    outcome = run(
        lambda seed: task.problem(seed, None),
        METHODS["gd"],
        {"lr": 1e30},
        0,
        Budget(evaluations=60),
        points=1,
    )
    assert outcome.diverged
    assert outcome.last.metrics == dict.fromkeys(METRICS, 0.0)


def test_the_attack_on_standardised_images_is_that_on_pixels_of_another_implementation():
    attacks = pytest.importorskip("art.attacks.evasion")
    estimators = pytest.importorskip("art.estimators.classification")
    task = AdversarialTask(**SMALL)
    examples = task.examples(0, None)
    network, scale, test = task.initial(examples, 0), examples.scale, examples.test
    pixels = (test.x * scale.deviation + scale.mean).clamp(0, 1)
    whole = estimators.PyTorchClassifier(
        nn.Sequential(scale, network),
        nn.CrossEntropyLoss(),
        (1, 8, 8),
        10,
        clip_values=(0, 1),
        device_type="cpu",
    )
    theirs = attacks.ProjectedGradientDescent(
        whole, eps=0.1, eps_step=0.025, max_iter=10, batch_size=300, verbose=False
    ).generate(pixels.numpy(), test.y.numpy())
    settings = dict(epsilon=scale.radius(0.1), bounds=scale.bounds, steps=10)
    ours = pgd(network, F.cross_entropy, test.x, test.y, **settings)
    ours = (ours * scale.deviation + scale.mean).numpy()
    # Signs of gradients near 0 differ by rounding.
    assert np.mean(np.abs(ours - theirs) < 1e-5) > 0.99


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(epsilon=0.0), "epsilon must be a finite number above 0, got 0.0"),
        (dict(steps=0), "steps must be an integer of at least 1, got 0"),
        (dict(attacked=0), "attacked must be an integer of at least 1, got 0"),
        (dict(queries=0), "queries must be an integer of at least 1, got 0"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        AdversarialTask(**settings).problem(0, None)
