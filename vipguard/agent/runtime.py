"""How does the pure core meet the world? One loop: wait, drain, step, hand the effects to their workers.

This thread alone waits on descriptors and runs `step`; nothing it calls blocks. A pause of the host shows as a tick
that came late, and is the first thing the core is told after it.
"""

from __future__ import annotations

import collections
import json
import os
import select
import signal
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from .. import __version__
from ..errors import CouldNotDo
from ..log import get_logger
from ..model.effect import Note
from ..model.evidence import Answer
from ..model.policy import Policy
from ..session import boottime_s
from ..state import store
from ..state.journal import Journal
from ..state.pen import Pen
from ..state.recent import Recent
from . import last_word, predecessor, readers, story
from .alerts import Alerts
from .control import Control
from .event import Command, Did, Event, Reconfigured, Tick
from .hands import Hands
from .report import snapshot
from .step import step
from .tally import Tally
from .watch import Wake, Watch
from .world import Closing, Handing, Taking, World, Writing, begin, wake_s

EXIT_POLL_S = 0.01  # how often a holder's server process is looked at: the kernel flags its end at once
GOODBYE_S = 2.0  # how long a one-shot waits for the alerts that it gave
#: What only a restart takes up. Those of `predecessor.IDENTITY` are refused there while this node writes.
RESTART_KEYS = ("cluster", "node", "vip", "nodes", "mysql", "paths", "durability")
_log = get_logger("agent")


