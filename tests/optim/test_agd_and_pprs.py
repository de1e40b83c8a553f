"""AGD and PPRS as torch optimizers."""

import io
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import pprs
from pprs.smoothing import force_way

X = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
Y = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))


def same(a, b):
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def steps(model, optimizer, n):
    for _ in range(n):
        optimizer.zero_grad()
        F.cross_entropy(model(X), Y).backward()
        optimizer.step()


def saved_and_loaded(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_constant_momentum_is_torch_sgd_with_nesterov():
    # The same sequence in other variables: torch's velocity is (x_t - y_t)/(mu lr).
    a, b = net().double(), net().double()
    agd = pprs.AGD(a.parameters(), lr=0.1, momentum=0.8)
    sgd = torch.optim.SGD(b.parameters(), lr=0.1, momentum=0.8, nesterov=True)
    for model, optimizer in ((a, agd), (b, sgd)):
        for _ in range(10):
            optimizer.zero_grad()
            F.cross_entropy(model(X.double()), Y).backward()
            optimizer.step()
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("momentum", [0.9, "nesterov"])
@pytest.mark.parametrize("evaluating", [False, True])
def test_state_dict_round_trip_continues_bit_for_bit(momentum, evaluating):
    whole, first, second = net(), net(), net()
    steps(whole, pprs.AGD(whole.parameters(), 0.1, momentum), 7)
    optimizer = pprs.AGD(first.parameters(), 0.1, momentum)
    steps(first, optimizer, 3)
    if evaluating:
        optimizer.eval()
    state = saved_and_loaded((first.state_dict(), optimizer.state_dict()))
    resumed = pprs.AGD(second.parameters(), lr=99.0)
    second.load_state_dict(state[0])
    resumed.load_state_dict(state[1])
    if evaluating:
        resumed.train()
    steps(second, resumed, 4)
    assert same(whole, second)


def test_pprs_state_dict_continues_the_noise():
    def more(model, optimizer, n):
        for _ in range(n):
            optimizer.step(lambda: F.cross_entropy(model(X), Y))

    whole, first, second = net(), net(), net()
    more(whole, pprs.PPRS(whole, 0.1, sigma=0.1, samples=3, seed=5), 5)
    optimizer = pprs.PPRS(first, 0.1, sigma=0.1, samples=3, seed=5)
    more(first, optimizer, 2)
    resumed = pprs.PPRS(second, 9.0, sigma=0.7, samples=1)
    second.load_state_dict(first.state_dict())
    resumed.load_state_dict(saved_and_loaded(optimizer.state_dict()))
    more(second, resumed, 3)
    assert same(whole, second)


def test_one_by_one_is_foreach():
    a, b = net(), net()
    steps(a, pprs.AGD(a.parameters(), 0.1, foreach=True), 5)
    steps(b, pprs.AGD(b.parameters(), 0.1, foreach=False), 5)
    assert same(a, b)


def test_param_groups_and_schedulers():
    model, reference = net(), net()
    optimizer = pprs.AGD(
        [{"params": model[0].parameters()}, {"params": model[2].parameters(), "lr": 0.0}], lr=0.1
    )
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    steps(model, optimizer, 1)
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == 0.05
    assert not torch.equal(model[0].weight, reference[0].weight)
    assert torch.equal(model[2].weight, reference[2].weight)
    with pytest.raises(ValueError, match="lr.*-3"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))], "lr": -3})


def test_evaluating_shows_y_and_restores_x_exactly_even_after_an_error():
    model = net()
    optimizer = pprs.AGD(model.parameters(), lr=0.1)
    steps(model, optimizer, 3)
    x = [p.detach().clone() for p in model.parameters()]
    with pytest.raises(KeyError), optimizer.evaluating():
        assert not torch.equal(model[0].weight, x[0])
        with optimizer.evaluating():
            pass
        assert not torch.equal(model[0].weight, x[0])
        with pytest.raises(RuntimeError, match="train()"):
            optimizer.step()
        raise KeyError
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), x, strict=True))


