"""What importing a package brings in, seen in a fresh interpreter."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.dist
SLOW = {"scipy.stats", "scipy.optimize", "networkx"}
SLOW_TORCH = {"torch.distributed.pipelining", "torch._dynamo", "sympy"}
# One after the other: nothing that takes long comes with a package before it is used.
UNWANTED = {
    "pprs": SLOW | {"torch", "pprs.explore"},
    "pprs.cli.explore": SLOW | {"torch"},
    "pprs.theory": SLOW | {"torch"},
    "pprs.optim": SLOW | {"pprs.pipeline"},
    "pprs.pipeline": SLOW | SLOW_TORCH,
    "pprs.cli.train": SLOW | SLOW_TORCH | {"matplotlib"},
    "pprs.cli.compare": SLOW | SLOW_TORCH | {"matplotlib"},
}


def test_what_takes_long_to_import_waits_until_it_is_used():
    code = "".join(f"import {package}; print(*sys.modules)\n" for package in UNWANTED)
    command = [sys.executable, "-c", f"import sys\n{code}"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    for (package, unwanted), line in zip(UNWANTED.items(), ended.stdout.splitlines(), strict=True):
        loaded = set(line.split())
        assert package in loaded
        assert not loaded & unwanted, package
