"""What a closure does that cannot be smoothed is refused by name; what can be, is not."""

import copy
import functools
import warnings

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import pprs

X = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))


def refused(closure, model, match, error=RuntimeError, **options):
    with pytest.raises(error, match=match):
        pprs.smooth(closure, model, 0.1, 2, **options)


def plain_torch(f):
    with torch._C.DisableTorchFunction():
        return f()


def hidden(f):
    try:
        return f()
    except RuntimeError:
        return torch.zeros(())


@functools.cache
def traced():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(lambda x, w: x @ w.T, (X, torch.ones(4, 3)))


PAST = {
    "a new parameter": lambda w: X @ nn.Parameter(w).T,
    "a subclass": lambda w: X @ w.as_subclass(nn.Parameter).T,
    "a nested tensor": lambda w: torch.nested.nested_tensor([w]).to_padded_tensor(0.0),
    "torch.func": torch.func.grad(lambda v: (X @ v.T).sum()),
    "a vmap over it": torch.vmap(lambda row: X @ row),
    "a traced function": lambda w: traced()(X, w),
    "no torch functions": lambda w: plain_torch(lambda: X @ w.T),
    "an error that is swallowed": lambda w: hidden(lambda: plain_torch(lambda: X @ w.T)),
}


@pytest.mark.filterwarnings("ignore:.*nested tensors is in prototype")
@pytest.mark.parametrize("way", PAST)
@pytest.mark.parametrize("gradients", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_a_parameter_that_is_read_past_torch_s_functions_is_refused_by_name(way, gradients):
    model = net()
    traced()

    def closure():
        with gradients():
            extra = PAST[way](model[0].weight).sum()
        return model(X).sum() + extra.clone()

    for _ in range(2):  # not only once
        refused(closure, model, "'0.weight' was used unperturbed")


def test_parameters_that_share_memory_with_others_are_told_apart():
    model, flat = nn.Linear(3, 1), torch.randn(4)
    model.weight = nn.Parameter(flat[:3].view(1, 3))
    model.bias = nn.Parameter(flat[3:], requires_grad=False)
    closure = lambda: model(X).square().mean() + flat[3]  # noqa: E731
    assert pprs.smooth(closure, model, 0.1, 2).isfinite()
    refused(lambda: closure() + flat[:2].sum(), model, "'weight' was used unperturbed")


@pytest.mark.parametrize("tie", ["data", "view"])
def test_one_parameter_that_looks_like_two_is_refused_by_their_names(tie):
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3, bias=False))
    if tie == "data":
        model[1].weight.data = model[0].weight.data
    else:
        model[1].weight = nn.Parameter(model[0].weight.T)
    said = "'0.weight' and '1.weight' are two, but share their memory"
    refused(lambda: model(X).sum(), model, said, ValueError)
    with pytest.raises(ValueError, match=said):
        pprs.PPRS(model, 0.1, sigma=0.1)
    with pytest.raises(ValueError, match="'0' and '2' are two"):
        pprs.AGD(model.parameters(), 0.1)
    optimizer = pprs.AGD(model[0].parameters(), 0.1)
    with pytest.raises(ValueError, match="'0' and '2' are two"):
        optimizer.add_param_group({"params": model[1].parameters()})
    assert len(optimizer.param_groups) == 1
    model[1].weight = model[0].weight
    pprs.PPRS(model, 0.1, sigma=0.1, samples=2).step(lambda: model(X).sum())


def test_copies_and_functional_calls_are_perturbed():
    model = net()
    ways = {
        "data": lambda: sum(p.data.sum() for p in model.parameters()),
        "copy": lambda: copy.deepcopy(model)(X),
        "functional": lambda: torch.func.functional_call(model, dict(model.named_parameters()), X),
        "state": lambda: torch.func.functional_call(model, model.state_dict(), X),
    }
    plain = {name: way().square().mean() for name, way in ways.items()}
    for name, way in ways.items():
        loss = pprs.smooth(lambda way=way: way().square().mean(), model, 0.5, 2, seed=1)
        assert loss.item() != plain[name].item(), name
        again = pprs.smooth(lambda way=way: way().square().mean(), model, 1e-6, 2)
        torch.testing.assert_close(again, plain[name].detach(), rtol=1e-3, atol=1e-3)


def test_a_closure_that_runs_another_model_is_refused():
    model, other = net(), net()
    for closure in (lambda: other(X).sum(), X.sum):
        refused(closure, model, "none of the 4 parameters.*'0.weight'.*another model")
        with pytest.raises(RuntimeError, match="none of the 4 parameters"):
            pprs.PPRS(model, 0.1, sigma=0.1, samples=2, unused="allow").step(closure)


def usual(loss):
    def closure():
        value = loss()
        value.backward()
        return value

    return closure


