"""`vipguard import-mmm`: what would the configuration be for a cluster that MMM manages?"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable

import click

from vipguard.errors import ConfigError

PLACES_MAX = 3


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option("--output", metavar="FILE", help="Write it there instead of printing it; never over an existing file.")
@click.option("--force", is_flag=True, help="Replace the file of --output.")
def command(files: tuple[str, ...], output: str | None, force: bool) -> int:
    """Make a vipguard.toml of MMM's files. It only reads them, and copies no password.

    Name mmm_mon.conf, and what else there is; included files are read by themselves. Standard error says what has no
    counterpart, with what to do instead, and what is still to be filled in. docs/migrating.md has the steps.

    \b
    For example:
      vipguard import-mmm /etc/mysql-mmm/mmm_mon.conf
      vipguard import-mmm mmm_mon.conf mmm_agent.conf --output vipguard.toml

    Exit codes: 0 done, 2 the files could not be understood.
    """
    from vipguard.mmm.files import read
    from vipguard.mmm.toml import fill_in, render
    from vipguard.mmm.translate import translate

    if force and not output:
        raise click.UsageError("--force goes with --output.")
    draft = translate(read(files))
    text = render(draft)
    if output:
        _write(output, text, force)
    else:
        click.echo(text, nl=False)
    for line in _told(draft.notes):
        click.echo(line, err=True)
    for line in fill_in(text):
        click.echo(line, err=True)
    if refused := _refused(text, draft.nodes[0].name):
        click.echo(f"to correct: {refused.key}: {refused.problem}; {refused.remedy}", err=True)
    return 0


def _told(notes: Iterable[tuple[str, str, str]]) -> list[str]:
    """One line a sentence, with all its directives and places, in the order of the files."""
    merged: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for place, about, sentence in notes:
        places, names = merged.setdefault(sentence, ({}, {}))
        places[place] = None
        if about:
            names[about] = None
    lines = []
    for sentence, (places, names) in merged.items():
        more = f" and {len(places) - PLACES_MAX} more" if len(places) > PLACES_MAX else ""
        about = f"{', '.join(names)}: " if names else ""
        lines.append(_one_line(f"{', '.join(list(places)[:PLACES_MAX])}{more}: {about}{sentence}"))
    return lines


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)


def _write(path: str, text: str, force: bool) -> None:
    """All or nothing. Raises ConfigError, also where the file is there already and `force` is not."""
    if os.path.lexists(path) and not force:
        raise ConfigError("exists already", file=path, remedy="name another file, or say --force to replace it")
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(dir=os.path.dirname(path) or ".", prefix=".vipguard-")
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, 0o644)
        if force:
            os.replace(temporary, path)
        else:
            os.link(temporary, path)
    except FileExistsError as exc:
        raise ConfigError("exists already", file=path, remedy="name another file, or say --force") from exc
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        raise ConfigError(f"cannot be written ({reason})", file=path, remedy="name another file") from exc
    finally:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)


def _refused(text: str, node: str) -> ConfigError | None:
    """What the configuration's own reader says against it, once the gaps are filled."""
    from vipguard.config import load
    from vipguard.mmm.toml import quoted

    filled = re.sub(r"^# (router_id = \d+|interface = \"eth0\"|\[witness\]|addresses = .*)$", r"\1", text, flags=re.M)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".toml") as file:
        file.write(f"node = {quoted(node)}\n{filled}")
        file.flush()
        try:
            load(file.name, secrets=False)
        except ConfigError as exc:
            return exc
    return None
