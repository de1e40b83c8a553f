"""Work done by real processes, and what each of them found."""

import pickle
import tempfile
from pathlib import Path

import torch.distributed as dist

from pprs.pipeline import launch


def on_ranks(processes, work, *arguments):
    """What `work(*arguments)` returned on each rank."""
    with tempfile.TemporaryDirectory() as folder:
        launch(_write, processes, folder, work, arguments)
        return [pickle.loads(Path(folder, str(i)).read_bytes()) for i in range(processes)]


def merged(parts):
    """The dictionaries of all ranks in one, which share no name unless copies hold the same."""
    return {name: value for part in parts for name, value in part.items()}


def _write(folder, work, arguments):
    found = pickle.dumps(work(*arguments))
    Path(folder, str(dist.get_rank())).write_bytes(found)
