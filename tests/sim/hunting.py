"""Which is the first of these seeds that does not survive? One line of JSON for `sabotage.py`."""

from __future__ import annotations

import json
import sys

from .campaign import one


def main(seeds: list[int]) -> None:
    for seed in seeds:
        broken = one(seed).broken
        if broken:
            print(json.dumps({"seed": seed, "what": broken[seed]}))
            return
    print(json.dumps({"seed": None, "what": ""}))


if __name__ == "__main__":
    main([int(seed) for seed in sys.argv[1:]])
