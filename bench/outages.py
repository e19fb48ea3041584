"""How long does an ordinary client see nothing when a writer fails, and was there ever a second writer?

The client has one connection, a connect timeout of a second, and inserts 500 times a second. Both labs are up at the
same time and take turns, so that what the machine does besides hits both alike.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from vipguard.lab import Lab, LabError, LabSpec, Node, WaitTimeout, faults, wait_until

RATE = 500
SETTINGS: dict[str, Any] = {"limits": {"hang_s": 1.0}, "vrrp": {"startup_delay_s": 1.0}}
WITHIN_S = 15.0  # an outage that is longer counts as this long, and is marked
SETTLED_S = 6.0  # so long after a fault that left the client where it was, nothing will move any more

Fault = Callable[[Lab, Node], AbstractContextManager[None]]
FAULTS: dict[str, tuple[str, Fault]] = {
    "kill-mysqld": ("kill -9 of mysqld", lambda _, node: faults.kill_mysqld(node)),
    "link-down": ("link down", faults.link_down),
    "kill-keepalived": ("kill -9 of keepalived", lambda _, node: faults.kill_keepalived(node)),
    "stop-mysqld": ("SIGSTOP of mysqld, hang_s = 1", lambda _, node: faults.stop_mysqld(node)),
}


@dataclass(frozen=True)
class Round:
    """One fault on one lab. `lost`: acknowledged rows that the new writer lacks. `over`: writes did not come back."""

    flavor: str
    guard: str
    fault: str
    outage_ms: float
    two_writers_ms: float
    acknowledged: int
    lost: int
    over: bool = False


def measure(
    flavor: str, guards: list[str], faults_wanted: list[str], rounds: int, say: Callable[[str], None]
) -> list[Round]:
    """All rounds, the guards by turns. The labs are gone when this returns."""
    found: list[Round] = []
    with contextlib.ExitStack() as stack:
        labs = {}
        for guard in guards:
            settings = SETTINGS if guard == "vipguard" else {}
            name = f"bench{os.getpid()}{guard[0]}"
            spec = LabSpec(name=name, flavor=flavor, guard=guard, settings=settings)  # type: ignore[arg-type]
            labs[guard] = stack.enter_context(Lab.create(spec))
            labs[guard].up()
        for number in range(1, rounds + 1):
            for fault in faults_wanted:
                for guard, lab in labs.items():
                    one = _round(lab, guard, fault)
                    found.append(one)
                    say(
                        f"round {number}/{rounds} {FAULTS[fault][0]:<30} {guard:<8} outage {one.outage_ms:7.0f} ms,"
                        f" two writers {one.two_writers_ms:6.0f} ms, lost {one.lost} of {one.acknowledged}"
                        + (" (did not come back)" if one.over else "")
                    )
    return found


def _round(lab: Lab, guard: str, fault: str) -> Round:
    writer = ready(lab)
    standby = lab.others(writer)[0]
    over = False
    with lab.watch(0.005) as watcher, lab.client(rate=RATE) as client:
        client.wait_acks(RATE // 2)
        began_ns = time.monotonic_ns()
        with FAULTS[fault][1](lab, writer):
            try:
                wait_until(lambda: _moved(client.seen().connections, standby, began_ns), WITHIN_S)
                client.wait_acks(RATE // 2)
            except WaitTimeout:
                over = not client.seen().acks or client.seen().acks[-1][0] < time.monotonic_ns() - 1_000_000_000
            client.stop()
            end_ns = time.monotonic_ns()
        time.sleep(1.0)  # what comes back may be open for a moment: that counts
    seen = client.seen()
    with contextlib.suppress(LabError, WaitTimeout):
        wait_until(lambda: standby.mysqld.value("1"), 5)
    return Round(
        flavor=lab.spec.flavor,
        guard=guard,
        fault=fault,
        outage_ms=round(seen.outage_ms(began_ns, end_ns if over else None), 1),
        two_writers_ms=round(watcher.two_writers_ms(), 1),
        acknowledged=len(seen.acks),
        lost=_lost(client, standby, seen.connections[-1][1] == standby.server_id),
        over=over,
    )


def _moved(connections: list[tuple[int, int]], standby: Node, began_ns: int) -> bool:
    """The client has reached the other node, or it was left where it was for so long that it stays there."""
    if any(server == standby.server_id and ns >= began_ns for ns, server in connections):
        return True
    return time.monotonic_ns() - began_ns > SETTLED_S * 1e9 and connections[-1][0] < began_ns


def _lost(client: Any, standby: Node, moved: bool) -> int:
    return len(client.lost(standby)) if moved else 0


def ready(lab: Lab) -> Node:
    """A healthy lab whose standby's keepalived is ready too; with fresh data where histories went apart."""
    lab.heal()
    lab.client_space.run(["ip", "neigh", "flush", "all"], check=False)
    try:
        lab.restart_dead()
        wait_until(lambda: _apart(lab) or _settled(lab), 20, lab.describe)
    except (WaitTimeout, LabError, OSError):
        pass
    if not _settled(lab):
        lab.rebuild()
        wait_until(lambda: _settled(lab), 30, lab.describe)
    writer = lab.writer()
    if writer is None:
        raise LabError(f"the lab was healthy for a moment only\n{lab.describe()}")
    return writer


def _settled(lab: Lab) -> bool:
    states = [re.findall(r"\(writer\) Entering (\w+) STATE", n.keepalived.log_text()) for n in lab.nodes.values()]
    return sorted(found[-1] for found in states if found) == ["BACKUP", "MASTER"] and not lab.trouble()


def _apart(lab: Lab) -> bool:
    """Waiting longer is no use: a node has transactions of its own, or its applier met them."""
    said = [re.findall(r"event=rejoin .*rule=(\S+)", node.agent.log_text()) for node in lab.nodes.values()]
    if any(rules and rules[-1] in ("diverged", "peer-diverged") for rules in said):
        return True
    return lab.spec.guard == "plain" and any(
        (node.mysqld.replication_threads() or ("", ""))[1] == "No" for node in lab.nodes.values() if node.mysqld.alive
    )
