"""Which is the first seed of a range that does not survive? One line of JSON for `sabotage.py`."""

from __future__ import annotations

import json
import sys

from .campaign import one


def main(first: int, stop: int) -> None:
    for seed in range(first, stop):
        broken = one(seed).broken
        if broken:
            print(json.dumps({"seed": seed, "what": broken[seed]}))
            return
    print(json.dumps({"seed": None, "what": ""}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
