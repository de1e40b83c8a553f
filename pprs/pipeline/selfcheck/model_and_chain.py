"""A chain of pieces and the model that it was cut from, both run in one process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from pprs.pipeline.partitioner import Chain, full_names
from pprs.pipeline.selfcheck.first_module import first_module
from pprs.pipeline.selfcheck.rounding import computed_in, nudged, precision
from pprs.pipeline.selfcheck.sketch import Sketches, arriving, sketch
from pprs.pipeline.snapshot import (
    Snapshot,
    drawn,
    generator_states,
    gradients_kept,
    seeded,
)
from pprs.smoothing import leaves

Loss = Callable[[Any, Tensor], Tensor]
Which: TypeAlias = Literal["own", "cut"]
Kept: TypeAlias = Literal["gradients", "sketches"]

_SEEDS = 20, 21  # of two runs


@dataclass
class RunResults:
    """The results of some runs.

    Args:
        outputs: of each run.
        gradients: of the first run, by names in the model, where they were asked for.
        sketches: or these of them.
        loss: of the first run, with a backward.
        buffers: after all.
        drawn: the generators that numbers were drawn from.
        types: in which it was computed.
        foreign: the shapes of tensors that get a gradient and are no parameters of the model.
    """

    outputs: list[dict[str, Tensor]] = field(default_factory=list)
    gradients: dict[str, Tensor | None] = field(default_factory=dict)
    sketches: Sketches = field(default_factory=dict)
    loss: float = 0.0
    buffers: dict[str, Tensor] = field(default_factory=dict)
    drawn: set[str] = field(default_factory=set)
    types: set[torch.dtype] = field(default_factory=set)
    foreign: list[tuple[int, ...]] = field(default_factory=list)


class ModelAndChain:
    """A chain and its model, on the device where the model was when this was made.

    Args:
        chain: all pieces; knows its origin.
        loss: of outputs and targets.

    Attributes:
        traced: whether the pieces are a trace, and not the model's own layers.
        trained: whether the model was in training mode.
        switches: whether the pieces have another mode, too.
        order: the names of all parameters in the order in which the pieces use them.
        buffers: of the model, as they are.
    """

    def __init__(self, chain: Chain, loss: Loss) -> None:
        assert chain.origin is not None
        self._call, self._model = chain.origin, chain.origin.model
        self._chain, self._loss = chain, loss
        self.traced, self.trained = chain.origin.traced, self._model.training
        self.switches = not getattr(chain, "fixed", False)
        self._flags = {m: m.training for top in (self._model, chain) for m in top.modules()}
        own = dict(self._model.named_parameters())
        names = {id(p): name for name, p in own.items()}
        used = {names.get(id(p), name): p for name, p in full_names(chain).items()}
        self._parameters = used | own
        self.order = list(self._parameters)
        first: Tensor | None = next(iter((*own.values(), *self._model.buffers())), None)
        self._home = torch.device("cpu") if first is None else first.device
        self.buffers: dict[str, Tensor] = {}
        self._batch: tuple[tuple[Tensor, ...], Tensor] = (), torch.empty(0)

    @property
    def plain(self) -> bool:
        """Whether all that runs are torch's own layers, which do the same in both modes."""
        calm = not torch.nn.modules.module._has_any_global_hook()  # type: ignore[no-untyped-call]
        return calm and not self.traced and all(map(same_in_both_modes, self._model.modules()))

    @property
    def of_chain(self) -> set[str]:
        """The names of the parameters that the pieces have."""
        names = {id(p): name for name, p in self._parameters.items()}
        return {names[id(p)] for p in full_names(self._chain).values()}

    @property
    def here(self) -> bool:
        """Whether all of it is in this process."""
        tensors = [*self._parameters.values(), *self._model.buffers(), *self._chain.buffers()]
        return not any(tensor.is_meta for tensor in tensors)

    @contextmanager
    def on(self, inputs: tuple[Tensor, ...], y: Tensor) -> Iterator[None]:
        """Inside the block both can run on a few examples; then all is as it was before."""
        kept = Snapshot([self._model, self._chain], self._loss)
        moved = [(p, p.data) for p in self._parameters.values() if p.device != self._home]
        with gradients_kept(self._parameters.values()), torch.enable_grad():
            try:
                for parameter, data in moved:
                    parameter.data = data.to(self._home)
                self._gather_buffers()
                self._kept = Snapshot([self._model, self._chain], self._loss)
                self.buffers = {n: b.clone() for n, b in self._model.named_buffers()}
                self._batch = tuple(x.to(self._home) for x in inputs), y.to(self._home)
                yield
            finally:
                for parameter, data in moved:
                    parameter.grad = None
                    parameter.data = data
                kept.restore()

    def run(self, which: Which, modes: Sequence[bool], backward: Kept | None = None) -> RunResults:
        """Forwards one after the other, with other random numbers after the first one.

        Args:
            which: of the two.
            modes: of each forward, whether it is in the mode in which the model was built; else in
                evaluation mode.
            backward: what is kept of the gradients of the first; by default it has no backward.
        """
        call, ran = self._call if which == "own" else self._chain, RunResults()
        with self._fresh():
            for number, built in enumerate(modes):
                self._switch(built)
                seeded(_SEEDS[min(number, 1)])
                before = generator_states()
                outputs = call(*self._inputs())
                ran.drawn |= drawn(before, generator_states())
                ran.types |= computed_in(tree_leaves(outputs))
                if backward and not number:
                    self._go_back(outputs, ran, backward)
                ran.outputs.append(named(outputs))
            ran.buffers = self._left(which)
        return ran

    def _go_back(self, outputs: Any, ran: RunResults, kept: Kept) -> None:
        loss = plain_loss(self._loss, outputs, self._batch[1])
        ran.types |= computed_in([loss])
        ran.loss = loss.item()
        known = set(map(id, self._parameters.values()))
        ran.foreign = [tuple(x.shape) for x in leaves([loss]) if id(x) not in known]
        with arriving(self._parameters if kept == "sketches" else {}) as ran.sketches:
            if loss.requires_grad:
                loss.backward()  # type: ignore[no-untyped-call]
        ran.gradients = {n: p.grad for n, p in self._parameters.items()}

    def rounded(self, modes: Sequence[bool], backward: Kept | None, eps: float) -> list[RunResults]:
        """As `run`, of the model at parameters changed in their last digits, in two ways."""
        runs = []
        for seed in range(2):
            with nudged(self._parameters.values(), eps, seed):
                runs.append(self.run("own", modes, backward))
        return runs

    def state(self) -> Sketches:
        """Sketches of parameters and buffers, as they are here."""
        return {n: sketch(t) for n, t in {**self._parameters, **self.buffers}.items()}

    def precision(self, ran: RunResults) -> float:
        """The rounding of what takes part."""
        tensors = [*self._parameters.values(), *ran.outputs[0].values()]
        return precision(tensors, self._home, ran.types)

    def first_module(self, *, built: bool, run: int, eps: float) -> str:
        """The first module whose output the chain does not give, in a run."""

        def runs(call: Callable[..., Any]) -> None:
            with self._fresh():
                self._switch(built)
                for seed in _SEEDS[: run + 1]:
                    seeded(seed)
                    call(*self._inputs())

        return first_module(
            self._model, self._chain, lambda: runs(self._call), lambda: runs(self._chain), eps
        )

    def _inputs(self) -> tuple[Tensor, ...]:
        return tuple(x.clone() for x in self._batch[0])  # some models write into them

    @contextmanager
    def _fresh(self) -> Iterator[None]:
        for parameter in self._parameters.values():
            parameter.grad = None
        try:
            yield
        finally:
            self._kept.restore()

    def _switch(self, built: bool) -> None:
        for module, training in self._flags.items():
            module.training = training and built

    def _left(self, which: Which) -> dict[str, Tensor]:
        """The buffers as they are."""
        parts = [self._model] if which == "own" else list(self._chain)
        return {n: b.clone() for part in parts for n, b in part.named_buffers()}

    def _gather_buffers(self) -> None:
        """Let the model have the buffers of its pieces, which may have moved and changed since."""
        owners = {
            f"{prefix}.{name}".lstrip("."): (module, name)
            for prefix, module in self._model.named_modules()
            for name in module._buffers
        }
        for piece in self._chain:
            for prefix, module in piece.named_modules():
                for name, buffer in module._buffers.items():
                    if buffer is None:
                        continue
                    here = module._buffers[name] = buffer.to(self._home)
                    owner, own = owners.get(f"{prefix}.{name}".lstrip("."), (module, name))
                    if owner._buffers[own] is not here:
                        owner._buffers[own] = here.clone()


def plain_loss(loss: Loss, outputs: Any, y: Tensor) -> Tensor:
    """The loss of a batch, as the pipeline takes it: in float32 under autocast."""

    def wide(x: Tensor) -> Tensor:
        cast = torch.is_autocast_enabled(x.device.type) and x.is_floating_point()
        return x.float() if cast else x

    return loss(tree_map_only(Tensor, wide, outputs), y)


def same_in_both_modes(module: nn.Module) -> bool:
    """Whether a module is a layer of torch's that neither looks at its mode nor has hooks."""
    touched = "forward" in vars(module) or module._forward_hooks or module._forward_pre_hooks
    touched = touched or module._backward_hooks or module._backward_pre_hooks
    kind = type(module)
    own = [base for base in kind.__mro__ if base not in (nn.Module, object)]
    functions = [f for base in own for f in vars(base).values() if isinstance(f, FunctionType)]
    torchs = kind.__module__.startswith("torch.nn.modules.")
    return (
        torchs
        and not touched
        and not any("training" in function.__code__.co_names for function in functions)
    )


def named(outputs: Any) -> dict[str, Tensor]:
    """Outputs by number, without graph."""
    tensors = [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]
    return {str(i): tensor.detach() for i, tensor in enumerate(tensors)}
