"""`vipguard agent`: guard this node. The resident process that systemd runs."""

from __future__ import annotations

import os
import signal
import sys
import time

import click

from .app import App, pass_app

REFUSED_S = 5.0  # systemd begins the next attempt at once: the journal needs no more of them
SWITCH_S = 0.0005  # a worker that computes lets the others on after that long, not after Python's own 5 ms


@click.command()
@pass_app
def command(app: App) -> int:
    """Guard this node until stopped.

    SIGTERM stops it and drops nothing; SIGHUP reads the configuration again. It needs root. It does not begin
    where this node writes under another cluster, node or VIP than the configuration says.

    \b
    For example:
      systemctl start vipguard-agent      which runs:
      vipguard agent

    Exit codes: 0 stopped, 2 wrong usage or configuration, 3 it could not begin or go on.
    """
    from ..agent import nft_once
    from ..agent.once import guarding
    from ..agent.runtime import Runtime
    from ..errors import ConfigError, CouldNotDo

    if os.geteuid() != 0:
        raise CouldNotDo("the agent needs root: it follows netlink, kills a hung server and removes a left-over VIP")
    policy = app.policy()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to reload it must not end this
    sys.setswitchinterval(SWITCH_S)
    with guarding(policy):
        try:
            runtime = Runtime(policy)
        except ConfigError:
            if os.environ.get("NOTIFY_SOCKET"):
                time.sleep(REFUSED_S)
            raise
        runtime.on_signals(app.policy)
        nft_once.install(policy)
        try:
            runtime.run()
        finally:
            runtime.close()
    return 0
