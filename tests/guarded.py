"""What does a test of the guarded pair hold in its hands? The lab, who writes, and what was said and seen meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from typing import Any

import pymysql

from vipguard import client
from vipguard.errors import VipguardError
from vipguard.lab import Lab, LabError, Node, WaitTimeout
from vipguard.lab.client import Client
from vipguard.lab.node import CONFIG_FILE
from vipguard.lab.watch import Watcher

RUN = "/run/vipguard"
FIFO = f"{RUN}/vrrp.fifo"
TRACK = f"{RUN}/eligible"
STOOD_DOWN = "/var/lib/vipguard/stood-down"
#: Short enough for tests that wait for them; the rest are the defaults that operators have.
SETTINGS: dict[str, Any] = {
    "limits": {"hang_s": 1.0, "drain_s_max": 2.0, "lag_s_max": 10.0},
    "vrrp": {"startup_delay_s": 1.0},
}


def vrrp_state(node: Node) -> str:
    """The state that this node's keepalived entered last, by its own log."""
    found = re.findall(r"\(writer\) Entering (\w+) STATE", node.keepalived.log_text())
    return str(found[-1]) if found else ""


def make_ready(lab: Lab) -> None:
    """A healthy pair, its standby's keepalived ready to take over; with fresh data where histories went apart."""
    lab.heal()
    for node in lab.nodes.values():
        node.path(STOOD_DOWN).unlink(missing_ok=True)
    lab.client_space.run(["ip", "neigh", "flush", "all"], check=False)
    try:
        lab.restart_dead()
        lab.wait(lambda: _apart(lab) or _ready(lab), 20, "a healthy lab, or histories that went apart")
        if not lab.trouble():
            return
    except (WaitTimeout, LabError, OSError):
        pass
    lab.rebuild()
    lab.wait(lambda: _ready(lab), 20, "a healthy lab")


def _apart(lab: Lab) -> bool:
    """Does any agent's last word on rejoining say that it must stay apart?"""
    said = [re.findall(r"event=rejoin .*rule=(\S+)", node.agent.log_text()) for node in lab.nodes.values()]
    return any(rules and rules[-1] in ("diverged", "peer-diverged") for rules in said)


def _ready(lab: Lab) -> bool:
    states = sorted(vrrp_state(node) for node in lab.nodes.values() if not lab.spec.is_replica(node.name))
    wanted = ["BACKUP"] * (lab.spec.nodes - 1) + ["MASTER"]
    return states == wanted and all(map(answers, lab.nodes.values())) and not lab.trouble()


def answers(node: Node) -> bool:
    """Does the agent answer on its socket? One that was just started may still wait for a one-shot to end."""
    with contextlib.suppress(VipguardError):
        return bool(client.ask(str(node.path(f"{RUN}/agent.sock")), "check", 0.5))
    return False


