"""What does a failover look like, millisecond by millisecond? The engine of `make demo`: kills a writer under load and tells.

It exits as what it measured: 0 when nothing acknowledged was lost and no two nodes were writable at once.
"""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vipguard.lab import faults
from vipguard.lab.client import Client
from vipguard.lab.cluster import Lab, remove
from vipguard.lab.node import Node
from vipguard.lab.spec import Flavor, LabSpec
from vipguard.lab.wait import WaitTimeout
from vipguard.lab.watch import Change, Watcher

STEADY_S = 3.0  # writing before the kill and after the failover
FAILOVER_S_MAX = 20.0
REJOIN_S_MAX = 40.0
SETTLE_S = 0.04  # lines wait that long, so that those of different threads come out in their order


@dataclass(frozen=True)
class Outcome:
    """What the demo measured; `lost` are acknowledged ids that the surviving writer does not have."""

    failed_over: bool
    rejoined: bool
    outage_ms: float
    acknowledged: int
    errors: int
    lost: list[int]
    two_writers_ms: float

    @property
    def kept_the_law(self) -> bool:
        return self.failed_over and not self.lost and self.two_writers_ms == 0


class Story:
    """Prints what happens, each line with its milliseconds since the last mark. Lines may come from any thread."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.mark_ns = time.monotonic_ns()
        self.lines: queue.SimpleQueue[tuple[int, str, str]] = queue.SimpleQueue()
        self.end = threading.Event()
        self.thread = threading.Thread(target=self._print, name="story", daemon=True)

    def __enter__(self) -> Story:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end.set()
        self.thread.join(timeout=5)

    def say(self, text: str, *, who: str = "", style: str = "", ns: int | None = None) -> None:
        line = f"{who:<14} {text}" if who else text
        self.lines.put((ns or time.monotonic_ns(), line, style))

    def mark(self) -> int:
        """Count milliseconds from now on."""
        self.mark_ns = time.monotonic_ns()
        return self.mark_ns

    def _print(self) -> None:
        held: list[tuple[int, str, str]] = []
        while not (self.end.is_set() and self.lines.empty() and not held):
            try:
                held.append(self.lines.get(timeout=SETTLE_S / 2))
                continue
            except queue.Empty:
                pass
            limit = time.monotonic_ns() if self.end.is_set() else time.monotonic_ns() - int(SETTLE_S * 1e9)
            for line in sorted(line for line in held if line[0] <= limit):
                self._line(*line)
            held = [line for line in held if line[0] > limit]

    def _line(self, ns: int, text: str, style: str) -> None:
        since_ms = (ns - self.mark_ns) / 1e6
        shown = escape(text)
        self.console.print(
            f"{since_ms:9.1f} ms  " + (f"[{style}]{shown}[/]" if style else shown), highlight=False
        )


class Tail(threading.Thread):
    """Tells each new line of a log as it appears."""

    def __init__(
        self, size: Callable[[], int], text: Callable[[int], str], tell: Callable[[str], None]
    ) -> None:
        super().__init__(daemon=True)
        self.size, self.text, self.tell = size, text, tell
        self.at, self.end = size(), threading.Event()

    def run(self) -> None:
        rest = ""
        while not self.end.is_set():
            if self.size() > self.at:
                new = self.text(self.at)
                self.at += len(new.encode())
                *lines, rest = (rest + new).split("\n")
                for line in lines:
                    self.tell(line)
            self.end.wait(0.003)


def run(console: Console, *, name: str = "demo", flavor: Flavor = "mariadb", nodes: int = 2) -> Outcome:
    """The whole demo, from nothing to nothing; the lab is gone at the end, whatever happens."""
    remove(name)
    began = time.monotonic()

    def progress(text: str) -> None:
        console.print(f"{time.monotonic() - began:6.1f} s  {escape(text)}", highlight=False)

    progress(
        f"a lab of {nodes} nodes in network namespaces: a server, keepalived and a vipguard agent on each"
    )
    with Lab.create(LabSpec(name=name, flavor=flavor, nodes=nodes), progress) as lab:
        lab.up()
        writer = lab.wait_healthy()
        progress(
            f"{writer.name} has the VIP {lab.spec.vip} and is the writer; the others follow it, read-only"
        )
        with Story(console) as story:
            outcome = act(lab, writer, story)
        report(console, outcome)
        return outcome


def act(lab: Lab, writer: Node, story: Story) -> Outcome:
    watcher = Watcher(lab, tell=lambda change: tell_change(story, change))
    tails = [tail_of(node, story) for node in lab.nodes.values()]
    with Client(lab, rate=0) as client, watcher:
        for tail in tails:
            tail.start()
        try:
            failed_over, rejoined, killed_ns = scenes(lab, writer, client, story)
        finally:
            for tail in tails:
                tail.end.set()
    seen = client.seen()
    survivor = lab.writer()
    return Outcome(
        failed_over=failed_over,
        rejoined=rejoined,
        outage_ms=seen.outage_ms(killed_ns),
        acknowledged=len(seen.acks),
        errors=len(seen.errors),
        lost=client.lost(survivor) if survivor else [number for _, number in seen.acks],
        two_writers_ms=watcher.two_writers_ms(),
    )


def scenes(lab: Lab, writer: Node, client: Client, story: Story) -> tuple[bool, bool, int]:
    """The kill, the failover, the return; (failed over, rejoined, when the kill was)."""
    begin = len(client.seen().acks)
    time.sleep(STEADY_S)
    rate = (len(client.seen().acks) - begin) / STEADY_S
    story.say(
        f"an ordinary client writes through the VIP: {rate:.0f} acknowledged inserts a second", style="bold"
    )
    time.sleep(2 * SETTLE_S)
    killed_ns = story.mark()
    story.say(f"kill -9 of mysqld on {writer.name} (pid {writer.mysqld.pid})", style="bold red")
    with faults.kill_mysqld(writer):
        try:
            lab.wait(lambda: lab.writer() not in (None, writer), FAILOVER_S_MAX, "a failover")
            client.wait_acks(10)
        except WaitTimeout as exc:
            story.say(f"no failover: {exc}", style="red")
            return False, False, killed_ns
        tell_client(client, killed_ns, story)
        time.sleep(STEADY_S)
        story.mark()
        story.say(f"starting the dead mysqld on {writer.name} again", style="bold")
    try:
        lab.wait(lambda: joined(writer), REJOIN_S_MAX, f"the return of {writer.name}")
    except WaitTimeout as exc:
        story.say(f"{writer.name} did not rejoin: {exc}", style="red")
        return True, False, killed_ns
    story.say("replicates again, read-only, and may take over", who=writer.name, style="green")
    time.sleep(1.0)
    return True, True, killed_ns


def joined(node: Node) -> bool:
    return (
        node.mysqld.read_only() is True
        and node.mysqld.replication_threads() == ("Yes", "Yes")
        and node.eligible() == "1"
    )


def tell_client(client: Client, killed_ns: int, story: Story) -> None:
    """What the client saw around the kill: its last acknowledgement, its first error, its first success again."""
    seen = client.seen()
    before = [ns for ns, _ in seen.acks if ns <= killed_ns]
    error = next((error for error in seen.errors if error[0] > killed_ns), None)
    if before:
        story.say(f"last acknowledgement {(before[-1] - killed_ns) / 1e6:.1f} ms", who="client")
    if error:
        at_ms = (error[0] - killed_ns) / 1e6
        story.say(f"its connection broke at {at_ms:.1f} ms: {error[1]} {error[2][:60]}", who="client")
        again = next((ns for ns, _ in seen.acks if ns > error[0]), None)
        if again:
            at_ms = (again - killed_ns) / 1e6
            story.say(
                f"its first acknowledgement from the new writer at {at_ms:.1f} ms",
                who="client",
                style="green",
            )


def tell_change(story: Story, change: Change) -> None:
    said = {
        ("vip", True): ("has the VIP", "cyan"),
        ("vip", False): ("has no VIP", ""),
        ("writable", True): ("is writable", "green"),
        ("writable", False): ("is read-only", ""),
        ("writable", None): ("its server does not answer", "red"),
    }
    text, style = said[change.what, change.now]
    story.say(text, who=change.node, style=style, ns=change.ns)


def tail_of(node: Node, story: Story) -> Tail:
    agent = node.agent

    def tell(line: str) -> None:
        line = re.sub(r"^<\d>", "", line).strip()
        if line:
            story.say(line, who=f"{node.name} agent", style="dim")

    return Tail(agent.log_size, agent.log_text, tell)


def report(console: Console, outcome: Outcome) -> None:
    table = Table(title="The failover, as measured", show_header=False, title_justify="left")
    table.add_column()
    table.add_column(justify="right")
    table.add_row("outage that the client saw", f"{outcome.outage_ms:.0f} ms")
    table.add_row("writes acknowledged", f"{outcome.acknowledged}")
    table.add_row("acknowledged writes lost", f"{len(outcome.lost)}")
    table.add_row("time with two writable nodes", f"{outcome.two_writers_ms:.1f} ms")
    table.add_row("the dead server", "rejoined" if outcome.rejoined else "stays apart")
    console.print(table)
