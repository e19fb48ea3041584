"""How do the metrics come into node_exporter's textfile collector? One file, replaced by rename."""

from __future__ import annotations

import os
import tempfile

from ..errors import CouldNotDo

NAME = "vipguard.prom"


def write(directory: str, content: bytes) -> str:
    """The path of the file, written whole or not at all, for others to read. Raises CouldNotDo."""
    path = os.path.join(directory, NAME)
    try:
        # the collector reads *.prom alone, so it never sees the half-written one
        descriptor, part = tempfile.mkstemp(prefix=".vipguard-", dir=directory)
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
                os.fchmod(file.fileno(), 0o644)
            os.rename(part, path)
        except BaseException:
            os.unlink(part)
            raise
    except OSError as exc:
        remedy = "name the directory of node_exporter's --collector.textfile.directory"
        raise CouldNotDo(f"cannot write {path}: {exc.strerror or exc}; {remedy}", refused=True) from exc
    return path