class Guarded:
    """A pair as it was found healthy: `writer` has the VIP and is open, `standby` could take over."""

    def __init__(self, lab: Lab, watcher: Watcher) -> None:
        self.lab, self.watcher = lab, watcher
        self.writer = lab.wait_healthy()
        self.standby = lab.others(self.writer)[0]
        self.two_writers_ms_max = 0.0
        self.sizes = {node.name: node.agent.log_size() for node in lab.nodes.values()}

    # -- what was said

    def log(self, node: Node) -> str:
        """The agent's log since the test began; one-shots of keepalived's hook write elsewhere."""
        return node.agent.log_text(self.sizes[node.name])

    def mark(self) -> None:
        """Forget what was said up to now."""
        self.sizes = {node.name: node.agent.log_size() for node in self.lab.nodes.values()}

    def said(self, node: Node, *words: str) -> int:
        """How many lines of the log have all these words."""
        return sum(all(word in line for word in words) for line in self.log(node).splitlines())

    def wait_said(self, node: Node, *words: str, within_s: float = 5.0) -> None:
        self.lab.wait(lambda: self.said(node, *words), within_s, f"{node.name} to say {' '.join(words)}")

    def seen_ns(self, node: Node, what: str, now: bool, since_ns: int = 0) -> int:
        """When the watcher first saw the node "writable", or with the "vip", or not so, since then. On a busy machine
        it does a moment after the agent. A close may end its own session: no longer to be seen writable is closed."""
        wanted = {None, False} if (what, now) == ("writable", False) else {now}

        def found() -> list[int]:
            changes = [each for each in self.watcher.changes if (each.node, each.what) == (node.name, what)]
            return [each.ns for each in changes if each.ns > since_ns and each.now in wanted]

        self.lab.wait(lambda: found() != [], 5, f"{node.name} to be seen {'' if now else 'not '}{what}")
        return found()[0]

    # -- who is what

    def wait_writer(self, node: Node, within_s: float = 10.0) -> None:
        self.lab.wait(lambda: self.lab.writer() is node, within_s, f"{node.name} to be the writer")

    def wait_track(self, node: Node, value: str | None, within_s: float = 5.0) -> None:
        self.lab.wait(lambda: node.eligible() == value, within_s, f"track file {value} on {node.name}")

    def status(self, node: Node) -> dict[str, Any]:
        """What `vipguard status --json` prints; of an agent that answers without the cost of a command."""
        with contextlib.suppress(VipguardError):
            return client.status(str(node.path(f"{RUN}/agent.sock")), 0.5)
        return dict(json.loads(node.vipguard("status", "--json", check=False).stdout))

    def own(self, node: Node) -> dict[str, Any]:
        """What the node's status tells of the node itself."""
        return dict(self.status(node)["nodes"][0])

    def dropped_vip(self, node: Node) -> bool:
        return any(c.node == node.name and c.what == "vip" and c.now is False for c in self.watcher.changes)

    def was_closed(self, node: Node) -> bool:
        return any(c.node == node.name and c.what == "writable" and c.now is False for c in self.watcher.changes)

    def start_agent(self, node: Node) -> None:
        """Started, and answering: the one-shot that keepalived calls meanwhile keeps it waiting for a while."""
        node.start_agent()
        self.lab.wait(lambda: answers(node), 15, f"the agent of {node.name} to answer")

    # -- rows

    def write(self, count: int = 20, rate: float = 0.0) -> Client:
        """At least `count` acknowledged rows by a client of the VIP that has ended, on the server too."""
        with self.lab.client(rate=rate) as client:
            client.wait_acks(count)
        # what a killed client has sent may still be carried out a moment later
        self.lab.wait(lambda: not any(map(app_sessions, self.lab.nodes.values())), 5, "its session to end")
        return client

    def write_settled(self, count: int = 20) -> Client:
        """Rows that the standby has too."""
        client = self.write(count)
        self.lab.wait(lambda: sets_equal(self.writer, self.standby), 10, "the standby to have all")
        return client

    def write_and_rest(self, count: int = 20) -> Client:
        """And the beat after them is there too: a cut in its milliseconds makes a node diverge, as with a commit."""
        client = self.write_settled(count)
        seen = [(gtids(self.writer), time.monotonic())]

        def at_rest() -> bool:
            now = (gtids(self.writer), time.monotonic())
            if now[0] != seen[0][0]:
                seen[0] = now
            return now[1] - seen[0][1] > 1.2 and sets_equal(self.writer, self.standby)

        self.lab.wait(at_rest, 15, "nothing more to be written")
        return client

    # -- faults of one test alone

    @contextlib.contextmanager
    def locked(self, node: Node, kind: str = "READ") -> Iterator[pymysql.Connection[Any]]:
        """A session that holds a lock on the application's table: the SQL thread waits for it."""
        connection = node.mysqld.connect(timeout_s=60)
        try:
            connection.cursor().execute(f"LOCK TABLES app.t {kind}")
            yield connection
        finally:
            with contextlib.suppress(pymysql.MySQLError, OSError):
                connection.close()

    @contextlib.contextmanager
    def configured(self, node: Node, text: str) -> Iterator[None]:
        """Another vipguard.toml on the node; the old one is back, and taken up, at the exit."""
        before = node.read(CONFIG_FILE)
        node.write(CONFIG_FILE, text)
        try:
            yield
        finally:
            node.write(CONFIG_FILE, before)
            node.agent.signal(signal.SIGHUP)

    @contextlib.contextmanager
    def applier_stopped(self, node: Node) -> Iterator[None]:
        with self._thread_stopped(node, "SQL_THREAD"):
            yield

    @contextlib.contextmanager
    def receiver_stopped(self, node: Node) -> Iterator[None]:
        with self._thread_stopped(node, "IO_THREAD"):
            yield

    @contextlib.contextmanager
    def _thread_stopped(self, node: Node, thread: str) -> Iterator[None]:
        word = "SLAVE" if node.spec.flavor == "mariadb" else "REPLICA"
        node.mysqld.sql(f"STOP {word} {thread}", timeout_s=20)
        try:
            yield
        finally:
            with contextlib.suppress(pymysql.MySQLError, OSError):
                node.mysqld.sql(f"START {word} {thread}")


