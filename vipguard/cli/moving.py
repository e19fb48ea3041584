"""How is the writer moved on purpose from a command line? Look, order, watch, and say what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from vipguard.act.move import Order
    from vipguard.checks.move import Line
    from vipguard.model.policy import Node, Policy
    from vipguard.probe.server import ServerProbe

AT_MOST_MS = 2000  # nobody writes
WAIT_S = 5.0  # for the writer's long transactions
ASK_S = 2.0
LOOK_S = 0.3
FIT_S = 3.0  # for an agent, or a keepalived, that was just started
POLL_S = 0.008
TAKEN_UP_S = 5.0  # for the target's agent to claim, and the writer's to close
SETTLED_S = 20.0  # for one writer, whichever, when it went wrong
FOLLOWS_S = 10.0
MOVED, EXIT_BACK, EXIT_REFUSED, EXIT_UNKNOWN = 0, 1, 2, 3


@dataclass(frozen=True, slots=True)
class Moved:
    """What came of it: the exit code, and by which rule; everything was said already."""

    code: int
    rule: str


def move_writer(
    policy: Policy, to: str | None, at_most_ms: int = AT_MOST_MS, wait_s: float = WAIT_S, *, dry_run: bool = False
) -> Moved:
    """Move it to `to`, or to the best other node. Ctrl-C is safe: it says who writes. Raises CouldNotDo, UsageError."""
    from vipguard.act.move import Order
    from vipguard.session import Deadline

    writer, target = _choose(policy, to)
    if writer == target:
        click.echo(f"{target.name} is the writer already")
        return Moved(MOVED, "writer-already")
    with closing(Order(policy, writer, Deadline(ASK_S))) as order:
        lines = _looked_at(policy, writer, target, order, wait_s)
        against = [line for line in lines if not line.fine]
        if against:
            click.echo(f"vipguard: the writer stays {writer.name}: nothing was done", err=True)
            return Moved(EXIT_REFUSED, against[0].rule)
        if dry_run:
            click.echo(f"nothing was done; without --dry-run the writer would move from {writer.name} to {target.name}")
            return Moved(MOVED, "dry-run")
        with _watching(policy, writer, target) as watch:
            return _move(watch, order, at_most_ms)


# -- before


def _choose(policy: Policy, to: str | None) -> tuple[Node, Node]:
    """The writer and where it is to move. Raises CouldNotDo (refused), UsageError."""
    from vipguard.agent.glance import servers
    from vipguard.checks import move
    from vipguard.errors import CouldNotDo

    nodes = {node.name: node for node in policy.nodes}
    if to is not None and to not in nodes:
        raise click.UsageError(f"There is no node {to!r}; the nodes are {', '.join(nodes)}.")
    if to is not None and nodes[to].is_replica:
        may = ", ".join(node.name for node in policy.candidates)
        raise click.UsageError(f"{to} is a replica and never becomes the writer; {may} may.")
    first, second = servers(policy, ASK_S), servers(policy, ASK_S)
    writers = move.writers(second)
    if len(writers) != 1:
        told = f"there are {len(writers)} writers" if writers else "there is no writer to move"
        raise CouldNotDo(f"{told}: see `vipguard status`; nothing was done", refused=True)
    if to is not None:
        return nodes[writers[0]], nodes[to]
    others = sorted((n for n in policy.candidates if n.name != writers[0]), key=lambda node: -node.priority)
    fit = [n for n in others if all(line.fine for line in move.examine(writers[0], n.name, first, second))]
    return nodes[writers[0]], (fit or others)[0]


def _looked_at(policy: Policy, writer: Node, target: Node, order: Order, wait_s: float) -> list[Line]:
    """What was found, said a line each."""
    from vipguard.act.move import LONG_S
    from vipguard.agent.glance import servers
    from vipguard.checks import move
    from vipguard.session import Deadline

    until_s = time.monotonic() + FIT_S
    while True:
        first, second = servers(policy, ASK_S), servers(policy, ASK_S)
        lines = move.examine(writer.name, target.name, first, second)
        if [line.rule for line in lines if not line.fine] != ["not-fit"] or time.monotonic() > until_s:
            break
        time.sleep(LOOK_S)
    until_s = time.monotonic() + wait_s
    while (long := order.long_transactions(Deadline(ASK_S))) and time.monotonic() < until_s:
        time.sleep(LOOK_S)
    if long:
        told = "; ".join(map(str, long))
        many = "1 transaction has" if len(long) == 1 else f"{len(long)} transactions have"
        text = f"{many} been open on {writer.name} for over {LONG_S} s: {told}; end it there (KILL), or --wait-trx S"
        lines.append(move.Line("long-transactions", text, False))
    else:
        lines.append(move.Line("long-transactions", f"no transaction on {writer.name} is older than {LONG_S} s"))
    click.echo(f"from {writer.name} to {target.name}:")
    for line in lines:
        click.echo(_told(line))
    return lines


def _told(line: Line) -> str:
    mark = click.style("ok", fg="green") if line.fine else click.style("NO", fg="red", bold=True)
    return f"  {mark}  {line.text}"


# -- while it moves


class _watching:
    """Both servers, asked as fast as they answer: who is closed, who writes."""

    def __init__(self, policy: Policy, writer: Node, target: Node) -> None:
        from vipguard.probe.server import ServerProbe
        from vipguard.session import Connector, Tls

        tls = Tls.of(policy.mysql)
        plain = replace(policy, durability="async")
        self.writer, self.target = writer, target
        self._probes: dict[str, ServerProbe] = {
            node.name: ServerProbe(Connector.peer(node.address, policy.mysql, tls), plain) for node in (writer, target)
        }

    def __enter__(self) -> _watching:
        return self

    def __exit__(self, *_: object) -> None:
        for probe in self._probes.values():
            probe.close()

    def look(self) -> tuple[bool, bool, bool]:
        """Is the old writer claimed or closed; does the old one write; does the new one? What is silent does not."""
        from vipguard.model.sight import is_writer
        from vipguard.session import boottime_s

        old, new = (probe.look(LOOK_S, boottime_s, channels=False) for probe in self._probes.values())
        facts = old.facts
        touched = facts is None or facts.closed or facts.claim_lock is not None
        return touched, is_writer(old), is_writer(new)

    def until(self, condition: Callable[[tuple[bool, bool, bool]], bool], within_s: float) -> bool:
        until_s = time.monotonic() + within_s
        while not condition(self.look()):
            if time.monotonic() > until_s:
                return False
            time.sleep(POLL_S)
        return True


def _move(watch: _watching, order: Order, at_most_ms: int) -> Moved:
    from vipguard.session import Deadline

    old, new = watch.writer.name, watch.target.name
    try:
        order.give(new, Deadline(ASK_S))
        if not watch.until(lambda seen: seen[0], TAKEN_UP_S):
            order.close()
            why = f"{new} did not take it up: does its agent run, and find it eligible?"
            return _settle(watch, "not-taken-up", why)
        if not watch.until(lambda seen: not seen[1], TAKEN_UP_S):
            order.close()
            return _settle(watch, "not-closed", f"{old} did not close")
        closed_s = time.monotonic()
        if not watch.until(lambda seen: seen[1] or seen[2], at_most_ms / 1000):
            order.close()
            return _settle(watch, "called-off", f"nobody wrote for {at_most_ms} ms, so it was called off")
        without_ms = (time.monotonic() - closed_s) * 1000
        if watch.look()[2]:
            click.echo(f"{new} is the writer: {without_ms:.0f} ms without one")
            order.close()
            _say_follows(watch)
            return Moved(MOVED, "moved")
        return _settle(watch, "opened-again", f"{old} opened again after {without_ms:.0f} ms")
    except KeyboardInterrupt:
        order.close()
        return _settle(watch, "interrupted", "interrupted: the order was withdrawn")


def _settle(watch: _watching, rule: str, why: str) -> Moved:
    """The order is withdrawn, or had its end: who writes now? It may have happened all the same."""
    old, new = watch.writer.name, watch.target.name
    watch.until(lambda seen: seen[1] != seen[2], SETTLED_S)
    _, old_writes, new_writes = watch.look()
    if new_writes and not old_writes:
        click.echo(f"vipguard: {why}; all the same {new} is the writer now", err=True)
        return Moved(MOVED, rule)
    if old_writes and not new_writes:
        more = f"`vipguard events --stories` on {old} and {new} tells more"
        click.echo(f"vipguard: {why} ({rule}); {old} is the writer. {more}", err=True)
        return Moved(EXIT_BACK, rule)
    many = f"within {SETTLED_S:g} s there was not one writer: see `vipguard status`"
    click.echo(f"vipguard: {why} ({rule}); {many}", err=True)
    return Moved(EXIT_UNKNOWN, rule)


def _say_follows(watch: _watching) -> None:
    """The old writer as a standby again; it joins by itself, also later."""
    from vipguard.session import boottime_s

    probe, until_s = watch._probes[watch.writer.name], time.monotonic() + FOLLOWS_S
    while time.monotonic() < until_s:
        facts = probe.look(LOOK_S, boottime_s).facts
        if facts is not None and facts.channels and all(c.io == "running" and c.sql_running for c in facts.channels):
            click.echo(f"{watch.writer.name} follows it")
            return
        time.sleep(0.1)
    click.echo(f"vipguard: {watch.writer.name} does not follow yet: see `vipguard status` there", err=True)
