"""What does a failover look like, millisecond by millisecond? The engine of `make demo`: kills a writer under
load and tells.
"""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from vipguard.lab.client import Client
from vipguard.lab.cluster import Lab, remove
from vipguard.lab.node import Node
from vipguard.lab.spec import Flavor, LabSpec
from vipguard.lab.wait import WaitTimeout
from vipguard.lab.watch import Change, Watcher

ANSWERED_NS = 10_000_000  # what was acknowledged so soon after the kill was written before it
STEADY_S = 3.0  # writing before the kill and after the failover
FAILOVER_S_MAX = 20.0
REJOIN_S_MAX = 40.0
SETTLE_S = 0.04  # lines wait that long, so that those of different threads come out in their order


@dataclass(frozen=True)
class Outcome:
    """What the demo measured. `lost` are acknowledged ids that the surviving writer does not have; `named` is how many
    transactions vipguard itself found on the returned server alone (replication is asynchronous).
    """

    failed_over: bool
    returned: str
    outage_ms: float
    acknowledged: int
    lost: list[int]
    named: int
    two_writers_ms: float
    moments: dict[str, int]  # what no journal knows, in monotonic ns

    @property
    def kept_the_law(self) -> bool:
        """One writer, and no loss that was not named."""
        return self.failed_over and self.two_writers_ms == 0 and len(self.lost) <= self.named


class Story:
    """Prints what happens, each line with its milliseconds since the last mark. Lines may come from any
    thread.
    """

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
        shown = f"[{style}]{escape(text)}[/]" if style else escape(text)
        self.console.print(f"{(ns - self.mark_ns) / 1e6:9.1f} ms  {shown}", highlight=False, soft_wrap=True)


class Tail(threading.Thread):
    """Tells each new line of a log as it appears."""

    def __init__(self, log: Path, tell: Callable[[str], None]) -> None:
        super().__init__(name=f"tail-{log.name}", daemon=True)
        self.log, self.tell, self.end = log, tell, threading.Event()
        self.at = log.stat().st_size if log.exists() else 0

    def run(self) -> None:
        rest = b""
        while not self.end.wait(0.003):
            try:
                with self.log.open("rb") as stream:
                    stream.seek(self.at)
                    new = stream.read()
            except OSError:
                continue
            self.at += len(new)
            *lines, rest = (rest + new).split(b"\n")
            for line in lines:
                self.tell(line.decode(errors="replace"))


@contextmanager
def telling(lab: Lab, story: Story, client: Client | None = None) -> Iterator[Watcher]:
    """Tell all that happens: who has the VIP and is writable, what the agents do, when the client is interrupted."""
    tails = [Tail(node.agent.log, AgentLines(node.name, story)) for node in lab.nodes.values()]
    if client:
        tails.append(Tail(client.log, ClientLines(story)))
    with Watcher(lab, tell=lambda change: tell_change(story, change)) as watcher:
        for tail in tails:
            tail.start()
        try:
            yield watcher
        finally:
            for tail in tails:
                tail.end.set()


