"""What two machines run: `hosts.py FOLDER trains|fails|stops`. Alone, it is one process."""

import os
import signal
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file

import pprs
from pprs.compare.network import relu_network
from pprs.pipeline import Pipeline, launch
from pprs.pipeline.launcher import joined, report_progress
from pprs.training.losses import hinge


def trains(folder):
    rank, world = dist.get_rank(), dist.get_world_size()
    generator = torch.Generator().manual_seed(0)
    network = relu_network(4, 8, 3, 4, generator=generator, dtype=torch.float64)
    batch = torch.randn(6, 4, generator=generator, dtype=torch.float64), torch.arange(6) % 3
    pipeline = Pipeline(network, hinge, sigma=0.1, samples=4, microbatches=4, seed=3)
    optimizer = pprs.AGD(pipeline.named_parameters().items(), 0.05, momentum="nesterov")
    for _ in range(2):
        pipeline.step(*batch)
        optimizer.step()
    found = {name: p.detach().clone() for name, p in pipeline.named_parameters().items()}
    save_file(found, Path(folder, f"{rank}-of-{world}.safetensors"))


def fails(folder):
    """Trains first."""
    trains(folder)
    dist.barrier()
    if dist.get_rank() == 1:
        raise ArithmeticError("no such step")
    dist.all_reduce(torch.ones(1))


def stops(folder):
    dist.barrier()
    report_progress([dist.get_rank()], 7)
    if dist.get_rank() == 0:
        Path(folder, "stopped").touch()
        os.kill(os.getpid(), signal.SIGSTOP)
    dist.all_reduce(torch.ones(1))


if __name__ == "__main__":
    folder, what = sys.argv[1:]
    launch(globals()[what], 2 if joined() else 1, folder, silence=3)
