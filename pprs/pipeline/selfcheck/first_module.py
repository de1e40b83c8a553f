"""The first module of a model whose output a chain does not reproduce."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

from pprs.pipeline.partitioner import Chain
from pprs.pipeline.selfcheck.rounding import relative_difference


def first_module(
    model: nn.Module,
    chain: Chain,
    run_own: Callable[[], None],
    run_cut: Callable[[], None],
    eps: float,
) -> str:
    """The first module, in the order in which their forwards end, whose output the chain lacks.

    Args:
        model: the user's.
        chain: its pieces.
        run_own: runs the model.
        run_cut: runs the chain.
        eps: of the precision.
    """
    given: defaultdict[torch.Size, list[Tensor]] = defaultdict(list)

    def keep(value: Any) -> None:
        for tensor in _floats(value):
            given[tensor.shape].append(tensor.detach().clone())

    with ExitStack() as stack:
        for piece in chain:
            if isinstance(piece, fx.GraphModule):
                stack.enter_context(_step_by_step(piece, keep))
        for module in dict.fromkeys(m for piece in chain for m in piece.modules()):
            hook = module.register_forward_hook(lambda module, x, output: keep(output))
            stack.callback(hook.remove)
        run_cut()
    found: list[str] = []

    def look(name: str, output: Any) -> None:
        outputs = _floats(output)
        if outputs and not any(_among(tensor, given[tensor.shape], eps) for tensor in outputs):
            found.append(name)

    with ExitStack() as stack:
        for name, module in model.named_modules():
            hook = module.register_forward_hook(
                lambda module, x, output, name=name: look(name, output)
            )
            stack.callback(hook.remove)
        run_own()
    named = found[0] if found else ""
    kind = type(model.get_submodule(named)).__name__
    return f"module {named!r} ({kind})" if named else f"{kind} itself, after all its modules"


def nearest(order: Sequence[str], wrong: Iterable[str]) -> tuple[str, str | None]:
    """The last of the parameters that are wrong, in the order of a forward, and the next one."""
    places = [order.index(name) if name in order else -1 for name in wrong]
    last = max(places)
    if last < 0:
        return next(iter(wrong)), None
    return order[last], order[last + 1] if last + 1 < len(order) else None


@contextmanager
def _step_by_step(piece: fx.GraphModule, show: Callable[[Any], None]) -> Iterator[None]:
    """Inside the block a piece shows every intermediate result."""
    piece.forward = _Showing(piece, show).run
    try:
        yield
    finally:
        del piece.forward


class _Showing(fx.Interpreter):
    def __init__(self, piece: fx.GraphModule, show: Callable[[Any], None]) -> None:
        super().__init__(piece)
        self._show = show

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        self._show(result)
        return result


def _floats(value: Any) -> list[Tensor]:
    if hasattr(value, "logits"):  # a model's output object
        value = value.logits
    return [x for x in tree_leaves(value) if isinstance(x, Tensor) and x.is_floating_point()]


def _among(tensor: Tensor, candidates: list[Tensor], eps: float) -> bool:
    return any(relative_difference(tensor, other) <= math.sqrt(eps) for other in candidates)
