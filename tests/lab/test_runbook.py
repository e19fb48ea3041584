"""What docs/runbook.md tells people to do, done on real servers: what the tests of those things do not do anyway."""

from __future__ import annotations

from guarded import STOOD_DOWN, Guarded, answers, sets_equal
from lawful import wait_nothing_lost
from runbook import do

from vipguard.lab import Node, faults
from vipguard.lab.servers import DEFAULTS_FILE

TEXTFILES = "/var/lib/prometheus/node-exporter"


def test_an_open_server_without_the_vip_and_without_an_agent_is_closed_by_hand(guarded: Guarded) -> None:
    """VipguardWritableWithoutVip: nobody is there to close it."""
    writer, standby = guarded.writer, guarded.standby
    standby.agent.kill9()
    guarded.two_writers_ms_max = 20_000.0
    standby.mysqld.sql("SET GLOBAL read_only = 0")
    told = do(standby, "VipguardWritableWithoutVip", "vipguard standdown")
    assert f"{writer.name} writes" in told and standby.mysqld.read_only() is True and standby.path(STOOD_DOWN).exists()
    do(standby, "VipguardWritableWithoutVip", "systemctl start vipguard-agent")
    guarded.lab.wait(lambda: answers(standby), 15, "the agent to answer")
    guarded.wait_track(standby, "0")
    do(standby, "VipguardWritableWithoutVip", "vipguard standdown --end")
    guarded.wait_track(standby, "1", within_s=15)
    assert guarded.lab.writer() is writer and not guarded.was_closed(writer)


def test_doctor_says_what_keeps_a_standby_from_taking_over(guarded: Guarded) -> None:
    standby = guarded.standby
    guarded.lab.wait(
        lambda: "nothing found" in do(standby, "VipguardReplicationLag", "vipguard doctor"), 10, "nothing to be at risk"
    )
    with guarded.applier_stopped(standby):
        guarded.wait_track(standby, "0")
        assert "replication" in do(standby, "VipguardStandbyCannotTakeOver", "vipguard doctor", code=1)
    guarded.wait_track(standby, "1")


def test_a_restart_of_the_agent_harms_no_writer(guarded: Guarded) -> None:
    """VipguardAgentSilent: of one that hangs, too."""
    lab, writer = guarded.lab, guarded.writer
    with lab.client(rate=100) as client:
        with faults.stop_agent(writer):
            client.wait_acks(100)
            writer.agent.kill9()  # as systemd does when its watchdog has waited
        do(writer, "VipguardAgentSilent", "systemctl restart vipguard-agent")
        guarded.wait_said(writer, "event=adopted")
        client.wait_acks(100)
    assert not client.seen().errors and lab.writer() is writer
    assert not guarded.was_closed(writer) and not guarded.dropped_vip(writer)


def test_a_dead_keepalived_is_started_and_the_node_is_a_candidate_again(guarded: Guarded) -> None:
    standby = guarded.standby
    standby.keepalived.kill9()
    guarded.wait_track(standby, "0")
    do(standby, "VipguardKeepalivedDead", "systemctl start keepalived")
    guarded.wait_track(standby, "1", within_s=15)
    assert guarded.lab.writer() is guarded.writer


def test_the_timer_of_the_textfile_writes_it(guarded: Guarded) -> None:
    node = guarded.writer
    node.path(TEXTFILES).mkdir(parents=True, exist_ok=True)
    do(node, "VipguardTextfileOld", "systemctl enable --now vipguard-textfile.timer")
    assert "vipguard_agent_up" in node.path(f"{TEXTFILES}/vipguard.prom").read_text()


def test_a_maintenance_that_was_forgotten_is_ended_for_a_node_and_for_the_cluster(guarded: Guarded) -> None:
    writer, standby = guarded.writer, guarded.standby
    writer.vipguard("maintenance", "on", "--node", standby.name)
    guarded.wait_track(standby, "0")
    do(writer, "VipguardMaintenanceTooLong", "vipguard maintenance off --node NODE", fill={"NODE": standby.name})
    guarded.wait_track(standby, "1")
    do(writer, "VipguardDiskStalls", "vipguard maintenance on --cluster")
    guarded.wait_said(standby, "rule=cluster-paused")
    do(writer, "VipguardMaintenanceTooLong", "vipguard maintenance off --cluster")
    guarded.wait_track(standby, "1")