def test_unused_parameters_are_named_once_unless_they_are_allowed():
    model = net()
    part = lambda: model[0](X).square().mean()  # noqa: E731
    refused(part, model, "2 of 4 trainable parameters: '2.weight', '2.bias'.*allow")
    pprs.smooth(part, model, 0.1, 2, unused="allow").backward()
    assert model[2].weight.grad is None
    assert model[0].weight.grad is not None
    assert pprs.smooth(part, model, 0.1, 2).isfinite()  # it has been seen
    for closure in (lambda: model[0](X).mean(), usual(lambda: model[0](X).mean())):
        with pytest.raises(RuntimeError, match="2 of 4"):
            pprs.PPRS(model, 0.1, sigma=0.1, samples=2).step(closure)
        pprs.PPRS(model, 0.1, sigma=0.1, samples=2, unused="allow").step(closure)
    refused(lambda: model(X).sum(), model, "unused must be", ValueError, unused="warn")
    # What is not perturbed need not be met.
    frozen = net()
    frozen[2].requires_grad_(False)
    assert pprs.smooth(lambda: frozen[0](X).sum(), frozen, 0.1, 2).isfinite()
    whole = net()
    sigmas = {"": 0.1, "2": 0.0}
    assert pprs.smooth(lambda: whole[0](X).sum(), whole, sigmas, 2).isfinite()


@pytest.mark.parametrize(
    ("closure", "batch", "error", "match"),
    [
        (torch.ones(()), None, TypeError, "closure must be a function.*Tensor.*lambda"),
        (lambda x: x.sum(), None, ValueError, r"no arguments.*are \(x\).*batch="),
        (lambda: X.sum() + 1, (X,), ValueError, r"1 tensor\(s\), the batch.*\(\)"),
        (lambda x: x.sum(), X, ValueError, r"batch=\(x,\)"),
    ],
)
def test_a_closure_that_cannot_be_called_is_refused_in_a_sentence(closure, batch, error, match):
    refused(closure, net(), match, error, batch=batch)
    with pytest.raises(error, match=match):
        pprs.PPRS(net(), 0.1, sigma=0.1, samples=2).step(closure, batch)


def test_what_is_no_model_is_refused_by_its_type():
    for thing in (net().parameters(), [net()], lambda x: x, torch.optim.SGD(net().parameters())):
        kind = type(thing).__name__
        refused(X.sum, thing, f"torch.nn.Module.*{kind}", TypeError)


def test_a_parameter_that_is_changed_through_another_name_is_refused():
    def changed(change):
        model = net()

        def closure():
            with torch.no_grad():
                change(model[0].weight)
            return model(X).sum()

        before = copy.deepcopy(model.state_dict())
        refused(closure, model, "changes parameter '0.weight'")
        with pytest.raises(RuntimeError, match="changes parameter '0.weight'"):
            pprs.PPRS(model, 0.1, sigma=0.1, samples=2).step(closure)
        assert all(torch.equal(before[name], p) for name, p in model.state_dict().items())

    changed(lambda w: w.data.mul_(0.5))
    changed(lambda w: w.view(-1).mul_(0.5))
    changed(lambda w: torch._foreach_mul_([w], 0.5))


def test_gradients_that_the_closure_sets_are_refused_with_what_to_do():
    model = net()
    model(X).sum().backward()

    def closure():
        model.zero_grad()
        return model(X).sum()

    refused(closure, model, "sets the gradient of parameter '0.weight'.*backward")


def test_checkpointing_is_refused_and_pprs_runs_one_by_one():
    model = net()
    closure = lambda: checkpoint(model, X, use_reentrant=False).square().mean()  # noqa: E731
    refused(closure, model, "checkpointing.*Switch it off")
    linear = lambda: model[2](checkpoint(model[0], X, use_reentrant=False)).sum()  # noqa: E731
    refused(linear, model, "checkpointing.*Switch it off")
    optimizer = pprs.PPRS(model, 0.1, sigma=0.1, samples=2)
    with pytest.warns(UserWarning, match="checkpointing.*2 times one by one"):
        optimizer.step(closure)


def test_changing_what_all_perturbations_share_is_refused_with_what_to_write():
    model = net()

    def closure():
        out = torch.zeros(5, 1)
        out += model(X)
        return out.sum()

    refused(closure, model, r"add_ changes a tensor of shape \(5, 1\).*write `x = x \+ y`")
    drawn = lambda: torch.distributions.Normal(model(X), 1.0).rsample().mean()  # noqa: E731
    refused(drawn, model, r"normal_ changes a tensor of shape \(5, 1\).*torch.randn_like\(s\)")


