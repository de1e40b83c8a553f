"""Lightning's loop over two stages, against the same module in one process."""

import tempfile

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from pipeline.networks import refused
from pipeline.ranks import on_ranks
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import SumMetric

import pprs
from pprs.integrations import PipelineStrategy
from pprs.smoothing import derive_seed

SAID = "isinstance.treespec|does not have many workers|log_every_n_steps|dirpath has changed"
pytestmark = [
    pytest.mark.dist, pytest.mark.slow, pytest.mark.filterwarnings(f"ignore:.*({SAID})"),
]  # fmt: skip
GENERATOR = torch.Generator().manual_seed(0)
X, Y = torch.randn(12, 6, generator=GENERATOR).double(), torch.arange(12) % 3
BF16 = dict(precision="bf16-mixed")
LAW = pprs.Perturbation.filter(0.02, samples=4)


class Module(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        layers = nn.Linear(6, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 3)
        self.model = nn.Sequential(*layers)
        self.double()
        self.said, self.seen = [], SumMetric(sync_on_compute=False)

    def loss(self, x, y):
        return cross_entropy(self.model(x), y)

    def training_step(self, batch, number):
        x, y = batch
        loss = self.loss(x.to(self.dtype), y)
        self.log("loss", loss)
        self.said.append(loss.item())
        return loss

    def validation_step(self, batch, number):
        x, y = batch
        self.seen.update(len(x))
        self.log("seen", self.seen)
        self.log("validation", cross_entropy(self.model(x.to(self.dtype)), y), batch_size=len(x))

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.01)
        return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)]


class Smoothed(Module):
    def loss(self, x, y):
        how = {"seed": derive_seed(5, len(self.said) % 2, "smoothing"), "step": self.global_step}
        return pprs.smooth(lambda: cross_entropy(self.model(x), y), self.model, LAW, **how)


class Staged(Module):
    def loss(self, x, y):
        return getattr(self.trainer.strategy, "loss")(self.model, cross_entropy, x, y)  # noqa: B009


class Reading(Staged):
    """Calls the network while other stages train theirs."""

    def on_train_batch_end(self, *_):
        with torch.no_grad():
            self.said[-1] = self.model(X).isnan().all().item()


class Outside(Staged):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))


def fitted(module, folder, epochs=2, checkpoint=None, **options):
    """Its losses, what was logged, and its parameters."""
    trainer = lightning.Trainer(
        max_epochs=epochs, accelerator="cpu", devices=1, logger=False, default_root_dir=folder,
        enable_progress_bar=False, enable_model_summary=False, accumulate_grad_batches=2,
        gradient_clip_val=0.5, **options,
        callbacks=[ModelCheckpoint(folder, "{epoch}", monitor="validation", save_top_k=-1),
                   EarlyStopping("validation", patience=9)],
    )  # fmt: skip
    loader = DataLoader(TensorDataset(X, Y), batch_size=3)
    trainer.fit(module, loader, loader, ckpt_path=checkpoint)
    logged = {name: value.item() for name, value in trainer.callback_metrics.items()}
    return module.said, logged, {n: p.detach().clone() for n, p in module.named_parameters()}


def strategy(perturbation=None, **options):
    how = options if perturbation is None else options | {"microbatches": 1}
    return PipelineStrategy(perturbation, seed=5, **how)


def two(folder):
    def refusal(module, **options):
        given = dict(folder=f"{folder}/refused", strategy=strategy(), **options)
        return refused(lambda: fitted(module, **given))

    return {
        "plain": fitted(Staged(), f"{folder}/two", strategy=strategy()),
        "smoothed": fitted(Staged(), f"{folder}/smoothed", strategy=strategy(LAW)),
        "resumed": fitted(
            Staged(), f"{folder}/again", checkpoint=f"{folder}/one/epoch=0.ckpt",
            strategy=strategy(),
        ),
        "bf16": fitted(Staged().float(), f"{folder}/bf16", strategy=strategy(), **BF16),
        "reading": fitted(Reading(), f"{folder}/reading", epochs=1, strategy=strategy())[0],
        "outside": refusal(Outside()),
    }  # fmt: skip


@pytest.fixture(scope="module")
def results():
    with tempfile.TemporaryDirectory() as folder:
        one = {
            "plain": fitted(Module(), f"{folder}/one"),
            "smoothed": fitted(Smoothed(), f"{folder}/one/smoothed"),
            "bf16": fitted(Module().float(), f"{folder}/one/bf16", **BF16),
        }
        ranks = on_ranks(2, two, folder)
        again = fitted(Module(), f"{folder}/one/again", checkpoint=f"{folder}/two/epoch=0.ckpt")
        yield one, ranks, again


def close(found, right, tolerance=1e-9):
    torch.testing.assert_close(found, right, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("run", ["plain", "smoothed", "bf16"])
def test_two_stages_train_log_and_validate_as_one_process(results, run):
    one, ranks, _ = results
    for rank in ranks:
        close(rank[run], one[run], 2e-2 if run == "bf16" else 1e-9)


def test_a_run_goes_on_from_the_checkpoint_of_another_number_of_processes(results):
    one, ranks, again = results
    for found in (again, *(rank["resumed"] for rank in ranks)):
        close(found[1:], one["plain"][1:])


def test_what_would_not_be_trained_is_refused(results):
    for rank in results[1]:
        assert "scale is a parameter outside of the network" in rank["outside"]


def test_what_other_stages_train_cannot_be_mistaken_for_up_to_date(results):
    for rank in results[1]:
        assert all(rank["reading"])
