"""Each rank says every second that it lives, and ends the run when another falls silent."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, Store, TCPStore
from torch.distributed.elastic.multiprocessing.errors import get_error_handler

from pprs._parent import watch_parent
from pprs.pipeline.launcher.environment import attempt, launcher_has_store, store_address
from pprs.pipeline.launcher.progress import FOLDER, last_progress, read_progress
from pprs.pipeline.launcher.stall_detector import StallDetector

_LEFT = "left"


class SilentRank(RuntimeError):
    """A rank has sent no heartbeat; the message is the whole sentence."""


class Heartbeat:
    """While this is open, a rank that falls silent ends this process, and so the run.

    A stopped process or a machine that is gone fails no call: the others would wait for it until
    the process group's timeout. One thread talks to the store. A second watches the first, which
    itself waits if the store's machine is the one that is gone. If the launcher dies, the process
    leaves as after a signal.

    Args:
        silence: seconds without a heartbeat after which a rank counts as failed.
        grace: seconds to leave by itself if the launcher dies.
    """

    def __init__(self, silence: float, grace: float) -> None:
        self._silence, self._grace = silence, grace
        self._period = min(1.0, silence / 6)
        self._rank, self._world = dist.get_rank(), dist.get_world_size()
        self._rounds = 0
        self._last: dict[int, str] = {}
        self._closing = threading.Event()
        self._finished = False
        self._talking = threading.Thread(target=self._talk, daemon=True)
        self._watching = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Heartbeat:
        watch_parent(self._leave_alone)
        self._watching.start()
        self._talking.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._finished = kind is None
        self._closing.set()
        # A thread that is inside the store's code must not outlive the interpreter.
        self._talking.join(max(1.0, self._grace))

    def _talk(self) -> None:
        try:
            store = self._store()
            keys = [str(rank) for rank in range(self._world)]
            for key in keys:
                store.compare_set(key, "", "0")  # so that reading waits for no one
            detector = StallDetector(self._silence, time.monotonic())
            while not self._closing.wait(self._period):
                self._round(store, keys, detector)
            if self._finished:
                self._leave(store, keys)
        except RuntimeError:
            # The store has ended with the process that held it. That was the last to leave, or
            # else the group and the launcher notice.
            self._closing.set()

    def _store(self) -> Store:
        host, port = store_address()
        timeout = timedelta(seconds=self._silence)
        client = TCPStore(host, port, None, False, timeout, wait_for_workers=False)
        return PrefixStore(f"{attempt()}/heartbeat", client)

    def _round(self, store: Store, keys: list[str], detector: StallDetector) -> None:
        self._rounds += 1
        store.set(str(self._rank), f"{self._rounds} {last_progress()}")
        self._last = {rank: said.decode() for rank, said in enumerate(store.multi_get(keys))}
        watched = self._last.items()
        others = {rank: said for rank, said in watched if rank != self._rank and said != _LEFT}
        for rank in detector.stalled(others, time.monotonic()):
            self._give_up(self._name(rank))

    def _leave(self, store: Store, keys: list[str]) -> None:
        store.set(str(self._rank), _LEFT)
        if self._rank > 0 or launcher_has_store():
            return
        # The store is in this process: the others still need it.
        deadline = time.monotonic() + self._grace
        while set(store.multi_get(keys)) != {_LEFT.encode()} and time.monotonic() < deadline:
            time.sleep(0.02)

    def _watch(self) -> None:
        detector = StallDetector(self._silence, time.monotonic())
        while not self._closing.wait(self._period):
            if detector.stalled({0: self._rounds}, time.monotonic()):
                self._give_up("the launcher" if launcher_has_store() else self._name(0))

    def _name(self, rank: int) -> str:
        if folder := os.environ.get(FOLDER):  # newer than what the rank said last
            where = read_progress(Path(folder), rank)
        else:
            where = self._last.get(rank, "").partition(" ")[2]
        return f"rank {rank} ({where})" if where else f"rank {rank}"

    def _give_up(self, who: str) -> NoReturn:
        try:
            raise SilentRank(f"{who} has sent no heartbeat for {self._silence:g} s")
        except SilentRank as error:
            get_error_handler().record_exception(error)
            if FOLDER not in os.environ:  # no launcher of ours will say it
                print(f"pprs: {error}", file=sys.stderr, flush=True)
        os._exit(1)

    def _leave_alone(self) -> NoReturn:
        """Leave as after a signal: the launcher has died and can stop nobody."""
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(self._grace)
        os._exit(1)
