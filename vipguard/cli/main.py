"""Which command is asked for? A group that imports a command's module only when that command is used.

Every error ends as one sentence on stderr: 2 for the operator's mistakes (configuration, usage), 3 for the rest, what
nobody expected included. A command returns its exit code, or None for 0; docs/exit-codes.md lists them all.
"""

from __future__ import annotations

import importlib
import os
import re
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
DEBUG = "VIPGUARD_DEBUG"

# name: one line of help. The command is `command` in the module vipguard.cli.NAME, with _ for -.
COMMANDS = {
    "agent": "Guard this node: the resident process that systemd runs.",
    "check": "Ask one question, or whether this node may have the writer VIP.",
    "hook": "Reconcile once where no agent answers; keepalived's notify calls it.",
    "status": "Show the cluster at a glance.",
    "events": "Show what happened on this node, and why.",
    "exporter": "Serve this node's metrics to Prometheus.",
    "setup": "Make this server a node of the cluster, from nothing or from existing data.",
    "doctor": "Find what is wrong with the configuration, the accounts and the servers.",
    "render": "Print keepalived's configuration, the my.cnf part or the accounts.",
    "switchover": "Move the writer to another node on purpose.",
    "maintenance": "Take a node out of the election, or pause the cluster.",
    "standdown": "Close this node's server and keep it closed, whoever can be reached.",
    "promote": "Make this node the writer, whatever may be missing.",
    "solo": "Say that every other node is out for sure.",
    "rejoin": "Decide about a node that went apart: accept its transactions, or make it a fresh copy.",
    "import-mmm": "Make a configuration of MMM's files.",
    "lab": "Run a cluster of real servers on this machine.",
    "completion": "Print the completion script for a shell.",
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
            import difflib  # not for the check that keepalived waits for

            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            ctx.fail(f"There is no command {args[0]!r}{f', {near[0]} is near' if near else ''}.")
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
    """MySQL and MariaDB failover that keeps keepalived in charge of the virtual IP address.

    \b
    For example:
      vipguard status
      vipguard events --stories -n 1
      vipguard --config ./vipguard.toml doctor

    Exit codes: 0 done; 1 is each command's own no; 2 wrong usage or configuration; 3 failed; 130 interrupted. Each
    command's help lists its own. Errors are one sentence on standard error; VIPGUARD_DEBUG=1 adds where they come from.
    Colour is for terminals only, and NO_COLOR=1 switches it off.
    """
    if os.environ.get("NO_COLOR"):
        ctx.color = False
    ctx.obj = App(os.path.abspath(config_file))


def run(argv: list[str] | None = None) -> int:
    """The exit code of the command in `argv`; every expected error has been said on stderr."""
    try:
        result: Any = cli.main(args=argv, prog_name="vipguard", standalone_mode=False)
    except click.ClickException as usage:
        return _say(_usage(usage), EXIT_OPERATOR)
    except ConfigError as mistake:
        return _say(str(mistake), EXIT_OPERATOR)
    except VipguardError as failure:
        return _say(str(failure), EXIT_FAILED)
    except (KeyboardInterrupt, click.Abort):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _give_stdout_up()  # the reader (head, less) has seen enough
        return EXIT_FAILED
    except Exception as unexpected:
        return _say(_unexpected(unexpected), EXIT_FAILED)
    return result if isinstance(result, int) else 0


def main() -> NoReturn:
    """The console script."""
    code = run()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _give_stdout_up()
    except OSError as full:
        _give_stdout_up()
        code = _say(f"the output could not be written: {full.strerror}", EXIT_FAILED)
    sys.exit(code)


def _give_stdout_up() -> None:
    """The interpreter must not complain while it flushes at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _usage(usage: click.ClickException) -> str:
    """What is wrong, and where the right way is told."""
    context = getattr(usage, "ctx", None)
    place = context.command_path if context is not None else "vipguard"
    if type(usage).__name__ == "NoArgsIsHelpError":  # click has it since 8.2
        click.echo(usage.format_message(), err=True)
        return f"say what `{place}` is to do: one of its commands is missing"
    message = " ".join(usage.format_message().split()).rstrip(".")
    message = re.sub(r"is not a valid (integer|float)( range)?$", _no_number, message)
    return f"{message[:1].lower()}{message[1:]}; see `{place} --help`"


def _no_number(found: re.Match[str]) -> str:
    return "is no whole number" if found[1] == "integer" else "is no number"


def _unexpected(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        place = f" {error.filename}" if error.filename else ""
        what = f"the system refused something{place}: {error.strerror}"
    else:
        what = " ".join(f"unexpected error, a defect of vipguard: {type(error).__name__}: {error}".split())
    return f"{what}; to see where it comes from, run it again with {DEBUG}=1"


def _say(sentence: str, code: int) -> int:
    """The sentence on stderr; where the operator asked for it, what led there before it."""
    if os.environ.get(DEBUG):
        import traceback

        traceback.print_exc()
    click.echo(f"vipguard: {sentence}", err=True)
    return code
