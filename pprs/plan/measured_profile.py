"""The profile of a model: measured by one process, and by as many as its pipeline will have."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.distributed as dist

from pprs.pipeline import chain, launch
from pprs.pipeline.launcher.environment import cores
from pprs.pipeline.partitioner import partition
from pprs.pipeline.partitioner.chain import ties
from pprs.plan.measure import Measurement, Subject
from pprs.plan.predict import Setting
from pprs.plan.probe import Probe, calibrated
from pprs.plan.profile import Link, Profile, Times

WARM_UP = 2
"""Rounds before those that are kept."""
# Steps that tell what messages take: schedule, stages of a process, microbatches.
_PROBES = (("gpipe", 1, 1), ("gpipe", 1, 4), ("looped-bfs", 2, 4))
_SIZE = 1 << 22  # bytes of a message that tells the bandwidth


def measured_profile(
    build: Callable[[], Subject], name: str, devices: int, *, repeats: int = 7
) -> Profile:
    """Measure a model in one process, and in as many at once as the pipeline will have.

    Args:
        build: gives what is measured, the same in all processes; it is called in each.
        name: of the model.
        devices: processes of the pipeline; no more than there are cores are measured.
        repeats: steps of which medians are taken, after two that warm up.

    Raises:
        LaunchError: if a process fails.
    """
    parts = []
    with TemporaryDirectory() as folder:
        file = Path(folder) / "profile.json"
        for processes in sorted({1, min(devices, cores())}):
            launch(member, processes, build, name, repeats, file)
            parts.append(Profile.load(file))
    return replace(parts[-1], times=tuple(times for part in parts for times in part.times))


def member(build: Callable[[], Subject], name: str, repeats: int, file: Path) -> None:
    """Measure as one of the processes; the first one writes the profile. A collective call."""
    subject = build()
    profiler = Profiler(subject)
    for repeat in range(-WARM_UP, repeats):
        profiler.round(kept=repeat >= 0)
    times, link = profiler.found()
    if dist.get_rank() == 0:
        tied = tuple(profiler.ties)
        Profile(name, len(subject.target), cores(), times, link, tied).save(file)


class Profiler:
    """Measures both kinds of passes, and steps that tell what messages take, in turn.

    Building it and all calls are collective.
    """

    def __init__(self, subject: Subject) -> None:
        processes = dist.get_world_size()
        whole = chain(subject.model, *subject.example, stages=2 * processes)
        subject = replace(subject, model=whole)  # all pipelines have the same pieces
        self.ties = [tuple(sorted(group)) for group in ties(whole)]
        self._kinds = [
            (
                Measurement(subject, processes, smoothed=kind),
                list(_probes(subject, len(whole), processes, smoothed=kind)),
            )
            for kind in (True, False)
        ]

    def round(self, *, kept: bool) -> None:
        """Take every step once; its time counts if it is kept."""
        for kind, probes in self._kinds:
            kind.round(kept=kept)
            for probe in probes:
                probe.take(kept=kept)

    def found(self) -> tuple[tuple[Times, ...], Link]:
        """The times of smoothed and of plain passes, and the link."""
        link = _link() if dist.get_world_size() > 1 else Link()
        times = (
            calibrated(kind.times(), probes, link) if probes else kind.times()
            for kind, probes in self._kinds
        )
        return tuple(times), link


def _probes(subject: Subject, layers: int, processes: int, *, smoothed: bool) -> Iterator[Probe]:
    """Steps with as many microbatches of the whole batch as perturbations; or of parts of it."""
    batch = len(subject.target)
    for schedule, each, number in _PROBES if processes > 1 else ():
        if layers >= each * processes:
            cut = tuple(partition([1] * layers, each * processes))
            pieces = number if smoothed else math.gcd(number, batch)
            rows = batch if smoothed else batch // pieces
            yield Probe(subject, Setting(schedule, cut, number * smoothed, pieces, rows))


def _link(repeats: int = 15) -> Link:
    """What a message takes, once it is asked for, from the first process to the second."""
    taken = []
    for size in (4, _SIZE):
        message, times = torch.zeros(size, dtype=torch.uint8), []
        for _ in range(repeats):
            dist.barrier()
            start = time.perf_counter()
            if dist.get_rank() == 0:
                dist.send(message, 1)
            elif dist.get_rank() == 1:
                dist.recv(message, 0)
            times.append(time.perf_counter() - start)
        taken.append(statistics.median(times))
    latency, longest = taken
    return Link(latency, _SIZE / max(longest - latency, 1e-6))
