"""What a training loop asks of a pipeline beside its gradient: real processes."""

import pytest
import torch
import torch.distributed as dist
from pipeline.ranks import merged, on_ranks
from torch import nn

from pprs.compare.network import relu_network
from pprs.pipeline import LaunchError, Mesh, Pipeline, launch

pytestmark = [pytest.mark.dist, pytest.mark.slow]


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


def stepped(network, x, y, **options):
    pipe = pipeline(network, **options)
    pipe.step(x, y)
    return gradients(pipe)


def divided_by_examples(network, x, y):
    found = {}
    examples = dict(split="examples", microbatches=3)
    pipe = pipeline(network, sigma=0.0, samples=1, **examples)
    for rows in (6, 4):
        pipe.step(x[:rows], y[:rows])
        found[f"plain {rows}"] = gradients(pipe)
        assert pipe.microbatches == {6: 3, 4: 2}[rows]
    for schedule in ("1f1b", "zb-v"):
        found[f"examples, {schedule}"] = stepped(network, x, y, schedule=schedule, **examples)
    if dist.get_world_size() == 2:
        two = dict(split="examples", microbatches=6, noise="example")
        found["copies"] = stepped(network, x, y, replicas=2, **two)
        found["no copies"] = stepped(network, x, y, **two)
    return found


def worker():
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
    found |= divided_by_examples(network, x, y)
    found["again"] = stepped(network, x, y, recompute=True)
    found["not again"] = stepped(network, x, y)
    pipe = pipeline(network, microbatches="auto")
    assert pipe.microbatches is None
    state = torch.get_rng_state()
    pipe.step(x, y)
    assert torch.equal(state, torch.get_rng_state())
    found["auto"], found["number"] = gradients(pipe), pipe.microbatches
    found["chosen"] = stepped(network, x, y, microbatches=pipe.microbatches)
    pipe.step(x, y)
    assert (pipe.microbatches, pipe.steps) == (found["number"], 2)
    pipe.eval()
    assert not any(m.training for stage in pipe.local.values() for m in stage.modules())
    pipe.train()
    assert all(m.training for stage in pipe.local.values() for m in stage.modules())
    single = pipeline(network.float())
    single.step(x.float(), y)
    found["single"] = gradients(single)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = pipeline(network.float())
        found["half loss"] = half.step(x.float(), y)
    found["half"] = gradients(half)
    return found


@pytest.fixture(scope="module")
def results():
    """What `worker` found on 1 and 2 processes, gradients merged."""
    found = {}
    for ranks in (1, 2):
        parts = on_ranks(ranks, worker)
        found[ranks] = dict(parts[-1])
        for key, value in parts[0].items():
            if isinstance(value, dict):
                found[ranks][key] = merged([part[key] for part in parts])
        found[ranks]["norms"] = [part["norm"] for part in parts]
    return found


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
    loss = results[2]["half loss"]
    assert loss.dtype == torch.float32
    assert loss != loss.bfloat16().float()  # losses are not computed in half precision
    for ranks in (1, 2):
        half = torch.cat([g.flatten() for g in results[ranks]["half"].values()]).double()
        full = torch.cat([g.flatten() for g in results[ranks]["single"].values()]).double()
        assert (half - full).norm() < 0.05 * full.norm()


@pytest.mark.parametrize("rows", [6, 4])
@pytest.mark.parametrize("ranks", [1, 2])
def test_without_noise_examples_in_microbatches_give_the_plain_gradient(results, ranks, rows):
    network, x, y = task()
    nn.functional.cross_entropy(network(x[:rows]), y[:rows]).backward()
    plain = {n: p.grad for n, p in network.named_parameters()}
    assert close(results[ranks][f"plain {rows}"], plain)


def test_noise_in_microbatches_of_examples_depends_on_nothing_but_their_number(results):
    reference = results[1]["examples, 1f1b"]
    assert not close(reference, results[1]["plain 6"], 1e-3)
    for ranks in (1, 2):
        for schedule in ("1f1b", "zb-v"):
            assert close(results[ranks][f"examples, {schedule}"], reference)
    whole = results[2]["no copies"]
    assert close({n: results[2]["copies"][n] for n in whole}, whole)


@pytest.mark.parametrize("ranks", [1, 2])
def test_recomputed_stages_give_the_same_gradient(results, ranks):
    assert close(results[ranks]["again"], results[ranks]["not again"])


@pytest.mark.parametrize("ranks", [1, 2])
def test_the_number_that_is_chosen_is_the_one_that_then_runs(results, ranks):
    found = results[ranks]
    assert found["number"] in {1, 2, 4}
    assert close(found["auto"], found["chosen"])


def disagree(_):
    torch.manual_seed(dist.get_rank())
    pipeline(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3)))


def refuse(options):
    pipeline(task()[0], **options)


def test_networks_that_were_not_built_alike_are_refused():
    with pytest.raises(LaunchError, match="rank 1 has the network's initial parameters"):
        launch(disagree, 2, None)


def test_halves_of_a_backward_cannot_be_run_again():
    with pytest.raises(LaunchError, match="zb-v computes the two halves.*recompute=True cannot"):
        launch(refuse, 1, dict(schedule="zb-v", recompute=True))


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
        Mesh.of(4, 3)
