"""PPRS inside what training scripts do: freezing, copies, autocast, scalers, checkpointing."""

import copy
import pickle
from threading import Event, Thread

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, parametrize
from torch.utils.checkpoint import checkpoint

import pprs

X = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
Y = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))


def loss_of(model):
    return lambda: F.cross_entropy(model(X), Y)


def usual(model, optimizer, seen):
    """The closure that torch's optimizers take; it notes the loss and the first weight it sees."""

    def closure():
        optimizer.zero_grad()
        loss = loss_of(model)()
        loss.backward()
        seen.append((loss.item(), model[0].weight.detach().clone()))
        return loss

    return closure


def partly_frozen(**options):
    model = net()
    model[0].requires_grad_(False)
    optimizer = pprs.PPRS(model, 0.0, 0.0, samples=2, seed=0, **options)
    model[0].requires_grad_(True)
    return model, optimizer


def spread(model, optimizer):
    """How far the first weight is from where it was, in a step's passes."""
    start, seen = model[0].weight.detach().clone(), []
    optimizer.step(usual(model, optimizer, seen))
    return max((weight - start).std().item() for _, weight in seen)


@pytest.mark.parametrize(
    ("own", "scale"),
    [({"sigma": 0.001}, 0.001), ({"sigma": lambda step: 0.02}, 0.02), ({}, 0.5)],
)
def test_a_group_that_is_added_has_its_own_sigma_or_the_constructors(own, scale):
    model, optimizer = partly_frozen(sigma=0.5)
    optimizer.add_param_group({"params": list(model[0].parameters()), **own})
    assert scale / 2 < spread(model, optimizer) < scale * 2
    assert optimizer.param_groups[1]["sigma"] == pytest.approx(scale)


def test_a_group_that_is_added_finds_its_sigma_by_name():
    model = net()
    model[2].requires_grad_(False)
    optimizer = pprs.PPRS(model, 0.1, sigma={"": 0.5, "0.weight": 0.1}, seed=0)
    model[2].requires_grad_(True)
    optimizer.add_param_group({"params": model[2].parameters()})
    assert [group["sigma"] for group in optimizer.param_groups] == [0.5, 0.1, 0.5]


def test_a_group_that_cannot_be_added_is_refused_and_leaves_nothing():
    model, optimizer = partly_frozen(sigma=0.5)
    for group, said in [
        ({"params": [nn.Parameter(torch.ones(7))]}, r"shape \(7,\) is not one of the model's"),
        ({"params": model[0].parameters(), "samples": 4}, "samples belongs to the whole.* 2, 4"),
        ({"params": model[0].parameters(), "sigma": -1.0}, "sigma.*-1.0"),
    ]:
        with pytest.raises(ValueError, match=said):
            optimizer.add_param_group(group)
        assert len(optimizer.param_groups) == 1
    optimizer.add_param_group({"params": model[0].parameters()})
    optimizer.param_groups[1]["noise"] = "example"
    with pytest.raises(ValueError, match="noise belongs to the whole optimizer"):
        optimizer.step(loss_of(model))


def test_a_layer_that_thaws_without_a_group_is_perturbed_with_a_warning():
    model, optimizer = partly_frozen(sigma=0.5)
    with pytest.warns(UserWarning, match="'0.*became trainable.*add_param_group"):
        assert spread(model, optimizer) > 0.2


@pytest.mark.parametrize("kind", ["loss", "usual"])
def test_a_layer_that_is_frozen_between_steps_stays_where_it_is(kind):
    model = net()
    optimizer = pprs.PPRS(model, 0.1, sigma=0.01, samples=2, seed=0)
    closure = loss_of(model) if kind == "loss" else usual(model, optimizer, [])
    optimizer.step(closure)
    model[0].requires_grad_(False)
    frozen, other = model[0].weight.clone(), model[2].weight.clone()
    for _ in range(3):
        optimizer.step(closure)
    assert torch.equal(model[0].weight, frozen)
    assert not torch.equal(model[2].weight, other)


@pytest.mark.parametrize("way", [copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))])
def test_a_copy_goes_on_like_the_original(way):
    model = net()
    optimizer = pprs.PPRS(model, 0.1, sigma={"0": 0.1, "2": 0.2}, samples=2, seed=0)
    optimizer.step(loss_of(model))
    other, copied = way((model, optimizer))
    optimizer.step(loss_of(model))
    assert not torch.equal(model[0].weight, other[0].weight)
    copied.step(loss_of(other))
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


def test_autocast_around_a_step_shows_every_perturbation():
    def losses(inside):
        model, seen = net(), []
        optimizer = pprs.PPRS(model, 0.0, 0.0, sigma=0.3, samples=4, seed=1)
        closure = usual(model, optimizer, seen)

        def within():
            with torch.autocast("cpu", torch.bfloat16):
                return closure()

        if inside:
            optimizer.step(within)
        else:
            with torch.autocast("cpu", torch.bfloat16):
                model(X)  # which leaves the unperturbed weights in autocast's cache
                optimizer.step(closure)
        return [loss for loss, _ in seen]

    around = losses(inside=False)
    assert len(set(around)) == 4
    assert around == losses(inside=True)


@pytest.mark.parametrize("kind", ["loss", "usual"])
def test_cached_parametrizations_are_computed_anew_for_every_perturbation(kind):
    model = net()
    parametrizations.weight_norm(model[0])
    other = copy.deepcopy(model)
    found = []
    for each, cached in ((model, True), (other, False)):
        optimizer = pprs.PPRS(each, 0.1, sigma=0.3, samples=4, seed=1)
        closure = loss_of(each) if kind == "loss" else usual(each, optimizer, [])
        if cached:
            with parametrize.cached():
                each(X)
                found.append(optimizer.step(closure))
                assert F.cross_entropy(each(X), Y).isfinite()
        else:
            found.append(optimizer.step(closure))
    assert found[0] == found[1]