class AgentLines:
    """Tells what an agent logs, without what the reader knows, at the time that the line itself gives."""

    def __init__(self, node: str, story: Story) -> None:
        self.who, self.story = f"{node} agent", story
        self.wall_to_monotonic_ns = time.monotonic_ns() - time.time_ns()

    def __call__(self, line: str) -> None:
        found = re.findall(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|(\S*))', line)
        fields = {key: quoted or bare for key, quoted, bare in found}
        event, rule = fields.pop("event", ""), fields.pop("rule", "")
        if not event:
            if line.strip():
                self.story.say(line.strip(), who=self.who)
            return
        level = fields.pop("level", "info")
        fields.pop("log", None)
        said = fields.pop("text", "") or fields.pop("reason", "")
        numbers = " ".join(f"{key}={value}" for key, value in fields.items())
        text = f"{event} {rule}" + (f": {said}" if said else "") + (f" ({numbers})" if numbers else "")
        style = "dim" if level in ("info", "debug") else "yellow"
        self.story.say(text, who=self.who, style=style, ns=self._ns(line))

    def _ns(self, line: str) -> int | None:
        stamp = re.search(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z", line)
        if stamp is None:
            return None
        return int(datetime.fromisoformat(stamp[0]).timestamp() * 1e9) + self.wall_to_monotonic_ns


class ClientLines:
    """Tells the first error after a success, and the first success after an error."""

    def __init__(self, story: Story) -> None:
        self.story, self.interrupted = story, False

    def __call__(self, line: str) -> None:
        kind, _, rest = line.partition(" ")
        if kind == "e" and not self.interrupted:
            self.interrupted = True
            ns, code, text = rest.split(" ", 2)
            shown = text.strip("'\"")[:70]
            self.story.say(f"its connection broke: {code} {shown}", who="client", style="red", ns=int(ns))
        elif kind == "a" and self.interrupted:
            self.interrupted = False
            self.story.say(
                "its writes are acknowledged again", who="client", style="green", ns=int(rest.split()[0])
            )


def run(
    console: Console, *, name: str = "demo", flavor: Flavor = "mariadb", nodes: int = 2, svg: str | None = None
) -> Outcome:
    """The whole demo, from nothing to nothing; the lab is gone at the end, whatever happens. `svg`: a file."""
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
        journal(console, lab)
        if svg is not None:
            draw(console, lab, outcome.moments, svg)
        report(console, outcome)
        return outcome


def act(lab: Lab, writer: Node, story: Story) -> Outcome:
    with Client(lab, rate=0) as client, telling(lab, story, client) as watcher:
        killed_ns, failed_over = kill(lab, writer, client, story)
        returned, named = bring_back(lab, writer, story) if failed_over else ("not started again", 0)
    seen = client.seen()
    survivor = lab.writer()
    again = next((ns for ns, _ in seen.acks if ns > killed_ns + ANSWERED_NS), None)
    moments = {f"kill -9 of mysqld on {writer.name}": killed_ns}
    if again is not None and failed_over:
        moments["the client's first write"] = again
    return Outcome(
        failed_over=failed_over,
        returned=returned,
        outage_ms=seen.outage_ms(killed_ns),
        acknowledged=len(seen.acks),
        lost=client.lost(survivor) if survivor else [number for _, number in seen.acks],
        named=named,
        two_writers_ms=watcher.two_writers_ms(),
        moments=moments,
    )


def kill(lab: Lab, writer: Node, client: Client, story: Story) -> tuple[int, bool]:
    """Kill the writer's server under load; when that was, and whether another node took over."""
    begin = len(client.seen().acks)
    time.sleep(STEADY_S)
    rate = (len(client.seen().acks) - begin) / STEADY_S
    story.say(
        f"an ordinary client writes through the VIP: {rate:.0f} acknowledged inserts a second", style="bold"
    )
    time.sleep(2 * SETTLE_S)
    killed_ns = story.mark()
    story.say(f"kill -9 of mysqld on {writer.name} (pid {writer.mysqld.pid})", style="bold red", ns=killed_ns)
    writer.mysqld.kill9()
    try:
        lab.wait(lambda: lab.writer() not in (None, writer), FAILOVER_S_MAX, "a failover")
        client.wait_acks(10)
    except WaitTimeout as exc:
        story.say(f"no failover: {exc}", style="red")
        return killed_ns, False
    time.sleep(STEADY_S)
    return killed_ns, True


def bring_back(lab: Lab, node: Node, story: Story) -> tuple[str, int]:
    """Start the dead server again; what became of it, and how many transactions it alone was found to have."""
    log_size = node.agent.log_size()
    story.say(f"starting the dead mysqld on {node.name} again", style="bold", ns=story.mark())
    node.mysqld.start(again_s=0.5)  # a supervisor, as hosts have one: MySQL's clone needs a restart

    def diverged() -> re.Match[str] | None:
        return re.search(r"rule=diverged.*?(\d+) transactions.*?gtids=(\S+)", node.agent.log_text(log_size))

    try:
        lab.wait(lambda: joined(node) or diverged(), REJOIN_S_MAX, f"the return of {node.name}")
    except WaitTimeout as exc:
        story.say(f"{node.name} did not rejoin: {exc}", style="red")
        return "did not rejoin", 0
    time.sleep(1.0)
    if found := diverged():
        story.say(
            f"stays apart, read-only: {found[1]} written there at the kill and received by nobody ({found[2]})",
            who=node.name, style="yellow",
        )  # fmt: skip
        return discard(lab, node, story), int(found[1])
    story.say("replicates again, read-only, and may take over", who=node.name, style="green")
    return "rejoined", 0


def discard(lab: Lab, node: Node, story: Story) -> str:
    """What the operator does with it: give up what only this node has, by a fresh copy of the writer."""
    story.say(f"the operator, on {node.name}: vipguard rejoin --discard --yes", style="bold")
    done = node.vipguard("rejoin", "--discard", "--yes", timeout_s=REJOIN_S_MAX, check=False)
    if done.returncode != 0:
        story.say(f"rejoin --discard failed: {done.stderr.strip()}", who=node.name, style="red")
        return "stays apart: it alone has what it could not send, named above"
    try:
        lab.wait(lambda: joined(node), REJOIN_S_MAX, f"the return of {node.name}")
    except WaitTimeout as exc:
        story.say(f"{node.name} did not rejoin: {exc}", style="red")
        return "did not rejoin"
    story.say("is a fresh copy, replicates again, read-only, and may take over", who=node.name, style="green")
    return "rejoined as a fresh copy; what it alone had was named above"


def joined(node: Node) -> bool:
    return (
        node.mysqld.read_only() is True
        and node.mysqld.replication_threads() == ("Yes", "Yes")
        and node.eligible() == "1"
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


def journal(console: Console, lab: Lab) -> None:
    """The same failover as one story, by the command that an operator has."""
    survivor = lab.writer()
    if survivor is None:
        return
    words = ["events", "--stories", "--rule", "taken-over", "-n", "1"]
    console.print(f"\nthe same, later, from its journal on {survivor.name}: vipguard {' '.join(words)}", style="bold")
    done = survivor.vipguard(*words, check=False)
    console.print(escape((done.stdout or done.stderr).rstrip()), highlight=False, soft_wrap=True)


def draw(console: Console, lab: Lab, marks: dict[str, int], file: str) -> None:
    """The same as a picture, with the moments that only this demo knows: `marks` in monotonic ns."""
    survivor = lab.writer()
    if survivor is None:
        return
    ahead_s = time.time() - time.monotonic()
    words = [word for text, ns in marks.items() for word in ("--mark", f"{ns / 1e9 + ahead_s:.6f}={text}")]
    done = survivor.vipguard("events", "--rule", "taken-over", "--svg", "-", *words, check=False)
    if done.returncode == 0:
        Path(file).write_text(done.stdout, encoding="utf-8")
        console.print(f"\nthe same as a picture: {file}", style="bold")


def report(console: Console, outcome: Outcome) -> None:
    rows = {
        "outage that the client saw": f"{outcome.outage_ms:.0f} ms"
        if outcome.failed_over
        else "it never ended",
        "writes acknowledged": f"{outcome.acknowledged}",
        "acknowledged writes lost": f"{len(outcome.lost)}",
        "time with two writable nodes": f"{outcome.two_writers_ms:.0f} ms",
        "the killed server": outcome.returned,
    }
    console.print()
    for what, measured in rows.items():
        console.print(f"{what:<30} [bold]{measured}[/]", highlight=False)
