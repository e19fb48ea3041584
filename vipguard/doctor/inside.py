"""What is in a server that a failover stumbles over? Its tables, events and plugins, its clock, and who talks to it.

Only the servers' own lists are asked, each question with a limit to its rows and to its time: a server with ten
thousand tables answers within seconds, and no row of the operator's is read.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vipguard.model import likeness
from vipguard.model.policy import MARIADB, Flavor, Policy

ROWS_MAX = 200
LIST_S = 2.5
_SYSTEM = "('mysql', 'sys', 'information_schema', 'performance_schema', 'vipguard')"
_OF_SYSTEM = re.compile(r"(mysql|sys|performance_schema|information_schema|vipguard)/")
_EVENTS = (
    "SELECT CONCAT(EVENT_SCHEMA, '.', EVENT_NAME) AS name, STATUS AS status FROM information_schema.EVENTS"
    f" WHERE EVENT_SCHEMA NOT IN {_SYSTEM} LIMIT {ROWS_MAX}"
)
_ENGINES = (
    "CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) AS name, ENGINE AS engine FROM information_schema.TABLES"
    f" WHERE TABLE_TYPE = 'BASE TABLE' AND TABLE_SCHEMA NOT IN {_SYSTEM}"
    f" AND ENGINE NOT IN ('InnoDB', 'PERFORMANCE_SCHEMA') LIMIT {ROWS_MAX}"
)
# With 10,000 tables, the server just started: 0.2 s on MariaDB, 0.4 s on MySQL, where InnoDB's own lists took 12 s.
_KEYLESS = {
    # the clustered index that InnoDB makes for want of a key
    MARIADB: (
        "t.NAME AS name FROM information_schema.INNODB_SYS_INDEXES i JOIN information_schema.INNODB_SYS_TABLES t"
        f" USING (TABLE_ID) WHERE i.NAME = 'GEN_CLUST_INDEX' LIMIT {ROWS_MAX}"
    ),
    # PRI: of the primary key, or of the unique one without NULL that stands in for it
    "mysql": (
        "CONCAT(t.TABLE_SCHEMA, '/', t.TABLE_NAME) AS name FROM information_schema.TABLES t"
        f" WHERE t.TABLE_TYPE = 'BASE TABLE' AND t.ENGINE = 'InnoDB' AND t.TABLE_SCHEMA NOT IN {_SYSTEM}"
        " AND NOT EXISTS (SELECT 1 FROM information_schema.COLUMNS c WHERE c.TABLE_SCHEMA = t.TABLE_SCHEMA"
        f" AND c.TABLE_NAME = t.TABLE_NAME AND c.COLUMN_KEY = 'PRI') LIMIT {ROWS_MAX}"
    ),
}
_OWN = "SELECT TABLE_NAME AS name FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'vipguard'"
_ORIGINS = {
    MARIADB: (
        "SELECT LOWER(VARIABLE_NAME) AS name, GLOBAL_VALUE_ORIGIN AS origin, DEFAULT_VALUE AS usual"
        " FROM information_schema.SYSTEM_VARIABLES"
    ),
    "mysql": (
        "SELECT VARIABLE_NAME AS name, VARIABLE_SOURCE AS origin, NULL AS usual"
        " FROM performance_schema.variables_info"
    ),
}
_SESSIONS = {
    MARIADB: "SELECT DISTINCT HOST AS host FROM information_schema.PROCESSLIST WHERE USER = '{}'",
    "mysql": "SELECT DISTINCT HOST AS host FROM performance_schema.processlist WHERE USER = '{}'",
}
Ask = Callable[[str, str], "list[dict[str, Any]] | None"]


@dataclass(frozen=True, slots=True)
class Event:
    """`status` as the server writes it: ENABLED, DISABLED, SLAVESIDE_DISABLED, REPLICA_SIDE_DISABLED."""

    name: str
    status: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a variable's value is from, and what it would be without (None: not told)."""

    origin: str
    usual: str | None


@dataclass(frozen=True, slots=True)
class Inside:
    """None: not looked at. `ahead_s`: the server's clock against this host's; `within_s` is how exact that is.

    `signs`: which of this node's own locks of likeness somebody holds there; `asked_by`: hosts with a session of ours.
    """

    keyless: tuple[str, ...] | None = None
    engines: tuple[tuple[str, str], ...] | None = None
    events: tuple[Event, ...] | None = None
    plugins: frozenset[str] | None = None
    ahead_s: float | None = None
    within_s: float = 0.0
    signs: Mapping[str, bool] | None = None
    asked_by: frozenset[str] | None = None
    origins: Mapping[str, Origin] = field(default_factory=dict)
    own_tables: frozenset[str] | None = None


