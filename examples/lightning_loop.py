"""Lightning, twice: `pprs.smooth` in `training_step`, and PPRS as the optimizer of a module as is.

Lightning's automatic loop calls `training_step` for PPRS once in a step, as a closure.
"""

import logging

import lightning
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import pprs

images, labels = load_digits(return_X_y=True)
x, y = torch.tensor(images / 16).float(), torch.tensor(labels)


class Digits(lightning.LightningModule):
    """A module as any other; only its optimizer is PPRS, by which nothing else changes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def training_step(self, batch, number):
        x, y = batch
        return cross_entropy(self.model(x), y)

    def configure_optimizers(self):
        return pprs.PPRS(self, lr=0.05, momentum=0.9, sigma=0.01, scale="filter", seed=0)


class Smoothed(Digits):
    """The smoothed loss before Adam: one line of `training_step` is another."""

    def training_step(self, batch, number):
        loss = pprs.smooth(lambda: super(Smoothed, self).training_step(batch, number), self)
        self.log("loss", loss)  # outside the closure
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.003)


logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
for module in (Digits(), Smoothed()):
    trainer = lightning.Trainer(
        max_epochs=10, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, log_every_n_steps=1,
    )  # fmt: skip
    trainer.fit(module, DataLoader(TensorDataset(x[:100], y[:100]), batch_size=20, shuffle=True))
    right = (module.model(x[100:]).argmax(1) == y[100:]).float().mean()
    print(f"{type(module).__name__}: {right:.1%} of test images are read correctly")
