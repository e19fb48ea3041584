"""What must this host have besides its server, in which order is it started, and what does the doctor say of it all?"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .. import client
from ..act import setup_files as files
from ..errors import Absent, VipguardError
from ..render.keepalived import needed
from .setup_steps import Line

if TYPE_CHECKING:
    from ..model.policy import Policy
    from .setup_steps import Setup

AGENT_S = 2.0
SYSTEMD = "/run/systemd/system"
PACKAGED = ("/usr/lib/systemd/system/vipguard-agent.service", "/lib/systemd/system/vipguard-agent.service")
START_AGENT = "systemctl enable --now vipguard-agent vipguard-reconcile.timer"
START = f"{START_AGENT} && systemctl enable --now keepalived"


def lines(setup: Setup) -> Iterator[Line]:
    """Files, then what runs, then the verdict."""
    left = 0
    for line in _files(setup):
        left += line.outcome in ("TO DO", "would do")
        yield line
    yield from _started(setup, left)
    if setup.options.dry_run:
        return
    if _agent_answers(setup) and _keepalived_lives(setup.policy):
        yield from _doctor(setup)
    else:
        yield Line("left out", "doctor", "when the agent and keepalived run: vipguard doctor")


def _files(setup: Setup) -> Iterator[Line]:
    policy = setup.policy
    yield from _units(setup)
    for path, mode in ((policy.paths.run, 0o755), (policy.paths.state, 0o700)):
        if os.path.isdir(path):
            yield Line("already so", "directories", path)
        elif setup.options.dry_run:
            yield Line("would do", "directories", f"make {path}")
        else:
            os.makedirs(path, mode=mode)
            yield Line("done", "directories", f"made {path}")
    if not needed(policy):
        yield Line("left out", "keepalived", "it has nothing to do on a replica without reader addresses")
        return
    if shutil.which("keepalived") is None:
        yield Line("TO DO", "keepalived", "it is not installed", ("apt-get install keepalived",))
        return
    yield from setup.write(files.keepalived_file(policy, setup.options.keepalived_conf), "keepalived")


def _units(setup: Setup) -> Iterator[Line]:
    if not os.path.isdir(SYSTEMD):
        text = "no systemd runs here: let another supervisor start `vipguard agent`, and then keepalived"
        yield Line("left out", "systemd", text)
        return
    if any(map(os.path.exists, PACKAGED)):
        yield Line("already so", "systemd", "the units of vipguard's package")
        return
    written = False
    for file in files.unit_files(setup.policy, _program()):
        for line in setup.write(file, "systemd"):
            written |= line.outcome == "done"
            yield line
    if written:
        do = "systemd-sysusers && systemd-tmpfiles --create && systemctl daemon-reload"
        yield Line("TO DO", "systemd", "let it read them", (do,))


def _program() -> str:
    called = os.path.abspath(sys.argv[0])
    return called if os.path.basename(called) == "vipguard" else shutil.which("vipguard") or "/usr/bin/vipguard"


def _started(setup: Setup, left: int) -> Iterator[Line]:
    policy = setup.policy
    waiting = [name for name, peer in setup.peers.items() if not peer.channels] + list(setup.unseen)
    agent = _agent_answers(setup)
    alive = _keepalived_lives(policy)
    start = START if needed(policy) else START_AGENT
    if waiting and not agent:
        text = "not yet: vipguard starts on all nodes once all are set up"
        yield Line("TO DO", "start", text, tuple(f"on {name}: vipguard setup" for name in sorted(waiting)))
    elif left and not (agent and alive):
        text = "when the files above are there, the agent" + (" first, then keepalived" if needed(policy) else "")
        yield Line("TO DO", "start", text, (start,))
    elif agent and alive:
        yield Line("already so", "start", "the agent answers" + (", keepalived runs" if needed(policy) else ""))
    else:
        missing = "keepalived does not run" if agent else "the agent does not run"
        order = "the agent first, then keepalived; on every node within a minute or two"
        yield Line("TO DO", "start", f"{missing}: {order}" if needed(policy) else missing, (start,))


def _agent_answers(setup: Setup) -> bool:
    try:
        client.status(setup.policy.paths.agent_socket, AGENT_S)
    except Absent:
        return False
    except VipguardError:
        return True  # it is there, and the doctor says what is wrong with it
    return True


def _keepalived_lives(policy: Policy) -> bool:
    """True also where it has nothing to do."""
    if not needed(policy):
        return True
    try:
        with open(policy.vrrp.pid_file) as file:
            pid = int(file.read().strip())
        with open(f"/proc/{pid}/comm") as file:
            return file.read().strip() == "keepalived"
    except (OSError, ValueError):
        return False


def _doctor(setup: Setup) -> Iterator[Line]:
    from .doctor import _examine

    found = list(_examine(setup.app, setup.options.keepalived_conf, False, []))
    errors = sum(one.severity == "error" for one in found)
    if not found:
        yield Line("already so", "doctor", "nothing found")
        return
    text = f"{errors} error(s), {len(found) - errors} warning(s)"
    rules = dict.fromkeys(f"{one.severity} {one.node or one.area} {one.rule}: {one.seen}" for one in found)
    shown = tuple(rule.splitlines()[0] for rule in rules)
    yield Line("TO DO", "doctor", text, ("vipguard doctor   says what to do about each", *shown))
