"""The units under a real systemd: a container boots this host's own files, with all that it changes kept in memory."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.packaging, pytest.mark.lab]

CONFIG = """
cluster = "orders"
node = "db1"
vip = { address = "10.73.0.100/24", interface = "lo", router_id = 51 }
nodes.db1 = { address = "127.0.0.71", priority = 200 }
nodes.db2 = { address = "127.0.0.72", priority = 180 }
mysql = { socket = "/run/mysqld/mysqld.sock", password_file = "/etc/vipguard/password" }
witness.addresses = ["127.0.0.73"]
exporter = { user = "prometheus", password_file = "/etc/vipguard-exporter/password" }
"""
LOGIN = b64encode(b"prometheus:known").decode()
FETCH = (
    'import urllib.request as r; q = r.Request("http://127.0.0.71:9728/metrics",'
    f' headers=dict(Authorization="Basic {LOGIN}")); print(r.urlopen(q).read().decode())'
)
FETCH_PAGE = FETCH.replace("/metrics", "/")
# as README.md installs them, with this environment at /opt/vipguard, where no home hides it;
# each answer goes into a file of its own below /out
WALK = f"""
cd /opt/vipguard/share/vipguard/systemd
cp -r vipguard-* keepalived.service.d /etc/systemd/system/
install -D -m 0644 -t /etc/sysusers.d sysusers.d/*
install -D -m 0644 -t /etc/tmpfiles.d tmpfiles.d/*
sed -i 's,/usr/bin/vipguard,/opt/vipguard/bin/python3 -P -m vipguard,; s,/usr/share,/opt/vipguard/share,' \\
    /etc/systemd/system/vipguard-*.service
mkdir -p /etc/vipguard /var/lib/prometheus/node-exporter
chmod 700 /etc/vipguard
(umask 077; echo secret >/etc/vipguard/password; cp /out/vipguard.toml /etc/vipguard/)
systemd-sysusers && systemd-tmpfiles --create && systemctl daemon-reload

install -d -m 0750 -g vipguard /etc/vipguard-exporter
echo known | install -m 0640 -g vipguard /dev/stdin /etc/vipguard-exporter/password

systemctl start vipguard-agent vipguard-exporter
for unit in vipguard-agent vipguard-exporter; do systemctl is-active $unit; done >/out/active
for attempt in $(seq 100); do
    /usr/bin/python3 -c '{FETCH}' >/out/metrics && grep -q server_up /out/metrics && break
    sleep 0.1
done
/usr/bin/python3 -c '{FETCH_PAGE}' >/out/page
for unit in vipguard-reconcile.service vipguard-textfile.service; do
    systemctl start $unit
    systemctl show -P Result $unit
done >/out/results
cp /var/lib/prometheus/node-exporter/vipguard.prom /out/textfile
ps -o user= -p $(systemctl show -P MainPID vipguard-exporter) >/out/exporters-user
ps -o ni= -p $(systemctl show -P MainPID vipguard-agent) >/out/agents-niceness
journalctl -u vipguard-agent -o json VIPGUARD_EVENT=verdict >/out/journal

cat /run/vipguard/eligible >/out/track-before
stat -c %i /run/vipguard/vrrp.fifo >/out/fifo-before
before=$(systemctl show -P MainPID vipguard-agent)
systemctl kill -s KILL vipguard-agent
for attempt in $(seq 100); do
    after=$(systemctl show -P MainPID vipguard-agent)
    [ "$after" != 0 ] && [ "$after" != "$before" ] && systemctl -q is-active vipguard-agent && break
    sleep 0.1
done
systemctl is-active vipguard-agent >/out/active-again
stat -c %i /run/vipguard/vrrp.fifo >/out/fifo-after
systemctl stop vipguard-agent vipguard-exporter
systemctl show -P Result vipguard-agent vipguard-exporter | xargs >/out/stopped
ls /run/vipguard >/out/left
"""
UNIT = """
[Unit]
After=basic.target
Requires=basic.target
[Service]
Type=oneshot
ExecStart=/bin/bash -x /out/walk
StandardOutput=file:/out/log
StandardError=file:/out/log
ExecStopPost=/bin/systemctl --no-block poweroff
"""


@pytest.fixture(scope="module")
def walked() -> Iterator[Path]:
    """What came out of the walk, a file each."""
    folder = Path(tempfile.mkdtemp(prefix="vgt-units-", dir="/var/lib"))
    out, root, memory = (folder / name for name in ("out", "root", "memory"))
    for path in (out, root, memory):
        path.mkdir()
    (out / "walk").write_text(WALK)
    (out / "vipguard.toml").write_text(CONFIG)
    argv = ["systemd-nspawn", "-q", "--register=no", "--keep-unit", "--private-network", f"--machine=vgt{os.getpid()}"]
    binds = [f"--bind={out}:/out", f"--bind-ro={sys.prefix}:/opt/vipguard"]
    with contextlib.ExitStack() as stack:
        stack.callback(subprocess.run, ["rm", "-rf", "--one-file-system", str(folder)], check=True)
        _mount(stack, memory, "tmpfs", "mode=755")
        for name in ("upper", "work"):
            (memory / name).mkdir()
        _mount(stack, root, "overlay", f"lowerdir=/,upperdir={memory}/upper,workdir={memory}/work")
        (root / "etc/systemd/system/walk.service").write_text(UNIT)
        done = subprocess.run(
            [*argv, f"--directory={root}", *binds, "--boot", "systemd.unit=walk.service"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=150, check=False,
        )  # fmt: skip
        assert (out / "left").exists(), f"{done.stdout}\n{done.stderr}\n{(out / 'log').read_text()[-5000:]}"
        yield out


def _mount(stack: contextlib.ExitStack, at: Path, kind: str, options: str) -> None:
    subprocess.run(["mount", "-t", kind, "-o", options, "vipguard-test", str(at)], check=True)
    stack.callback(subprocess.run, ["umount", "--lazy", str(at)], check=True)


def said(walked: Path, name: str) -> list[str]:
    return (walked / name).read_text().split()


def test_agent_and_exporter_run_and_the_timers_work_ends_well(walked: Path) -> None:
    assert said(walked, "active") == ["active", "active"]
    assert said(walked, "results") == ["success", "success"]


def test_the_exporter_tells_what_the_agent_sees_without_a_right_of_its_own(walked: Path) -> None:
    """No member of root reads for it: systemd hands it the configuration, the group lets it ask the agent."""
    assert 'vipguard_agent_up{cluster="orders",node="db1"} 1.0' in (walked / "metrics").read_text()
    assert said(walked, "exporters-user") != ["root"]


def test_its_status_page_says_what_the_agent_sees(walked: Path) -> None:
    page = (walked / "page").read_text()
    assert '<span id="sentence">Nobody writes, as far as is seen from db1.</span>' in page
    assert "db1: ineligible (server-absent)" in page and 'id="h-stories"' in page and "Not seen: " not in page


def test_the_textfile_has_the_same(walked: Path) -> None:
    names = [
        {line.split("{")[0] for line in (walked / name).read_text().splitlines() if line.startswith("vipguard_")}
        for name in ("metrics", "textfile")
    ]
    assert names[0] == names[1]


def test_the_journal_has_the_agents_words_as_fields(walked: Path) -> None:
    entries = [json.loads(line) for line in (walked / "journal").read_text().splitlines()]
    rules = {entry["VIPGUARD_RULE"] for entry in entries}
    assert "server-absent" in rules, rules
    assert all(f"rule={entry['VIPGUARD_RULE']}" in entry["MESSAGE"] for entry in entries)
    assert {entry["_SYSTEMD_UNIT"] for entry in entries} == {"vipguard-agent.service"}


def test_a_killed_agent_is_started_again_and_keepalived_would_not_notice(walked: Path) -> None:
    assert said(walked, "active-again") == ["active"]
    assert said(walked, "fifo-after") == said(walked, "fifo-before")
    assert said(walked, "track-before") == ["0"]


def test_the_agent_runs_before_its_neighbours(walked: Path) -> None:
    assert said(walked, "agents-niceness") == ["-10"]


def test_a_stop_ends_both_well_and_leaves_keepalived_its_files(walked: Path) -> None:
    assert said(walked, "stopped") == ["success", "success"]
    assert {"eligible", "vrrp.fifo"} <= set(said(walked, "left"))
