import pytest

from pprs.theory import methods
from pprs.theory.bounds import delayed_gradients, pprs_convex, subgradient
from pprs.theory.problems import beta_smooth_problem, lipschitz_problem


def test_every_method_on_the_lipschitz_function_has_the_settings_of_its_bound():
    problem = lipschitz_problem(40.0, 1, 10)
    constants = dict(lipschitz=1.0, radius=1.0, epsilon=1 / 40)
    descent = subgradient(**constants, depth=1)
    smoothed = pprs_convex(**constants, depth=1, dimension=problem.objective.dimension)
    chosen = {name: method(5) for name, method in problem.methods.items()}
    assert chosen == {
        "subgradient": methods.SubgradientDescent(descent.lr),
        "agd": methods.Accelerated(descent.lr),
        "pprs": methods.PPRS(smoothed.lr, sigma=smoothed.sigma, samples=smoothed.samples),
        "randomized-smoothing": methods.RandomizedSmoothing(1.0, 1.0, smoothed.samples),
        "pipedream": methods.PipeDream(delayed_gradients(**constants, depth=5).lr),
    }
    assert [name for name, m in chosen.items() if m.random] == ["pprs", "randomized-smoothing"]


def test_methods_on_the_smooth_function_step_by_the_inverse_of_its_constant():
    chosen = {name: method(5) for name, method in beta_smooth_problem(2000.0).methods.items()}
    assert chosen == {"gd": methods.GradientDescent(1.0), "agd": methods.Accelerated(1.0)}


@pytest.mark.parametrize(("ratio", "pairs"), [(2000.0, 13), (1.0, 1)])
def test_the_smooth_function_has_the_pairs_for_which_eq_5_says_most(ratio, pairs):
    """The largest k below sqrt(3 ratio / 32), but one at least: 13 for 13.7."""
    assert f"k = {pairs}," in beta_smooth_problem(ratio).name
