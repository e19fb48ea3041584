"""A node that is stood down in the middle of a cut: nothing opens it, and its end leads back to one writer."""

from __future__ import annotations

import pytest
from sim import faults
from sim.cluster import Cluster
from sim.host import Host

from vipguard.model.policy import MARIADB, MYSQL
from vipguard.model.standdown import StoodDown

ORDER = StoodDown(1_700_000_000, "root", "two writers")


def closed(host: Host) -> bool:
    return host.mysqld is None or not host.mysqld.running or host.mysqld.closed


def stays_closed(cluster: Cluster, host: Host, for_s: float) -> None:
    until_s = cluster.engine.now + for_s
    while cluster.engine.now < until_s:
        cluster.run(0.05)
        assert closed(host), f"{host.name} was opened at {cluster.engine.now:.3f}"


@pytest.mark.parametrize("flavor", [MARIADB, MYSQL])
@pytest.mark.parametrize("seed", range(3, 6))
def test_of_two_writers_the_one_that_is_stood_down_stays_closed_whatever_restarts(seed: int, flavor: str) -> None:
    cluster = Cluster(seed, flavor=flavor)  # type: ignore[arg-type]
    assert cluster.run_until_healthy(20.0)
    old = cluster.laws.writers()[0]
    mend = faults.cut_pair(cluster, old)
    cluster.run(6.0)
    old.stood_down = ORDER
    cluster.run(1.0)
    assert closed(old) and len(cluster.laws.writers()) <= 1
    stays_closed(cluster, old, 20.0)
    for fault in (faults.restart_agent, faults.kill_mysqld, faults.power_off):
        end = fault(cluster, old)
        stays_closed(cluster, old, 5.0)
        end()
        stays_closed(cluster, old, 15.0)
    mend()
    stays_closed(cluster, old, 20.0)
    assert len(cluster.laws.writers()) == 1
    old.stood_down = None
    assert cluster.run_until_healthy(90.0) or old.agent.world.diverged
