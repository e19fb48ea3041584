"""`vipguard agent`: guard this node. The resident process that systemd runs."""

from __future__ import annotations

import os
import signal
import sys

import click

from .app import App, pass_app

SWITCH_S = 0.0005  # a worker that computes lets the others on after that long, not after Python's own 5 ms


@click.command()
@pass_app
def command(app: App) -> int:
    """Guard this node until stopped.

    SIGTERM stops it and drops nothing; SIGHUP reads the configuration again. It needs root.

    \b
    For example:
      systemctl start vipguard-agent      which runs:
      vipguard agent

    Exit codes: 0 stopped, 2 wrong usage or configuration, 3 it could not begin or go on.
    """
    from ..agent import nft_once
    from ..agent.once import guarding
    from ..agent.runtime import Runtime
    from ..errors import CouldNotDo

    if os.geteuid() != 0:
        raise CouldNotDo("the agent needs root: it follows netlink, kills a hung server and removes a left-over VIP")
    policy = app.policy()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to reload it must not end this
    sys.setswitchinterval(SWITCH_S)
    with guarding(policy):
        runtime = Runtime(policy)
        runtime.on_signals(app.policy)
        nft_once.install(policy)
        try:
            runtime.run()
        finally:
            runtime.close()
    return 0