def test_layers_without_noise_are_named_once():
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 4, bias=False))
    nn.init.zeros_(model[2].weight)  # as what adapters add
    closure = lambda: model(X).square().mean()  # noqa: E731
    with pytest.warns(UserWarning, match="1 of 5 parameters are all zero.*: '2.weight'") as seen:
        pprs.smooth(closure, model)
    assert seen[0].filename == __file__
    pprs.smooth(closure, model)  # warnings are errors here
    pprs.smooth(closure, model, 0.1)
    with pytest.warns(UserWarning, match="'2.weight'"):
        pprs.PPRS(copy.deepcopy(model), 0.1, sigma=0.1, scale="filter")


@pytest.mark.parametrize("way", ["implicit", "materialised"])
@pytest.mark.parametrize("make", [lambda: nn.Linear(4, 3), lambda: nn.Conv1d(4, 3, 1)])
def test_second_derivatives_are_refused_whatever_is_asked_for(make, way):
    model, x = make().double(), torch.randn(4, 4).double()
    with pprs.smoothing.force_way(way):
        loss = pprs.smooth(lambda: model(x).pow(4).mean(), model, 0.1, 2)
    parameters = [*model.parameters()]
    gradients = torch.autograd.grad(loss, parameters, create_graph=True)
    penalty = sum(gradient.square().sum() for gradient in gradients)
    again = functools.partial(torch.autograd.grad, penalty, parameters, retain_graph=True)
    for take in (again, penalty.backward):
        with pytest.raises(RuntimeError, match="second derivatives of a smoothed loss"):
            take()


def test_a_smoothed_loss_inside_another_is_refused():
    model = net()
    loss = functools.partial(pprs.smooth, lambda: model(X).mean(), model, 0.1, 2)
    refused(loss, model, "inside another one's closure")


@pytest.mark.parametrize("way", ["together", "with backward", "one by one"])
def test_a_smoothed_loss_is_not_smoothed_again_by_an_optimizer(way):
    model = net()

    def closure():
        if way == "one by one":
            model(X).sum().item()  # which vmap cannot run
        loss = pprs.smooth(lambda: model(X).mean(), model, 0.1, 2)
        if way == "with backward":
            loss.backward()
        return loss

    with pytest.raises(RuntimeError, match="inside another one's closure"):
        pprs.PPRS(model, 0.1, sigma=0.1, samples=2).step(closure)
    assert pprs.smooth(lambda: model(X).mean(), model, 0.1, 2).isfinite()


class Turned(torch.autograd.Function):
    """Turns gradients around, as it is often written."""

    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        return -grad


def test_what_vmap_cannot_differentiate_is_refused_with_what_to_do():
    model, other = net(), nn.Identity()
    other.register_full_backward_hook(lambda module, inputs, outputs: None)
    for after in (Turned.apply, other):
        refused(lambda f=after: f(model(X)).mean(), model, "autograd.Function that .* cannot")


READ = {
    ".item()": lambda loss, h: loss.item(),
    ".tolist()": lambda loss, h: h.detach().tolist(),
    ".numpy()": lambda loss, h: h.detach().cpu().numpy(),
    "float()": lambda loss, h: float(loss),
    "format()": lambda loss, h: f"{loss:.3f}",
    "bool()": lambda loss, h: 1 if loss > 0 else 2,
    "torch.Tensor.__getitem__ reads": lambda loss, h: X[: h[0].argmax()],
    "torch.Tensor.__getitem__ gives": lambda loss, h: h[h > 0].sum(),
}


@pytest.mark.parametrize("called", READ)
def test_reading_a_value_that_perturbations_differ_in_is_refused_by_what_was_called(called):
    model = nn.Linear(3, 4)

    def closure():
        h = model(X)
        loss = h.square().mean()
        READ[called](loss, h)
        return loss

    with pytest.raises(RuntimeError, match="between perturbations, which run at once") as refused:
        pprs.smooth(closure, model)
    assert str(refused.value).startswith(called)
    assert "keep the tensor" in str(refused.value) or "torch.where" in str(refused.value)


def test_what_all_perturbations_share_may_be_read():
    model = nn.Linear(3, 4)
    pprs.smooth(lambda: model(X).square().mean() * X.mean().item() * float(X.std()), model)


@pytest.mark.parametrize("batch", [{"x": X}, (X, [1, 2]), "x"])
@pytest.mark.parametrize("noise", ["shared", "example"])
def test_a_batch_of_anything_but_tensors_is_refused(batch, noise):
    model = net()
    options = {"batch": batch, "noise": noise, "error": ValueError}
    refused(lambda *rows: model(X).mean(), model, "batch must be a sequence of tensors", **options)


def test_a_loss_that_is_no_real_number_is_refused():
    model = net()
    for dtype in (torch.int64, torch.complex64):
        refused(lambda d=dtype: model(X).mean().to(d), model, "real floating-point", ValueError)
