"""Models that people have, in pipelines: tied, frozen, changing in place, giving several things."""

import copy

import pytest
import torch
import torch.distributed as dist
from pipeline.ranks import merged, on_ranks
from torch import nn
from torch.nn.functional import cross_entropy, dropout, mse_loss

from pprs.pipeline import Pipeline, chain
from pprs.pipeline.modes import Modes
from pprs.pipeline.stage import PerturbedStage, stages_of
from pprs.smoothing import Perturbation

pytestmark = [pytest.mark.dist, pytest.mark.slow]
GENERATOR = torch.Generator().manual_seed(1)
X, Y = torch.randn(4, 6, generator=GENERATOR), torch.randn(4, 3, generator=GENERATOR)
PLAIN = dict(split="examples", microbatches=2)


class Coupling(nn.Module):
    """Every block begins by taking its input apart."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(3, 3) for _ in range(4))

    def forward(self, x):
        for layer in self.layers:
            a, b = x.chunk(2, dim=1)
            x = torch.cat([b * layer(a).tanh(), a], 1)
        return x


class Two(nn.Module):
    """Gives two results by their names, and a third of another kind that nobody needs."""

    def __init__(self):
        super().__init__()
        self.body, self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 3), nn.Linear(6, 1)

    def forward(self, x):
        h = self.body(x).tanh()
        return {"scores": self.a(h), "value": (self.b(h), None)}


class Calls(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def tied():
    torch.manual_seed(0)
    layers = [nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6)]
    model = nn.Sequential(*layers, nn.Linear(6, 3))
    model[4].weight = model[2].weight
    return model


def changing():
    torch.manual_seed(0)
    first = [nn.ELU(inplace=True), nn.Linear(6, 8)]
    middle = [nn.ReLU(inplace=True), nn.Linear(8, 8), Calls(lambda x: x.mul_(2))]
    return nn.Sequential(*first, *middle, nn.Linear(8, 3), nn.ReLU(inplace=True))


def two_losses(output, y):
    return mse_loss(output["scores"], y) + output["value"][0].square().mean()


def made(kind):
    torch.manual_seed(0)
    return kind()


def worker():
    found, x = {}, X.clone()
    pipe = Pipeline(tied(), mse_loss, cut=["2"], **PLAIN)
    pipe.step(x, Y)
    pipe.step(x, Y, accumulate=True)
    found["norm"] = pipe.clip_grad_norm_(0.05)
    found["clipped"] = {n: p.grad.clone() for n, p in pipe.named_parameters().items()}
    for number, cut in enumerate((["2"], ["4"], ["6"])):
        for more in (PLAIN, dict(samples=4, seed=0)):
            pipe = Pipeline(changing(), mse_loss, cut=cut, **more)
            losses = [pipe.step(x, Y) for _ in range(2)]
            gradients = {n: p.grad for n, p in pipe.named_parameters().items()}
            found[f"changing {number} {more}"] = losses, gradients
    found["x"] = x
    pipe = Pipeline(made(Coupling), mse_loss, example=(x,), **PLAIN)
    found["coupling"] = pipe.step(x, X[:, [5, 4, 3, 2, 1, 0]]), None
    pipe = Pipeline(made(Two), two_losses, example=(x,), **PLAIN)
    found["two"] = pipe.step(x, Y), pipe(x)
    found["last"] = pipe.is_last
    return found


@pytest.fixture(scope="module")
def ranks():
    return on_ranks(2, worker)


def plain(model, loss=mse_loss, y=Y):
    value = loss(model(X.clone()), y)
    value.backward()
    return value.detach()


def test_a_tied_weight_is_accumulated_and_clipped_once(ranks):
    model = tied()
    plain(model)
    plain(model)
    norm = nn.utils.clip_grad_norm_(model.parameters(), 0.05).item()
    assert [rank["norm"] for rank in ranks] == pytest.approx([norm] * 2)
    clipped = merged([rank["clipped"] for rank in ranks])
    right = {name: p.grad for name, p in model.named_parameters()}
    assert clipped.keys() == right.keys()
    for name, gradient in right.items():
        torch.testing.assert_close(clipped[name], gradient)


def test_layers_may_change_what_arrives_at_a_stage_in_place(ranks):
    model = changing()
    loss = plain(model)
    for case in (name for name in ranks[0] if name.startswith("changing")):
        parts = [rank[case] for rank in ranks]
        losses = next(values for values, _ in parts if values[0] is not None)
        torch.testing.assert_close(torch.stack(losses), loss.expand(2))
        gradients = merged([named for _, named in parts])
        for name, p in model.named_parameters():
            torch.testing.assert_close(gradients[name], p.grad)
    assert all(torch.equal(rank["x"], X) for rank in ranks)


def test_a_stage_may_begin_by_taking_its_input_apart(ranks):
    loss = plain(made(Coupling), y=X[:, [5, 4, 3, 2, 1, 0]])
    (found,) = (rank["coupling"][0] for rank in ranks if rank["last"])
    torch.testing.assert_close(found, loss)


def test_the_loss_and_the_caller_get_all_that_the_model_gives(ranks):
    model = made(Two)
    (found,) = (rank["two"] for rank in ranks if rank["last"])
    torch.testing.assert_close(found[0], plain(model, two_losses))
    right = model(X)
    torch.testing.assert_close(found[1]["scores"], right["scores"])
    torch.testing.assert_close(found[1]["value"][0], right["value"][0])
    assert found[1]["value"][1] is None


@pytest.fixture(scope="module")
def alone():
    """A process group of this process only."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("samples", [1, 2])
