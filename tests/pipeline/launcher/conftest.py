"""Launching itself is tested as a user launches."""

import pytest


@pytest.fixture(autouse=True, scope="module")
def _cold(cold):
    """Every rank is an interpreter of its own."""
