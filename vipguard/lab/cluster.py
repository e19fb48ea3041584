"""How does a whole lab come up, get well again, and go without a trace? `Lab`, the object that everything
else hangs on.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from vipguard.lab import templates
from vipguard.lab.namespace import Identity, Namespace, holders_of
from vipguard.lab.network import Switch
from vipguard.lab.node import CONFIG_FILE, Node
from vipguard.lab.spec import APP_PASSWORD, APP_USER, LabSpec
from vipguard.lab.wait import LabError, WaitTimeout, wait_until

if TYPE_CHECKING:
    from vipguard.lab.client import Client
    from vipguard.lab.watch import Watcher

ROOT = Path("/var/lib/vipguard-lab")
RECORD = "lab.json"
CLIENT_NUMBER = 200
SCHEMA = (
    "CREATE DATABASE IF NOT EXISTS app",
    "CREATE TABLE IF NOT EXISTS app.t (id BIGINT NOT NULL PRIMARY KEY, node INT NOT NULL) ENGINE=InnoDB",
    f"CREATE USER IF NOT EXISTS '{APP_USER}'@'%' IDENTIFIED BY '{APP_PASSWORD}'",
    f"GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, LOCK TABLES ON app.* TO '{APP_USER}'@'%'",
)


def need_root() -> None:
    if os.geteuid() != 0:
        raise LabError("the lab makes network namespaces and mounts, which needs root: run it with sudo")


def quiet(_: str) -> None:
    """No progress wanted."""


class Lab:
    """A cluster on this machine. `with Lab.create(spec) as lab: lab.up()` takes it down at the end;
    `Lab.open(name)` finds one.
    """

    def __init__(self, spec: LabSpec, directory: Path, identities: dict[str, Identity]) -> None:
        self.spec, self.directory = spec, directory
        self.switch = Switch(Namespace(spec.name, "switch", identities["switch"]))
        self.client_space = Namespace(spec.name, "client", identities["client"])
        self.nodes = {name: Node(spec, name, directory / name, identities[name]) for name in spec.node_names}
        self.progress: templates.Progress = quiet

    # -- being there

    @classmethod
    def create(cls, spec: LabSpec, progress: templates.Progress = quiet) -> Lab:
        """Make directories, namespaces and cables; nothing runs in them yet. LabError when a lab of that name
        exists.
        """
        need_root()
        directory = ROOT / spec.name
        if holders_of(spec.name) or directory.exists():
            raise LabError(
                f"there is a lab {spec.name} already: `vipguard lab down --name {spec.name}` removes it"
            )
        try:
            directory.mkdir(parents=True)
            record = {"spec": json.loads(spec.to_json()), "holders": {}}
            identities: dict[str, Identity] = {}
            for name in ("switch", "client", *spec.node_names):
                home = directory / name if name in spec.node_names else None
                if home:
                    Node.prepare(spec, name, home)
                space = Namespace.create(spec.name, name, directory / f"{name}.exits", home)
                identities[name] = space.identity
                record["holders"][name] = [space.identity.pid, space.identity.start]
                write_atomically(directory / RECORD, json.dumps(record))
            lab = cls(spec, directory, identities)
            lab.progress = progress
            lab.switch.build(spec)
            lab.switch.plug(spec, lab.client_space, CLIENT_NUMBER)
            for number, node in enumerate(lab.nodes.values(), start=11):
                lab.switch.plug(spec, node.space, number)
                # what systemd-tmpfiles does on a host
                node.run(["install", "-d", "-m", "0755", "/run/vipguard"])
        except BaseException:
            remove(spec.name)
            raise
        return lab

    @classmethod
    def open(cls, name: str) -> Lab:
        """The living lab of that name. LabError when there is none, or when it crashed halfway."""
        need_root()
        try:
            record = json.loads((ROOT / name / RECORD).read_text())
        except (OSError, ValueError) as exc:
            raise LabError(f"there is no lab {name}: `vipguard lab up --name {name}` makes one") from exc
        spec = LabSpec(**record["spec"])
        identities = {member: Identity(*pair) for member, pair in record["holders"].items()}
        wanted = ("switch", "client", *spec.node_names)
        if not all(member in identities and identities[member].alive for member in wanted):
            raise LabError(
                f"the lab {name} is not whole any more: `vipguard lab down --name {name}` removes it"
            )
        return cls(spec, ROOT / name, identities)

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    def down(self) -> None:
        """Remove all of it."""
        remove(self.spec.name)

    # -- coming up

    def up(self, progress: templates.Progress | None = None) -> Lab:
        """Servers, accounts, circle, agents, keepalived; returns when one node has the VIP and is writable."""
        self.progress = progress or self.progress
        self.start_servers()
        if self.spec.guard != "none":
            self.start_guards()
            self.wait_healthy(60)
        return self

    def start_servers(self) -> None:
        """Configured servers with accounts and the circle, closed, replication stopped (plain: running, as
        people have it).
        """
        self.progress(f"starting {len(self.nodes)} servers ({self.spec.flavor})")
        passwords = {"password": secrets.token_urlsafe(18), "replication-password": secrets.token_urlsafe(18)}
        for node in self.nodes.values():
            node.mysqld.create_datadir(self.progress)
            node.configure(passwords)
            node.configure_server()
            node.mysqld.start()
        for node in self.nodes.values():
            node.mysqld.wait_ready()
            self.install_accounts(node)
        self.progress("joining them in a circle")
        for node in self.nodes.values():
            source = self.nodes[self.spec.source_of(node.name)]
            node.mysqld.point_to(source.address, "vipguard_repl", passwords["replication-password"])
            if self.spec.guard != "vipguard":
                node.mysqld.start_replication()

    def install_accounts(self, node: Node) -> None:
        """The rendered accounts, and the application's account and table, all kept out of the binary log."""
        server, mysql = node.mysqld, self.spec.flavor == "mysql"
        opened = ["SET GLOBAL super_read_only = 0"] if mysql else []
        accounts = node.vipguard(
            "render", "accounts", "--with-passwords", "--flavor", self.spec.flavor
        ).stdout
        server.sql(*opened)
        server.script("SET SESSION sql_log_bin = 0;\n" + accounts)
        server.sql("SET SESSION sql_log_bin = 0", *SCHEMA)
        server.sql(f"SET GLOBAL {server.closing} = 1")

    def start_guards(self) -> None:
        """The agents, each until it made its files; then keepalived, side by side."""
        for node in self.nodes.values():
            node.configure_keepalived()
        if self.spec.guard == "vipguard":
            self.progress("starting the agents")
            for node in self.nodes.values():
                node.start_agent()
        self.progress("starting keepalived")
        for node in self.nodes.values():
            if self.wants("keepalived", node):
                node.start_keepalived()

    # -- what can be seen

    def holders(self) -> list[Node]:
        """The nodes that have the VIP."""
        return [node for node in self.nodes.values() if node.has_vip()]

    def writable(self) -> list[Node]:
        """The nodes whose server says now that it is not read-only."""
        return [node for node in self.nodes.values() if node.mysqld.read_only() is False]

    def writer(self) -> Node | None:
        """The one node that has the VIP and is writable, if it is the only one of both kinds."""
        holders, writable = self.holders(), self.writable()
        return holders[0] if len(holders) == 1 and holders == writable else None

    def others(self, node: Node) -> list[Node]:
        return [other for other in self.nodes.values() if other is not node]

    def trouble(self) -> str:
        """Why it is not healthy, in a few words; "" when it is: one writer with the VIP, the circle running,
        all may take over.
        """
        writer = self.writer()
        if writer is None:
            holders, writable = (
                ", ".join(node.name for node in nodes) or "no node"
                for nodes in (self.holders(), self.writable())
            )
            return f"the VIP is on {holders}, and {writable} is writable"
        for node in self.nodes.values():
            dead = [daemon.kind for daemon in node.daemons if not daemon.alive and self.wants(daemon.kind, node)]
            if dead:
                return f"{node.name}: {' '.join(dead)} dead"
            threads = node.mysqld.replication_threads()
            if threads != ("Yes", "Yes"):
                return f"{node.name}: replication threads {' / '.join(threads or ()) or 'not seen'}"
            if self.spec.is_replica(node.name):
                if (source := node.mysqld.source()) != writer.address:
                    return f"{node.name}: it follows {source}, and {writer.name} writes"
                continue
            if self.spec.guard == "vipguard" and node.eligible() != "1":
                return f"{node.name}: its track file says {node.eligible() or 'nothing'}"
            if node.vrrp_state() == "FAULT":
                return f"{node.name}: keepalived is still in FAULT"
        return ""

    def wants(self, kind: str, node: Node) -> bool:
        return {
            "mysqld": True,
            "keepalived": self.spec.guard != "none" and bool(node.keepalived.config()),
            "agent": self.spec.guard == "vipguard",
        }[kind]

    def wait(self, condition: Callable[[], object], within_s: float, what: str) -> None:
        """`wait_until` that prints this whole lab when time is up."""
        wait_until(condition, within_s, lambda: f"{what}\n{self.describe()}")

    def wait_healthy(self, within_s: float = 30.0) -> Node:
        """Wait for health (see `trouble`); the writer."""
        last = ""

        def healthy() -> bool:
            nonlocal last
            last = self.trouble()
            return not last

        wait_until(healthy, within_s, lambda: f"a healthy lab: {last}\n{self.describe()}", every_s=0.05)
        writer = self.writer()
        if writer is None:
            raise WaitTimeout(f"the lab was healthy for a moment only\n{self.describe()}")
        return writer

    def describe(self, lines: int = 12) -> str:
        """The whole lab for a person: each node's line and the end of each log."""
        text = [f"lab {self.spec.name} ({self.spec.flavor}, guard {self.spec.guard}), VIP {self.spec.vip}"]
        text += [node.describe() for node in self.nodes.values()]
        for node in self.nodes.values():
            for daemon in node.daemons:
                if tail := daemon.log_tail(lines):
                    text += [f"--- {daemon.log}", tail]
            if tail := node.hook_log_tail(lines):
                text += [f"--- {node.name}: keepalived's hook", tail]
        return "\n".join(text)

    # -- helpers for tests and faults

    def client(self, **settings: object) -> Client:
        from vipguard.lab.client import Client

        return Client(self, **settings)  # type: ignore[arg-type]

    def watch(self, every_s: float = 0.003) -> Watcher:
        from vipguard.lab.watch import Watcher

        return Watcher(self, every_s)

    def heal(self) -> None:
        """Undo all faults that leave things in place: cuts, cables, stopped processes, filled disks."""
        self.switch.heal([*self.nodes, "client"])
        for node in self.nodes.values():
            for identity in node.space.processes().values():
                identity.signal(signal.SIGCONT)
            node.path("/run/lab-fill").unlink(missing_ok=True)

    def restart_dead(self) -> None:
        for node in self.nodes.values():
            if not node.mysqld.alive:
                node.mysqld.start()
        for node in self.nodes.values():
            node.mysqld.wait_ready()
            if self.spec.guard != "vipguard" and node.mysqld.replication_threads() != ("Yes", "Yes"):
                node.mysqld.start_replication()
            if self.wants("agent", node) and not node.agent.alive:
                node.start_agent()
            if self.wants("keepalived", node) and not node.keepalived.alive:
                node.start_keepalived()

    def reset(self, within_s: float = 15.0) -> Node:
        """Back to health after a test, the cheap way if it works, else with fresh data everywhere; the
        writer.
        """
        self.heal()
        # a stale entry there would make the next test's client reach nobody
        self.client_space.run(["ip", "neigh", "flush", "all"], check=False)
        try:
            self.restart_dead()
            return self.wait_healthy(within_s)
        except (WaitTimeout, LabError, OSError):
            return self.rebuild()

    def rebuild(self) -> Node:
        """Stop everything, give every server new data, start again: the way out of diverged histories."""
        self.heal()
        for node in self.nodes.values():
            for daemon in reversed(node.daemons):
                daemon.end_restarts()
                daemon.kill9()
            for identity in node.space.processes().values():
                identity.signal(signal.SIGKILL)
            for address in (self.spec.vip, *map(self.spec.reader_ip, range(len(self.spec.readers)))):
                node.run(["ip", "addr", "flush", "dev", "eth0", "scope", "global", "to", address], check=False)
            for part in (
                node.path("/run/vipguard"),
                node.path("/var/lib/vipguard"),
                node.path("/run/mysqld"),
            ):
                for entry in part.iterdir():
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        self.up()
        return self.wait_healthy()