def test_a_scaler_is_refused_in_a_step_and_works_with_the_smoothed_loss():
    model, other = net(), net()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizer = pprs.PPRS(model, 0.1, sigma=0.1, samples=4, seed=0)
    before = model[0].weight.detach().clone()

    def closure():
        loss = loss_of(model)()
        scaler.scale(loss).backward()
        return loss

    def scaled():
        return scaler.scale(loss_of(model)())

    scaler.scale(torch.ones(()))  # before that it would complain itself
    for wrong in (
        lambda: optimizer.step(closure),
        lambda: optimizer.step(scaled),
        lambda: scaler.step(optimizer, loss_of(model)),
    ):
        with pytest.raises(RuntimeError, match="PPRS does not go with a GradScaler.*AGD"):
            wrong()
    assert torch.equal(model[0].weight, before)
    optimizer.step(loss_of(model))  # and without a scaler it still works
    # The way out that the message names is the same algorithm.
    agd = pprs.AGD(other.parameters(), 0.1)
    smoothed = pprs.smooth(loss_of(other), other, 0.1, 4, seed=0)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler.scale(smoothed).backward()
    scaler.step(agd)
    scaler.update()
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, two)


def test_a_scaler_that_is_not_enabled_does_not_matter():
    model = net()
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    optimizer = pprs.PPRS(model, 0.1, sigma=0.1, samples=2, seed=0)
    assert scaler.step(optimizer, lambda: scaler.scale(loss_of(model)())) > 0


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointed_models_take_the_step_of_plain_ones(reentrant):
    model, other = net(), net()
    body = other[:2]

    def checkpointed():
        hidden = checkpoint(body, X.clone().requires_grad_(), use_reentrant=reentrant)
        return F.cross_entropy(other[2](hidden), Y)

    plain = pprs.PPRS(model, 0.1, sigma=0.1, samples=2, seed=0)
    saving = pprs.PPRS(other, 0.1, sigma=0.1, samples=2, seed=0)
    plain._smoothed.vectorised = False  # the same draws
    plain.step(loss_of(model))
    with pytest.warns(UserWarning, match="one by one"):
        saving.step(checkpointed)
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, two)


def test_a_closure_of_another_model_is_refused():
    model, another = net(), net()
    optimizer = pprs.PPRS(model, 0.1, sigma=0.1, samples=2, seed=0)
    with pytest.raises(RuntimeError, match="no gradient by any.*another model"):
        optimizer.step(usual(another, optimizer, []))


def test_parameters_and_models_are_told_apart():
    model = net()
    with pytest.raises(TypeError, match=r"PPRS\(model, lr=...\), got generator"):
        pprs.PPRS(model.parameters(), 0.1, sigma=0.1)
    with pytest.raises(TypeError, match=r"AGD\(model.parameters\(\), ...\), got a Sequential"):
        pprs.AGD(model, 0.1)


def test_a_state_that_is_loaded_belongs_to_one_optimizer():
    models = [net(), net()]
    first, second = (pprs.PPRS(model, lr=0.1, sigma=0.1, samples=2, seed=0) for model in models)
    first.step(loss_of(models[0]))
    models[1].load_state_dict(models[0].state_dict())
    second.load_state_dict(first.state_dict())
    for _ in range(2):
        first.step(loss_of(models[0]))
    for _ in range(2):
        second.step(loss_of(models[1]))
    for p, q in zip(*(model.parameters() for model in models), strict=True):
        assert torch.equal(p, q)


def test_the_state_of_another_class_is_refused():
    model = net()
    optimizer = pprs.PPRS(model, lr=0.1, sigma=0.1)
    with pytest.raises(ValueError, match="not that of a PPRS optimizer"):
        optimizer.load_state_dict(pprs.AGD(model.parameters(), lr=0.1).state_dict())


def test_a_model_that_becomes_float64_takes_its_state_with_it():
    model = net()
    optimizer = pprs.AGD(model.parameters(), lr=0.1)
    for dtype in (torch.float32, torch.float64):
        model.to(dtype)
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, 0.1)
        optimizer.step()
    assert all(state["y"].dtype == torch.float64 for state in optimizer.state.values())


def test_the_sigma_of_a_group_may_become_a_function():
    gradients = []
    for setting in (0.2, lambda step: 0.1 * (1 + step)):
        model = net()
        optimizer = pprs.PPRS(model, lr=0.0, sigma=0.1, samples=2, seed=0)
        optimizer.step(loss_of(model))
        optimizer.param_groups[0]["sigma"] = setting
        optimizer.step(loss_of(model))
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert all(torch.equal(p, q) for p, q in zip(*gradients, strict=True))


def test_steps_that_overlap_in_threads_leave_torch_s_scaler_as_it_is():
    scale, entered, left = torch.amp.GradScaler.scale, Event(), Event()
    first, second = net(), net()

    def within():
        entered.set()
        left.wait()
        return loss_of(first)()

    thread = Thread(target=lambda: pprs.PPRS(first, lr=0.1, sigma=0.1, samples=2).step(within))
    thread.start()
    entered.wait()
    inside = torch.amp.GradScaler("cpu", init_scale=4.0).scale(torch.ones(()))
    optimizer = pprs.PPRS(second, lr=0.1, sigma=0.1, samples=2)

    def around():
        left.set()
        thread.join()
        return loss_of(second)()

    optimizer.step(around)
    assert inside == 4
    assert torch.amp.GradScaler.scale is scale
