"""What did the application notice? Starts the writing program in the client's namespace and counts from what
it printed.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vipguard.lab.namespace import Identity
from vipguard.lab.spec import APP_PASSWORD, APP_USER, PORT
from vipguard.lab.wait import LabError, wait_until

if TYPE_CHECKING:
    from vipguard.lab.cluster import Lab
    from vipguard.lab.node import Node

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Seen:
    """What a client saw: acknowledgements as (monotonic ns, id), errors as (ns, code, text), connections as
    (ns, server_id).
    """

    acks: list[tuple[int, int]]
    errors: list[tuple[int, int, str]]
    connections: list[tuple[int, int]]

    def outage_ms(self, since_ns: int = 0, until_ns: int | None = None) -> float:
        """The longest time without an acknowledgement; with `until_ns` the time since the last one counts
        too.
        """
        times = [ns for ns, _ in self.acks if ns >= since_ns and (until_ns is None or ns <= until_ns)]
        before = [ns for ns, _ in self.acks if ns < since_ns][-1:]
        edges = [*(before or [since_ns] * bool(since_ns)), *times, *([until_ns] if until_ns else [])]
        return max((late - early for early, late in itertools.pairwise(edges)), default=0) / 1e6


class Client:
    """An ordinary client of the VIP; `with lab.client(rate=500) as client:` runs it, afterwards
    `client.seen()` tells.

    rate: inserts a second, 0: as fast as they are acknowledged. host: another address than the VIP.
    """

    def __init__(
        self,
        lab: Lab,
        rate: float = 500.0,
        *,
        host: str = "",
        connect_timeout_s: float = 1.0,
        read_timeout_s: float = 5.0,
    ) -> None:
        self.lab, number = lab, next(_numbers)
        self.log = lab.directory / f"client-{os.getpid()}-{number}.log"
        self.first_id = (time.time_ns() // 1_000_000 << 20) + (number << 12)
        self.settings = {
            "host": host or lab.spec.vip, "port": PORT, "user": APP_USER, "password": APP_PASSWORD,
            "rate": rate, "first_id": self.first_id,
            "connect_timeout_s": connect_timeout_s, "read_timeout_s": read_timeout_s,
        }  # fmt: skip
        self.identity: Identity | None = None

    def start(self) -> Client:
        argv = [sys.executable, "-P", "-m", "vipguard.lab.writer", json.dumps(self.settings)]
        self.identity = self.lab.client_space.spawn(argv, self.log)
        return self

    def stop(self) -> None:
        if self.identity:
            self.identity.signal(signal.SIGKILL)

    def __enter__(self) -> Client:
        self.start()
        self.wait_acks(1)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait_acks(self, more: int, within_s: float = 30.0) -> None:
        """Wait until `more` further inserts are acknowledged."""
        size = self.log.stat().st_size
        wait_until(
            lambda: self._acks_from(size) >= more,
            within_s,
            lambda: f"{more} acknowledged inserts\n{self.tail()}\n{self.lab.describe()}",
        )

    def _acks_from(self, start: int) -> int:
        with self.log.open("rb") as stream:
            stream.seek(start)
            return sum(line.startswith(b"a ") for line in stream)

    def tail(self, lines: int = 5) -> str:
        return "\n".join(self.log.read_text().splitlines()[-lines:])

    def seen(self) -> Seen:
        """Everything up to now; a line that is being written is left out."""
        acks, errors, connections = [], [], []
        for line in self.log.read_text().split("\n")[:-1]:
            kind, _, rest = line.partition(" ")
            if kind == "a":
                ns, number = rest.split()
                acks.append((int(ns), int(number)))
            elif kind == "e":
                ns, code, text = rest.split(" ", 2)
                errors.append((int(ns), int(code) if code.lstrip("-").isdigit() else 0, text))
            elif kind == "c":
                ns, server = rest.split()
                connections.append((int(ns), int(server)))
            elif kind == "Traceback" or not line.startswith(" "):
                raise LabError(f"the client printed {line!r}, see {Path(self.log)}")
        return Seen(acks, errors, connections)

    def lost(self, node: Node) -> list[int]:
        """The acknowledged ids that this node's table does not have: asked after the client was stopped."""
        acked = {number for _, number in self.seen().acks}
        # the settings' first id bounds this client's rows below, its own last ack above
        low, high = self.first_id, max(acked, default=self.first_id)
        rows = node.mysqld.sql(f"SELECT id FROM app.t WHERE id BETWEEN {low} AND {high}", timeout_s=30)
        return sorted(acked - {int(row["id"]) for row in rows})
