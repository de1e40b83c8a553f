"""Which network interface leads to the other machines."""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from pathlib import Path

from pprs.pipeline.launcher.environment import local_ranks, store_address

_SIOCGIFADDR = 0x8915


def choose_interface() -> None:
    """Tell gloo the interface that leads to `MASTER_ADDR`, unless GLOO_SOCKET_IFNAME is set.

    By itself gloo takes the one of this machine's host name, which in containers and on many
    distributions is not one that the others reach.
    """
    if "GLOO_SOCKET_IFNAME" not in os.environ and (name := _interface(*store_address())):
        os.environ["GLOO_SOCKET_IFNAME"] = name


def _interface(host: str, port: int) -> str | None:
    """The interface from which a host is reached, or None if that cannot be found."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as asking:
            asking.connect(address)  # a datagram socket sends nothing here
            own = ipaddress.ip_address(asking.getsockname()[0].partition("%")[0])
    except OSError:
        return None
    if own.is_loopback:
        return _loopback() if _one_machine(host) else None
    names = [name for _, name in socket.if_nameindex()]
    return next((name for name in names if own in _addresses(name)), None)


def _one_machine(host: str) -> bool:
    # A machine's own name may lead to its loopback there, but not on the others.
    if int(os.environ["WORLD_SIZE"]) == local_ranks() or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _loopback() -> str | None:
    names = {name for _, name in socket.if_nameindex()}
    return next((name for name in ("lo", "lo0") if name in names), None)


def _addresses(name: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """The addresses of an interface, where the system is Linux."""
    try:
        import fcntl

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            request = struct.pack("256s", name.encode())
            answer = fcntl.ioctl(asking, _SIOCGIFADDR, request)
        four = [ipaddress.IPv4Address(answer[20:24])]
    except (ImportError, OSError):
        four = []
    table = Path("/proc/net/if_inet6")
    lines = [line.split() for line in table.read_text().splitlines()] if table.exists() else []
    return [*four, *(ipaddress.IPv6Address(bytes.fromhex(f[0])) for f in lines if f[-1] == name)]
