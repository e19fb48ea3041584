"""What can go wrong on purpose? Each fault is a context manager: it happens at the entry and is healed at the
exit.

To add one: write it here, and name it in FAULTS if `vipguard lab run` is to offer it. Healing a killed
process is starting it again.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from vipguard.lab import templates
from vipguard.lab.cluster import Lab
from vipguard.lab.network import TABLE_PREFIX, Traffic
from vipguard.lab.node import Node
from vipguard.lab.process import Daemon
from vipguard.lab.spec import PORT
from vipguard.lab.wait import LabError, wait_until

DATA, STATE = "/var/lib/mysql", "/var/lib/vipguard"
#: ioctl_fs(2), FIFREEZE and FITHAW
FREEZE = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)
fcntl.ioctl(fd, 0xC0045877, 0)
try:
    os.write(1, b"frozen\\n")
    os.read(0, 1)
finally:
    fcntl.ioctl(fd, 0xC0045878, 0)
"""
SMALL_BYTES_MAX = 1 << 30


@contextmanager
def _killed(daemon: Daemon, again: Callable[[], None]) -> Iterator[None]:
    lived = daemon.alive
    daemon.kill9()
    try:
        yield
    finally:
        if lived and daemon.node.space.alive:
            again()


@contextmanager
def _stopped(daemon: Daemon) -> Iterator[None]:
    daemon.stop()
    try:
        yield
    finally:
        daemon.cont()


@contextmanager
def kill_mysqld(node: Node) -> Iterator[None]:
    """kill -9 of the server; healed: started again and answering."""

    def again() -> None:
        node.mysqld.start()
        node.mysqld.wait_ready()

    with _killed(node.mysqld, again):
        yield


def stop_mysqld(node: Node) -> AbstractContextManager[None]:
    """SIGSTOP of the server: connections are accepted by the kernel and never answered."""
    return _stopped(node.mysqld)


def kill_keepalived(node: Node) -> AbstractContextManager[None]:
    """kill -9 of both its processes: a VIP that it had stays behind."""
    return _killed(node.keepalived, node.start_keepalived)


def stop_keepalived(node: Node) -> AbstractContextManager[None]:
    """SIGSTOP of both its processes: the adverts end, a VIP that it had stays."""
    return _stopped(node.keepalived)


def kill_agent(node: Node) -> AbstractContextManager[None]:
    """kill -9 of the agent; healed: started again."""
    return _killed(node.agent, node.start_agent)


def stop_agent(node: Node) -> AbstractContextManager[None]:
    """SIGSTOP of the agent."""
    return _stopped(node.agent)


@contextmanager
def link_down(lab: Lab, node: Node) -> Iterator[None]:
    """The node's cable is pulled out: its eth0 loses its carrier."""
    lab.switch.port(node.name, up=False)
    try:
        yield
    finally:
        lab.switch.port(node.name, up=True)


def cut_off(
    lab: Lab, node: Node, *, traffic: Traffic = "all", percent: int = 100
) -> AbstractContextManager[None]:
    """The node reaches nobody and nobody reaches it, while its carrier stays up."""
    return lab.switch.cut(node.name, None, traffic=traffic, percent=percent)


@contextmanager
def between_nodes(lab: Lab, *, traffic: Traffic = "all", percent: int = 100) -> Iterator[None]:
    """No node reaches another one; the client and the witness reach all."""
    names = list(lab.nodes)
    with contextlib.ExitStack() as stack:
        for index, one in enumerate(names):
            for other in names[index + 1 :]:
                stack.enter_context(lab.switch.cut(one, other, traffic=traffic, percent=percent))
        yield


def one_way(
    lab: Lab, source: Node, target: Node, *, traffic: Traffic = "all"
) -> AbstractContextManager[None]:
    """What `source` sends does not reach `target`; the other direction works."""
    return lab.switch.cut(source.name, target.name, traffic=traffic, both_ways=False)


@contextmanager
def rejecting(lab: Lab, *, how: str = "tcp reset", adverts: bool = False) -> Iterator[None]:
    """A firewall on each node that refuses the other nodes' connections to the server, and breaks those that there are;
    their adverts are lost, unless `adverts`. `how` is nft's word, as "tcp reset" or "icmpx port-unreachable". The
    client, the witness, pings and ARP pass.
    """
    table = f"inet {TABLE_PREFIX}rejecting"
    vrrp = "" if adverts else " meta l4proto 112 drop\n"
    with contextlib.ExitStack() as stack:
        for node in lab.nodes.values():
            others = [other.address for other in lab.nodes.values() if other is not node]
            family = "ip6" if ":" in others[0] else "ip"
            rules = "".join(f" {family} saddr {ip} tcp dport {PORT} reject with {how}\n" for ip in others)
            chain = "chain refuse {\n type filter hook input priority -10;\n"
            node.run(["nft", "-f", "-"], input=f"table {table} {{\n{chain}{vrrp}{rules}}}\n}}\n")
            stack.callback(_forget, node, table)
        yield


def _forget(node: Node, table: str) -> None:
    if node.space.alive:
        node.run(["nft", "delete", "table", *table.split()], check=False)


def no_witness(lab: Lab, node: Node) -> AbstractContextManager[None]:
    """The host that serves as witness does not answer this node."""
    return lab.switch.cut_host(node.name)


def full_run(node: Node) -> AbstractContextManager[None]:
    """The node's /run has no byte left."""
    return _filled(node.path("/run/lab-fill"))


