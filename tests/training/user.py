"""Models and data as a user writes them; tests copy this file to where a user works."""

import os
import resource
import signal
import time
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

CLASSES = 3


def mlp(dropout=0.0, dtype=torch.float64):
    widths = [4, *[12] * 7, CLASSES]
    layers = []
    for fan_in, fan_out in pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), nn.Tanh(), nn.Dropout(dropout)]
    return nn.Sequential(*layers[:-2]).to(dtype)


def mlp_with_dropout():
    return mlp(dropout=0.2, dtype=torch.float32)


def labelled(count, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 4, generator=generator)
    weights = torch.randn(4, CLASSES, generator=generator)
    return x.to(dtype), (x @ weights).argmax(1)


def data():
    x, y = labelled(70)
    return TensorDataset(x[:50], y[:50]), TensorDataset(x[50:], y[50:])


def data_that_never_come():
    """In a rank, that is."""
    while "RANK" in os.environ:
        time.sleep(0.1)
    return data()


class Noisy(Dataset):
    """Gives other numbers each time; and something happens to the rank at its 70th example."""

    def __init__(self):
        self.x, self.y = labelled(50, torch.float32)
        self.given = 0

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        self.given += 1
        if self.given == 70 and "RANK" in os.environ:
            happen()
        return self.x[i] + 0.1 * torch.randn(4), self.y[i]


def happen():
    rank = os.environ["RANK"]
    if "WAIT" in os.environ:  # for a signal, which first has to come
        read, write = os.pipe()
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write)
        Path(os.environ["WAIT"], rank).touch()
        os.read(read, 1)
    if "KILL" in os.environ and rank == "1":
        marker = Path(os.environ["KILL"], "killed")
        if not marker.exists():
            while not any(Path("runs/train/checkpoints").glob("0*")):  # written in the background
                time.sleep(0.01)
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def noisy():
    x, y = labelled(20, torch.float32)
    return Noisy(), TensorDataset(x, y)


def on_a_full_disk():
    if "RANK" in os.environ:  # no file of a rank may be larger
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limit[1]))
    return data()


class Failing(Noisy):
    def __getitem__(self, i):
        if i == 33:
            raise OSError("image 33 is damaged")
        return super().__getitem__(i)


def failing():
    return Failing()


def gpt2():
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=11, n_positions=8, n_embd=8, n_layer=1, n_head=2, bos_token_id=0,
        eos_token_id=0, use_cache=False,
    )  # fmt: skip
    return GPT2LMHeadModel(config)


def sentences():
    """Counts from a start; the label of a token is the next one, and that of the last is none."""
    tokens = (torch.arange(32)[:, None] + torch.arange(8)) % 11
    labels = tokens.roll(-1, 1)
    labels[:, -1] = -100
    mask = torch.ones_like(tokens)
    return [
        {"input_ids": t, "attention_mask": m, "labels": y}
        for t, m, y in zip(tokens, mask, labels, strict=True)
    ]


def vit():
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        image_size=8, patch_size=4, hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=12, num_labels=2,
    )  # fmt: skip
    return ViTForImageClassification(config)


def images():
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(24) % 2
    x = torch.randn(24, 3, 8, 8, generator=generator) + y[:, None, None, None]
    return [{"pixel_values": image, "labels": label} for image, label in zip(x, y, strict=True)]
