"""Steps whose size is searched, before any optimizer."""

import io
import itertools
import warnings

import pytest
import torch
import torch.nn.functional as F
from optim.searching import INPUTS, LABELS, loss_of, norm, optimizer_of, same, small
from torch import nn

import pprs


@pytest.mark.parametrize("kind", ["agd", "rmsprop"])
def test_a_run_that_is_resumed_goes_on_bit_for_bit(kind):
    model, resumed = small(), small()
    run = pprs.SearchedStep(optimizer_of(kind, model), model, seed=5)
    for _ in range(3):
        run.step(loss_of(model))
    file = io.BytesIO()
    torch.save((model.state_dict(), run.state_dict()), file)
    file.seek(0)
    weights, state = torch.load(file, weights_only=True)
    other = pprs.SearchedStep(optimizer_of(kind, resumed), resumed)
    resumed.load_state_dict(weights)
    other.load_state_dict(state)
    for _ in range(3):
        assert torch.equal(run.step(loss_of(model)), other.step(loss_of(resumed)))
    assert same(model.parameters(), resumed.parameters())
    assert run.lr == other.lr


@pytest.mark.parametrize(
    "name", ["SGD", "Adam", "AdamW", "NAdam", "RAdam", "Adamax", "Adagrad", "Adadelta", "RMSprop"]
)
def test_torchs_other_optimizers_can_be_searched(name):
    model = small()
    optimizer = getattr(torch.optim, name)(model.parameters(), weight_decay=0.01)
    searched = pprs.SearchedStep(optimizer, model, perturbation=pprs.Perturbation(0.01, 3), seed=0)
    losses = [searched.step(loss_of(model)).item() for _ in range(8)]
    assert losses[-1] < losses[0]
    assert all(state.get("step", 8) == 8 for state in optimizer.state.values())


def test_a_step_that_leads_out_of_range_is_shortened():
    model = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(1.0)
    searched = pprs.SearchedStep(
        torch.optim.SGD(model.parameters()), model, perturbation=pprs.Perturbation(0.0, 3)
    )
    searched.step(lambda: -model.weight.sum())
    lr = searched.lr
    # Beyond 1.0015 the logarithm does not exist, and the pending move is 0.003.
    loss = searched.step(lambda: -(1.0015 - model.weight).log().sum())
    assert loss.isfinite()
    assert searched.lr == pytest.approx(lr * 0.07)


def test_where_losses_are_equal_the_step_size_stays():
    model = small()
    searched = pprs.SearchedStep(torch.optim.SGD(model.parameters()), model, unused="allow")
    searched.step(loss_of(model))
    lr = searched.lr
    searched.step(lambda: 0 * loss_of(model)())
    assert searched.lr == lr


def test_candidates_meet_the_same_dropout_and_leave_the_generator_as_one_pass_does():
    model = nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.Linear(6, 3))
    searched = pprs.SearchedStep(torch.optim.SGD(model.parameters()), model, seed=0)
    perturbation, after = pprs.Perturbation.filter(0.01, 4, antithetic=True), []
    here = {name: parameter.detach() for name, parameter in model.named_parameters()}
    torch.manual_seed(1)
    losses = searched._evaluator.step(loss_of(model), centres=[here] * 3)
    after.append(torch.rand(()))
    torch.manual_seed(1)
    expected = pprs.smooth(loss_of(model), model, perturbation, seed=0, step=0)
    after.append(torch.rand(()))
    assert losses.tolist() == [expected.item()] * 3
    assert torch.equal(*after)


def test_a_badly_chosen_step_size_does_not_matter():
    def trained(searches):
        model = small()
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
        if searches:
            searched = pprs.SearchedStep(optimizer, model, seed=0)
            for _ in range(60):
                searched.step(loss_of(model))
        else:
            for _ in range(60):
                optimizer.zero_grad()
                loss_of(model)().backward()
                optimizer.step()
        return loss_of(model)().item()

    assert trained(True) < 0.1 * trained(False)


def test_a_layer_that_is_frozen_between_steps_stays_where_it_is():
    model = small()
    searched = pprs.SearchedStep(torch.optim.Adam(model.parameters()), model, seed=0)
    for _ in range(2):
        searched.step(loss_of(model))
    model[0].requires_grad_(False)
    frozen, other = model[0].weight.clone(), model[2].weight.clone()
    for _ in range(3):
        searched.step(loss_of(model))
    assert torch.equal(model[0].weight, frozen)
    assert not torch.equal(model[2].weight, other)


def test_a_model_that_changes_its_type_takes_the_pending_step_with_it():
    for kind in ("agd", "rmsprop"):
        model = small().double()
        searched = pprs.SearchedStep(optimizer_of(kind, model), model, seed=0)
        for dtype in (torch.float64, torch.float32, torch.float32):
            model.to(dtype)
            loss = searched.step(lambda m=model, d=dtype: F.cross_entropy(m(INPUTS.to(d)), LABELS))
            assert loss.dtype == model[0].weight.dtype == dtype


def test_hooks_run_once_per_step_and_may_clip():
    model, calls = small(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.register_step_pre_hook(
        lambda *_: calls.append(nn.utils.clip_grad_norm_(model.parameters(), 1e-3))
    )
    searched = pprs.SearchedStep(optimizer, model)
    for _ in range(2):
        searched.step(loss_of(model))
    assert len(calls) == 2
    agd = pprs.AGD(model.parameters(), lr=0.1)
    agd.register_step_post_hook(lambda *_: None)
    with pytest.raises(RuntimeError, match="AGD has hooks of its step"):
        pprs.SearchedStep(agd, model).step(loss_of(model))
    assert norm([parameter.grad for parameter in model.parameters()]) <= 1.001e-3


def test_a_start_without_a_gradient_is_not_the_first_step():
    model, other = small(), small()
    late, early = (
        pprs.SearchedStep(torch.optim.SGD(m.parameters()), m, perturbation=0.0)
        for m in (model, other)
    )
    late.step(lambda: 0 * loss_of(model)())
    for one, of in ((late, model), (early, other)):
        for _ in range(3):
            one.step(loss_of(of))
    assert late.lr == early.lr != 1e-3
    assert same(model.parameters(), other.parameters())


def test_parameters_that_are_all_zero_start_with_the_optimizers_own_step_size():
    model = nn.Linear(4, 3)
    with torch.no_grad():
        model.weight.zero_()
        model.bias.zero_()
    adam = torch.optim.Adam(model.parameters(), lr=0.01)
    searched = pprs.SearchedStep(adam, model, perturbation=0.01, seed=0)
    losses = [searched.step(loss_of(model)).item() for _ in range(5)]
    assert losses[1] < losses[0]
    assert searched.lr == pytest.approx(0.01 * 1.4**4)


def test_a_step_size_that_falls_to_nothing_is_told_once():
    """Each step has the labels of another batch, so that the last step is always a bad one."""
    model, calls = nn.Linear(4, 1, bias=False), itertools.count()
    searched = pprs.SearchedStep(torch.optim.SGD(model.parameters()), model, seed=0)

    def step():
        y = (-1.0) ** next(calls)
        searched.step(lambda: (model(torch.ones(1, 4)) - y).abs().mean())

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(60):
            step()
    (told,) = caught
    assert "different batches, which make the smallest step look best" in str(told.message)
    assert told.filename == __file__
