import pytest
import torch.distributed as dist

from pprs.compare import CompareConfig
from pprs.compare.run import Run, examples


@pytest.fixture(scope="module", autouse=True)
def process():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def run(method, **options):
    small = dict(depth=4, width=8, samples=4, budget=56, points=2, stages=1, seeds=1)
    return Run(CompareConfig(**(small | options)), method, 0.01, 0)


def losses(method, **options):
    one = run(method, **options)
    return [point.train_loss for point in one.execute(*examples(one.config, 0))]


def test_one_draw_costs_what_a_plain_gradient_does():
    assert run("adam-one-draw").step_time == run("adam").step_time == 2 * 4
    assert run("adam-smoothed").step_time == 2 * (4 + 4 - 1)
    assert (run("adam-one-draw").steps, run("adam-smoothed").steps) == (7, 4)


def test_without_noise_one_draw_is_adam_and_with_noise_it_is_neither_adam_nor_averaged():
    assert losses("adam-one-draw", sigma=0.0) == losses("adam")
    found = [losses(method) for method in ("adam", "adam-one-draw", "adam-smoothed")]
    assert len({tuple(each) for each in found}) == 3


@pytest.mark.parametrize(
    "options", [{"antithetic": True}, {"noise": "example"}, {"scale": "filter"}]
)
def test_one_draw_takes_any_law_that_the_others_take(options):
    assert len(losses("adam-one-draw", **options)) == 2
