"""What a training loop asks of a pipeline beside its gradient: real processes."""

import pickle
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from pprs.pipeline import Grid, LaunchError, Pipeline, launch
from pprs.tasks.networks import relu_network


def task(rows=6):
    generator = torch.Generator().manual_seed(0)
    network = relu_network(4, 8, 3, 4, generator=generator, dtype=torch.float64)
    x = torch.randn(rows, 4, generator=generator, dtype=torch.float64)
    return network, x, torch.arange(rows) % 3


def pipeline(network, **options):
    settings = dict(sigma=0.1, samples=4, microbatches=2, seed=3) | options
    return Pipeline(network, nn.functional.cross_entropy, **settings)


def gradients(pipe):
    return {n: p.grad.clone() for n, p in pipe.named_parameters().items()}


def worker(folder):
    network, x, y = task()
    found = {}
    pipe = pipeline(network)
    pipe.step(x, y)
    found["first"] = gradients(pipe)
    pipe.step(x, y)
    found["second"] = gradients(pipe)
    pipe = pipeline(network)
    pipe.step(x, y)
    pipe.step(x, y, accumulate=True)
    found["sum"] = gradients(pipe)
    norm = pipe.clip_grad_norm_(0.01)
    found["clipped"], found["norm"] = gradients(pipe), norm
    assert pipe.clip_grad_norm_(1e9) == pytest.approx(0.01)
    found["unclipped"] = gradients(pipe)

    pipe = pipeline(network)
    for rows in (6, 2, 6):  # a smaller last batch, and the old size again
        pipe.step(x[:rows], y[:rows])
        found[f"{rows} rows"] = gradients(pipe)
    scores = [pipe(x[:rows]) for rows in (1, 5)]
    found["scores"] = scores if pipe.is_last else None
    single = pipeline(network.float())
    single.step(x.float(), y)
    found["single"] = gradients(single)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = pipeline(network.float())
        half.step(x.float(), y)
    found["half"] = gradients(half)
    Path(folder, f"{dist.get_rank()}.pickle").write_bytes(pickle.dumps(found))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What `worker` found on 1 and 2 processes, gradients merged."""
    merged = {}
    for ranks in (1, 2):
        folder = tmp_path_factory.mktemp(f"ranks{ranks}")
        launch(worker, ranks, str(folder))
        parts = [pickle.loads((folder / f"{i}.pickle").read_bytes()) for i in range(ranks)]
        merged[ranks] = dict(parts[-1])
        for key, value in parts[0].items():
            if isinstance(value, dict):
                merged[ranks][key] = {n: g for part in parts for n, g in part[key].items()}
        merged[ranks]["norms"] = [part["norm"] for part in parts]
    return merged


def close(a, b, tolerance=1e-10):
    assert a.keys() == b.keys()
    return all(torch.allclose(a[n], b[n], rtol=tolerance, atol=tolerance) for n in a)


@pytest.mark.parametrize("ranks", [1, 2])
def test_accumulated_gradients_are_the_sum_and_steps_draw_fresh_noise(results, ranks):
    found = results[ranks]
    assert not close(found["first"], found["second"])
    assert close(found["sum"], {n: g + found["second"][n] for n, g in found["first"].items()})


@pytest.mark.parametrize("ranks", [1, 2])
def test_clipping_is_by_the_norm_over_all_stages(results, ranks):
    found = results[ranks]
    norm = torch.cat([g.flatten() for g in found["sum"].values()]).norm().item()
    assert found["norms"] == pytest.approx([norm] * ranks)
    assert norm > 0.01
    assert close(found["clipped"], {n: g * (0.01 / norm) for n, g in found["sum"].items()})
    assert close(found["unclipped"], found["clipped"])


def test_batches_may_change_their_size(results):
    for key in ("6 rows", "2 rows"):
        assert close(results[1][key], results[2][key])
    assert not close(results[1]["6 rows"], results[1]["2 rows"])
    for one, two in zip(results[1]["scores"], results[2]["scores"], strict=True):
        torch.testing.assert_close(one, two)
    assert [len(s) for s in results[2]["scores"]] == [1, 5]


def test_half_precision_under_autocast_is_near_and_parameters_stay_single(results):
    assert all(g.dtype == torch.float32 for g in results[2]["half"].values())
    for ranks in (1, 2):
        half = torch.cat([g.flatten() for g in results[ranks]["half"].values()]).double()
        full = torch.cat([g.flatten() for g in results[ranks]["single"].values()]).double()
        assert (half - full).norm() < 0.05 * full.norm()


def explode(finite):
    network, x, y = task()
    pipe = pipeline(network, finite=finite)
    pipe.step(x, y)
    x[0, 0] = float("nan")
    pipe.step(x, y)


def test_a_loss_that_is_not_finite_ends_with_step_microbatch_and_stage():
    with pytest.raises(LaunchError, match=r"step 1: the loss of microbatch 0 is nan, on the last"):
        launch(explode, 2, True)
    launch(explode, 2, False)


def test_settings_that_do_not_fit_the_processes_are_refused():
    with pytest.raises(ValueError, match="replicas must divide the number of processes, 4: got 3"):
        Grid.of(4, 3)
