"""The program for a machine with a GPU, on the CPU: what it writes, not how fast anything is."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_it_writes_its_table_after_each_case(tmp_path):
    options = ["--device", "cpu", "--repeats", "1", "--seconds", "0", "--no-tests"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu.main", "--folder", str(tmp_path), *options],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "gpu.json").read_text())
    (gradient,) = found["gradients"]
    ways = {"plain", "recorded", "shared", "captured", "example", "implicit", "materialised"}
    assert set(gradient["seconds"]) == ways
    assert len(found["draws"]) == 1
    assert "| mlp-1024 |" in (tmp_path / "gpu.md").read_text()
