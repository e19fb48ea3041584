"""How is the next world put together within one step? A draft: changed in place, with the effects that came due."""

from __future__ import annotations

from ..checks import writer
from ..model.changed import replace
from ..model.effect import Effect, Note
from ..model.sight import Sight
from ..model.verdict import Standing, Verdict
from .world import Flight, World

GRACE_S = 0.3  # a worker's own bookkeeping on top of its deadline
#: What no sight shows: a change of it alone needs no new one.
UNSHOWN = frozenset(
    {"verdict", "flights", "next_flight", "said", "track", "track_asked", "readers", "gap_s", "ticks", "gone_to"}
    | {"beat_s", "beat_done_s", "beat_gtid", "disk_asked_s", "duplicate", "armed_s", "ordered_s", "wrote_s"}
)


class Draft:
    """A world in the making: changed in place within one step, with the effects that came due."""

    def __init__(self, world: World, now_s: float) -> None:
        self.world, self.now_s = world, now_s
        self.orders: list[Flight] = []
        self.landed: Flight | None = None  # the flight whose report is being recorded
        self._seen: tuple[World, Sight] | None = None
        self._judged: tuple[Sight, Standing, Verdict] | None = None

    @property
    def sight(self) -> Sight:
        """Of the world as it is now; put together once for each of its states."""
        if self._seen is None or self._seen[0] is not self.world:
            self._seen = self.world, self.world.sight(self.now_s)
        return self._seen[1]

    def judge(self, standing: Standing) -> Verdict:
        """By the present sight; once for each that two ask for."""
        sight = self.sight
        if self._judged is None or self._judged[0] is not sight or self._judged[1] != standing:
            self._judged = sight, standing, writer.judge(sight, standing)
        return self._judged[2]

    def set(self, **changes: object) -> None:
        """The world with `changes`; the same one where they change nothing."""
        world = self.world
        known = world.__dict__
        for name, value in changes.items():
            if known[name] is not value:
                break
        else:
            return
        self.world = replace(world, **changes)
        if self._seen is not None and self._seen[0] is world and changes.keys() <= UNSHOWN:
            self._seen = self.world, self._seen[1]

    def send(self, effect: Effect) -> None:
        """Order `effect`, unless one of its key is under way."""
        if effect.key in self.world.flights:
            return
        number, until_s = self.world.next_flight, self.now_s + effect.deadline_s + GRACE_S
        flight = Flight(number, effect, self.now_s, until_s)
        self.orders.append(flight)
        if isinstance(effect, Note):
            self.set(next_flight=number + 1)
        else:
            self.set(next_flight=number + 1, flights={**self.world.flights, effect.key: flight})

    def note(self, what: str, rule: str, level: str = "info", **numbers: object) -> None:
        """One line for the log and the story."""
        self.orders.append(
            Flight(0, Note(0.0, what, rule, level, tuple(numbers.items())), self.now_s, self.now_s)
        )

    def say(self, topic: str, rule: str, level: str = "info", *, what: str = "", **numbers: object) -> None:
        """Note a standing fact once, and again only when its rule changed; as `what` if the topic has another name."""
        if self.world.said.get(topic) == rule:
            return
        self.set(said={**self.world.said, topic: rule})
        self.note(what or topic, rule, level, **numbers)

    def forget(self, topic: str) -> None:
        if topic in self.world.said:
            self.set(said={k: v for k, v in self.world.said.items() if k != topic})
