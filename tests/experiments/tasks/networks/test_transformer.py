import pytest
import torch
from torch import nn

from experiments.tasks.networks.small import normal, transformer
from pprs_experiments.tasks.networks.transformer import Attention


@pytest.mark.parametrize("layers", [1, 3])
def test_pieces_are_patches_two_halves_of_every_layer_and_the_head(layers):
    network = transformer(layers=layers)
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
    network = transformer(layers=1)
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
    a, b, c = transformer(0), transformer(0), transformer(1)
    assert torch.equal(torch.get_rng_state(), before)
    for name, weight in a.state_dict().items():
        assert torch.equal(weight, b.state_dict()[name])
        drawn = weight.dim() > 1
        assert torch.equal(weight, c.state_dict()[name]) != drawn


def test_a_patch_knows_its_place():
    network, x = transformer(), normal(1, 3, 8, 12)
    turned = torch.cat([x[..., 4:], x[..., :4]], -1)  # the same patches in other places
    assert (network(x) - network(turned)).abs().max() > 1e-3


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
        transformer(**changes)
