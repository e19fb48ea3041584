"""What kinds of failure exist? Three families, each caught in one place.

`ConfigError` is the operator's mistake: the CLI prints it and exits with 2. `CouldNotLook` becomes `None` in evidence.
`CouldNotDo` fails a step, and a failed step leaves the node closed. Silence past a deadline is none of them: a server
that accepted a connection and said nothing was observed, and `Silent` says so.
"""

from __future__ import annotations


class VipguardError(Exception):
    """The base of every error that vipguard raises on purpose; its text is one sentence for a person."""


class ConfigError(VipguardError):
    """The operator's mistake: names the file, the key and what to do.

    Attributes: `file` and `key` (both may be empty), `problem` and `remedy`, each without a full stop.
    """

    def __init__(self, problem: str, *, file: str = "", key: str = "", remedy: str = "") -> None:
        self.problem, self.file, self.key, self.remedy = problem, file, key, remedy
        place = ": ".join(part for part in (file, key) if part)
        text = f"{place}: {problem}" if place else problem
        super().__init__(f"{text}; {remedy}" if remedy else text)


class CouldNotLook(VipguardError):
    """The probe itself was blind: wrong password, missing grant, no descriptor. No word about what it looked at."""


class CouldNotDo(VipguardError):
    """A step failed. `refused` is true when it certainly did not happen; false when it may have (a time-out)."""

    def __init__(self, text: str, *, refused: bool = False) -> None:
        super().__init__(text)
        self.refused = refused


class Silent(VipguardError):
    """The other side accepted us, or swallowed our packets, and said nothing within the deadline. An observation."""


class Absent(VipguardError):
    """Nobody listens there: connection refused, no socket file. An observation: the server is not running."""
