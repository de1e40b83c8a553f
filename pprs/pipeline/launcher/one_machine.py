"""Where the ranks of one machine meet: in a store of the process that starts them."""

from __future__ import annotations

from torch._C._distributed_c10d import PrefixStore, TCPStore
from torch.distributed.elastic.rendezvous import (
    RendezvousHandler,
    RendezvousInfo,
    RendezvousStoreInfo,
)

_HOST = "localhost"


class OneMachine(RendezvousHandler):
    """What torch's elastic agent asks for.

    Torch's own meeting of several machines looks through the sources of all that is imported, for
    its log, and waits a part of a second for others.
    """

    def __init__(self) -> None:
        self._store = TCPStore(_HOST, 0, is_master=True, wait_for_workers=False)
        self._rounds = 0

    def get_backend(self) -> str:
        """Its name."""
        return "one machine"

    @property
    def use_agent_store(self) -> bool:
        """Whether ranks use the store, too."""
        return True

    def next_rendezvous(self) -> RendezvousInfo:
        """A fresh part of the store for each start of the ranks."""
        self._rounds += 1
        at = RendezvousStoreInfo(_HOST, self._store.port)
        return RendezvousInfo(PrefixStore(f"round {self._rounds}", self._store), 0, 1, at)

    def is_closed(self) -> bool:
        """Whether no more ranks can be started."""
        return False

    def set_closed(self) -> None:
        """There is nobody to tell."""

    def num_nodes_waiting(self) -> int:
        """How many other machines wait."""
        return 0

    def get_run_id(self) -> str:
        """The store's port, which no other launch has at the same time."""
        return str(self._store.port)

    def shutdown(self) -> bool:
        """Nothing is left behind: the store ends with this object."""
        return True
