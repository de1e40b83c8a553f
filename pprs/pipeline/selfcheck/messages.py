"""The sentences of the self-check."""

from __future__ import annotations

from pprs.pipeline.selfcheck.rounding import shown

_NO = "the pipeline would not train your model"
_OFF = "or, if that is meant, pass check=False (--no-check)"


def way_out(traced: bool) -> str:
    """What to do where the chain differs from the model."""
    if traced:
        return (
            "pass an nn.Sequential of the model's layers, whose own code then runs instead of its "
            f"trace, {_OFF}"
        )
    return f"let one layer of the nn.Sequential do it, {_OFF}"


def other_outputs(mode: str, module: str, size: float, *, again: bool, traced: bool) -> str:
    """The outputs differ."""
    when = ", the second time that it runs" if again else ""
    why = (
        "what depends there on Python's numbers, on attributes, on calls before or on the mode "
        "was fixed when the model was traced"
        if traced
        else "a layer used twice, a hook or a forward around layers is not run where it is cut"
    )
    return (
        f"{_NO}: in {mode} mode the first output that its pieces do not give is that of "
        f"{module}, and the end result differs {shown(size)}{when}; {why}: {way_out(traced)}"
    )


def other_gradients(
    mode: str, name: str, after: str | None, size: float, *, missing: bool, traced: bool
) -> str:
    """The gradients differ."""
    off = "is missing" if missing else f"differs {shown(size)}"
    next_one = f"that of {after!r} is right" if after else "the outputs are right"
    return (
        f"{_NO}: in {mode} mode the gradient of {name!r} {off}, while {next_one}; something "
        "between them has a backward of its own (a custom autograd.Function, a hook, a reentrant "
        f"checkpoint) that {'tracing' if traced else 'cutting'} loses: {way_out(traced)}"
    )


def no_gradients(mode: str, *, traced: bool) -> str:
    """There is no gradient at all."""
    return (
        f"{_NO}: in {mode} mode the output is right but has none of its gradients; a reentrant "
        "checkpoint, or another block without gradients, turned them off when it was "
        f"{'traced' if traced else 'cut'}: take checkpoint(..., use_reentrant=False), or "
        f"{way_out(traced)}"
    )


def other_buffers(mode: str, name: str, size: float, *, traced: bool) -> str:
    """A forward leaves other buffers."""
    return (
        f"{_NO}: after two runs in {mode} mode the buffer {name!r} differs {shown(size)}: "
        f"{way_out(traced)}"
    )


def draws_elsewhere(mode: str, whose: list[str], *, traced: bool) -> str:
    """The model draws from generators that its pieces do not draw from."""
    generators = {"python": "Python's random", "numpy": "NumPy's generator"}
    names = " and ".join(generators[who] for who in whose)
    return (
        f"{_NO}: in {mode} mode its forward draws from {names}, which the pieces do not: the "
        f"numbers of one run were fixed when it was traced. Draw them by torch.rand, or "
        f"{way_out(traced)}"
    )


def changes_by_itself(mode: str, *, traced: bool) -> str:
    """The model's output is another one each time, and that of its pieces is not."""
    return (
        f"{_NO}: in {mode} mode its output is another one each time, though all generators are "
        "seeded alike, and that of its pieces always the same: a generator of its own or something "
        f"else that it remembers was fixed when it was traced: {way_out(traced)}"
    )


def other_schedule(
    name: str, stage: int | None, size: float, schedule: str, *, missing: bool, divided: bool
) -> str:
    """The schedule leaves another gradient than passes one after the other do.

    Args:
        name: of the parameter, or what differs.
        stage: that has it.
        size: how far they are apart.
        schedule: its name.
        missing: whether there is none at all.
        divided: whether the examples of a batch run apart from each other.
    """
    off = "is missing" if missing else f"differs {shown(size)}"
    what = name if stage is None else f"the gradient of {name!r} (stage {stage})"
    ways = [] if schedule == "gpipe" else ["take schedule='gpipe'"]
    if divided:
        ways.append(
            "if what the model gives for an example depends on the others of its batch, take "
            "split='perturbations' and noise='shared', under which it sees whole batches"
        )
    return (
        f"{_NO}: with schedule={schedule!r} {what} {off} from that of a plain forward and backward "
        f"of the same examples; {'; '.join([*ways, ''])}{_OFF}"
    )


def past_the_cut(name: str, stage: int, size: float) -> str:
    """The stages leave another gradient than the same pieces in one process."""
    return (
        f"{_NO}: where it is cut into stages the gradient of {name!r} (stage {stage}) differs "
        f"{shown(size)} from that of your model, though the same pieces in one process give it; "
        "something reaches a later stage otherwise than as what a layer returns: an attribute, a "
        "list, or memory that two of the tensors share and a later layer writes to. Return it, and "
        f"write to copies; or cut elsewhere, with cut=, {_OFF}"
    )


def foreign(shapes: list[tuple[int, ...]]) -> str:
    """Something else than the model's parameters would get a gradient."""
    what = " and ".join(dict.fromkeys(map(str, shapes)))
    return (
        f"{_NO}: the loss has a gradient by a tensor of shape {what} that is no parameter of the "
        "network, so no stage would train it: let a layer of the network hold it (a loss with "
        "parameters is one), or detach it, "
        f"{_OFF}"
    )


def no_mean(whole: float, parts: float, what: str, number: int) -> str:
    """The loss is no mean over examples."""
    return (
        f"{what} needs a loss that is a mean over examples, and this one is not: the mean over "
        f"{number} equal parts of a batch is {parts:.6g}, that of the whole {whole:.6g}; change "
        f'the loss, take split="perturbations" and noise="shared", under which it sees whole '
        f"batches, {_OFF}"
    )
