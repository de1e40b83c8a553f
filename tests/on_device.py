"""Tests on another device: `--device cuda` makes all tensors there, unless a test says where."""

from torch.utils._device import DeviceContext, _device_constructors


class OnDevice(DeviceContext):
    """As `torch.device` as a context, and what a CPU's generator draws is brought there."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        generator = kwargs.get("generator")
        on_cpu = generator is not None and generator.device.type == "cpu"
        if on_cpu and function in _device_constructors() and kwargs.get("device") is None:
            leaf = kwargs.pop("requires_grad", False)
            made = function(*args, **kwargs).to(self.device)
            return made.requires_grad_() if leaf else made  # which vmap would refuse to be asked
        return super().__torch_function__(function, types, args, kwargs)