def look(policy: Policy, flavor: Flavor, ask: Ask, contents: bool) -> Inside:
    """One server, by `ask(what, sql)`, which gives None and notes it where it failed. Lists only with `contents`."""
    keyless = engines = events = None
    if contents:
        keyless = ask("its tables' keys", _limited(flavor, _KEYLESS[flavor]))
        engines = ask("its tables' engines", _limited(flavor, _ENGINES))
        events = ask("its events", _EVENTS)
    ahead_s, within_s = _clock(ask)
    plugins = ask(
        "its plugins",
        "SELECT PLUGIN_NAME AS name FROM information_schema.PLUGINS WHERE PLUGIN_STATUS = 'ACTIVE'",
    )
    own = ask("vipguard's tables", _OWN)
    origins = ask("where its settings are from", _ORIGINS[flavor]) or []
    return Inside(
        keyless=None if keyless is None else _tables(flavor, (str(row["name"]) for row in keyless)),
        engines=None if engines is None else tuple((str(r["name"]), str(r["engine"])) for r in engines),
        events=None if events is None else tuple(Event(str(r["name"]), str(r["status"])) for r in events),
        plugins=None if plugins is None else frozenset(str(row["name"]) for row in plugins),
        ahead_s=ahead_s,
        within_s=within_s,
        signs=_signs(policy, ask),
        asked_by=_asked_by(policy, flavor, ask),
        origins={
            str(row["name"]): Origin(str(row["origin"]), None if row["usual"] is None else str(row["usual"]))
            for row in origins
        },
        own_tables=None if own is None else frozenset(str(row["name"]) for row in own),
    )


def _limited(flavor: Flavor, listing: str) -> str:
    if flavor == MARIADB:
        return f"SET STATEMENT max_statement_time = {LIST_S:g} FOR SELECT {listing}"
    return f"SELECT /*+ MAX_EXECUTION_TIME({LIST_S * 1000:.0f}) */ {listing}"


def _tables(flavor: Flavor, names: Iterable[str]) -> tuple[str, ...]:
    """As `schema.table`. InnoDB's names are those of files: partitions once, and what is its own left out."""
    if flavor != MARIADB:
        return tuple(name.replace("/", ".", 1) for name in names)
    plain = (re.split(r"#p#", name, flags=re.IGNORECASE)[0] for name in names if not _OF_SYSTEM.match(name))
    return tuple(dict.fromkeys(_readable(name).replace("/", ".", 1) for name in plain if "/" in name))


def _readable(name: str) -> str:
    """A file name's `@002d` is a character's number (MySQL manual, "Mapping of Identifiers to File Names")."""
    return re.sub(r"@([0-9a-f]{4})", lambda found: chr(int(found[1], 16)), name)


def _clock(ask: Ask) -> tuple[float | None, float]:
    """In whole seconds: the only form that no time zone and no summer time touches."""
    began_s = time.time()
    rows = ask("its clock", "SELECT UNIX_TIMESTAMP() AS now")
    ended_s = time.time()
    if not rows:
        return None, 0.0
    return float(rows[0]["now"]) + 0.5 - (began_s + ended_s) / 2, 0.5 + (ended_s - began_s) / 2


def _signs(policy: Policy, ask: Ask) -> Mapping[str, bool] | None:
    names = {"agent": likeness.agent_lock(policy), **likeness.locks(policy)}
    words = ", ".join(f"IS_USED_LOCK('{lock}') AS {name}_" for name, lock in names.items())
    rows = ask("who guards it", f"SELECT {words}")
    return {name: rows[0][f"{name}_"] is not None for name in names} if rows else None


def _asked_by(policy: Policy, flavor: Flavor, ask: Ask) -> frozenset[str] | None:
    rows = ask("who talks to it", _SESSIONS[flavor].format(policy.mysql.user))
    return None if rows is None else frozenset(_host(str(row["host"])) for row in rows)


def _host(text: str) -> str:
    """Without the port that MariaDB and MySQL put behind it."""
    return re.sub(r":\d+$", "", text).strip("[]")
