"""A third host that answers for the VIP: an alert on the holder, and a bounded veto while a peer is silent."""

from __future__ import annotations

import contextlib
import re
import signal
from collections.abc import Iterator

from guarded import Guarded

from vipguard.lab import faults
from vipguard.lab.node import CONFIG_FILE


@contextlib.contextmanager
def third_host(guarded: Guarded) -> Iterator[str]:
    """The client's host has the VIP too meanwhile; its hardware address."""
    space, vip = guarded.lab.client_space, guarded.lab.spec.vip
    space.run(["ip", "addr", "add", f"{vip}/32", "dev", "eth0"])
    try:
        yield space.run(["ip", "-br", "link", "show", "dev", "eth0"]).stdout.split()[2]
    finally:
        space.run(["ip", "addr", "del", f"{vip}/32", "dev", "eth0"])


def test_the_holder_tells_of_another_host_that_has_the_vip(guarded: Guarded) -> None:
    writer = guarded.writer
    with third_host(guarded) as mac:
        guarded.wait_said(writer, "level=error", "rule=duplicate-address", mac, within_s=8)
        assert guarded.own(writer)["duplicate"] == [mac]
        assert f"DUPLICATE ADDRESS: {mac}" in writer.vipguard("status", check=False).stdout
    guarded.wait_said(writer, "rule=duplicate-address-gone", within_s=8)
    assert guarded.lab.writer() is writer and not guarded.dropped_vip(writer), "it moved no VIP"


def test_a_host_that_goes_on_answering_for_the_vip_holds_a_takeover_back_for_a_bounded_time(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    guarded.write_settled()
    text = standby.read(CONFIG_FILE).replace("[limits]", "[limits]\narp_s_max = 1.5")
    with guarded.configured(standby, text):
        standby.agent.signal(signal.SIGHUP)
        guarded.wait_said(standby, "rule=configuration-taken-up")
        with third_host(guarded) as mac, faults.cut_off(guarded.lab, writer):
            guarded.wait_said(standby, "event=takeover-step", "rule=foreign-arp", within_s=10)
            guarded.wait_said(standby, "event=takeover-complete", within_s=10)
            took = re.search(r"event=takeover-complete .*took_ms=([0-9.]+)", guarded.log(standby))
            assert took is not None and 1500 <= float(took[1]) < 4000
            guarded.wait_said(standby, "level=error", "rule=duplicate-address", mac, within_s=8)
    guarded.wait_writer(standby)
