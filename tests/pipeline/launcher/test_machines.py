"""Two machines, each with its own torchrun: network namespaces, or one machine twice."""

import os
import re
import shutil
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import torch
import warm
from pipeline.launcher.ports import free_port
from safetensors.torch import load_file

pytestmark = [pytest.mark.dist, pytest.mark.slow]
SCRIPT = str(Path(__file__).with_name("hosts.py"))


@contextmanager
def namespaces():
    """Commands that run what follows in one of two namespaces; they end with their processes."""
    if not all(map(shutil.which, ("unshare", "nsenter", "ip"))):
        pytest.skip("needs unshare, nsenter and ip")
    with ExitStack() as stack:
        enters = [enter(stack) for _ in range(2)]
        second = enters[1][1].partition("=")[2]
        ip(enters[0], "link", "add", "left", "type", "veth", "peer", "name", "right")
        ip(enters[0], "link", "set", "right", "netns", second)
        for command, name, address in zip(enters, ("left", "right"), "12", strict=True):
            ip(command, "address", "add", f"10.0.0.{address}/24", "dev", name)
            ip(command, "link", "set", name, "up")
            ip(command, "link", "set", "lo", "up")
        yield enters, "10.0.0.1"


def enter(stack):
    # Nothing but this process holds the namespace, and it ends when its input is closed.
    holder = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo made && exec cat"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    stack.callback(holder.communicate)
    if holder.stdout.readline() != "made\n":
        pytest.skip(f"cannot make a network namespace: {holder.stderr.read().strip()}")
    return ["nsenter", f"--net=/proc/{holder.pid}/ns/net"]


def ip(command, *arguments):
    done = subprocess.run([*command, "ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot join network namespaces: {done.stderr.strip()}")


def both(hosts, address, folder, what):
    """Run torchrun on both; their exit codes and what they said."""
    port = free_port()
    free = {k: v for k, v in os.environ.items() if k != "GLOO_SOCKET_IFNAME"}
    runs = [
        subprocess.Popen(
            [*command, sys.executable, "-m", "torch.distributed.run", "--nnodes", "2",
             "--nproc-per-node", "1", "--node-rank", str(i), "--master-addr", address,
             "--master-port", str(port), SCRIPT, str(folder), what],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=free,
        )
        for i, command in enumerate(hosts)
    ]  # fmt: skip
    try:
        said = [run.communicate(timeout=600)[1] for run in runs]
    finally:
        for run in runs:
            run.kill()
    return [run.returncode for run in runs], said


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    assert warm.run(SCRIPT, str(folder), "trains").returncode == 0
    return load_file(folder / "0-of-1.safetensors")


def check_trained(tmp_path, alone):
    found = [load_file(tmp_path / f"{rank}-of-2.safetensors") for rank in (0, 1)]
    together = {**found[0], **found[1]}
    assert all(found)
    assert together.keys() == alone.keys()
    for name, expected in alone.items():
        torch.testing.assert_close(together[name], expected, rtol=1e-10, atol=1e-12)


def test_two_machines_train_what_one_process_trains(alone, tmp_path):
    with namespaces() as (hosts, address):
        codes, said = both(hosts, address, tmp_path, "trains")
    assert codes == [0, 0], said
    check_trained(tmp_path, alone)


def test_so_does_one_machine_twice_and_a_failing_rank_ends_the_agents_of_both(alone, tmp_path):
    codes, said = both([[], []], "127.0.0.1", tmp_path, "fails")
    assert codes == [1, 1], said
    check_trained(tmp_path, alone)
    failed = r"LaunchError: rank 1 \(stage 1, step 1\) failed with ArithmeticError: no such step"
    assert re.search(failed, said[1]), said[1]


def test_a_first_rank_that_is_stopped_ends_the_others_without_any_launcher(tmp_path):
    """As Slurm starts them: nobody watches the processes, and the stopped one has the store."""
    port = free_port()
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    ranks = [
        subprocess.Popen(
            [sys.executable, SCRIPT, str(tmp_path), "stops"],
            stderr=subprocess.PIPE, text=True, env={**os.environ, **group, "RANK": str(rank)},
        )
        for rank in (0, 1)
    ]  # fmt: skip
    try:
        _, said = ranks[1].communicate(timeout=600)
    finally:
        for rank in ranks:
            rank.kill()
        ranks[0].communicate()
    assert ranks[1].returncode == 1
    assert re.search(r"rank 0 .*has sent no heartbeat for 3 s", said)
