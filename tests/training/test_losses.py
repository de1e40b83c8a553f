import torch
import torch.nn.functional as F

from pprs.training.losses import hinge


def test_hinge_is_torchs_multi_margin_loss():
    torch.manual_seed(0)
    scores = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    labels = torch.arange(7) % 5
    ours, theirs = hinge(scores, labels), F.multi_margin_loss(scores, labels)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(
        torch.autograd.grad(ours, scores), torch.autograd.grad(theirs, scores)
    )
