"""How long does an ordinary client see nothing when the writer is moved on purpose, to and fro?

With plain keepalived the move is what people do by hand: keepalived is stopped on the writer, and started again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.outages import RATE, SETTINGS, WITHIN_S, ready
from vipguard.lab import Lab, LabError, LabSpec, Node

CUT = (2006, 2013)  # what a client is told whose connection was cut
REFUSED = (2002, 2003)  # and while nobody has the VIP


@dataclass(frozen=True)
class Move:
    """One move. `errors`: neither the connection's cut nor refusals. `lost`: acknowledged rows that are gone."""

    flavor: str
    guard: str
    stall_ms: float
    errors: int
    lost: int
    two_writers_ms: float


def measure(flavor: str, guards: list[str], times: int, say: Callable[[str], None]) -> list[Move]:
    """`times` moves on each guard, by turns of ten, so that what the machine does besides hits both alike."""
    labs: dict[str, Lab] = {}
    found: list[Move] = []
    try:
        for guard in guards:
            spec = LabSpec(name=f"move-{guard}", flavor=flavor, guard=guard, settings=SETTINGS)  # type: ignore[arg-type]
            labs[guard] = Lab.create(spec).up()
        left = dict.fromkeys(guards, times)
        while any(left.values()):
            for guard, lab in labs.items():
                for _ in range(min(10, left[guard])):
                    one = _move(lab, guard)
                    found.append(one)
                    left[guard] -= 1
                    say(f"{guard} moved, {one.stall_ms:.0f} ms, {one.errors} other errors, {one.lost} lost")
    finally:
        for lab in labs.values():
            lab.down()
    return found


def _move(lab: Lab, guard: str) -> Move:
    writer = ready(lab)
    target = lab.others(writer)[0]
    with lab.watch() as watcher, lab.client(rate=RATE) as client:
        client.wait_acks(100)
        began_ns = time.monotonic_ns()
        _order(writer, target, guard)
        until_s = time.monotonic() + WITHIN_S
        while not any(server == target.server_id for ns, server in client.seen().connections if ns >= began_ns):
            if time.monotonic() > until_s:
                break
            time.sleep(0.05)
        client.wait_acks(50)
    if guard == "plain":
        writer.start_keepalived()
    seen = client.seen()
    lab.wait(lambda: lab.writer() is not None, 20, "one writer")
    after = [code for ns, code, _ in seen.errors if ns >= began_ns]
    return Move(
        flavor=str(lab.spec.flavor),
        guard=guard,
        stall_ms=seen.outage_ms(began_ns),
        errors=sum(code not in CUT + REFUSED for code in after),
        lost=len(client.lost(target)),
        two_writers_ms=watcher.two_writers_ms(),
    )


def _order(writer: Node, target: Node, guard: str) -> None:
    if guard == "plain":
        writer.keepalived.terminate()
        return
    done = target.vipguard("switchover", check=False, timeout_s=60)
    if done.returncode != 0:
        raise LabError(f"the writer did not move: {done.stderr}")