def test_what_a_user_keeps_in_evaluation_mode_stays_in_it(alone, samples):
    layers = [nn.Linear(6, 6), nn.BatchNorm1d(6).eval(), nn.Dropout().eval(), nn.Dropout()]
    model = nn.Sequential(*layers, nn.Linear(6, 3))
    pipe = Pipeline(model, mse_loss, samples=samples, seed=0)
    for _ in range(2):
        pipe.eval()
        assert not any(layer.training for layer in model)
        pipe.train()
        assert [layer.training for layer in model] == [True, False, False, True, True]
    pipe.step(X, Y)
    assert torch.equal(model[1].running_mean, torch.zeros(6))
    model[3].eval()  # frozen later
    pipe.eval()
    pipe.train()
    assert not model[3].training


def test_so_it_does_in_a_stage_that_has_nothing_else():
    norm = nn.BatchNorm1d(4).eval()
    whole = chain(nn.Sequential(nn.Linear(4, 4), norm, nn.Linear(4, 4)))
    pieces = [range(1), range(1, 2), range(2, 3)]
    stages = stages_of(whole, pieces, [1], Perturbation(0.0, 1), [], 0, recompute=False)
    modes = Modes(stages.values(), whole)
    modes.switch(False)
    modes.switch(True)
    assert not norm.training


def test_a_network_built_in_evaluation_mode_trains_as_a_whole(alone):
    model = nn.Sequential(nn.Linear(6, 3), nn.Dropout(), nn.Sequential(nn.Dropout())).eval()
    pipe = Pipeline(model, mse_loss, seed=0)
    pipe.train()
    assert all(module.training for module in pipe.local[0].modules())
    pipe.eval()
    assert not any(module.training for module in model)


def test_batch_normalisation_is_not_switched_to_training(alone):
    model = nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3)).eval()
    pipe = Pipeline(model, mse_loss, seed=0)
    with pytest.raises(RuntimeError, match="BatchNorm1d .* is in training mode"):
        pipe.train()
    assert not model[1].training


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x):
        y = self.layer(x)
        return y + torch.ones_like(y) @ y.T @ y if self.training else y


def test_a_mode_that_the_trace_does_not_have_is_refused(alone):
    pipe = Pipeline(Branching(), mse_loss, example=(X,), seed=0)
    pipe.train()
    with pytest.raises(RuntimeError, match="in training mode, and computes something else in eva"):
        pipe.eval()


def test_dropout_that_is_always_on_stays_on(alone):
    class Always(Branching):
        def forward(self, x):
            return dropout(self.layer(x), 0.5, training=True)

    pipe = Pipeline(Always(), mse_loss, example=(X,), seed=0)
    pipe.eval()
    assert (pipe(X) == 0).any()


@pytest.mark.parametrize("output", [[X, X], (X,), {"x": X}, (X, None)])
def test_what_cannot_pass_between_stages_is_refused_by_the_layers_name(output):
    whole = chain(nn.Sequential(nn.Linear(6, 6), Calls(lambda x: output)))
    stage = PerturbedStage(
        whole, Perturbation(0.0, 1, "shared"), ["0.weight", "0.bias"], 0, last=False
    )
    with pytest.raises(RuntimeError, match=r"ends with the piece of layer '1', which gives a"):
        stage(X[None], microbatch=torch.tensor([0]))
    with torch.no_grad():
        copy.deepcopy(whole)(X)  # of one stage nothing is asked


def test_a_result_without_rows_is_refused_where_examples_run_alone():
    whole = chain(nn.Sequential(nn.Linear(6, 6), Calls(lambda x: (x.mean(), x))))
    stage = PerturbedStage(
        whole, Perturbation(0.1, 2, "example"), ["0.weight", "0.bias"], 0, last=False
    )
    with pytest.raises(RuntimeError, match=r"shape \(\) for one, which has no row for each exam"):
        stage(X.expand(2, 4, 6), microbatch=torch.tensor([0]))


def test_a_step_with_labels_leaves_the_generators_as_they_were(alone):
    def loss(scores, labels):  # one that is not known
        return cross_entropy(scores, labels)

    pipe = Pipeline(nn.Sequential(nn.Linear(6, 3)), loss, **PLAIN)
    before = torch.get_rng_state()
    pipe.step(X, torch.tensor([0, 1, 2, 2]))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_norm_of_complex_gradients_counts_both_parts(alone):
    class Spectral(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, dtype=torch.cfloat))

        def forward(self, x):
            return torch.fft.irfft(torch.fft.rfft(x) * self.weight, n=6)

    model = nn.Sequential(nn.Linear(6, 6), Spectral(), nn.Linear(6, 3))
    other = copy.deepcopy(model)
    pipe = Pipeline(model, mse_loss)
    pipe.step(X, Y)
    plain(other)
    right = nn.utils.clip_grad_norm_(other.parameters(), 0.1).item()
    assert pipe.clip_grad_norm_(0.1) == pytest.approx(right)
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad)


def test_what_is_no_input_and_a_network_without_parameters_are_refused(alone):
    pipe = Pipeline(nn.Sequential(nn.Linear(6, 3)), mse_loss, seed=0)
    with pytest.raises(ValueError, match="x must be a tensor or a tuple of tensors, got str"):
        pipe("hello")
    with pytest.raises(ValueError, match="a parameter that can be trained"):
        Pipeline(nn.Sequential(nn.Tanh()), mse_loss, seed=0)
    with pytest.raises(RuntimeError, match=r"begins with layer '0': .*mat1 and mat2 shapes"):
        pipe.step(X[:, :5], Y)
