"""What is one machine of a lab? Namespaces of its own with a server, keepalived and an agent, on the paths
that production has.
"""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vipguard.lab import plain
from vipguard.lab.namespace import Identity, Namespace
from vipguard.lab.process import Daemon
from vipguard.lab.servers import MysqlServer
from vipguard.lab.spec import LabSpec
from vipguard.lab.templates import copy_tree
from vipguard.lab.wait import Ended, wait_until

CONFIG_FILE = "/etc/vipguard/vipguard.toml"
KEEPALIVED_FILE = "/etc/keepalived/keepalived.conf"
HOOK_LOG = "/run/vipguard/hook.log"
GROUP_ID = 64273


class Keepalived(Daemon):
    """keepalived, both of its processes: the parent, and the child that speaks VRRP."""

    kind = "keepalived"

    def argv(self) -> list[str]:
        return ["keepalived", "--dont-fork", "--log-console", "--log-detail", f"--use-file={KEEPALIVED_FILE}"]

    def config(self) -> str:
        """What it was configured with; "" before it was."""
        try:
            return self.node.read(KEEPALIVED_FILE)
        except OSError:
            return ""

    def waits_for(self) -> list[str]:
        """The files that its configuration expects to exist before it starts: the FIFO and the track files."""
        return re.findall(r"^\s*(?:vrrp_notify_fifo|file)\s+\"?(/[^\s\"]+)", self.config(), re.MULTILINE)


class Agent(Daemon):
    """`vipguard agent`, started by its command line, its log on standard error."""

    kind = "agent"
    niceness = -10  # as its unit says

    def argv(self) -> list[str]:
        return [*self.node.vipguard_argv, "agent"]


