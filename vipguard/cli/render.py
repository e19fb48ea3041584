"""`vipguard render`: what must stand in the files of keepalived and the database, which accounts? It only prints."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, cast

import click

from vipguard.cli.app import App, pass_app
from vipguard.errors import ConfigError

if TYPE_CHECKING:
    from vipguard.model.policy import Flavor

_flavor_option = click.option(
    "--flavor",
    type=click.Choice(["mariadb", "mysql"]),
    help="The server's kind. Default: that of the server installed here.",
)


@click.group(name="render")
def command() -> None:
    """Print what must stand outside vipguard's own configuration. Nothing is changed.

    \b
    For example:
      vipguard render keepalived > /etc/keepalived/keepalived.conf

    Exit codes: 0 printed, 2 wrong usage or configuration, 3 failed.
    """


@command.command(name="keepalived")
@pass_app
def render_keepalived(app: App) -> None:
    """Print the complete keepalived.conf for this node.

    \b
    For example:
      vipguard render keepalived > /etc/keepalived/keepalived.conf

    Exit codes: 0 printed, 2 wrong usage or configuration, 3 failed.
    """
    from vipguard.render import shipped
    from vipguard.render.keepalived import keepalived_conf

    policy = app.policy()
    directory = shipped.directory()
    check, hook = (shipped.wrapper(name, directory) for name in (shipped.CHECK, shipped.HOOK))
    template = (directory / shipped.TEMPLATE).read_text(encoding="utf-8")
    click.echo(keepalived_conf(policy, template, check=check, hook=hook), nl=False)


@command.command(name="mysql")
@_flavor_option
@pass_app
def render_mysql(app: App, flavor: str | None) -> None:
    """Print the my.cnf part for this node's server.

    \b
    For example:
      vipguard render mysql --flavor mariadb > 90-vipguard.cnf

    Exit codes: 0 printed, 2 wrong usage or configuration, 3 failed.
    """
    from vipguard.render.mysql import my_cnf

    click.echo(my_cnf(app.policy(), _flavor(flavor)), nl=False)


@command.command(name="accounts")
@_flavor_option
@click.option("--with-passwords", is_flag=True, help="Print the passwords instead of placeholders.")
@pass_app
def render_accounts(app: App, flavor: str | None, with_passwords: bool) -> None:
    """Print the SQL that creates the accounts; root runs it on every node.

    \b
    For example:
      vipguard render accounts --with-passwords | mariadb

    Exit codes: 0 printed, 2 wrong usage or configuration, 3 failed.
    """
    from vipguard.render.accounts import accounts_sql

    policy = app.policy()
    if with_passwords and policy.replication and not policy.replication.password:
        problem, remedy = "is missing", "name the file with the replication account's password"
        raise ConfigError(problem, file=policy.file, key="replication.password_file", remedy=remedy)
    click.echo(accounts_sql(policy, _flavor(flavor), with_passwords=with_passwords), nl=False)


def _flavor(asked: str | None) -> Flavor:
    """What was asked for, else what is installed here. Raises ConfigError when that is nothing, or both."""
    if asked:
        return cast("Flavor", asked)
    path = os.pathsep.join(("/usr/sbin", "/usr/local/sbin", "/usr/libexec", os.environ.get("PATH", "")))
    servers = [shutil.which(name, path=path) for name in ("mariadbd", "mysqld")]
    found = {_kind(server) for server in servers if server}
    if len(found) != 1:
        seen = (
            "no database server is installed here"
            if not found
            else "MariaDB and MySQL are both installed here"
        )
        raise ConfigError(seen, remedy="say which one is meant: --flavor mariadb or --flavor mysql")
    return found.pop()


def _kind(server: str) -> Flavor:
    return "mariadb" if "mariadb" in os.path.basename(os.path.realpath(server)) else "mysql"
