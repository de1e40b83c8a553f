"""Lightning's loop, with the smoothed loss in `training_step` or with `PPRS` as the optimizer."""

import lightning
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import pprs

# Lightning's own of torch, and of what a test has few of.
SAID = "isinstance.treespec|does not have many workers|log_every_n_steps"
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings(f"ignore:.*({SAID})")]
GENERATOR = torch.Generator().manual_seed(0)
X, Y = torch.randn(12, 6, generator=GENERATOR), torch.arange(12) % 3
LAW = pprs.Perturbation.filter(0.02, samples=4)


class Module(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.model = nn.Sequential(
            nn.Linear(6, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 3)
        ).double()

    def loss(self, batch):
        x, y = batch
        return cross_entropy(self.model(x.double()), y)

    def training_step(self, batch, number):
        return self.loss(batch)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=0.01)


class Smoothed(Module):
    def training_step(self, batch, number):
        return pprs.smooth(lambda: self.loss(batch), self, LAW, seed=5)


class Stepped(Module):
    def configure_optimizers(self):
        return pprs.PPRS(self, 0.05, perturbation=LAW, seed=5)


class Logging(Smoothed):
    def training_step(self, batch, number):
        loss = super().training_step(batch, number)
        self.log("loss", loss)
        return loss

    def validation_step(self, batch, number):
        self.log("validation", self.loss(batch), batch_size=len(batch[0]))


def fitted(module, folder, **options):
    trainer = lightning.Trainer(
        max_epochs=2, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder, **options,
    )  # fmt: skip
    loader = DataLoader(TensorDataset(X, Y), batch_size=3)
    trainer.fit(module, loader, loader if hasattr(module, "validation") else None)
    return module.state_dict()


def batches():
    for _ in range(2):
        yield from zip(X.split(3), Y.split(3), strict=True)


def test_smooth_in_the_training_step_trains_as_a_loop_by_hand(tmp_path):
    found = fitted(Smoothed(), tmp_path, accumulate_grad_batches=2, gradient_clip_val=0.5)
    right = Module()
    optimizer = right.configure_optimizers()
    for i, batch in enumerate(batches()):
        (pprs.smooth(lambda: right.loss(batch), right, LAW, seed=5) / 2).backward()  # noqa: B023
        if i % 2:
            nn.utils.clip_grad_norm_(right.parameters(), 0.5)
            optimizer.step()
            optimizer.zero_grad()
    torch.testing.assert_close(found, right.state_dict(), rtol=0, atol=0)


def test_pprs_is_an_optimizer_like_any_other(tmp_path):
    found = fitted(Stepped(), tmp_path)
    right = Stepped()
    optimizer = right.configure_optimizers()
    for batch in batches():
        optimizer.step(lambda: right.loss(batch))  # noqa: B023
    torch.testing.assert_close(found, right.state_dict(), rtol=1e-10, atol=0)
