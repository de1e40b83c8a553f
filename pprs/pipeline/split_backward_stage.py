"""A stage of torch's pipelines whose backward pass may be run in two parts.

In a file of its own: importing torch's pipelines takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.distributed.pipelining import PipelineStage

from pprs.pipeline.split_backward import backward_by_inputs


class SplitBackwardStage(PipelineStage):
    """A stage of torch's pipelines whose two parts of a backward pass add up to the whole.

    Torch's own parts leave out parameters that act on what needs no gradient (behind frozen
    layers, in the second of two towers), and are wrong for a parameter that is used twice.

    Attributes:
        turn_to: lets the parameters hold what a chunk runs at, before each of its passes. `None` if
            all run at the same.
    """

    turn_to: Callable[[int], None] | None = None

    def free_buffers(self) -> None:
        """Free the memory in which it receives, until `allocate_buffers`."""
        for info in self._received():
            info.buffer = None
        self.fwd_cache.clear()

    def allocate_buffers(self) -> None:
        """Allocate that memory again."""
        for info in self._received():
            if info.buffer is None:
                meta = info.tensor_meta
                info.buffer = torch.empty_strided(
                    meta.shape, meta.stride, dtype=meta.dtype, device=self.device
                )

    def _received(self) -> Iterator[Any]:
        for infos in (*self.args_recv_info.values(), *self.grad_recv_info.values()):
            yield from (i for i in infos if not i.is_root_arg and i.tensor_meta is not None)

    def forward_one_chunk(self, fwd_chunk_id: int, *args: Any, **given: Any) -> Any:
        """As torch's."""
        self._turn(fwd_chunk_id)
        with _without_torchs_words():
            return super().forward_one_chunk(fwd_chunk_id, *args, **given)

    def backward_one_chunk(self, bwd_chunk_id: int, *args: Any, **given: Any) -> None:
        """As torch's."""
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
