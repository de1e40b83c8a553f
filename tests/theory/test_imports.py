"""What importing a package brings in, seen in a fresh interpreter."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.dist
SLOW = {"scipy.stats", "scipy.optimize", "networkx"}


@pytest.mark.parametrize(
    ("package", "unwanted"),
    [
        ("pprs", {"torch"}),
        ("pprs.optim", SLOW | {"pprs.theory", "pprs.pipeline"}),
        ("pprs.pipeline", SLOW | {"pprs.theory"}),
        ("pprs.theory", SLOW | {"torch"}),
    ],
)
def test_what_takes_long_to_import_waits_until_it_is_used(package, unwanted):
    code = f"import sys, {package}; print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(ended.stdout.split())
    assert package in loaded
    assert not loaded & unwanted
