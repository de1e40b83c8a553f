"""Settings of every test."""

import torch
from hypothesis import HealthCheck, settings

# Several test processes share the cores.
torch.set_num_threads(1)
# Nor does any test depend on how fast the machine is.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")
