"""A loop with Hugging Face's Accelerate: one line of it changes."""

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import pprs

pytestmark = pytest.mark.slow
GENERATOR = torch.Generator().manual_seed(0)
X, Y = torch.randn(12, 6, generator=GENERATOR), torch.arange(12) % 3
LAW = pprs.Perturbation.filter(0.02, samples=4)


def built():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 3))
    return model, torch.optim.AdamW(model.parameters(), lr=0.01)


def accelerated(precision):
    AcceleratorState._reset_state(reset_partial_state=True)  # one of a process
    accelerator = Accelerator(cpu=True, mixed_precision=precision, gradient_accumulation_steps=2)
    model, optimizer, loader = accelerator.prepare(
        *built(), DataLoader(TensorDataset(X, Y), batch_size=3)
    )
    for _ in range(2):
        for x, y in loader:
            with accelerator.accumulate(model):
                loss = pprs.smooth(lambda: cross_entropy(model(x), y), model, LAW, seed=5)  # noqa: B023
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), 0.5)
                optimizer.step()
                optimizer.zero_grad()
    return accelerator.unwrap_model(model).state_dict()


def by_hand(precision):
    model, optimizer = built()

    def loss(x, y):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            scores = model(x)
        return cross_entropy(scores.float(), y)

    for _ in range(2):
        for i, (x, y) in enumerate(DataLoader(TensorDataset(X, Y), batch_size=3)):
            (pprs.smooth(lambda: loss(x, y), model, LAW, seed=5) / 2).backward()  # noqa: B023
            if i % 2:
                nn.utils.clip_grad_norm_(model.parameters(), 0.5)
                optimizer.step()
                optimizer.zero_grad()
    return model.state_dict()


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_it_trains_as_a_loop_by_hand(precision):
    torch.testing.assert_close(accelerated(precision), by_hand(precision), rtol=0, atol=0)
