"""Who has the reader addresses, all the time, and what does a client notice that reads at one of them?"""

from __future__ import annotations

import itertools
import signal
import sys
import threading
import time
from dataclasses import dataclass
from types import TracebackType

from vipguard.lab import Lab, Node
from vipguard.lab.node import has_address
from vipguard.lab.spec import APP_PASSWORD, APP_USER, PORT

EVERY_S = 0.005
CLIENT = f"""
import sys, time, pymysql
connection = None
while True:
    try:
        if connection is None:
            connection = pymysql.connect(host=sys.argv[1], port={PORT}, user={APP_USER!r}, password={APP_PASSWORD!r},
                                         connect_timeout=1, read_timeout=5)
            cursor = connection.cursor()
        cursor.execute("SELECT @@server_id")
        print("a", time.monotonic_ns(), cursor.fetchone()[0], flush=True)
    except (pymysql.MySQLError, OSError) as exc:
        print("e", time.monotonic_ns(), exc.args[0] if exc.args else 0, flush=True)
        connection = None
    time.sleep(0.01)
"""


class ReadingClient:
    """Reads the server's id at one reader address, a hundred times a second, and connects again at once."""

    def __init__(self, lab: Lab, number: int) -> None:
        self.log = lab.directory / f"reading-{number}-{time.monotonic_ns()}.log"
        argv = [sys.executable, "-c", CLIENT, lab.spec.reader_ip(number)]
        self.process = lab.client_space.spawn(argv, self.log)

    def answers(self) -> list[tuple[int, int]]:
        """(monotonic ns, server id) of each."""
        found = [line.split() for line in self.log.read_text().split("\n")[:-1]]
        return [(int(words[1]), int(words[2])) for words in found if words[0] == "a"]

    def longest_gap_ms(self, since_ns: int) -> float:
        times = [since_ns, *(ns for ns, _ in self.answers() if ns >= since_ns), time.monotonic_ns()]
        return max(late - early for early, late in itertools.pairwise(times)) / 1e6

    def __enter__(self) -> ReadingClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.signal(signal.SIGKILL)


@dataclass(frozen=True)
class Held:
    at_ns: int
    number: int
    nodes: tuple[str, ...]


class Holders(threading.Thread):
    """Looks at every reader address on every node, every 5 ms. `changes`: who had which from when on."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(daemon=True)
        self.lab, self.changes = lab, list[Held]()
        self._pids = {node.name: node.space.identity.pid for node in lab.nodes.values()}
        self._done = threading.Event()

    def _having(self, ip: str) -> tuple[str, ...]:
        """Looked at twice: an address that moves between two looks is not on two nodes."""
        once = {name for name, pid in self._pids.items() if has_address(pid, ip)}
        if len(once) > 1:
            once = {name for name in once if has_address(self._pids[name], ip)}
        return tuple(sorted(once))

    def run(self) -> None:
        last: dict[int, tuple[str, ...]] = {}
        while not self._done.wait(EVERY_S):
            for number in range(len(self.lab.spec.readers)):
                nodes = self._having(self.lab.spec.reader_ip(number))
                if last.get(number) != nodes:
                    last[number] = nodes
                    self.changes.append(Held(time.monotonic_ns(), number, nodes))

    def seen(self) -> dict[int, tuple[str, ...]]:
        """Who has which, as it was written down last."""
        return {held.number: held.nodes for held in self.changes}

    def twice_ms(self) -> float:
        """The longest time for which an address was on two nodes. A busy host deletes one some milliseconds after it
        said that it would, and another has taken it by then; or its adverts are late, and another takes it for dead."""
        longest, now_ns = 0, time.monotonic_ns()
        for at, held in enumerate(self.changes):
            if len(held.nodes) > 1:
                until = (later.at_ns for later in self.changes[at + 1 :] if later.number == held.number)
                longest = max(longest, next(until, now_ns) - held.at_ns)
        return longest / 1e6

    def moves(self, number: int, since_ns: int) -> list[str]:
        """The nodes that got it since, in order."""
        found = [held for held in self.changes if held.number == number and held.nodes]
        before = [held.nodes[0] for held in found if held.at_ns <= since_ns][-1:]
        after = [held.nodes[0] for held in found if held.at_ns > since_ns]
        return [name for last, name in itertools.pairwise([*before, *after]) if name != last]

    def __enter__(self) -> Holders:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._done.set()
        self.join()


def wait_readers(lab: Lab, wanted: dict[int, Node | None], within_s: float = 10.0) -> None:
    """Each address on that node and on no other; None: on no node."""

    def there() -> bool:
        return all(
            [name for name, n in lab.nodes.items() if number in n.readers()] == ([node.name] if node else [])
            for number, node in wanted.items()
        )

    lab.wait(there, within_s, f"readers { {number: node and node.name for number, node in wanted.items()} }")
