"""Settings of every test."""

import torch

# Several test processes share the cores.
torch.set_num_threads(1)
