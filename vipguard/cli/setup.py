"""`vipguard setup`: from servers and one configuration to a guarded cluster, node by node, each step checked.

Exit codes: 0 nothing is left to do here; 1 something is, each TO DO names it; 2 refused; 3 failed.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from .app import App, pass_app

if TYPE_CHECKING:
    from .setup_steps import Line

EXIT_TO_DO = 1
EXIT_REFUSED = 2
_COLORS = {"done": "green", "would do": "cyan", "TO DO": "yellow", "REFUSED": "red"}
_INDENT = " " * 12


@click.command()
@click.option("--dry-run", is_flag=True, help="Print the statements and the files; change nothing.")
@click.option("--write-config", is_flag=True, help="Write the my.cnf part, keepalived.conf and systemd's files too.")
@click.option("--force", is_flag=True, help="With --write-config: also over files that say something else.")
@click.option("--copy-from", metavar="NODE", help="Give this server's data up for a fresh copy of NODE's.")
@click.option("--yes", is_flag=True, help="With --copy-from: do not ask.")
@click.option(
    "--keepalived-conf",
    metavar="FILE",
    default="/etc/keepalived/keepalived.conf",
    show_default=True,
    help="keepalived's configuration on this host.",
)
@pass_app
def command(
    app: App, dry_run: bool, write_config: bool, force: bool, copy_from: str | None, yes: bool, keepalived_conf: str
) -> int:
    """Make this server a node of the cluster: run it on each node, as often as you like.

    It looks first, does what SQL can do over the local socket, and says what is to be done next and where. It opens
    no server and starts no replication: the agent does.

    \b
    vipguard setup --dry-run          what would it do?
    vipguard setup --write-config     on the first node, then on each other one
    vipguard setup --copy-from db1    on a node that is to get db1's data

    Exit codes: 0 nothing is left to do here; 1 something is; 2 refused; 3 failed.
    """
    from .setup_steps import Options, Refusal, Setup, Stop

    options = Options(dry_run, write_config, force, copy_from, yes, keepalived_conf)
    setup = Setup(app, app.policy(), options)
    left = 0
    try:
        for line in setup.lines():
            _print(line)
            left += line.outcome in ("TO DO", "would do")
    except Stop as stop:
        _print(stop.line)
        left += 1
        if isinstance(stop, Refusal):
            return EXIT_REFUSED
    if not left:
        click.echo(f"\n{setup.policy.node} is set up")
        return 0
    again = "" if dry_run else "; when it is done, run vipguard setup again"
    click.echo(f"\n{left} {'thing' if left == 1 else 'things'} to do{again}")
    return EXIT_TO_DO


def _print(line: Line) -> None:
    word = line.outcome.ljust(10)
    if sys.stdout.isatty() and line.outcome in _COLORS:
        word = click.style(word, fg=_COLORS[line.outcome], bold=True)
    click.echo(f"{word}  {line.step:<13}  {line.text}")
    for text in line.do:
        for part in text.splitlines():
            click.echo(f"{_INDENT}{part}")