def write_atomically(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(text)
    part.rename(path)


def names() -> list[str]:
    """Every lab of this machine, whole or not."""
    found = {path.name for path in ROOT.iterdir() if path.is_dir()} if ROOT.exists() else set()
    return sorted(found)


def remove(name: str) -> bool:
    """Kill the holders of a lab (and so all of it) and delete its directory; works on what a crash left.
    False: nothing was there.
    """
    need_root()
    LabSpec(name=name)  # refuses a name that is a path
    directory = ROOT / name
    identities = holders_of(name)
    for member, identity in identities.items():
        Namespace(name, member, identity).destroy()
    existed = bool(identities) or directory.exists()
    deadline = time.monotonic() + 10
    while directory.exists():
        shutil.rmtree(directory, ignore_errors=True)
        if time.monotonic() > deadline:
            raise LabError(f"{directory} could not be removed")
    with contextlib.suppress(OSError):
        ROOT.rmdir()
    return existed


@contextlib.contextmanager
def running(spec: LabSpec, progress: templates.Progress = quiet) -> Iterator[Lab]:
    """A lab that is up, and gone at the exit, whatever happens in between."""
    with Lab.create(spec, progress) as lab:
        yield lab.up()


__all__ = ["CONFIG_FILE", "Lab", "LabError", "names", "need_root", "remove", "running"]
