"""The same with an IPv6 VIP, and IPv6 between the nodes."""

from __future__ import annotations

import os

from guarded import SETTINGS, make_ready
from lawful import laws_hold, nothing_lost, watched

from vipguard.lab import Lab, LabSpec, faults


def test_a_pair_with_an_ipv6_vip_fails_over_and_back() -> None:
    with Lab.create(LabSpec(name=f"t{os.getpid()}-v6", ipv6=True, settings=SETTINGS)) as lab:
        lab.up()
        make_ready(lab)
        with laws_hold(lab), watched(lab) as guarded:
            writer, standby = guarded.writer, guarded.standby
            before = guarded.write_settled()
            with faults.kill_mysqld(writer):
                guarded.wait_writer(standby)
                after = guarded.write(10)
                nothing_lost(before, standby)
                nothing_lost(after, standby)
            guarded.wait_track(writer, "1", within_s=10)
            with faults.kill_keepalived(standby):
                guarded.wait_writer(writer)
                nothing_lost(after, writer)
                guarded.write(5)