def test_hooks_run_once_per_step():
    model, calls = net(), []
    pprs.AGD(net().parameters(), lr=0.1)  # makes torch wrap AGD.step too
    optimizer = pprs.PPRS(model, 0.1, sigma=0.1, samples=2)
    optimizer.register_step_post_hook(lambda *_: calls.append(1))
    optimizer.step(lambda: F.cross_entropy(model(X), Y))
    assert calls == [1]


def test_both_kinds_of_closure_take_the_same_step():
    a, b = net().double(), net().double()
    x, calls = X.double(), []
    plain = pprs.PPRS(a, 0.1, sigma=0.1, samples=4, seed=2)
    usual = pprs.PPRS(b, 0.1, sigma=0.1, samples=4, seed=2)

    def closure():
        calls.append(1)
        usual.zero_grad()
        loss = F.cross_entropy(b(x), Y)
        loss.backward()
        return loss

    for _ in range(3):
        loss = plain.step(lambda: F.cross_entropy(a(x), Y))
        torch.testing.assert_close(usual.step(closure), loss)
    assert len(calls) == 1 + 3 * 4  # once in vain, to find out of which kind it is
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(p, q)
        torch.testing.assert_close(p.grad, q.grad)


def test_a_closure_that_vmap_cannot_run_runs_one_by_one_with_a_warning():
    a, b = net().double(), net().double()
    x = X.double()
    vectorised = pprs.PPRS(a, 0.1, sigma=0.1, samples=4, seed=2)
    reading = pprs.PPRS(b, 0.1, sigma=0.1, samples=4, seed=2)

    def closure():
        loss = F.cross_entropy(b(x), Y)
        return loss if loss.item() > 0 else -loss

    vectorised.step(lambda: F.cross_entropy(a(x), Y))
    with pytest.warns(UserWarning, match="4 times one by one"):
        reading.step(closure)
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(p, q)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reading.step(closure)


def test_an_error_in_a_usual_closure_restores_everything():
    model, calls = net(), []
    optimizer = pprs.PPRS(model, 0.1, sigma=0.1, samples=4)
    for p in model.parameters():
        p.grad = torch.full_like(p, 7.0)
    before = [(p.detach().clone(), p.data_ptr()) for p in model.parameters()]

    def closure():
        calls.append(1)
        optimizer.zero_grad(set_to_none=False)
        F.cross_entropy(model(X), Y).backward()
        if len(calls) == 4:
            raise KeyboardInterrupt
        return torch.ones(())

    with pytest.raises(KeyboardInterrupt):
        optimizer.step(closure)
    for p, (value, pointer) in zip(model.parameters(), before, strict=True):
        assert torch.equal(p, value)
        assert p.data_ptr() == pointer
        assert torch.equal(p.grad, torch.full_like(p, 7.0))


def test_a_closures_own_error_is_not_hidden():
    model = net()
    optimizer = pprs.PPRS(model, 0.1, sigma=0.1, samples=4)
    with pytest.raises(ValueError, match="batch_size"):
        optimizer.step(lambda: F.cross_entropy(model(X[:3]), Y))
    optimizer.step(lambda: F.cross_entropy(model(X), Y))


def test_sigma_may_change_between_steps():
    model = net()
    optimizer = pprs.PPRS(model, 0.1, sigma=0.1, samples=4)
    optimizer.param_groups[0]["sigma"] = -0.5
    with pytest.raises(ValueError, match="sigma.*-0.5"):
        optimizer.step(lambda: F.cross_entropy(model(X), Y))


@pytest.mark.parametrize("momentum", [-0.1, "nestrov", float("inf")])
def test_momentum_out_of_range_is_refused(momentum):
    with pytest.raises(ValueError, match="momentum"):
        pprs.AGD(net().parameters(), 0.1, momentum)


