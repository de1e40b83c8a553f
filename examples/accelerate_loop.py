"""Hugging Face's Accelerate: the loop as it is, with the smoothed loss; here with bfloat16."""

import torch
from accelerate import Accelerator
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import pprs

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
x, y = torch.tensor(images / 16).float(), torch.tensor(labels)
model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

accelerator = Accelerator(cpu=True, mixed_precision="bf16", gradient_accumulation_steps=2)
model, optimizer, loader = accelerator.prepare(
    model,
    torch.optim.Adam(model.parameters(), lr=0.005),
    DataLoader(TensorDataset(x[:100], y[:100]), batch_size=10, shuffle=True),
)
for epoch in range(12):
    for x_batch, y_batch in loader:
        with accelerator.accumulate(model):
            loss = pprs.smooth(lambda: cross_entropy(model(x_batch), y_batch), model)
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
    if epoch % 4 == 3:
        print(f"epoch {epoch + 1}: smoothed loss {loss:.3f}")

right = (model(x[100:]).argmax(1) == y[100:]).float().mean()
print(f"{right:.1%} of {len(y) - 100} test images are read correctly after 100 examples")
