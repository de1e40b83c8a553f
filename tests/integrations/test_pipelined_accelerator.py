"""A loop with Accelerate over two stages, against the same loop in one process."""

import tempfile

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from pipeline.networks import refused
from pipeline.ranks import on_ranks
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import pprs
from pprs.integrations import PipelinedAccelerator
from pprs.smoothing import derive_seed

pytestmark = [pytest.mark.dist, pytest.mark.slow]
GENERATOR = torch.Generator().manual_seed(0)
X, Y = torch.randn(12, 6, generator=GENERATOR), torch.arange(12) % 3
LAW = pprs.Perturbation.filter(0.02, samples=4)
OPTIONS = dict(cpu=True, gradient_accumulation_steps=2)


def built():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 3))
    return model, torch.optim.AdamW(model.parameters(), lr=0.01)


def trained(accelerator, loss_of, folder, resume=None):
    """Losses, what the model scores after each epoch, and its parameters."""
    model, optimizer = built()
    model, optimizer, loader, scheduler = accelerator.prepare(
        model,
        optimizer,
        DataLoader(TensorDataset(X, Y), batch_size=3, shuffle=True),
        torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5),
    )
    losses, scores = [], []
    if resume:
        accelerator.load_state(resume)
    for epoch in range(1 if resume else 0, 2):
        for x, y in loader:
            with accelerator.accumulate(model):
                loss = loss_of(accelerator, model, x, y)
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), 0.5)
                optimizer.step()
                optimizer.zero_grad()
            losses.append(loss.item())
        scheduler.step()
        with torch.no_grad():
            scores.append(model(X).float())
        accelerator.save_state(f"{folder}/epoch {epoch}")
    return losses, scores, dict(accelerator.unwrap_model(model).state_dict())


def in_one(folder, precision="no", smoothed=False, resume=None):
    AcceleratorState._reset_state(reset_partial_state=True)  # one of a process
    batches = iter(range(8))

    def loss_of(accelerator, model, x, y):
        def plain():
            return cross_entropy(model(x), y)

        how = {"seed": derive_seed(5, 0, "smoothing"), "step": next(batches)}
        return pprs.smooth(plain, model, LAW, **how) if smoothed else plain()

    accelerator = Accelerator(mixed_precision=precision, **OPTIONS)
    return trained(accelerator, loss_of, folder, resume)


def in_two(folder, precision="no", resume=None, **how):
    AcceleratorState._reset_state(reset_partial_state=True)

    def loss_of(accelerator, model, x, y):
        return accelerator.loss(model, cross_entropy, x, y)

    accelerator = PipelinedAccelerator(mixed_precision=precision, seed=5, **OPTIONS, **how)
    return trained(accelerator, loss_of, folder, resume)


def refusals():
    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = PipelinedAccelerator(**OPTIONS)
    one, other = (accelerator.prepare_model(built()[0]) for _ in range(2))
    accelerator.loss(one, cross_entropy, X, Y)
    return {
        "fsdp": refused(lambda: PipelinedAccelerator(fsdp_plugin=object())),
        "unprepared": refused(lambda: accelerator.loss(built()[0], cross_entropy, X, Y)),
        "second": refused(lambda: accelerator.loss(other, cross_entropy, X, Y)),
        "norm": refused(lambda: accelerator.clip_grad_norm_(one.parameters(), 1.0, norm_type=1)),
    }


def two(folder):
    smoothed = dict(perturbation=LAW, pipeline={"microbatches": 1})
    return {
        "plain": in_two(f"{folder}/two"),
        "smoothed": in_two(f"{folder}/two smoothed", **smoothed),
        "bf16": in_two(f"{folder}/two bf16", precision="bf16"),
        "resumed": in_two(f"{folder}/again", resume=f"{folder}/one/epoch 0"),
        "smoothed on": in_two(
            f"{folder}/on", resume=f"{folder}/two smoothed/epoch 0", **smoothed
        ),
        "refusals": refusals(),
    }  # fmt: skip


@pytest.fixture(scope="module")
def results():
    with tempfile.TemporaryDirectory() as folder:
        one = {
            "plain": in_one(f"{folder}/one"),
            "smoothed": in_one(f"{folder}/one smoothed", smoothed=True),
            "bf16": in_one(f"{folder}/one bf16", precision="bf16"),
        }
        ranks = on_ranks(2, two, folder)
        again = in_one(f"{folder}/one again", resume=f"{folder}/two/epoch 0")
        yield one, ranks, again


def close(found, right, tolerance=1e-5):
    torch.testing.assert_close(found, right, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("run", ["plain", "smoothed", "bf16"])
def test_two_stages_train_save_and_evaluate_as_one_process(results, run):
    one, ranks, _ = results
    for rank in ranks:
        close(rank[run], one[run], 2e-2 if run == "bf16" else 1e-5)


def test_a_run_goes_on_from_the_state_of_another_number_of_processes(results):
    one, ranks, again = results
    for found in (again, *(rank["resumed"] for rank in ranks)):
        close(found[2], one["plain"][2])
        close(found[1][-1], one["plain"][1][-1])
        close(found[0], one["plain"][0][4:])


def test_a_smoothed_run_goes_on_with_the_noise_that_it_would_have_had(results):
    one, ranks, _ = results
    for rank in ranks:
        close(rank["smoothed on"][2], one["smoothed"][2])


def test_what_cannot_be_trained_so_is_said(results):
    _, ranks, _ = results
    for rank in ranks:
        said = rank["refusals"]
        assert "fsdp_plugin does not go with a pipeline" in said["fsdp"]
        assert "what accelerator.prepare has returned" in said["unprepared"]
        assert "got a second one" in said["second"]
        assert "norm_type=2, got 1" in said["norm"]