class Node:
    """A node; its directory on the host is `directory`, with etc/, mysql/, vipguard/ (state) and log/ in it."""

    def __init__(self, spec: LabSpec, name: str, directory: Path, identity: Identity) -> None:
        self.spec, self.name, self.directory = spec, name, directory
        self.space = Namespace(spec.name, name, identity)
        self.mysqld = MysqlServer(self, spec.flavor)
        self.keepalived = Keepalived(self)
        self.agent = Agent(self)

    @property
    def daemons(self) -> list[Daemon]:
        return [self.mysqld, self.agent, self.keepalived]

    @property
    def address(self) -> str:
        return self.spec.address(self.name)

    @property
    def server_id(self) -> int:
        return self.spec.node_names.index(self.name) + 1

    # -- its files

    @classmethod
    def prepare(cls, spec: LabSpec, name: str, directory: Path) -> None:
        """Make what its holder mounts: a copy of the host's /etc with what a node needs, and empty
        directories.
        """
        for part in ("mysql", "vipguard", "log"):
            (directory / part).mkdir(parents=True)
        copy_tree(Path("/etc"), directory / "etc")
        etc = directory / "etc"
        for part in ("vipguard", "keepalived", "mysql"):
            shutil.rmtree(etc / part, ignore_errors=True)
            (etc / part).mkdir()
        groups = [
            line for line in (etc / "group").read_text().splitlines() if not line.startswith("vipguard:")
        ]
        (etc / "group").write_text("\n".join([*groups, f"vipguard:x:{GROUP_ID}:"]) + "\n")
        (etc / "hostname").write_text(f"{name}\n")
        hosts = "".join(f"{spec.address(other)} {other}\n" for other in spec.node_names)
        (etc / "hosts").write_text(f"127.0.0.1 localhost\n::1 localhost\n{hosts}")
        (directory / "boot_id").write_text(f"{uuid.uuid4()}\n")

    def path(self, path: str) -> Path:
        """A path of the node, as the host reaches it."""
        return self.space.root / path.lstrip("/")

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        target = self.path(path)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "w") as stream:
            os.fchmod(descriptor, mode)
            stream.write(text)

    def read(self, path: str) -> str:
        return self.path(path).read_text()

    def new_boot(self) -> None:
        """Another boot id, as after a reboot. What a reboot ends besides (processes, /run) is the caller's to
        end.
        """
        (self.directory / "boot_id").write_text(f"{uuid.uuid4()}\n")

    # -- its commands

    def run(
        self, argv: Sequence[str], *, timeout_s: float = 20.0, input: str | None = None,
        env: Mapping[str, str] | None = None, check: bool = True,
    ) -> subprocess.CompletedProcess[str]:  # fmt: skip
        return self.space.run(argv, timeout_s=timeout_s, input=input, env=env, check=check)

    def popen(self, argv: Sequence[str], **popen: Any) -> subprocess.Popen[str]:
        return self.space.popen(argv, **popen)

    @property
    def vipguard_argv(self) -> list[str]:
        return [sys.executable, "-P", "-m", "vipguard", "--config", CONFIG_FILE]

    def vipguard(
        self, *arguments: str, timeout_s: float = 30.0, check: bool = True, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a vipguard command on the node."""
        return self.run([*self.vipguard_argv, *arguments], timeout_s=timeout_s, check=check, input=input)

    # -- its parts, put in place

    def configure(self, secrets: Mapping[str, str]) -> None:
        """Write vipguard.toml and the password files."""
        self.write(CONFIG_FILE, self.spec.toml())
        for name, secret in secrets.items():
            self.write(f"/etc/vipguard/{name}", f"{secret}\n", 0o600)

    def configure_server(self, extra: str = "") -> None:
        self.mysqld.configure(
            self.vipguard("render", "mysql", "--flavor", self.spec.flavor).stdout, self.server_id, extra
        )

    def configure_keepalived(self) -> None:
        if self.spec.guard == "plain":
            for path, (text, mode) in plain.files(self.spec, self.name, self.mysqld.client_argv()).items():
                self.write(path, text, mode)
        elif self.spec.reads(self.name) or not self.spec.is_replica(self.name):  # a replica has no other instance
            self.write(KEEPALIVED_FILE, self.vipguard("render", "keepalived").stdout)

    def start_agent(self, within_s: float = 20.0) -> None:
        """Start the agent and wait for the FIFO and the track file that keepalived needs to find."""
        self.agent.start()
        wanted = self.keepalived.waits_for()

        def made() -> bool:
            if self.agent.ended:
                raise Ended(f"{self.agent} ended: {self.agent.log_tail(5)}")
            return all(self.path(path).exists() for path in wanted)

        wait_until(
            made, within_s, lambda: f"the agent of {self.name} to make {wanted}\n{self.agent.log_tail()}"
        )

    def start_keepalived(self) -> None:
        self.keepalived.start()

    # -- what can be seen of it

    def has_vip(self) -> bool:
        """By /proc/net of its network namespace: no command is run for it."""
        return has_address(self.space.identity.pid, self.spec.vip)

    def readers(self) -> list[int]:
        """The places in the spec's `readers` of those whose address is here."""
        pid, count = self.space.identity.pid, len(self.spec.readers)
        return [number for number in range(count) if has_address(pid, self.spec.reader_ip(number))]

    def eligible(self) -> str | None:
        """What the track file says; None without one."""
        paths = [path for path in self.keepalived.waits_for() if path.endswith("/eligible")]
        try:
            return self.read(paths[0]).strip() if paths else None
        except OSError:
            return None

    def hook_log_tail(self, lines: int = 15) -> str:
        """The end of what the one-shots that keepalived called have said; "" when it called none."""
        try:
            return "\n".join(self.read(HOOK_LOG).splitlines()[-lines:])
        except OSError:
            return ""

    def vrrp_state(self) -> str:
        """The state of the writer's VIP that keepalived logged last: MASTER, BACKUP or FAULT; "" before the first."""
        entered = re.findall(r"\(writer\) Entering (MASTER|BACKUP|FAULT) STATE", self.keepalived.log_text())
        return str(entered[-1]) if entered else ""

    def describe(self) -> str:
        """One line: what it holds and what lives on it."""
        if not self.space.alive:
            return f"{self.name}: gone"
        lives = " ".join(f"{daemon.kind}={'up' if daemon.alive else 'DEAD'}" for daemon in self.daemons)
        read_only = self.mysqld.read_only()
        here = ",".join(f"reader{number + 1}" for number in self.readers())
        readers = f" readers={here or 'none'}" if self.spec.readers else ""
        writable = "?" if read_only is None else "closed" if read_only else "WRITABLE"
        return (
            f"{self.name}: vip={'YES' if self.has_vip() else 'no'}{readers} {writable} track={self.eligible()} {lives}"
        )


def has_address(pid: int, address: str) -> bool:
    """Whether the network namespace of `pid` has this address as one of its own."""
    if ":" in address:
        wanted = ipaddress.IPv6Address(address).packed.hex()
        return any(line.startswith(wanted) for line in _read(f"/proc/{pid}/net/if_inet6").splitlines())
    return (
        re.search(rf"-- {re.escape(address)}\n\s+/32 host LOCAL", _read(f"/proc/{pid}/net/fib_trie"))
        is not None
    )


def _read(path: str) -> str:
    try:
        with open(path) as stream:
            return stream.read()
    except OSError:
        return ""
