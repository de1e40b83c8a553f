"""Functions that read values, which differ between perturbations that run at once."""

from __future__ import annotations

_CALLED = {
    **{name: f".{name}()" for name in ("item", "tolist", "numpy")},
    **{f"__{name}__": f"{name}()" for name in ("float", "int", "index", "format")},
    "__array__": "numpy.asarray()",
    "__bool__": "bool(), which `if`, `while`, `assert` and `in` call,",
    "__contains__": "`in`",
}
_CHOOSES = ("__bool__", "__contains__")


def reading(function: str, error: Exception) -> str:
    """What is wrong with a function of values that perturbations differ in, and what to do.

    Args:
        function: its name, such as `torch.Tensor.item`.
        error: that it raised.

    Returns:
        A sentence; empty for a function whose result does not depend on values in this way.
    """
    short = function.rpartition(".")[2]
    differ = "between perturbations, which run at once: "
    if short in _CHOOSES:
        return f"{_CALLED[short]} reads a value that differs {differ}write torch.where(test, a, b)"
    if short in _CALLED or ".item()" in str(error):
        return (
            f"{_CALLED.get(short, function)} reads a value that differs {differ}keep the tensor, "
            f"x.detach(), and read it after the pass"
        )
    if "dynamic shape" in str(error):
        return (
            f"{function} gives a tensor whose shape may differ {differ}for x[mask] write "
            f"torch.where(mask, x, 0)"
        )
    return ""
