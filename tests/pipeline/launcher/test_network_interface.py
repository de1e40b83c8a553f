"""Which interface gloo is told to use."""

import os
import socket

import pytest

from pprs.pipeline.launcher.network_interface import choose_interface


@pytest.fixture
def chosen(monkeypatch):
    def choose(host, local, **environment):
        monkeypatch.setenv("GLOO_SOCKET_IFNAME", "")  # so that it is put back
        monkeypatch.delenv("GLOO_SOCKET_IFNAME")
        values = {"MASTER_ADDR": host, "MASTER_PORT": "1", "WORLD_SIZE": "2"}
        for name, value in {**values, "LOCAL_WORLD_SIZE": str(local), **environment}.items():
            monkeypatch.setenv(name, value)
        choose_interface()
        return os.environ.get("GLOO_SOCKET_IFNAME")

    return choose


LOOPBACK = {name for _, name in socket.if_nameindex()} & {"lo", "lo0"}


@pytest.mark.parametrize("local", [1, 2])
def test_an_address_of_the_loopback_leads_there(chosen, local):
    assert chosen("127.0.0.1", local) in LOOPBACK


def test_a_name_that_leads_to_the_loopback_is_not_trusted_on_several_machines(chosen, monkeypatch):
    address = (socket.AF_INET, socket.SOCK_DGRAM, 0, "", ("127.0.1.1", 1))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [address])
    assert chosen("node1", local=1) is None
    assert chosen("node1", local=2) in LOOPBACK


def test_what_the_user_has_set_is_kept(chosen):
    assert chosen("127.0.0.1", 1, GLOO_SOCKET_IFNAME="eth7") == "eth7"
