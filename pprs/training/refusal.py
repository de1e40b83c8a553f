"""What only one rank refuses ends all, where no launcher does that."""

from __future__ import annotations

from contextlib import suppress

from pprs.pipeline import LaunchError
from pprs.pipeline.communication import gathered
from pprs.pipeline.launcher.environment import by_torchrun, joined
from pprs.pipeline.launcher.rank import Work, join

# How long the others are waited for. Who comes later finds nobody.
_SECONDS = 10.0


def tell(refusal: str, ranks: int, silence: float) -> None:
    """Tell the other ranks why this one does not take part; they are in `share`.

    Args:
        refusal: why.
        ranks: how many there are.
        silence: as for `launch`.
    """
    if ranks > 1 and joined() and not by_torchrun():
        with suppress(LaunchError):  # the others never came, or had reasons of their own
            join(Work(share, (refusal,), silence, grace=1.0, meeting=_SECONDS))


def share(refusal: str | None = None) -> None:
    """Hear from all ranks whether one refuses to take part; a collective call.

    Args:
        refusal: why this one does, if it does.

    Raises:
        LaunchError: if another does, and this one does not.
    """
    for rank, said in enumerate(gathered(refusal)):
        if said is not None and refusal is None:
            raise LaunchError(f"rank {rank} refuses: {said}", rank)
