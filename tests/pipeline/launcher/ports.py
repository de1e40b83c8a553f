"""Ports for processes that meet."""

import os
import socket
from contextlib import suppress


def free_port():
    """A port that nobody has, and that the system gives to nobody who asks for any."""
    for port in range(20_000 + os.getpid() % 10_000, 32_768):
        with suppress(OSError), socket.create_server(("", port)):
            return port
    raise AssertionError("no port is free")
