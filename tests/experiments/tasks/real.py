"""The official data, where a folder beside the repository has them."""

from pathlib import Path

import pytest

DATA = Path(__file__).parents[4] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the official data are not here")
