"""May this node's data and the others' be one history? Compared before anything is joined; a fresh copy on demand."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from ..act import copy
from ..act import setup as act
from ..act.setup import Server
from ..errors import Absent, VipguardError
from ..model.policy import MARIADB
from ..probe import procnet
from ..session import boottime_s
from ..state import mark
from .setup_steps import Line, Refusal, Stop

if TYPE_CHECKING:
    from .setup_steps import Setup

STEP = "data"
ASK_S = 2.0


# -- comparing


def compared(setup: Setup) -> Iterator[Line]:
    """Equal, or one contained in the other; else the run ends here."""
    here, policy = setup.here, setup.policy
    if os.path.exists(policy.paths.copy_mark):
        text = "a fresh copy of this node was begun and is not whole"
        raise Stop(STEP, text, "vipguard setup --copy-from NODE   (or, guarded: vipguard rejoin --discard)")
    running = _follows(here)
    behind: list[str] = []
    for name, peer in setup.peers.items():
        _one_history(here, name, peer)
        if not running:
            if _needs_copy(here, peer):
                raise Stop(
                    STEP,
                    f"{name} has {_told(peer)}, not here; whether its binary logs hold all of that, nobody can tell",
                    f"vipguard setup --copy-from {name}",
                )
            if _needs_copy(peer, here):
                behind.append(name)
    text = f"here {_told(setup.here)}"
    if setup.unseen:
        text += f"; {', '.join(setup.unseen)}: to be compared when set up"
    elif not behind:
        text += ", and nothing that contradicts the others'"
    yield Line("already so", STEP, text)
    for name in behind:
        do = f"on {name}: vipguard setup --copy-from {policy.node}"
        yield Line("TO DO", STEP, f"{name} lacks what is here", (do,))


def _one_history(here: Server, name: str, peer: Server) -> None:
    mine, theirs = here.gtid.minus(peer.gtid), peer.gtid.minus(here.gtid)
    text = ""
    if not mine.is_empty and not theirs.is_empty:
        text = f"each has what the other lacks: here {_cut(str(mine))}; on {name} {_cut(str(theirs))}"
    elif here.tables and peer.tables and here.databases != peer.databases and not (_follows(here) or _follows(peer)):
        text = f"here are the databases {', '.join(here.databases)}; on {name} are {', '.join(peer.databases)}"
    if text:
        raise Refusal(
            STEP,
            f"this node and {name} do not have one history: {text}",
            f"to give up what is here: vipguard setup --copy-from {name}",
            f"to give up what is there, on {name}: vipguard setup --copy-from {here.node.name}",
        )


def _follows(server: Server) -> bool:
    """Then what differs may be on its way."""
    return any(one.io != "stopped" or one.sql_running for one in server.channels)


def _needs_copy(behind: Server, ahead: Server) -> bool:
    """Its data can't come by replication alone, or nobody can tell."""
    if not behind.gtid.minus(ahead.gtid).is_empty:
        return False
    return bool(ahead.tables and not behind.tables) or not behind.gtid.contains(ahead.purged)


def _told(server: Server) -> str:
    tables = len(server.tables)
    if not tables:
        return f"are no tables (GTIDs: {_cut(str(server.gtid)) or 'none'})"
    return (
        f"{tables} table{'s' if tables > 1 else ''} in {_cut(', '.join(server.databases))}"
        f" (GTIDs: {_cut(str(server.gtid)) or 'none'})"
    )


def _cut(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:120]}…"


# -- the fresh copy


def copied(setup: Setup) -> Iterator[Line]:
    """`--copy-from`: what is here is given up for what is there. Not where they are alike already."""
    name = setup.options.copy_from
    if name is None:
        return
    policy, here = setup.policy, setup.here
    if name == policy.node or name not in [node.name for node in policy.peers]:
        others = ", ".join(node.name for node in policy.peers)
        raise Refusal("copy", f"{name!r} is no other node of {policy.cluster}: it has {others}")
    if name in setup.unseen:
        raise Refusal("copy", f"{name} cannot be looked at: {setup.unseen[name]}", f"on {name}: vipguard setup")
    source, half = setup.peers[name], os.path.exists(policy.paths.copy_mark)
    if not half and here.tables == source.tables and source.gtid.contains(here.gtid) and not _needs_copy(here, source):
        yield Line("already so", "copy", f"this node has the tables of {name}, and no GTID that it lacks")
        return
    _may_be_overwritten(setup, half)
    plan = setup.plan(source.node)
    if setup.options.dry_run:
        yield Line("would do", "copy", f"destroy what is here ({_told(here)}) and copy {name}")
        return
    begins = here.flavor == MARIADB and source.gtid.is_empty
    copy.check(plan)
    if here.tables and not setup.options.yes:
        click.echo(f"All data of the server on {policy.node} will be destroyed: {_told(here)}")
        if not click.confirm(f"Make {policy.node} a fresh copy of {name} now?"):
            raise Refusal("copy", "nothing was touched")
    if begins:
        have = act.begin_history(policy, source.node)
        yield Line("done", "copy", f"{name} had no GTID yet that a copy could follow on from: it has {have}")
    yield _copy(setup, plan, name)


def _may_be_overwritten(setup: Setup, half: bool) -> None:
    policy, here = setup.policy, setup.here
    from .. import client

    try:
        client.status(policy.paths.agent_socket, ASK_S)
    except Absent:
        pass
    except VipguardError as exc:
        raise Refusal("copy", f"the agent of this node hangs, so it cannot be held apart: {exc}") from exc
    else:
        raise Refusal("copy", "an agent guards this node, and knows better", "vipguard rejoin --discard")
    if procnet.look(policy.vip.interface, policy.vip.ip, boottime_s).vip_present:
        raise Refusal("copy", f"the VIP {policy.vip.ip} is on this node")
    if not half and not here.closed:
        raise Refusal("copy", "this node's server accepts writes", "if nobody uses it: SET GLOBAL read_only = 1")


def _copy(setup: Setup, plan: copy.Plan, name: str) -> Line:
    from .rejoin import _mark
    from .telling import telling

    policy, began_s = setup.policy, time.monotonic()
    os.makedirs(policy.paths.state, mode=0o700, exist_ok=True)
    mark.put(policy.paths.copy_mark, _mark(plan), over=plan.again)
    try:
        with telling() as tell:
            have = copy.make(plan, tell)
    except BaseException:
        click.echo(f"vipguard: the copy is not whole; run it again: vipguard setup --copy-from {name}", err=True)
        raise
    mark.remove(policy.paths.copy_mark)
    setup.look()
    return Line("done", "copy", f"{policy.node} is a copy of {name} ({time.monotonic() - began_s:.1f} s): {have}")
