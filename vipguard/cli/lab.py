"""`vipguard lab`: a cluster of real servers on this machine, to try vipguard on and to break."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

    from vipguard.lab import Lab, Node

DEFAULT_NAME = "lab"
SETTLE_S = 15.0

_name_option = click.option(
    "--name", default=DEFAULT_NAME, show_default=True, help="The lab's name; several may run."
)
_flavor_option = click.option(
    "--flavor",
    type=click.Choice(["mariadb", "mysql"]),
    default="mariadb",
    show_default=True,
    help="The servers' kind.",
)
_nodes_option = click.option("--nodes", type=click.IntRange(2, 9), default=2, show_default=True)
_json_option = click.option("--json", "as_json", is_flag=True, help="For programs.")


@click.group(name="lab")
def command() -> None:
    """Run a cluster of real servers in network namespaces on this machine.

    Needs root; touches nothing of the host.

    \b
    For example:
      vipguard lab demo
      vipguard lab up --flavor mysql
      vipguard lab down

    Exit codes: 0 done, 1 not healthy, 2 wrong usage, 3 failed.
    """


@command.command()
@_nodes_option
@_flavor_option
@_name_option
@click.option("--replicas", default=0, metavar="N", help="Nodes more that only replicate.  [default: 0]")
@click.option("--ipv6", is_flag=True, help="An IPv6 VIP, and IPv6 between the nodes.")
@click.option("--readers", type=click.IntRange(0, 9), default=0, help="So many reader addresses.")
@click.option("--plain", is_flag=True, help="keepalived with a bash check instead of vipguard, to compare.")
def up(nodes: int, replicas: int, flavor: Any, name: str, ipv6: bool, readers: int, plain: bool) -> None:
    """Bring a lab up and leave it running.

    \b
    For example:
      vipguard lab up --nodes 3

    Exit codes: 0 it is up, 2 wrong usage, 3 failed.
    """
    from vipguard.lab import Lab, LabSpec

    spec = LabSpec(
        name=name, flavor=flavor, nodes=nodes, replicas=replicas, ipv6=ipv6, readers=[{}] * readers,
        guard="plain" if plain else "vipguard",
    )  # fmt: skip
    with _interruptible():
        lab = Lab.create(spec, lambda text: click.echo(f"{text} …"))
        try:
            lab.up()
        except BaseException:
            lab.down()
            raise
    _show(lab)
    which = "" if name == DEFAULT_NAME else f" --name {name}"
    first = next(iter(lab.nodes))
    click.echo(
        f"next: `vipguard lab run{which} kill-mysqld`, `vipguard lab status{which}`,"
        f" `vipguard lab enter{which} {first} vipguard status`, `vipguard lab down{which}`"
    )


@command.command()
@_name_option
@_json_option
def status(name: str, as_json: bool) -> int:
    """Show what each node has and runs.

    \b
    For example:
      vipguard lab status

    Exit codes: 0 one node is the writer, 1 none or more, 2 wrong usage, 3 failed.
    """
    from vipguard.lab import Lab

    lab = Lab.open(name)
    if as_json:
        click.echo(
            json.dumps(
                {"name": name, "trouble": lab.trouble(), "nodes": [_seen(n) for n in lab.nodes.values()]}
            )
        )
    else:
        _show(lab)
    return 0 if lab.writer() else 1


@command.command()
@click.argument("fault", metavar="FAULT", required=False)
@click.option("--node", "node_name", help="Where; the writer by default.")
@click.option(
    "--for",
    "for_s",
    type=click.FloatRange(0),
    default=10.0,
    show_default=True,
    help="Seconds until it is healed.",
)
@_name_option
def run(fault: str | None, node_name: str | None, for_s: float, name: str) -> int:
    """Make a fault, show what happens, and heal it. Without FAULT: list them.

    \b
    For example:
      vipguard lab run
      vipguard lab run kill-mysqld --for 10

    Exit codes: 0 healthy afterwards, 1 not healthy, 2 wrong usage, 3 failed.
    """
    from vipguard.lab import Lab
    from vipguard.lab.faults import FAULTS

    if fault is None:
        for one, described in FAULTS.items():
            click.echo(f"{one:<16} {described.what}")
        return 0
    if fault not in FAULTS:
        raise click.UsageError(f"There is no fault {fault!r}; the faults are {', '.join(FAULTS)}.")
    lab = Lab.open(name)
    node = _chosen(lab, node_name)
    with _interruptible(), _telling(lab):
        click.echo(f"{fault} on {node.name}: {FAULTS[fault].what}, healed after {for_s:g} s or by Ctrl-C")
        try:
            with FAULTS[fault].make(lab, node):
                time.sleep(for_s)
                click.echo("healing")
        except KeyboardInterrupt:
            click.echo("healed early")
        lab.restart_dead()
        _settle(lab)
    _show(lab)
    return 1 if lab.trouble() else 0


@command.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("node_name", metavar="NODE")
@click.argument("argv", metavar="[COMMAND]...", nargs=-1, type=click.UNPROCESSED)
@_name_option
def enter(node_name: str, argv: tuple[str, ...], name: str) -> None:
    """Run COMMAND on a node, or a shell without one.

    \b
    For example:
      vipguard lab enter db1 vipguard status

    Exit codes: those of COMMAND; 2 wrong usage, 3 failed.
    """
    import os

    from vipguard.lab import Lab

    node = _chosen(Lab.open(name), node_name)
    argv = argv[1:] if argv[:1] == ("--",) else argv
    words = [*node.vipguard_argv, *argv[1:]] if argv[:1] == ("vipguard",) else argv or ["/bin/bash"]
    inside = node.space.argv(words)
    os.execvpe(inside[0], inside, node.space.person_environment())


@command.command()
@_name_option
def heal(name: str) -> int:
    """Undo all faults and start what is dead.

    \b
    For example:
      vipguard lab heal

    Exit codes: 0 healthy, 1 not healthy yet, 2 wrong usage, 3 failed.
    """
    from vipguard.lab import Lab

    lab = Lab.open(name)
    lab.heal()
    lab.restart_dead()
    _settle(lab)
    _show(lab)
    return 0 if lab.writer() else 1


@command.command()
@_name_option
@click.option("--all", "everything", is_flag=True, help="All labs of this machine.")
def down(name: str, everything: bool) -> None:
    """Remove a lab wholly, or what a crash left of one.

    \b
    For example:
      vipguard lab down
      vipguard lab down --all

    Exit codes: 0 it is gone, 2 wrong usage, 3 failed.
    """
    from vipguard.lab import names, remove

    for one in names() if everything else [name]:
        click.echo(f"removed the lab {one}" if remove(one) else f"there is no lab {one}: nothing to remove")


@command.command()
@_flavor_option
@_nodes_option
@click.option("--name", default="demo", show_default=True)
@click.option("--svg", metavar="FILE", help="Draw the failover into FILE at the end.")
def demo(flavor: Any, nodes: int, name: str, svg: str | None) -> int:
    """Kill a writer under load and watch the failover; removes its lab at the end.

    \b
    For example:
      vipguard lab demo --flavor mysql

    Exit codes: 0 one writer and no unnamed loss, 1 the law was broken, 2 wrong usage, 3 failed.
    """
    from vipguard.lab import demo as engine
    from vipguard.lab import need_root

    need_root()
    with _interruptible():
        outcome = engine.run(_console(), name=name, flavor=flavor, nodes=nodes, svg=svg)
    return 0 if outcome.kept_the_law else 1


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM and SIGHUP end the command as Ctrl-C does: through the clean-up."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _telling(lab: Lab) -> Iterator[None]:
    from vipguard.lab.demo import Story, telling

    with Story(_console()) as story, telling(lab, story):
        yield


def _settle(lab: Lab) -> None:
    """Give what was healed some seconds to be well again; what is not well by then is shown."""
    for _ in range(int(SETTLE_S / 0.1)):
        if not lab.trouble():
            break
        time.sleep(0.1)
    time.sleep(0.5)  # the last lines of the logs


def _chosen(lab: Lab, name: str | None) -> Node:
    if name is None:
        writer = lab.writer()
        if writer is None:
            raise click.UsageError("There is no writer now: say with --node where.")
        return writer
    if name not in lab.nodes:
        raise click.UsageError(f"There is no node {name!r}; the nodes are {', '.join(lab.nodes)}.")
    return lab.nodes[name]


def _seen(node: Node) -> dict[str, Any]:
    read_only = node.mysqld.read_only()
    return {
        "node": node.name,
        "address": node.address,
        "vip": node.has_vip(),
        "writable": None if read_only is None else not read_only,
        "track_file": node.eligible(),
        "replication": node.mysqld.replication_threads() if read_only is not None else None,
        "pids": {daemon.kind: daemon.pid for daemon in node.daemons},
    }


def _show(lab: Lab) -> None:
    from rich.table import Table

    table = Table(title=f"lab {lab.spec.name}: {lab.spec.flavor}, VIP {lab.spec.vip}", title_justify="left")
    for column in ("node", "address", "VIP", "server", "may take over", "IO / SQL", "processes"):
        table.add_column(column)
    for node in lab.nodes.values():
        seen = _seen(node)
        table.add_row(
            node.name,
            node.address,
            "VIP" if seen["vip"] else "",
            {True: "[green]writable[/]", False: "read-only", None: "[red]no answer[/]"}[seen["writable"]],
            {"1": "yes", "0": "no", None: ""}.get(seen["track_file"], seen["track_file"]),
            " / ".join(seen["replication"] or ()),
            " ".join(
                f"{kind}={pid or '[red]dead[/]'}" for kind, pid in seen["pids"].items() if lab.wants(kind, node)
            ),
        )
    console = _console()
    console.print(table)
    if trouble := lab.trouble():
        console.print(f"not healthy: {trouble}", markup=False)


def _console() -> Console:
    """Colours and the width of a terminal; plain and wide enough elsewhere."""
    import sys

    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=160, no_color=True)
