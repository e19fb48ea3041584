"""What do the laws forgive? Each pardon by its name; docs/guarantees.md says each in one sentence, under the same name.

Whatever is forgiven is counted by name, and a name that is not here cannot be given.
"""

from __future__ import annotations

from collections import Counter

#: two nodes that accept writes at once
OF_LAW_1 = (
    "just-thawed",
    "opened-by-hand",
    "guard-dead-and-cut-off",
    "guard-dead-and-paused",
    "cut-between-the-nodes",
    "promoted-beside-a-silent-peer",
)
#: an opening without writes that another node has or had
OF_LAW_2 = (
    "not-yet-sent",
    "left-behind",
    "two-writers",
    "written-by-hand",
    "promoted-by-operator",
    "solo-by-operator",
)
#: a node that is open for longer than it should be, or lets the VIP go before it is closed
OF_LAW_3 = (
    "guard-dead",
    "unkillable",
    "hand-unseen",
)
PARDONS = (*OF_LAW_1, *OF_LAW_2, *OF_LAW_3)


class Pardons:
    """How often each was given."""

    def __init__(self) -> None:
        self.given: Counter[str] = Counter()

    def give(self, name: str) -> None:
        if name not in PARDONS:
            raise ValueError(f"no pardon is called {name!r}: docs/guarantees.md must say it")
        self.given[name] += 1
