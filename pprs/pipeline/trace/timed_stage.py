"""A stage of a pipeline that tells a recorder its operations."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed as dist

from pprs.pipeline.split_backward_stage import SplitBackwardStage
from pprs.pipeline.trace.recorder import Recorder
from pprs.pipeline.trace.timeline import EventKind


class TimedStage(SplitBackwardStage):
    """A stage of torch's pipelines that tells a recorder what it does.

    A `"wait"` is derived: from when the process had nothing else to do, after it had asked for an
    input, to when it began to compute with it. It includes what the engine sends or waits for in
    the same breath.

    Args:
        submodule: what the stage runs.
        stage_index: which stage it is, from 0.
        num_stages: how many there are.
        device: where it computes.
        recorder: of this process.
        options: the engine's, as for `torch.distributed.pipelining.PipelineStage`.
    """

    def __init__(
        self,
        submodule: torch.nn.Module,
        stage_index: int,
        num_stages: int,
        device: torch.device,
        *,
        recorder: Recorder,
        **options: Any,
    ) -> None:
        super().__init__(submodule, stage_index, num_stages, device, **options)
        self.recorder = recorder

    def clear_runtime_states(self) -> None:
        """Begin a step."""
        if self.has_backward:
            self.recorder.begin(self.stage_index)
        super().clear_runtime_states()

    def get_fwd_recv_ops(self, fwd_chunk_id: int) -> list[dist.P2POp]:
        """Receive a microbatch's input."""
        return self._expecting(super().get_fwd_recv_ops(fwd_chunk_id), True, fwd_chunk_id)

    def get_bwd_recv_ops(self, bwd_chunk_id: int) -> list[dist.P2POp]:
        """Receive the gradient by a microbatch's output."""
        return self._expecting(super().get_bwd_recv_ops(bwd_chunk_id), False, bwd_chunk_id)

    def forward_one_chunk(self, fwd_chunk_id: int, *args: Any, **kwargs: Any) -> Any:
        """Run a microbatch forward."""
        self.wait_for(True, fwd_chunk_id)
        with self._operation("F", fwd_chunk_id):
            return super().forward_one_chunk(fwd_chunk_id, *args, **kwargs)

    def backward_one_chunk(
        self,
        bwd_chunk_id: int,
        loss: Any = None,
        full_backward: bool = True,
        last_backward: bool = False,
    ) -> None:
        """Run a microbatch backward, or only by its input."""
        self.wait_for(False, bwd_chunk_id)
        with self._operation("B" if full_backward else "I", bwd_chunk_id):
            super().backward_one_chunk(bwd_chunk_id, loss, full_backward, last_backward)

    def backward_weight_one_chunk(self, bwd_chunk_id: int, last_backward: bool = False) -> None:
        """Run the weight part of a microbatch's backward."""
        with self._operation("W", bwd_chunk_id):
            super().backward_weight_one_chunk(bwd_chunk_id, last_backward)

    def _operation(self, kind: EventKind, microbatch: int) -> AbstractContextManager[None]:
        if not self.has_backward:  # an evaluation
            return nullcontext()
        return self.recorder.operation(self.stage_index, kind, microbatch)

    def _expecting(
        self, operations: list[dist.P2POp], forward: bool, microbatch: int
    ) -> list[dist.P2POp]:
        if self.has_backward and (operations or self.is_due(forward, microbatch)):
            self.recorder.expect(self.stage_index, forward, microbatch)
        return operations
