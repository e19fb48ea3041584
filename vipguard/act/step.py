"""How does a step fail? The failures of looking and of connections, said as failures of doing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import CouldNotDo, CouldNotLook
from ..session import Lost


@contextmanager
def step(what: str) -> Iterator[None]:
    """Within it, only Absent, Silent and CouldNotDo get out, `what` before the reason of the last."""
    try:
        yield
    except CouldNotLook as exc:
        raise CouldNotDo(f"{what}: {exc}", refused=True) from exc
    except Lost as exc:
        raise CouldNotDo(f"{what}: {exc}") from exc
    except CouldNotDo as exc:
        if str(exc).startswith(what):
            raise
        raise CouldNotDo(f"{what}: {exc}", refused=exc.refused) from exc
