"""Is each situation played, in a cluster that it fits, and do the laws hold in it?"""

from __future__ import annotations

import pytest
from sim.run import SITUATION_EVERY, build, play, situated
from sim.situations import SITUATIONS, fork
from sim.test_sim import told

SEEDS = [SITUATION_EVERY * turn + SITUATION_EVERY - 1 for turn in range(len(SITUATIONS))]


@pytest.mark.parametrize("seed", SEEDS, ids=[one.fault.__name__ for one in SITUATIONS])
def test_a_situation_is_played_and_the_laws_hold(seed: int) -> None:
    cluster, situation = build(seed), situated(seed)
    assert situation is not None
    assert situation.fits(cluster)
    try:
        play(seed, cluster=cluster)
    except AssertionError as exc:
        pytest.fail(f"seed {seed}: {exc}\n{told(cluster)}")
    assert dict(cluster.begun) == {situation.fault.__name__: 1}


def test_most_seeds_have_none_and_the_others_take_turns() -> None:
    seeds = range(SITUATION_EVERY * len(SITUATIONS))
    assert [one for seed in seeds if (one := situated(seed)) is not None] == list(SITUATIONS)


def test_a_cluster_that_no_situation_fits_plays_what_is_drawn() -> None:
    seed = SEEDS[[one.fault for one in SITUATIONS].index(fork)]  # of two nodes
    cluster = build(seed, nodes=3)
    play(seed, cluster=cluster)
    assert sum(cluster.begun.values()) > 0
