"""Could a node that went apart be made a fresh copy? What `vipguard rejoin --discard` needs, before it is needed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace

from vipguard.doctor.accounts import held
from vipguard.doctor.diagnosis import Diagnosis, warning
from vipguard.doctor.survey import CONNECT_S, ServerSeen
from vipguard.errors import VipguardError
from vipguard.model.policy import MARIADB, Policy
from vipguard.render.accounts import COPIED, COPIES
from vipguard.session import Deadline, Session

_APPLY = "run what `vipguard render accounts --with-passwords` prints, as root, on node {node}"
_PROGRAMS = ("mariadb-dump", "mariadb")


def judge(policy: Policy, servers: Sequence[ServerSeen]) -> Iterator[Diagnosis]:
    """Nothing where the operator has a `copy.command` of their own."""
    if policy.copy.command or policy.replication is None:
        return
    for seen in servers:
        if not seen.failure:
            yield from _grants(policy, seen)
            yield from _plugin(seen)
            if seen.here and seen.flavor == MARIADB:
                yield from _home(policy)


def _grants(policy: Policy, seen: ServerSeen) -> Iterator[Diagnosis]:
    """Read from a peer by this host's account there, written at home by the local one."""
    wanted = (COPIES if seen.here else COPIED).get(seen.flavor, "")
    privileges = [word.strip() for word in wanted.split(",") if word.strip()]
    lacking = [word for word in privileges if word not in held(seen.grants or (), "*.*", privileges)]
    if seen.grants is not None and lacking:
        what = "made" if seen.here else f"copied to {policy.node}"
        text = f"no fresh copy could be {what}: account {policy.mysql.user!r} lacks {', '.join(lacking)}"
        yield warning(
            "accounts", "copy-grant-missing", text, _APPLY.format(node=seen.node.name), seen.node.name
        )


def _plugin(seen: ServerSeen) -> Iterator[Diagnosis]:
    if seen.flavor != MARIADB and seen.inside.plugins is not None and "clone" not in seen.inside.plugins:
        text = "its clone plugin is not loaded: it can neither be copied nor become a copy"
        remedy = "plugin_load_add = mysql_clone.so in its my.cnf, as `vipguard render mysql` prints, and restart it"
        yield warning("server", "clone-plugin-missing", text, remedy, seen.node.name)


def _home(policy: Policy) -> Iterator[Diagnosis]:
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing:
        text = f"no fresh copy could be made: {', '.join(missing)} not found"
        yield warning("host", "copy-program-missing", text, "install the package mariadb-client", policy.node)
    mysql = replace(policy.mysql, user=policy.copy.user, password=policy.copy.password)
    try:
        Session.local(mysql, Deadline(CONNECT_S)).close()
    except VipguardError as exc:
        text = f"no fresh copy could be loaded as {policy.copy.user!r} over the socket: {exc}"
        remedy = "name a local superuser with copy.user and copy.password_file, and run doctor as root"
        yield warning("accounts", "copy-user", text, remedy, policy.node)
