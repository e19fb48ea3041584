"""Which command is asked for? A group that imports a command's module only when that command is used.

Expected errors end as one sentence on stderr: 2 for the operator's mistakes (configuration, usage), 3 for the rest.
A command returns its exit code, or None for 0.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any, NoReturn

import click

from vipguard import __version__
from vipguard.cli.app import App
from vipguard.errors import ConfigError, VipguardError

DEFAULT_CONFIG = "/etc/vipguard/vipguard.toml"
EXIT_FAILED = 3  # never 1, which is a verdict of `check writer`
EXIT_OPERATOR = 2
EXIT_INTERRUPTED = 130

# name: one line of help. The command is `command` in the module vipguard.cli.NAME, with _ for -.
COMMANDS = {
    "agent": "Guard this node: the resident process that systemd runs.",
    "check": "Ask one question, or whether this node may have the writer VIP.",
    "hook": "Reconcile once where no agent answers; keepalived's notify calls it.",
    "status": "Show the cluster at a glance.",
    "doctor": "Find what is wrong with the configuration, the accounts and the servers.",
    "render": "Print keepalived's configuration, the my.cnf part or the accounts.",
    "switchover": "Move the writer to another node on purpose.",
    "maintenance": "Take a node out of the election, or pause the cluster.",
    "promote": "Make this node the writer, whatever may be missing.",
    "solo": "Say that every other node is out for sure.",
    "rejoin": "Decide about a node that went apart: accept its transactions, or make it a fresh copy.",
    "import-mmm": "Make a configuration of MMM's files.",
    "lab": "Run a cluster of real servers on this machine.",
}


class LazyGroup(click.Group):
    """Knows its commands by name and imports the one that is used, so that `check` starts fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = cmd_name.replace("-", "_")
        command = importlib.import_module(f"vipguard.cli.{module}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            known = ", ".join(COMMANDS)
            ctx.fail(f"There is no command {args[0]!r}; the commands are {known}.")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="vipguard")
@click.option(
    "--config",
    "config_file",
    metavar="FILE",
    default=DEFAULT_CONFIG,
    show_default=True,
    envvar="VIPGUARD_CONFIG",
    help="The configuration, one file for all nodes.",
)
@click.pass_context
def cli(ctx: click.Context, config_file: str) -> None:
    """MySQL and MariaDB failover that keeps keepalived in charge of the virtual IP address."""
    ctx.obj = App(os.path.abspath(config_file))


def run(argv: list[str] | None = None) -> int:
    """The exit code of the command in `argv`; every expected error has been said on stderr."""
    try:
        result: Any = cli.main(args=argv, prog_name="vipguard", standalone_mode=False)
    except click.ClickException as usage:
        usage.show()
        return EXIT_OPERATOR
    except ConfigError as mistake:
        return _say(mistake, EXIT_OPERATOR)
    except VipguardError as failure:
        return _say(failure, EXIT_FAILED)
    except (KeyboardInterrupt, click.Abort):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has seen enough; the interpreter must not complain while it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return EXIT_FAILED
    return result if isinstance(result, int) else 0


def main() -> NoReturn:
    """The console script."""
    code = run()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(code)


def _say(error: VipguardError, code: int) -> int:
    click.echo(f"vipguard: {error}", err=True)
    return code
