"""`vipguard hook`: reconcile once where no agent answers. keepalived's notify and the timer call it."""

from __future__ import annotations

import click

from .app import App, pass_app


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--within", "within_s", type=float, default=40.0, show_default=True, help="Seconds it may take in all.")
@click.argument("words", nargs=-1)
@pass_app
def command(app: App, within_s: float, words: tuple[str, ...]) -> int:
    """Do what is due on this node, once, if no agent answers.

    keepalived adds what happened (INSTANCE "writer" MASTER 200); it is not needed, since the node is looked at anew.

    \b
    For example:
      vipguard hook
      vipguard hook --within 10

    Exit codes: 0 nothing was due or it is done, 2 wrong usage or configuration, 3 failed.
    """
    from ..agent.once import reconcile

    click.echo(reconcile(app.policy(), within_s))
    return 0
