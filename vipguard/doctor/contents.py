"""Would the data survive a failover as they are? Tables without keys or transactions, and events that don't run.

Each kind of fault is one finding for a server, with how many there are and the first few of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from vipguard.act import hooks
from vipguard.doctor.diagnosis import Diagnosis, warning
from vipguard.doctor.inside import ROWS_MAX, Event
from vipguard.doctor.survey import ServerSeen
from vipguard.model.policy import Policy
from vipguard.render.accounts import SEES

_SHOWN = 5
_ON = ("ON", "1")
_HOOK = "put an executable into {folder}/after-open that runs ALTER EVENT … ENABLE, or run them from outside"
_CAN_SEE = "run what `vipguard render accounts --with-passwords` prints, as root, on node {node}"


def judge(policy: Policy, servers: Sequence[ServerSeen]) -> Iterator[Diagnosis]:
    """Of every server whose lists were read."""
    for seen in servers:
        if seen.failure:
            continue
        yield from _blind(seen)
        yield from _tables(seen)
        yield from _events(policy, seen)


def _blind(seen: ServerSeen) -> Iterator[Diagnosis]:
    """Without these the lists come back short, and say nothing of it."""
    from vipguard.doctor.accounts import held

    wanted = [word.strip() for word in SEES.split(",")]
    lacking = [word for word in wanted if word not in held(seen.grants or (), "*.*", wanted)]
    if seen.inside.engines is not None and seen.grants is not None and lacking:
        text = f"its tables and events cannot be seen: the account lacks {', '.join(lacking)} ON *.*"
        yield warning("server", "contents-unseen", text, _CAN_SEE.format(node=seen.node.name), seen.node.name)


def _tables(seen: ServerSeen) -> Iterator[Diagnosis]:
    if seen.inside.keyless:
        text = f"{_some(seen.inside.keyless, 'table')} without a primary key: a replica searches for each row"
        remedy = "ALTER TABLE … ADD PRIMARY KEY; until then a drain may take longer than limits.drain_s_max"
        yield warning("server", "table-without-key", text, remedy, seen.node.name)
    if seen.inside.engines:
        names = [f"{name} ({engine})" for name, engine in seen.inside.engines]
        text = f"{_some(names, 'table')} without transactions: a crash leaves it half written, and unlike its copies"
        yield warning(
            "server", "table-not-transactional", text, "ALTER TABLE … ENGINE = InnoDB", seen.node.name
        )


def _events(policy: Policy, seen: ServerSeen) -> Iterator[Diagnosis]:
    events = seen.inside.events or ()
    asleep = [event.name for event in events if _asleep(event)]
    awake = [event.name for event in events if event.status == "ENABLED"]
    if asleep and not (seen.here and _hook_wakes(policy)):
        when = "when this node becomes the writer" if seen.closed else "though this node is the writer"
        text = f"{_some(asleep, 'event')} made on another node: disabled here, and stays so {when}"
        remedy = _HOOK.format(folder=policy.hooks.directory)
        yield warning("server", "event-stays-disabled", text, remedy, seen.node.name)
    scheduler = seen.variables.get("event_scheduler", "ON").upper()
    if (asleep or awake) and scheduler not in _ON:
        text = f"event_scheduler = {scheduler}, and there are events: {_some([*asleep, *awake], 'event')}"
        remedy = "SET GLOBAL event_scheduler = ON, and the same in my.cnf on every node"
        yield warning("server", "event-scheduler-off", text, remedy, seen.node.name)
    if awake and seen.closed and scheduler in _ON:
        text = f"{_some(awake, 'event')} enabled on a standby: it runs here too, and may write what no other node has"
        remedy = "in a session with sql_log_bin = 0: ALTER EVENT … DISABLE ON SLAVE (on MySQL: ON REPLICA)"
        yield warning("server", "event-runs-on-standby", text, remedy, seen.node.name)


def _asleep(event: Event) -> bool:
    return event.status.replace("_", "").endswith("SIDEDISABLED")


def _hook_wakes(policy: Policy) -> bool:
    """Does an executable that will run after the opening speak of events? That it does it right, nobody can tell."""
    for path in hooks.find(policy.hooks.directory, "after-open").programs:
        try:
            with open(path, "rb") as file:
                if b"event" in file.read(100_000).lower():
                    return True
        except OSError:
            continue
    return False


def _some(names: Iterable[str], what: str) -> str:
    """`3 tables (a, b, c)`; where the list was cut, that it was."""
    listed = list(names)
    count = f"{len(listed)}" if len(listed) < ROWS_MAX else f"{ROWS_MAX} or more"
    more = ", …" if len(listed) > _SHOWN else ""
    return f"{count} {what}{'' if len(listed) == 1 else 's'} ({', '.join(listed[:_SHOWN])}{more})"
