"""After a pass a model is what plain torch would have left, or it is refused and unchanged."""

import copy

import pytest
import torch
from smoothing.side_effects import Net, X, keeps, run, same, snapshot, usable
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

import pprs


def running(net, out):
    net.count += 1
    net.calls += 1
    if net.training:
        net.centre = 0.9 * net.centre + 0.1 * out.detach().mean(0)


def in_place(net, out):
    net.count += 1
    net.centre.mul_(0.9).add_(0.1 * out.detach().mean(0))


def fails(net, out):
    net.count += 1
    net.last = out
    net.seen.append(out)
    net.cache["out"] = out
    net.register_buffer("new", torch.ones(1))
    net.eval()
    raise KeyError


@pytest.mark.parametrize("then", [running, in_place])
def test_buffers_set_from_perturbed_values_are_refused_and_left(then):
    model = Net(then)
    before = snapshot(model)
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"buffer 'centre'.*eval\(\)"):
            run(model)
        assert same(before, snapshot(model))
    assert usable(model)


def test_running_one_by_one_leaves_what_the_passes_leave():
    model = Net(running)
    optimizer = pprs.PPRS(model, 0.0, sigma=1e-9, samples=3)
    with pytest.warns(UserWarning, match="buffer 'centre'.*one by one"):
        optimizer.step(lambda: model(X).square().mean())
    plain = Net(running)
    for _ in range(3):
        plain(X)
    assert model.count == 3
    torch.testing.assert_close(model.centre, plain.centre)
    assert usable(model)


def test_a_failed_pass_leaves_everything_as_it_was():
    model = Net(fails)
    with pytest.raises(KeyError):
        run(model)
    assert model.count == 0
    assert (model.last, model.seen, model.cache) == (None, [], {})
    assert "new" not in dict(model.named_buffers())
    assert model.training
    assert model.linear.training


def test_attributes_keep_the_last_perturbation():
    model, plain = Net(keeps), Net(keeps)
    for step in range(2):
        pprs.smooth(
            lambda: model(X).square().mean() + model.last[1][0], model, 1e-9, 3, seed=1, step=step
        )
        plain(X)
    assert model.count == 2
    assert len(model.seen) == 2
    for kept in (model.last[0], model.seen[0], model.cache["out"]):
        torch.testing.assert_close(kept, plain.last[0])
    model.last[1][0].backward()  # as after a plain pass
    assert model.linear.weight.grad is not None
    assert usable(model)


def carries(net, out):
    net.last = out.detach() if net.last is None else 0.5 * net.last + out.detach()


def test_attributes_that_are_carried_on_are_refused():
    model = Net(carries)
    run(model)  # the first pass has nothing to carry on
    before = model.last
    with pytest.raises(RuntimeError, match="attribute 'last' is set from perturbed values"):
        run(model)
    assert model.last is before


def pruned(layer):
    prune.l1_unstructured(layer, "weight", 0.5)
    return layer


@pytest.mark.parametrize(
    "make",
    [
        lambda: weight_norm(nn.Linear(4, 3)),
        lambda: spectral_norm(nn.Linear(4, 3)).eval(),
        lambda: pruned(nn.Linear(4, 3)),
        lambda: parametrizations.spectral_norm(nn.Linear(4, 3)).eval(),
    ],
    ids=["weight_norm", "spectral_norm", "prune", "parametrized"],
)
@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
def test_computed_weights_are_those_of_the_unperturbed_parameters_afterwards(make):
    torch.manual_seed(0)
    model = make().double()
    model(X)
    before = model.weight.detach().clone()
    loss = run(model)
    loss.backward()
    torch.testing.assert_close(model.weight.detach(), before)
    assert loss != model(X).square().mean()


@pytest.mark.parametrize("norm", [spectral_norm, parametrizations.spectral_norm])
def test_spectral_norm_in_training_is_refused_by_its_buffer(norm):
    model = norm(nn.Linear(4, 3)).double()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(RuntimeError, match=r"buffer '.*_[uv]'.*eval\(\)"):
        run(model)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


HOOKS = ("register_full_backward_hook", "register_full_backward_pre_hook")


@pytest.mark.parametrize("kind", HOOKS)
def test_backward_hooks_of_modules_are_refused_and_pprs_runs_them_one_by_one(kind):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    handle = getattr(model[2], kind)(lambda module, *grads: tuple(-g for g in grads[0]))
    closure = lambda: model(X).square().mean()  # noqa: E731
    closure().backward()
    expected = model[0].weight.grad.clone()
    with pytest.raises(RuntimeError, match="Linear '2' has backward hooks"):
        run(model)
    optimizer = pprs.PPRS(model, 0.0, sigma=1e-9, samples=2)
    with pytest.warns(UserWarning, match="Linear '2' has backward hooks.*one by one"):
        optimizer.step(closure)
    torch.testing.assert_close(model[0].weight.grad, expected)
    handle.remove()
    assert run(model).isfinite()


def test_backward_hooks_of_all_modules_are_refused():
    model = nn.Linear(4, 3).double()
    handle = nn.modules.module.register_module_full_backward_hook(lambda *_: None)
    try:
        with pytest.raises(RuntimeError, match="has backward hooks"):
            run(model)
    finally:
        handle.remove()
    assert run(model).isfinite()


@pytest.mark.parametrize("method", ["register_hook", "retain_grad"])
def test_hooks_of_tensors_are_refused_by_name(method):
    model = nn.Linear(4, 3).double()

    def closure():
        out = model(X)
        if method == "retain_grad":
            out.retain_grad()
        else:
            out.register_hook(lambda grad: -grad)
        return out.sum()

    with pytest.raises(RuntimeError, match=f"{method} inside the closure"):
        pprs.smooth(closure, model, 0.1, 2)


def test_a_closure_can_ask_whether_gradients_are_recorded():
    model = nn.Linear(4, 3).double()
    seen = []

    def closure():
        out = model(X)
        with torch.no_grad():
            seen.append((model(X).requires_grad, out.requires_grad, out.grad_fn is not None))
        seen.append((out.detach().requires_grad, out.is_leaf, X.requires_grad))
        return out.sum()

    pprs.smooth(closure, model, 0.1, 2)
    assert seen == [(False, True, True), (False, False, False)]