def boot_id() -> str:
    """This boot of the host (random(4): /proc/sys/kernel/random/boot_id)."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


class Runtime:
    """One agent, or one reconcile of a one-shot (`resident` false: no socket, no goodbye)."""

    def __init__(self, policy: Policy, *, resident: bool = True, may_open: bool = True) -> None:
        """Takes up the memory, the FIFO and the track file. Raises CouldNotDo, CouldNotLook."""
        self.now: Callable[[], float] = boottime_s
        self._commands: list[Command] = []
        self._mailbox: collections.deque[Did] = collections.deque()
        self._wake = Wake()
        os.makedirs(policy.paths.run, mode=0o750, exist_ok=True)
        predecessor.take_up(policy, boot_id(), resident=resident)
        self.recent = Recent(policy.paths.journal, policy.node)
        self.journal = Journal(policy.paths.journal, self.recent if resident else None, Pen())
        self.story = story.Story(self.journal.put)
        self.tally = Tally()
        self.watch = Watch(policy, self.now, readers=resident)
        self.watch.epoll.register(self._wake.fileno(), select.EPOLLIN)
        self.alerts = Alerts(lambda: self.world.policy)
        self.hands = Hands(policy, self.now, self._post)
        memory, problem = store.load(policy.paths.state_file, policy.cluster, policy.node)
        if problem:
            _log.error("memory", rule="state-file-not-trusted", problem=problem)
        self.world: World = begin(policy, boot_id(), self.now(), memory, may_open=may_open)
        if resident:
            self.world = replace(self.world, readers=readers.begin(policy))
        self.control = self._listen() if resident else None
        self._stop = False
        self._reload: Callable[[], Policy] | None = None
        self._reload_due = False
        self._tick_s = self.now()
        self._wake_at_s = self._tick_s

    def _listen(self) -> Control:
        policy = self.world.policy
        return Control(policy.paths.agent_socket, self.now, self._answer, self.watch.epoll)

    def _post(self, did: Did) -> None:
        self._mailbox.append(did)
        self._wake.set()

    def on_signals(self, reload: Callable[[], Policy]) -> None:
        """SIGTERM and SIGINT stop; SIGHUP reads the configuration again."""
        self._reload = reload
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGINT, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_reload)

    def _on_stop(self, *_: object) -> None:
        self._stop = True
        self._wake.set()

    def _on_reload(self, *_: object) -> None:
        self._reload_due = True
        self._wake.set()

    def run(self, until: Callable[[World, float], bool] | None = None) -> None:
        """The loop, until a signal or until `until(world, now_s)`. Announces readiness and the watchdog to systemd."""
        track, *others = self.watch.look()
        self._step(track)  # before a start that was late counts as a pause: the 1 of a writer must be known by then
        self._steps(others)
        notify("READY=1")
        alive_s = 0.0
        while not self._stop and not (until is not None and until(self.world, self.now())):
            self.turn()
            if self.now() - alive_s >= 1.0:
                alive_s = self.now()
                notify("WATCHDOG=1")
        notify("STOPPING=1")

    def turn(self) -> None:
        """One round: wait, drain, tick when due, then the reports of the workers."""
        ready = self.watch.wait(self._timeout_s())
        now_s = self.now()
        events: list[Event] = self.watch.exiting(last_word.suspect(self.world)) if self._watches_process() else []
        due_s = min(self._wake_at_s, self._tick_s + self.world.policy.limits.probe_s)
        if not ready and not events and now_s < due_s:
            return  # nine turns of ten: nothing but the look at the server's process
        if now_s >= due_s:
            gap_s, self._tick_s = now_s - self._tick_s, now_s
            seen = self.watch.tick()
            late = gap_s > self.world.policy.limits.lease_s
            events = [Tick(gap_s), *events, *seen] if late else [*events, *seen, Tick(gap_s)]
        if self._wake.fileno() in ready:
            self._wake.clear()
        events.extend(self.watch.drain(ready))
        if self._reload_due:
            events.extend(self._reread())
        events.extend(self._commands)
        self._commands.clear()
        self._steps(events)
        while self._mailbox:
            self._steps([self._mailbox.popleft()])
        if self.control is not None:
            self.control.serve(ready)

    def _timeout_s(self) -> float:
        timeout_s = min(self._wake_at_s, self._tick_s + self.world.policy.limits.probe_s) - self.now()
        return min(timeout_s, EXIT_POLL_S) if self._watches_process() else timeout_s

    def _watches_process(self) -> bool:
        serves = any(state.seen.here for state in self.world.readers.values())
        acts = isinstance(self.world.phase, Writing | Taking | Closing | Handing)
        absent = self.world.server is not None and self.world.server.answer is Answer.ABSENT
        return last_word.suspect(self.world) is not None and (acts or serves or absent)

    def _steps(self, events: list[Event]) -> None:
        for event in events:
            gap_s = self.now() - self._tick_s
            if gap_s > self.world.policy.limits.lease_s:  # it stood still in the middle of a turn
                self._tick_s += gap_s
                self._step(Tick(gap_s))
            self._step(event)
        if events:  # most turns only look whether the server's process is exiting
            self._wake_at_s = wake_s(self.world, self.now())

    def _step(self, event: Event) -> None:
        now_s = self.now()
        self.world, flights = step(self.world, event, now_s)
        for flight in flights:
            if isinstance(flight.effect, Note):
                self.story.tell(flight.effect, now_s)
                self.tally.tell(flight.effect)
                self.alerts.tell(flight.effect, now_s, self.world.memory.epoch)
            else:
                self.hands.start(flight)

    def _reread(self) -> list[Event]:
        """A configuration that is broken, or that a running agent cannot take up, is refused; the old one stays."""
        self._reload_due = False
        assert self._reload is not None
        try:
            policy = self._reload()
            keys = [key for key in RESTART_KEYS if getattr(policy, key) != getattr(self.world.policy, key)]
            keys += ["reader"] if readers.fixed(policy) != readers.fixed(self.world.policy) else []
            if keys:
                raise CouldNotDo(predecessor.changed(keys))
            self.watch.follow(policy)
        except Exception as exc:  # whatever is wrong with a file, the guard goes on with the old one
            _log.error("reload", rule="configuration-refused", reason=str(exc))
            return []
        self.hands.policy = policy
        _log.info("reload", rule="configuration-taken-up", file=policy.file)
        return [Reconfigured(policy)]

    def _answer(self, command: str) -> str | None:
        world, verdict = self.world, self.world.verdict
        if command == "check":
            if verdict is None or (world.track_asked is None and verdict.standing != "holder"):
                return "3 starting"
            may = verdict.may if world.track_asked is None else world.track_asked == "1"
            return f"{0 if may else 1} {verdict.rule}"
        if command.startswith("check "):
            name = command.removeprefix("check ")
            answer = readers.answer(world, name)
            self.watch.passed(name, answer is not None and answer.startswith("0"))
            return answer
        if command == "status":
            return self.status()
        if command == "stories":
            return self.recent.text
        if command in ("promote", "solo", "undamp", "lift", "stand-up"):
            self._commands.append(Command(command))
            self._wake_at_s = self.now()
            return f"ok {command}"
        if command == "hook":
            self._wake_at_s = self.now()
            return f"ok {type(world.phase).__name__.lower()}"
        return None

    def status(self) -> str:
        """The status as one line of JSON."""
        now_s = self.now()
        told = snapshot(self.world, now_s, __version__, self.story.recent(now_s))
        return json.dumps({**told, "counts": {**self.tally.told(), **self.hands.told(now_s)}})

    def close(self) -> None:
        """A clean stop drops nothing: a candidate's track file says 0, a holder's stays."""
        verdict = self.world.verdict
        if self.control is not None:
            holder = verdict is not None and verdict.standing != "candidate"
            self.hands.say_goodbye(None if holder else "0")
            self.watch.goodbye()
            self.control.close()
        self.hands.close()
        self.alerts.close(GOODBYE_S if self.control is None else 0.0)
        self.watch.close()
        self.journal.close()


def notify(state: str) -> None:
    """Tell systemd (sd_notify(3)); nothing where nobody listens."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    try:
        with socket.socket(
            socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        ) as sock:
            sock.sendto(state.encode(), address)
    except OSError as exc:
        _log.debug("sd_notify", rule="not-sent", reason=str(exc))
