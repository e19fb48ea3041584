"""`vipguard switchover`: move the writer to another node on purpose, without losing a write."""

from __future__ import annotations

import click

from .app import App, pass_app
from .moving import AT_MOST_MS, WAIT_S, move_writer


@click.command()
@click.option("--to", "to", metavar="NODE", help="Where to; the best other node by default.")
@click.option(
    "--at-most-ms", type=click.IntRange(1), default=AT_MOST_MS, show_default=True,
    help="Call it off when nobody writes for so long, if it still can be.",
)  # fmt: skip
@click.option(
    "--wait-trx", "wait_s", type=click.FloatRange(0), default=WAIT_S, show_default=True, metavar="S",
    help="Seconds to wait for the writer's long transactions to end.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Look whether it could be done, and do nothing.")
@pass_app
def command(app: App, to: str | None, at_most_ms: int, wait_s: float, dry_run: bool) -> int:
    """Move the writer to another node. From any node.

    It looks first and says what it found. Then the old writer closes, the new one applies the rest and opens with the
    VIP. Clients' connections are cut once. What fails before the VIP moves goes back to the old writer; Ctrl-C is safe
    at any moment.

    \b
    For example:
      vipguard switchover                 to the best other node
      vipguard switchover --to db2 --dry-run
      vipguard switchover --to db2 --at-most-ms 500 --wait-trx 60

    Exit codes: 0 moved, 1 it went back and the old writer writes, 2 refused and nothing was done, 3 it is not known.
    """
    return move_writer(app.policy(), to, at_most_ms, wait_s, dry_run=dry_run).code
