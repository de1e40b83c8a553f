import numpy as np
import pytest
import torch
from theory.problems import deviations, quadratic

from pprs.theory import Adam, Clock, Graph, Machine, MeasuredPPRS, run, samples_for
from pprs.theory.bias import BiasGoal


def test_sigma_and_step_follow_the_measured_bias():
    """Against a literal version; K = 5 leaves a pair incomplete, and the momentum restarts."""
    objective, epsilon, radius, samples, steps = deviations(), 0.1, 1.0, 5, 25
    method = MeasuredPPRS(samples, epsilon=epsilon, radius=radius)
    found = run(method, Clock(objective, Graph.chain(3), seed=4), steps)
    random = np.random.default_rng(4)
    x = y = np.zeros(4)
    sigma, weight, steepest, restarts = radius * 4**-0.25, 0.0, 0.0, 0
    for _ in range(steps):
        noise = random.standard_normal((3, 4))
        points = np.concatenate([[x], x + sigma * noise, x - sigma * noise])[: samples + 1]
        gradients, losses = objective.gradient(points), objective.value(points)
        steepest = max(steepest, np.linalg.norm(gradients, axis=1).max())
        step = gradients[1:].mean(0)
        new = x - 2 * sigma / steepest * step
        after = (1 + np.sqrt(1 + 4 * weight**2)) / 2
        momentum, weight = max(0, (weight - 1) / after), after
        if step @ (new - y) > 0:
            momentum, weight, restarts = 0, 1, restarts + 1
        x, y = (1 + momentum) * new - momentum * y, new
        bias = losses[1:].mean() - losses[0]
        sigma *= np.clip(epsilon / 2 / bias, 0.85, 1.25) if bias > 0 else 1.25
    np.testing.assert_allclose(found.last, y)
    assert restarts > 0
    np.testing.assert_array_equal(found.times, 2 * (samples + 1 + 3 - 1) * np.arange(1, steps + 1))


@pytest.mark.parametrize("known", [{}, {"lower": -1.0}, {"epsilon": 0.1}, {"radius": 2.0}])
def test_the_machine_takes_the_steps_and_the_time_of_the_clock(known):
    method = MeasuredPPRS(4, **known)
    by_steps = run(method, Machine(deviations(3, examples=2), seed=1), 4)
    by_table = run(method, Clock(deviations(3, examples=2), seed=1), 4)
    np.testing.assert_allclose(by_steps.last, by_table.last)
    np.testing.assert_array_equal(by_steps.times, by_table.times)


def test_the_goal_is_part_of_the_precision_or_of_the_gap():
    assert BiasGoal(0.2, None, searching=False).at(5.0, 1.0) == 0.1
    lower = BiasGoal(0.2, 1.0, searching=True)
    assert [lower.at(loss, 1.0) for loss in (9.0, 1.2, 0.5)] == [2.0, 0.1, 0.1]


def test_a_lower_bound_is_left_aside_where_the_loss_stalls_far_above_it():
    told, untold = (BiasGoal(None, lower, searching=True) for lower in (0.0, None))
    falling = 10.0 * 0.998 ** np.arange(150)  # by 5 % in 26 steps
    losses = np.stack([falling, np.maximum(falling, 9.0)], 1)[..., None]
    goals = np.array([told.at(loss, np.ones((2, 1))) for loss in losses])
    np.testing.assert_allclose(goals[:, 0], losses[:, 0] / 4)
    since = int(np.argmax(goals[:, 1, 0] < 2.25))
    assert told.aside.tolist() == [[False], [True]]
    np.testing.assert_allclose(goals[:since, 1], losses[:since, 1] / 4)
    for n, loss in enumerate(losses[since:, 1]):
        np.testing.assert_allclose(goals[since + n, 1], untold.at(loss, np.ones(1), n == 0))


def test_a_goal_that_is_searched_falls_without_progress_and_grows_with_it():
    goal = BiasGoal(None, None, searching=True)
    assert goal.at(10.0, 1.0, True) == 1.0
    assert goal.at(8.0, 1.0) == 1.5  # fell by 2 at once
    stuck = [goal.at(8.0, 1.0) for _ in range(12)]
    np.testing.assert_allclose(stuck, [1.5] * 5 + [1.05] * 6 + [0.735])
    flat = BiasGoal(0.5, None, searching=True)
    assert flat.at(3.0, -1e-9, True) == 0.25  # never below half of epsilon
    assert flat.at(1.0, 0.0) == 0.5  # a quarter of the first progress, where no bias was seen


def test_half_the_depth_is_drawn_in_whole_pairs_within_limits():
    assert [samples_for(depth) for depth in (1, 8, 9, 100, 256, 10_000)] == [4, 4, 6, 50, 128, 128]


def test_adam_is_torchs():
    objective = quadratic([1.0, 0.1, 30.0])
    found = run(Adam(0.05), Clock(objective), 9)
    x = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([x], 0.05)
    for _ in range(9):
        x.grad = torch.from_numpy(objective.gradient(x.detach().numpy()))
        optimizer.step()
    np.testing.assert_allclose(found.last, x.detach().numpy())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: MeasuredPPRS(0), "samples must be an integer of at least 1, got 0"),
        (lambda: MeasuredPPRS(2, epsilon=-1.0), "epsilon must be a finite number above 0"),
        (lambda: MeasuredPPRS(2, lower=np.inf), "lower must be a finite number, got inf"),
        (lambda: Adam(0.0), "lr must be a finite number above 0, got 0"),
        (lambda: samples_for(0), "depth must be an integer of at least 1, got 0"),
    ],
)
def test_wrong_settings_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