def test_empty_parameters_and_missing_closures_are_refused():
    with pytest.raises(ValueError, match="AGD got an empty parameter list"):
        pprs.AGD([], lr=0.1)
    with pytest.raises(ValueError, match="closure"):
        pprs.PPRS(net(), 0.1, sigma=0.1, samples=2).step()
    embedding = nn.Embedding(3, 2, sparse=True)
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError, match="sparse=False"):
        pprs.AGD(embedding.parameters(), 0.1).step()


def test_sigma_may_differ_between_groups_and_be_annealed():
    model = net()
    sigma = {"0": lambda t: 0.1 / (1 + t), "2": 0.0}
    optimizer = pprs.PPRS(model, lr=0.1, sigma=sigma, samples=4, seed=0)
    assert [len(group["params"]) for group in optimizer.param_groups] == [2, 2]
    seen = []
    for _ in range(3):
        optimizer.step(lambda: F.cross_entropy(model(X), Y))
        seen.append([group["sigma"] for group in optimizer.param_groups])
    assert seen == [[0.1, 0.0], [0.05, 0.0], [0.1 / 3, 0.0]]
    assert saved_and_loaded(optimizer.state_dict())["param_groups"][0]["sigma"] == 0.1 / 3


def test_unperturbed_groups_see_no_noise():
    model = net()
    optimizer = pprs.PPRS(model, lr=0.0, sigma={"": 0.0, "2.bias": 1.0}, samples=3, seed=0)
    optimizer.step(lambda: model[0](X).sum() + model[2].bias.sum())
    expected = torch.autograd.grad(model[0](X).sum(), list(model[0].parameters()))
    for parameter, grad in zip(model[0].parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, grad)


@pytest.mark.parametrize("options", [dict(antithetic=True), dict(scale="filter")], ids=str)
def test_noise_per_example_runs_in_one_pass_and_one_by_one(options):
    plain, usual = net().double(), net().double()
    options = options | dict(lr=0.1, sigma=0.1, samples=4, seed=0, noise="example")
    batch = (X.double(), Y)
    a, b = pprs.PPRS(plain, **options), pprs.PPRS(usual, **options)

    def closure(x, y):
        b.zero_grad()
        loss = F.cross_entropy(usual(x), y)
        loss.backward()
        return loss

    for _ in range(2):
        with force_way("materialised"):
            first = a.step(lambda x, y: F.cross_entropy(plain(x), y), batch)
        second = b.step(closure, batch)
        torch.testing.assert_close(first, second, rtol=1e-10, atol=1e-12)
    for p, q in zip(plain.parameters(), usual.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-10, atol=1e-12)


def test_pprs_takes_eight_samples_where_nothing_is_said():
    def stepped(**law):
        torch.manual_seed(0)
        model = torch.nn.Linear(4, 3)
        optimizer = pprs.PPRS(model, 0.1, seed=1, sigma=0.1, **law)
        optimizer.step(lambda: model(torch.ones(2, 4)).square().mean())
        return model.weight.detach()

    assert torch.equal(stepped(), stepped(samples=8))


def test_pprs_takes_a_perturbation_whole_or_in_parts():
    whole = pprs.Perturbation({"": lambda t: 0.1 / (1 + t), "2": 0.2}, 4, "shared", True, "filter")
    parts = dict(sigma=whole.sigma, samples=4, antithetic=True, scale="filter")
    a, b = net(), net()
    one = pprs.PPRS(a, 0.1, perturbation=whole, seed=0)
    other = pprs.PPRS(b, 0.1, seed=0, **parts)
    for _ in range(2):
        one.step(lambda: F.cross_entropy(a(X), Y))
        other.step(lambda: F.cross_entropy(b(X), Y))
    assert same(a, b)
    assert saved_and_loaded(one.state_dict()).keys() == other.state_dict().keys()
    assert one.state_dict()["param_groups"] == other.state_dict()["param_groups"]


def test_pprs_asks_for_a_sigma():
    with pytest.raises(ValueError, match='needs a sigma.*sigma=0.01, scale="filter"'):
        pprs.PPRS(net(), 0.1)
