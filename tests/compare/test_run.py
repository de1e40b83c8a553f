import pytest
import torch.distributed as dist

from pprs.compare import CompareConfig
from pprs.compare.run import TrainingRun, examples


@pytest.fixture(scope="module", autouse=True)
def process():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def run(method, **options):
    small = dict(depth=4, width=8, samples=4, budget=56, points=2, stages=1, seeds=1)
    return TrainingRun(CompareConfig(**(small | options)), method, 0.01, 0)


def losses(method, **options):
    one = run(method, **options)
    return [point.train_loss for point in one.execute(*examples(one.config, 0))]


def test_one_draw_costs_what_a_plain_gradient_does():
    assert run("one-draw-adam").step_time == run("adam").step_time == 2 * 4
    assert run("adam-smoothed").step_time == 2 * (4 + 4 - 1)
    assert (run("one-draw-adam").steps, run("adam-smoothed").steps) == (7, 4)


def test_one_draw_is_adam_at_a_perturbation():
    assert losses("one-draw-adam", sigma=0.0) == losses("adam")
    assert losses("one-draw-adam") != losses("adam")


def test_averaging_one_draw_is_one_draw():
    assert losses("one-draw-adam") == losses("adam-smoothed", samples=1)


@pytest.mark.parametrize("options", [{"noise": "example"}, {"scale": "filter"}, {"sigma": 0.1}])
def test_one_draw_follows_the_law_that_is_given(options):
    assert losses("one-draw-adam", **options) != losses("one-draw-adam")


def test_one_draw_has_no_pair():
    assert losses("one-draw-adam", antithetic=True) == losses("one-draw-adam")
