"""A smoothed gradient is a gradient: any optimizer takes the step, with clipping and a schedule."""

import torch
from sklearn.datasets import load_digits
from torch import nn, optim
from torch.nn.functional import cross_entropy

import pprs

images, labels = load_digits(return_X_y=True)
x, y = torch.tensor(images / 16).float(), torch.tensor(labels)
x, y, x_test, y_test = x[:100], y[:100], x[100:], y[100:]


def accuracy(kind, perturbation, **options):
    """Test accuracy after 60 steps of an optimizer, by smoothed gradients or by plain ones."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = kind(model.parameters(), **options)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=60)
    for _ in range(60):
        optimizer.zero_grad()
        pprs.smooth(lambda: cross_entropy(model(x), y), model, perturbation).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return (model(x_test).argmax(1) == y_test).float().mean().item()


smoothed, plain = pprs.Perturbation.filter(0.01, samples=8), pprs.Perturbation(0.0, samples=1)
print("Test accuracy         smoothed  plain   (one seed: small differences mean nothing)")
for kind, options in [
    (optim.SGD, {"lr": 0.3, "momentum": 0.9}),
    (optim.Adam, {"lr": 0.003}),
    (optim.AdamW, {"lr": 0.003, "weight_decay": 0.1}),
    (optim.RMSprop, {"lr": 0.001}),
    (optim.Adagrad, {"lr": 0.03}),
]:
    found = [accuracy(kind, perturbation, **options) for perturbation in (smoothed, plain)]
    print(f"{kind.__name__:20}  {found[0]:8.1%}  {found[1]:.1%}")
