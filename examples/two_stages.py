"""A model of your own, cut into two stages: torchrun --standalone --nproc-per-node 2 two_stages.py

Each process runs this whole script, and keeps the layers of its stage.
"""

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

from pprs import Perturbation
from pprs.pipeline import Pipeline


class Residual(nn.Module):
    """No `nn.Sequential`: `torch.export` traces it, with one example."""

    def __init__(self, width, depth):
        super().__init__()
        self.first = nn.Linear(64, width)
        self.blocks = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.last = nn.Linear(width, 10)

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = x + block(x).relu() / 2
        return self.last(x)


dist.init_process_group("gloo")
torch.manual_seed(0)  # all processes build the same model
model = Residual(width=64, depth=6)
images, labels = load_digits(return_X_y=True)
x, y = torch.tensor(images / 16).float(), torch.tensor(labels)

averaged = Perturbation.filter(0.01, samples=4)
pipeline = Pipeline(model, cross_entropy, perturbation=averaged, example=(x[:1],), seed=0)
optimizer = torch.optim.Adam(pipeline.named_parameters().values(), lr=0.003)
for step in range(40):
    loss = pipeline.step(x[:100], y[:100])
    optimizer.step()
    if loss is not None and step % 20 == 19:  # only the last stage has it
        print(f"step {step + 1}: smoothed loss {loss:.3f}")

print(f"process {dist.get_rank()} trained {', '.join(pipeline.named_parameters())}")
pipeline.eval()
scores = pipeline(x[100:])
if scores is not None:
    right = (scores.argmax(1) == y[100:]).float().mean()
    print(f"{right:.1%} of {len(y) - 100} test images are read correctly after 100 examples")
dist.destroy_process_group()
