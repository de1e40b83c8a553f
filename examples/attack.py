"""`pprs.minimize` on an attack: the smallest change of a digit that makes a network read another.

The change is measured by its largest pixel. Nothing is tuned for `"auto"`; Adam is, by three steps.
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

import pprs

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
x, y = torch.tensor(images / 16).float(), torch.tensor(labels)
hidden = [layer for _ in range(6) for layer in (nn.Linear(64, 64), nn.ReLU())]
model = nn.Sequential(*hidden, nn.Linear(64, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=0.002)
for _ in range(100):
    optimizer.zero_grad()
    cross_entropy(model(x[100:]), y[100:]).backward()
    optimizer.step()

image, wanted = x[1], 7  # a one, which shall be taken for a seven


def objective(changed):
    """Zero hinges where the wanted score leads all others by 1, plus the largest change."""
    scores = model(changed)
    hinges = (1 - scores[wanted] + scores).relu().sum() - 1  # its own hinge is 1
    return hinges + 30 * (changed - image).abs().max()


print(f"read as {model(image).argmax()}, objective {objective(image):.2f}")
for method, options in [("auto", {}), *(("adam", {"lr": lr}) for lr in (0.001, 0.003, 0.01))]:
    found = pprs.minimize(
        objective, image, method=method, depth=100, time=30_000, lower=0, seed=0, **options
    )
    change = (found.x - image).abs().max()
    print(
        f"{method} {options or ''}: read as {model(found.x).argmax()}, objective {found.fun:.2f}, "
        f"no pixel changed by more than {change:.1%}, {found.nit} steps"
    )
