"""A chain computes what its model does, from the model's own parameters, also perturbed."""

import copy
import functools

import pytest
import torch
from pipeline.partitioner.models import (
    IDS,
    MASK,
    MODELS,
    VECTORS,
    InPlace,
    ResidualMLP,
    Skip,
)
from torch import nn

from pprs.pipeline.partitioner.chain import Chain, chain, full_names, ties
from pprs.smoothing import Noise, Perturbation, at_perturbed, force_way, losses_at, repeat


@functools.cache
def made(name):
    """A model, its chain, its arguments and the chain's inputs."""
    build, args, kwargs, least = MODELS[name]
    torch.manual_seed(0)
    model = build().double().train()  # with dropout, where there is one
    pieces = chain(model, *args, kwargs)
    assert len(pieces) >= least
    tensors = [value for value in kwargs.values() if isinstance(value, torch.Tensor)]
    return model, pieces, args, kwargs, [*args, *tensors]


@pytest.fixture(params=MODELS)
def case(request):
    return made(request.param)


def evaluated(name):
    """A model and its chain in evaluation mode, and the inputs."""
    model, pieces, _, _, inputs = made(name)
    return model.eval(), pieces.eval(), inputs


def output_of(model, args, kwargs):
    output = model(*args, **kwargs)
    return getattr(output, "logits", output)


def same_as_model(case, training):
    model, pieces, args, kwargs, inputs = case
    model.train(training)
    pieces.train(training)
    results = []
    for run in (lambda: output_of(model, args, kwargs), lambda: pieces(*inputs)):
        torch.manual_seed(5)
        output = run()
        parameters = list(full_names(pieces).values())
        gradients = torch.autograd.grad(output.pow(2).sum(), parameters)
        results.append([output, *gradients])
    (expected, *wanted), (got, *found) = results
    # Some processors add up products in an order that depends on where numbers lie in memory.
    close = [
        torch.allclose(a, b, rtol=1e-12, atol=1e-13) for a, b in zip(found, wanted, strict=True)
    ]
    return torch.equal(got, expected) and all(close)


def test_outputs_and_gradients_are_those_of_the_model(case):
    assert same_as_model(case, training=False)


def test_so_they_are_with_dropout_which_follows_the_mode(case):
    assert same_as_model(case, training=True)


def test_parameters_and_buffers_are_the_models_own_by_its_names(case):
    model, pieces, *_ = case
    parameters, state = dict(model.named_parameters()), model.state_dict(keep_vars=True)
    assert full_names(pieces).keys() == parameters.keys()
    assert all(p is parameters[name] for name, p in full_names(pieces).items())
    for piece in pieces:
        for name, value in piece.state_dict(keep_vars=True).items():
            assert value is state[name]


def test_the_batch_may_have_another_size(case):
    model, pieces, args, kwargs, inputs = case
    model.eval()
    pieces.eval()
    for rows in ([0], [0, 1, 2, 2, 1]):
        parts = {n: v[rows] if isinstance(v, torch.Tensor) else v for n, v in kwargs.items()}
        expected = output_of(model, [x[rows] for x in args], parts)
        torch.testing.assert_close(pieces(*(x[rows] for x in inputs)), expected)


