"""The theory on screen: `pprs bounds` and `pprs simulate`."""

from pprs.limits.bounds import BoundsConfig, bounds
from pprs.limits.simulate import SimulateConfig, simulate

__all__ = ["BoundsConfig", "SimulateConfig", "bounds", "simulate"]
