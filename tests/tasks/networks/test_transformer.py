import pytest
import torch
import torch.nn.functional as F
from torch import nn

import pprs
from pprs.pipeline import chain
from pprs.tasks.networks import image_transformer
from pprs.tasks.networks.transformer import Attention

OPTIONS = dict(patch=4, width=16, heads=2, layers=2, outputs=10)


def build(seed=0, shape=(3, 8, 12), **changes):
    generator = torch.Generator().manual_seed(seed)
    return image_transformer(shape, **(OPTIONS | changes), generator=generator, dtype=torch.float64)


def normal(*shape, seed=1):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("layers", [1, 3])
def test_pieces_are_patches_two_halves_of_every_layer_and_the_head(layers):
    network = build(layers=layers)
    assert len(network) == 2 * layers + 2
    assert network[0](normal(5, 3, 8, 12)).shape == (5, 6, 16)
    assert network(normal(5, 3, 8, 12)).shape == (5, 10)


def test_attention_is_torchs():
    ours = Attention(16, 2).double()
    theirs = nn.MultiheadAttention(16, 2, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        for ours_part, theirs_part, shape, seed in (
            (ours.read.weight, theirs.in_proj_weight, (48, 16), 2),
            (ours.read.bias, theirs.in_proj_bias, (48,), 3),
            (ours.write.weight, theirs.out_proj.weight, (16, 16), 4),
            (ours.write.bias, theirs.out_proj.bias, (16,), 5),
        ):
            ours_part.copy_(normal(*shape, seed=seed))
            theirs_part.copy_(normal(*shape, seed=seed))
    features = normal(3, 6, 16)
    expected, _ = theirs(features, features, features, need_weights=False)
    torch.testing.assert_close(ours(features), expected)


def test_two_halves_are_torchs_layer_that_normalises_first():
    network = build(layers=1)
    attention, hidden = network[1], network[2]
    theirs = nn.TransformerEncoderLayer(
        16, 2, 64, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    ).double()
    pairs = {
        theirs.norm1: attention.norm,
        theirs.self_attn.out_proj: attention.layer.write,
        theirs.norm2: hidden.norm,
        theirs.linear1: hidden.layer[0],
        theirs.linear2: hidden.layer[2],
    }
    for their_layer, our_layer in pairs.items():
        their_layer.load_state_dict(our_layer.state_dict())
    with torch.no_grad():
        theirs.self_attn.in_proj_weight.copy_(attention.layer.read.weight)
        theirs.self_attn.in_proj_bias.copy_(attention.layer.read.bias)
    features = normal(3, 6, 16)
    torch.testing.assert_close(hidden(attention(features)), theirs(features))


def test_weights_come_from_the_given_generator_alone():
    before = torch.get_rng_state()
    a, b, c = build(0), build(0), build(1)
    assert torch.equal(torch.get_rng_state(), before)
    for name, weight in a.state_dict().items():
        assert torch.equal(weight, b.state_dict()[name])
        drawn = weight.dim() > 1
        assert torch.equal(weight, c.state_dict()[name]) != drawn


def test_a_patch_knows_its_place():
    network, x = build(), normal(1, 3, 8, 12)
    turned = torch.cat([x[..., 4:], x[..., :4]], -1)  # the same patches in other places
    assert (network(x) - network(turned)).abs().max() > 1e-3


def test_an_example_does_not_see_the_others():
    network, x = build(), normal(5, 3, 8, 12)
    torch.testing.assert_close(network(x)[2:3], network(x[2:3]))


def test_the_network_learns():
    network, x, y = build(), normal(20, 3, 8, 12), torch.arange(20) % 10
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        loss = F.cross_entropy(network(x), y)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1  # 2.3 is chance


@pytest.mark.parametrize("noise", ["shared", "example"])
def test_the_network_can_be_smoothed(noise):
    network, x, y = build(), normal(4, 3, 8, 12), torch.arange(4)
    loss = pprs.smooth(
        lambda x, y: F.cross_entropy(network(x), y),
        network,
        sigma=1e-9,
        samples=3,
        noise=noise,
        batch=(x, y),
        seed=0,
    )
    loss.backward()
    torch.testing.assert_close(loss, F.cross_entropy(network(x), y))
    assert all(p.grad is not None for p in network.parameters())


def test_a_pipeline_can_cut_it():
    network, x = build(), normal(2, 3, 8, 12)
    pieces = chain(network)
    assert len(pieces) >= 6
    torch.testing.assert_close(pieces(x), network(x))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (dict(patch=5), r"patch must divide height and width, \[8, 12\], got 5"),
        (dict(heads=3), "width must be a multiple of heads, got 16 and 3"),
        (dict(layers=0), "layers must be an integer of at least 1, got 0"),
    ],
)
def test_what_does_not_fit_is_refused(changes, says):
    with pytest.raises(ValueError, match=says):
        build(**changes)
