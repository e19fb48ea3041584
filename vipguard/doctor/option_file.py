"""How will the server start next time? Its option files and its command line, read as the server reads them.

Only the files tell: at run time read_only is what vipguard last set. MySQL Reference Manual, "Using Option Files";
MariaDB, "Configuring MariaDB with Option Files".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vipguard.errors import CouldNotLook
from vipguard.model.policy import MARIADB, Flavor

DEFAULT_FILES = ("/etc/my.cnf", "/etc/mysql/my.cnf")
_DEPTH_MAX = 10


@dataclass(frozen=True, slots=True)
class Option:
    """The last word on one option, and where it stands. `value` None: written without one, which means ON."""

    value: str | None
    place: str

    @property
    def is_on(self) -> bool:
        return self.value is None or self.value.strip("'\"").upper() in ("ON", "1", "TRUE", "YES")


Options = dict[str, Option]


def boot_options(arguments: Sequence[str], flavor: Flavor, version: str) -> Options:
    """What a server started with these arguments reads, by option name with underscores.

    Raises CouldNotLook where a file cannot be read; files that don't exist count as empty, as they do for the server.
    """
    given = {name: option for name, option in map(_argument, arguments) if name}
    found: Options = {}
    for path in _files(given):
        for group, name, value, place in _lines(Path(path), 0):
            if group in _groups(flavor, version):
                found[_normal(name)] = Option(value, place)
    return found | {
        name: option for name, option in given.items() if not name.startswith(("defaults", "no_def"))
    }


def _argument(text: str) -> tuple[str, Option]:
    if not text.startswith("--") or text == "--":
        return "", Option(None, "")
    name, is_set, value = text[2:].partition("=")
    return _normal(name), Option(value if is_set else None, "the server's command line")


def _files(given: Options) -> list[str]:
    if "no_defaults" in given:
        return []
    if "defaults_file" in given:
        return [given["defaults_file"].value or ""]
    extra = given.get("defaults_extra_file")
    return [*DEFAULT_FILES, *([extra.value] if extra and extra.value else [])]


def _groups(flavor: Flavor, version: str) -> set[str]:
    series = ".".join(version.split("-", maxsplit=1)[0].split(".")[:2])
    names = ["mysqld", "mariadb", "mariadbd"] if flavor == MARIADB else ["mysqld"]
    return {"server", *names, *(f"{name}-{series}" for name in names)}


def _normal(name: str) -> str:
    return name.strip().replace("-", "_").lower().removeprefix("loose_")


def _lines(path: Path, depth: int) -> Iterator[tuple[str, str, str | None, str]]:
    """(group, option, value, place) of each line, included files in their places."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    except OSError as exc:
        raise CouldNotLook(f"cannot read {path}: {exc.strerror}") from exc
    group = ""
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        if line.startswith("["):
            group = line[1:].partition("]")[0].strip().lower()
        elif line.startswith("!"):
            if depth < _DEPTH_MAX:
                for included in _included(line, path):
                    yield from _lines(included, depth + 1)
        else:
            name, is_set, value = line.partition("#")[0].partition("=")
            yield group, name, value.strip() if is_set else None, f"{path}:{number}"


def _included(line: str, path: Path) -> list[Path]:
    word, _, name = line.partition(" ")
    target = Path(path.parent, name.strip())
    if word == "!include":
        return [target]
    try:
        return sorted(target.glob("*.cnf")) if word == "!includedir" else []
    except OSError as exc:
        raise CouldNotLook(f"cannot list {target}: {exc.strerror}") from exc