def test_slices_of_a_chain_are_chains_that_run_one_after_the_other(case):
    _, pieces, _, _, inputs = case
    pieces.eval()
    first, second = pieces[: len(pieces) // 2], pieces[len(pieces) // 2 :]
    assert isinstance(second, Chain)
    between = first(*inputs)
    between = between if isinstance(between, tuple) else (between,)
    assert torch.equal(second(*between), pieces(*inputs))
    assert full_names(first) | full_names(second) == full_names(pieces)


@pytest.mark.parametrize("way", ["implicit", "materialised"])
@pytest.mark.parametrize("noise", ["shared", "example"])
@pytest.mark.parametrize(
    "name", ["bert", "gpt2", "vit", "llama", "residual mlp", "recurrent", "matrices"]
)
def test_smoothing_the_pieces_is_smoothing_the_model(name, noise, way):
    model, pieces, inputs = evaluated(name)
    law = Perturbation(0.05, 4, noise, antithetic=True)
    parameters = dict(model.named_parameters())
    results = []
    with force_way(way):
        for run, named, seed in (
            (lambda x: output_of(model, (x,), {}), parameters, 3),
            (pieces, full_names(pieces), 3),
            (pieces, full_names(pieces), 4),
        ):
            losses = losses_at(
                lambda x, run=run: run(x).pow(2).mean(),
                named,
                law,
                law.sigmas(named, 0),
                Noise(seed, 0),
                inputs,
            )
            gradients = torch.autograd.grad(losses.sum(), [named[n] for n in parameters])
            results.append((losses, *gradients))
    for expected, got in zip(results[0], results[1], strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-9)
    assert (results[2][0] - results[0][0]).abs().max() > 1e-4  # another seed is told apart


def test_a_masked_model_that_vmap_cannot_run_is_smoothed_as_the_loop_does():
    model, pieces, _ = evaluated("bert, masked")
    named = dict(model.named_parameters())
    law = Perturbation(0.05, 2, "example")
    rest = (law, law.sigmas(named, 0), Noise(3, 0), (IDS, MASK))
    literal = repeat(
        lambda x, m: output_of(model, (x,), dict(attention_mask=m)).pow(2).mean(), named, *rest
    )
    with force_way("materialised"):
        losses = losses_at(lambda x, m: pieces(x, m).pow(2).mean(), full_names(pieces), *rest)
    torch.testing.assert_close(losses.detach(), literal)


@pytest.mark.parametrize("noise", ["shared", "example"])
@pytest.mark.parametrize("name", ["llama", "residual mlp"])
def test_stages_perturbed_one_by_one_are_the_model_perturbed(name, noise):
    model, pieces, (x,) = evaluated(name)
    law = Perturbation(0.05, 4, noise)
    samples = law.samples_of(4, len(x))
    sigmas = law.sigmas(full_names(pieces), 0)
    rows = samples.spread(x.expand(4, *x.shape))
    with force_way("implicit"):
        for stage in (pieces[:2], pieces[2:4], pieces[4:]):
            targets = law.targets(full_names(stage), sigmas, Noise(3, 0), samples)
            rows = at_perturbed(stage, targets, samples, rows)
        named = dict(model.named_parameters())
        whole = losses_at(
            lambda x: output_of(model, (x,), {}).pow(2).mean(),
            named,
            law,
            sigmas,
            Noise(3, 0),
            (x,),
        )
    torch.testing.assert_close(rows.pow(2).flatten(1).mean(1), whole)


def test_blocks_of_a_list_are_pieces_named_by_their_first_module():
    pieces = chain(ResidualMLP(), torch.randn(2, 6))
    assert pieces.layers == ["stem", "blocks.0.norm", "blocks.1.norm", "blocks.2.norm", "head"]


def test_an_example_of_one_leaves_the_batch_free():
    model = ResidualMLP()
    x = torch.randn(4, 6)
    assert torch.equal(chain(model, x[:1])(x), model(x))


def test_under_a_long_skip_the_pieces_carry_two_results_if_they_would_be_large():
    model, mask = Skip(), torch.tensor([1, 0])
    x = torch.randn(2, 6)
    assert len(chain(model, x, dict(mask=mask))) == 3
    pieces = chain(model, x, dict(mask=mask, negate=True), largest=2)
    assert pieces.layers == ["stem", *(f"layers.{i}" for i in range(10)), "head"]
    assert len(pieces[:4](x, mask)) == 3  # the skip, the last result, the mask
    assert torch.equal(pieces(x, mask), model(x, mask=mask, negate=True))


@pytest.mark.parametrize("name", ["bert, masked", "llama", "recurrent", "skip", "in place"])
def test_cut_as_finely_as_can_be_the_pieces_still_give_what_the_model_gives(name):
    build, args, kwargs, least = {**MODELS, "in place": (InPlace, (VECTORS,), {}, 2)}[name]
    torch.manual_seed(0)
    model = build().double().eval()
    pieces = chain(model, *args, kwargs, largest=1)
    assert len(pieces) > least
    tensors = [value for value in kwargs.values() if isinstance(value, torch.Tensor)]
    assert same_as_model((model, pieces, args, kwargs, [*args, *tensors]), training=False)


class Flattened(nn.Module):
    """The size of the batch cannot be read off the results between the layers."""

    def __init__(self):
        super().__init__()
        self.stem, self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x):
        h = self.stem(x).reshape(-1, 8)
        return self.b(torch.tanh(self.a(h))).reshape(x.shape[0], 5, 4)


def test_no_cut_hides_the_size_of_the_batch_from_who_needs_it():
    model = Flattened()
    x = torch.randn(3, 5, 6)
    pieces = chain(model, x, largest=1)
    assert pieces.layers == ["stem", "a"]  # no cut before "b", where rows are (m · 5, 8)
    assert torch.equal(pieces(x[:2]), model(x[:2]))


def test_a_batch_that_the_model_fixes_is_named_when_another_comes():
    class Fixed(Flattened):
        def forward(self, x):
            return super().forward(x) * len(x)

    with pytest.raises(ValueError, match=r"shape \(2, 5, 6\), but .* traced for \(3, 5, 6\)"):
        chain(Fixed(), torch.randn(3, 5, 6))(torch.randn(2, 5, 6))


def test_a_sequence_gives_its_own_layers_without_an_example():
    inner = nn.Sequential(nn.Linear(3, 4), nn.Dropout())
    model = nn.Sequential(inner, nn.ReLU(), nn.Linear(4, 2))
    pieces = chain(model)
    assert pieces.layers == ["0.0", "0.1", "1", "2"]
    assert list(full_names(pieces)) == ["0.0.weight", "0.0.bias", "2.weight", "2.bias"]
    pieces.eval()
    assert not inner[1].training
    x = torch.randn(5, 3)
    assert torch.equal(pieces(x), model(x))


def test_shared_parameters_tie_their_pieces():
    pieces = made("gpt2, tied")[1]
    assert ties(pieces) == [{0, len(pieces) - 1}]
    assert ties(made("gpt2")[1]) == []


def test_ties_that_overlap_are_one():
    a, b, c = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)
    b.weight, c.weight, c.bias = a.weight, nn.Parameter(torch.ones(2, 2)), b.bias
    alone = nn.Linear(2, 2)
    assert ties(chain(nn.Sequential(a, alone, b, nn.ReLU(), c))) == [{0, 2, 4}]


def test_a_copy_of_a_chain_has_parameters_of_its_own():
    pieces = chain(ResidualMLP(), torch.randn(2, 6))
    other, x = copy.deepcopy(pieces), torch.randn(3, 6)
    assert torch.equal(other(x), pieces(x))
    with torch.no_grad():
        full_names(other)["head.bias"] += 1
    assert not torch.equal(other(x), pieces(x))


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x, z):
        return self.b(self.a(x).tanh() + z)


def test_an_example_that_is_given_twice_stands_for_two_inputs():
    x, model = torch.randn(3, 4), TwoInputs()
    others = torch.randn(5, 4), torch.randn(5, 4)
    assert torch.equal(chain(model, x, x)(*others), model(*others))
    assert torch.equal(chain(model, x, {"z": x})(*others), model(*others))