def test_binary_logs_are_purged_up_to_what_a_standby_still_needs(guarded: Guarded) -> None:
    lab, writer, standby = guarded.lab, guarded.writer, guarded.standby
    guarded.write_settled()
    writer.mysqld.sql("FLUSH BINARY LOGS", "FLUSH BINARY LOGS")
    client = guarded.write_settled()
    row = standby.mysqld.replication()[0]
    needed = str(row.get("Relay_Master_Log_File") or row.get("Relay_Source_Log_File"))
    before = [str(log["Log_name"]) for log in writer.mysqld.sql("SHOW BINARY LOGS")]
    do(writer, "VipguardDiskNearlyFull", "PURGE BINARY LOGS TO 'FILE'", fill={"FILE": needed})
    after = [str(log["Log_name"]) for log in writer.mysqld.sql("SHOW BINARY LOGS")]
    assert after[0] == needed and len(after) < len(before)
    standby.mysqld.kill9()  # it asks again for what it had not applied
    standby.mysqld.start()
    standby.mysqld.wait_ready()
    lab.wait(lambda: standby.mysqld.replication_threads() == ("Yes", "Yes"), 20, "replication to go on")
    wait_nothing_lost(lab, client, standby, 10, "the standby to have all")
    guarded.wait_track(standby, "1", within_s=15)
    assert sets_equal(writer, standby) or lab.writer() is writer


def certificate(node: Node, days: int) -> None:
    """A new one, where the server's configuration says."""
    folder = "/var/lib/mysql-tls"
    node.path(folder).mkdir(exist_ok=True)
    node.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={node.name}", "-days", str(days),
         "-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem"]
    )  # fmt: skip
    node.run(["sh", "-c", f"cp {folder}/cert.pem {folder}/ca.pem; chmod 644 {folder}/*.pem"])


def ends(node: Node, asker: Node) -> str:
    """When the certificate ends that the server shows, by the runbook's own look at it."""
    shown = f"openssl s_client -starttls mysql -connect {node.address}:3306 </dev/null"
    return asker.run(["sh", "-c", f"{shown} 2>/dev/null | openssl x509 -noout -enddate"]).stdout


def test_a_new_certificate_is_taken_up_without_a_restart(guarded: Guarded) -> None:
    standby, writer = guarded.standby, guarded.writer
    before = standby.read(DEFAULTS_FILE)
    certificate(standby, 7)
    folder = "/var/lib/mysql-tls"
    standby.write(DEFAULTS_FILE, before.replace("[mysqld]", f"[mysqld]\nssl_cert={folder}/cert.pem\n"
                                                f"ssl_key={folder}/key.pem\nssl_ca={folder}/ca.pem", 1))  # fmt: skip
    try:
        standby.mysqld.terminate()
        standby.mysqld.start()
        standby.mysqld.wait_ready()
        guarded.wait_track(standby, "1", within_s=20)
        old = ends(standby, writer)
        assert old.startswith("notAfter=")
        certificate(standby, 90)
        if standby.spec.flavor == "mysql":
            do(standby, "VipguardCertificateNearItsEnd", "ALTER INSTANCE RELOAD TLS")
        else:
            do(standby, "VipguardCertificateNearItsEnd", "FLUSH SSL")
        assert ends(standby, writer) != old
        do(writer, "VipguardCertificateNearItsEnd", "systemctl restart vipguard-agent")
        guarded.lab.wait(lambda: answers(writer), 15, "the agent to answer")
        assert guarded.lab.writer() is writer and not guarded.was_closed(writer)
        guarded.wait_track(standby, "1")
    finally:
        standby.write(DEFAULTS_FILE, before)
