"""A stage of torch's pipelines that asks for messages ahead, and splits its backward pass.

In a file of its own: importing torch's pipelines takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.pipelining import PipelineStage
from torch.distributed.pipelining.schedules import _batch_p2p

from pprs.pipeline.split_backward import backward_by_inputs


class SplitBackwardStage(PipelineStage):
    """A stage of torch's pipelines whose two parts of a backward pass add up to the whole.

    It can ask for all microbatches' messages before it needs them: where a process has one stage,
    torch's schedules ask for each only then, and while it is under way the process waits.

    Torch's own parts leave out parameters that act on what needs no gradient (behind frozen
    layers, in the second of two towers), and are wrong for a parameter that is used twice.

    Args:
        where: torch's module, number of the stage, number of all, and device.
        ahead: ask for messages ahead, for which a schedule must take microbatches in their order.
            On a GPU it does not: there messages run one after the other, as they are asked for.
        options: torch's.

    Attributes:
        turn_to: lets the parameters hold what a chunk runs at, before each of its passes. `None` if
            all run at the same.
    """

    turn_to: Callable[[int], None] | None = None

    def __init__(self, *where: Any, ahead: bool = False, **options: Any) -> None:
        super().__init__(*where, **options)
        self._ahead = ahead and self.device.type == "cpu"
        self._due: dict[tuple[bool, int], list[dist.Work]] = {}

    def get_fwd_recv_ops(self, fwd_chunk_id: int) -> list[dist.P2POp]:
        """What torch must receive for a microbatch."""
        return self._asked(True, fwd_chunk_id, super().get_fwd_recv_ops)

    def get_bwd_recv_ops(self, bwd_chunk_id: int) -> list[dist.P2POp]:
        """What torch must receive of a microbatch's gradient."""
        return self._asked(False, bwd_chunk_id, super().get_bwd_recv_ops)

    def _asked(
        self, forward: bool, chunk: int, messages: Callable[[int], list[dist.P2POp]]
    ) -> list[dist.P2POp]:
        if not self._ahead:
            return messages(chunk)
        if chunk == 0:
            for number in range(self.chunks or 0):
                self._due[forward, number] = _batch_p2p(messages(number))
        return []

    def is_due(self, forward: bool, chunk: int) -> bool:
        """Whether a message was asked for ahead."""
        return bool(self._due.get((forward, chunk)))

    def wait_for(self, forward: bool, chunk: int) -> None:
        """Wait for what was asked for ahead."""
        for work in self._due.pop((forward, chunk), ()):
            work.wait()

    def free_buffers(self) -> None:
        """Free the memory in which it receives, until `allocate_buffers`."""
        self.clear_runtime_states()
        self._move_buffers(torch.device("meta"))

    def allocate_buffers(self) -> None:
        """Allocate that memory again."""
        self._move_buffers(self.device)

    def _move_buffers(self, device: torch.device) -> None:
        """Have empty memory of the same shapes on a device."""
        for infos in (*self.args_recv_info.values(), *self.grad_recv_info.values()):
            for info in infos:
                old = getattr(info, "buffer", None)  # what the model itself is given has none
                if isinstance(old, Tensor) and old.device.type != device.type:
                    new = torch.empty_strided(
                        old.shape, old.stride(), dtype=old.dtype, device=device
                    )
                    info.buffer = new.requires_grad_(old.requires_grad)

    def forward_one_chunk(self, fwd_chunk_id: int, *args: Any, **given: Any) -> Any:
        """As torch's."""
        self.wait_for(True, fwd_chunk_id)
        self._turn(fwd_chunk_id)
        with _without_torchs_words():
            return super().forward_one_chunk(fwd_chunk_id, *args, **given)

    def backward_one_chunk(self, bwd_chunk_id: int, *args: Any, **given: Any) -> None:
        """As torch's."""
        self.wait_for(False, bwd_chunk_id)
        self._turn(bwd_chunk_id)
        super().backward_one_chunk(bwd_chunk_id, *args, **given)

    def backward_weight_one_chunk(self, bwd_chunk_id: int, *args: Any, **given: Any) -> None:
        """As torch's."""
        self._turn(bwd_chunk_id)
        super().backward_weight_one_chunk(bwd_chunk_id, *args, **given)

    def _turn(self, chunk: int) -> None:
        if self.turn_to is not None:
            self.turn_to(chunk)

    def backward_maybe_with_nosync(
        self, backward_type: str, bwd_kwargs: dict[str, Any], last_backward: bool = False
    ) -> Any:
        """Run a backward pass, or its part by inputs or by weights."""
        if backward_type == "weight":
            for part in bwd_kwargs["param_groups"] or ():
                part.backward()
            return (), None
        if backward_type == "input":
            halves = backward_by_inputs(
                bwd_kwargs["stage_output"], bwd_kwargs["output_grads"], bwd_kwargs["input_values"]
            )
            if halves is not None:
                return halves
            backward_type = "full"  # nothing is left for the second half
            if bwd_kwargs["output_grads"] is None:  # torch takes the loss itself here
                bwd_kwargs = bwd_kwargs | {"stage_output": bwd_kwargs["stage_output"][0]}
        with _without_torchs_words():
            return super().backward_maybe_with_nosync(backward_type, bwd_kwargs, last_backward)


@contextmanager
def _without_torchs_words() -> Iterator[None]:
    """Let an error of a layer through as it is, without the text that torch puts before it."""
    try:
        yield
    except RuntimeError as error:
        cause = error.__cause__ if isinstance(error.__cause__, RuntimeError) else error
        if "modified by an inplace operation" in str(cause):
            said = str(cause).partition(" Hint")[0]
            raise RuntimeError(
                "a tensor that the backward pass needs was changed in place; a trace may do so "
                "where its model does not, which uses a buffer and then replaces it, or writes to "
                "what a checkpoint gave: use a .clone() of it, or pass an nn.Sequential of the "
                f"model's layers, which needs no tracing (torch: {said})"
            ) from cause
        raise cause  # noqa: B904 (it has a cause of its own)
