"""Cross-entropy of all samples at once is that of each sample."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import pprs

X, CLASSES = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), 5
Y = torch.tensor([0, 4, 2, -100, 1, 2])


def written_out(scores, y, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    each = -scores.log_softmax(-1)
    smooth, weight = label_smoothing / CLASSES, torch.ones(CLASSES) if weight is None else weight
    kept = (y != ignore_index).float()
    of = y.clamp(min=0)[..., None]
    found = (1 - label_smoothing) * each.gather(-1, of)[..., 0] * weight[of[..., 0]]
    found = (found + smooth * (each * weight).sum(-1)) * kept
    if reduction == "none":
        return found.sum() / 7
    return found.sum() / ((kept * weight[of[..., 0]]).sum() if reduction == "mean" else 1)


@pytest.mark.parametrize("noise", ["shared", "example"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"reduction": "sum"},
        {"reduction": "none"},
        {"ignore_index": 2},
        {"label_smoothing": 0.1},
        {"weight": torch.linspace(0.2, 0.8, CLASSES)},
    ],
    ids=str,
)
def test_its_losses_and_gradients_are_those_of_the_formula(options, noise):
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, CLASSES))
    kept = Y.clone()
    if options.get("ignore_index") == 2:
        kept[3] = 0
    if noise == "example":  # of one, which must be kept
        kept = torch.where(kept == options.get("ignore_index", -100), 1, kept)

    def torch_s(x, y):
        loss = F.cross_entropy(model(x), y, **options)
        return loss.sum() / 7 if options.get("reduction") == "none" else loss

    found = []
    for loss in (torch_s, lambda x, y: written_out(model(x), y, **options)):
        model.zero_grad()
        value = pprs.smooth(loss, model, 0.3, 4, noise=noise, batch=(X, kept), seed=1, step=2)
        value.backward()
        found.append([value.detach(), *(p.grad for p in model.parameters())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_types_shapes_and_mistakes_are_torch_s():
    model = nn.Linear(4, CLASSES)
    y = Y.clamp(min=0)

    def smoothed(scores, classes):
        return pprs.smooth(
            lambda: F.cross_entropy(scores(model(X)), classes), model, 0.3, 4, seed=1, step=0
        )

    plain = smoothed(lambda scores: scores, y)
    narrow = smoothed(lambda scores: scores.bfloat16(), y)
    assert narrow.dtype == torch.bfloat16
    torch.testing.assert_close(narrow.float(), plain, rtol=0.02, atol=0)
    for same in (
        smoothed(lambda scores: scores.T[None], y[None]),
        smoothed(lambda scores: scores, F.one_hot(y, CLASSES).float()),
    ):
        torch.testing.assert_close(same, plain)
    if y.device.type == "cpu":  # others end the process
        with pytest.raises(IndexError, match="Target 7 is out of bounds"):
            smoothed(lambda scores: scores, y + 3)
    with pytest.raises((RuntimeError, ValueError), match="batch_size"):
        smoothed(lambda scores: scores, y[:3])