def small_data_disk(node: Node, size_mb: int) -> None:
    """Give the node's data directory a file system of its own, before its server gets any data: that one can be
    filled, the host's must not be. It is gone with the lab.
    """
    node.run(["mount", "-t", "tmpfs", "-o", f"size={size_mb}m,mode=755", "tmpfs", DATA])
    node.mysqld.datadir = node.path(DATA)


def disk_of_its_own(node: Node, size_mb: int) -> None:
    """Give the node's data directory, and vipguard's memory, a real file system on a block device, before there is
    anything in them: that one can be made to stand. It is gone with the lab.
    """
    image = node.directory / "disk.img"
    for argv in (["truncate", "-s", f"{size_mb}M", str(image)], ["mkfs.ext4", "-q", "-F", str(image)]):
        templates.command(argv, 60)
    device = subprocess.run(
        ["losetup", "--find", "--show", str(image)], check=True, capture_output=True, text=True, timeout=20
    ).stdout.strip()
    try:
        node.run(["mount", device, "/mnt"])
    finally:
        templates.command(["losetup", "--detach", device], 20)  # which happens when the last mount has gone
    for part, target in (("mysql", DATA), ("vipguard", STATE)):
        node.run(["mkdir", "-m", "755", f"/mnt/{part}"])
        node.run(["mount", "--bind", f"/mnt/{part}", target])
    node.mysqld.datadir = node.path(DATA)


@contextmanager
def stalled_disk(node: Node) -> Iterator[None]:
    """The node's disk stands: what reads answers, and no write comes back. LabError where it has no disk of its own.

    The process that froze it thaws it when this one has ended, however that ended.
    """
    if node.path(DATA).stat().st_dev == node.directory.stat().st_dev:
        raise LabError(f"{node.name}: its data directory has no disk of its own")
    freezer = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", FREEZE, str(node.path(DATA))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert freezer.stdin is not None and freezer.stdout is not None
    try:
        if freezer.stdout.readline() != b"frozen\n":
            raise LabError(f"{node.name}: its disk could not be frozen")
        yield
    finally:
        freezer.stdin.close()
        freezer.wait(20)


@contextmanager
def full_data_disk(node: Node, *, left_mb: int = 0) -> Iterator[None]:
    """The node's data directory has `left_mb` left, by default no byte. LabError where it has no small disk.

    It is made smaller, which takes effect at once: who looks in the middle of filling it would still see room.
    """
    found = os.statvfs(node.path(DATA))
    size = found.f_blocks * found.f_frsize
    if size > SMALL_BYTES_MAX:
        raise LabError(f"{node.name}: its data directory has no small disk of its own")

    def shrunk() -> bool:
        """Not where the server has written something since the disk was looked at: it has no room for that then."""
        now = os.statvfs(node.path(DATA))
        used = (now.f_blocks - now.f_bfree) * now.f_frsize
        less = f"remount,size={used + left_mb * 1_000_000}"
        return node.run(["mount", "-o", less, DATA], check=False).returncode == 0

    wait_until(shrunk, 5, lambda: f"{node.name}: its data directory to be full")
    try:
        yield
    finally:
        node.run(["mount", "-o", f"remount,size={size}", DATA])


@contextmanager
def _filled(path: Path) -> Iterator[None]:
    try:
        with path.open("wb", buffering=0) as stream:
            for size in (1 << 16, 1 << 12, 1):
                with _until_full():
                    while stream.write(bytes(size)) == size:
                        pass
        yield
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def _until_full() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        if exc.errno != errno.ENOSPC:
            raise


@contextmanager
def paused(node: Node) -> Iterator[None]:
    """Every process of the node stands still, as in a paused virtual machine (its kernel still answers
    pings).
    """
    stopped: dict[int, object] = {}
    # a process may fork while the others are stopped: look again until nothing new is found
    while new := {pid: one for pid, one in node.space.processes().items() if pid not in stopped}:
        for identity in new.values():
            identity.signal(signal.SIGSTOP)
        stopped.update(new)
    try:
        yield
    finally:
        for identity in node.space.processes().values():
            identity.signal(signal.SIGCONT)


@dataclass(frozen=True)
class Fault:
    """A fault that can be asked for by name: what it does in a few words, and how it is made."""

    what: str
    make: Callable[[Lab, Node], AbstractContextManager[None]]


FAULTS: dict[str, Fault] = {
    "kill-mysqld": Fault("kill -9 of the server", lambda _, node: kill_mysqld(node)),
    "stop-mysqld": Fault("SIGSTOP of the server", lambda _, node: stop_mysqld(node)),
    "link-down": Fault("the cable pulled out", link_down),
    "kill-keepalived": Fault("kill -9 of both keepalived processes", lambda _, node: kill_keepalived(node)),
    "stop-keepalived": Fault("SIGSTOP of keepalived", lambda _, node: stop_keepalived(node)),
    "kill-agent": Fault("kill -9 of the agent", lambda _, node: kill_agent(node)),
    "stop-agent": Fault("SIGSTOP of the agent", lambda _, node: stop_agent(node)),
    "cut-off": Fault("cut off from everybody, carrier up", cut_off),
    "pause": Fault("every process of the node stopped", lambda _, node: paused(node)),
    "full-run": Fault("no space left in /run", lambda _, node: full_run(node)),
}