@contextlib.contextmanager
def nobody_beats(lab: Lab) -> Iterator[None]:
    """The sets of an idle cluster stand still: no writer writes its heartbeat."""
    before = {node: node.read(CONFIG_FILE) for node in lab.nodes.values()}
    sizes = {node: node.agent.log_size() for node in before}
    for node, text in before.items():
        node.write(CONFIG_FILE, text.replace("[limits]", "[limits]\nheartbeat_s = 0"))
        node.agent.signal(signal.SIGHUP)
    taken_up = "rule=configuration-taken-up"
    lab.wait(lambda: all(taken_up in node.agent.log_text(sizes[node]) for node in before), 5, "no more beats")
    lab.wait(lambda: len({gtids(node) for node in before}) == 1, 5, "the last beat to be everywhere")
    try:
        yield
    finally:
        for node, text in before.items():
            node.write(CONFIG_FILE, text)
            node.agent.signal(signal.SIGHUP)


def sets_equal(one: Node, other: Node) -> bool:
    """By the flavour's own words: what a server wrote and what it applied."""
    return gtids(one) == gtids(other)


def gtids(node: Node) -> frozenset[str]:
    """On MariaDB by its log's end, which must tell what was copied, too."""
    mysql = node.spec.flavor == "mysql"
    text = str(node.mysqld.value("@@global.gtid_executed" if mysql else "@@global.gtid_binlog_pos"))
    return frozenset(part.strip() for part in text.split(","))


def app_sessions(node: Node) -> bool:
    """Has an application a session on this node's server? A dead server has none."""
    if not node.mysqld.alive:
        return False
    sessions = "information_schema.processlist" if node.spec.flavor == "mariadb" else "performance_schema.processlist"
    return bool(node.mysqld.sql(f"SELECT 1 FROM {sessions} WHERE user = 'app'"))


def received_all(behind: Node, ahead: Node) -> bool:
    """Has the IO thread of `behind` received what `ahead` wrote? By the position in the log of `ahead`."""
    mysql = ahead.spec.flavor == "mysql"
    written = ahead.mysqld.sql("SHOW BINARY LOG STATUS" if mysql else "SHOW MASTER STATUS")[0]
    row = behind.mysqld.replication()[0]
    word = "Source" if mysql else "Master"
    return (row[f"{word}_Log_File"], row[f"Read_{word}_Log_Pos"]) == (written["File"], written["Position"])


def ids_on(node: Node) -> set[int]:
    return {int(row["id"]) for row in node.mysqld.sql("SELECT id FROM app.t", timeout_s=30)}


def say_in_fifo(node: Node, data: bytes) -> int:
    """Write into the node's FIFO as keepalived does, never blocking; how many bytes it took."""
    descriptor = os.open(node.path(FIFO), os.O_WRONLY | os.O_NONBLOCK)
    try:
        return os.write(descriptor, data)
    except BlockingIOError:
        return 0
    finally:
        os.close(descriptor)
