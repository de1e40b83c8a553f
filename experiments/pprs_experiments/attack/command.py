"""`pprs-attack`: run what is missing, and write the report."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from pprs._arguments import counts
from pprs.cli.dispatch import say as end
from pprs.cli.run_command import configured
from pprs.io.files import writing
from pprs_experiments.attack.network import trained
from pprs_experiments.attack.objective import drawn_images
from pprs_experiments.attack.plan import IMAGES, PAIRS, REPORTED, TUNING, jobs
from pprs_experiments.attack.report import write_report
from pprs_experiments.attack.results import read
from pprs_experiments.attack.working import Problem, work
from pprs_experiments.study.progress import say
from pprs_experiments.tasks.images.cifar_10 import cifar_10

SEED = 0


@dataclass(frozen=True)
class AttackConfig:
    """Attack images by many methods: tuned on 5, reported on 20 others, of four pairs of classes.

    It can be interrupted and called again: what results.jsonl holds is not computed again.

    Args:
        out: folder of the network, the results and the report.
        data_dir: holds data_batch_1.bin and data_batch_2.bin of CIFAR-10; without it only the
            report is written, of the results so far.
        only: jobs whose keys begin with one of these words, such as frog-horse.
        workers: processes, by default one for each core.
    """

    out: Path = Path("runs/attack")
    data_dir: Path | None = None
    only: tuple[str, ...] = ("",)
    workers: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))

    def __post_init__(self) -> None:
        counts(workers=self.workers)


def attack(config: AttackConfig) -> None:
    """Run the jobs that have no result yet, and write the report.

    Raises:
        ValueError: for data or results that are missing, or files that cannot be written.
    """
    file = config.out / "results.jsonl"
    if config.data_dir is not None:
        with writing(config.out):
            config.out.mkdir(parents=True, exist_ok=True)
        wanted = [job for job in jobs() if job.key.startswith(config.only)]
        work(_problem(config.data_dir, config.out), wanted, file, config.workers)
    rows = read(file)
    if not rows:
        raise ValueError(f"there are no results at {file}: name the folder of CIFAR-10's files")
    say(f"wrote {write_report(rows, config.out)}")


def _problem(data_dir: Path, out: Path) -> Problem:
    official = cifar_10(data_dir)
    assert official.test is not None
    train, test = (official.as_numbers(e, torch.float32) for e in (official.train, official.test))
    network, accuracy = trained(out / "network.pt", train, test, SEED)
    say(f"the network classifies {accuracy:.1%} of the held-out images correctly")
    number = IMAGES * len(TUNING + REPORTED)
    images = {p.name: drawn_images(network, test, p.label, number, SEED) for p in PAIRS}
    return Problem(network, images, IMAGES)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        return configured("pprs-attack", AttackConfig, attack, words)
    except KeyboardInterrupt:
        return end("interrupted; what is finished is kept: call it again to go on", 130)


if __name__ == "__main__":
    raise SystemExit(main())
