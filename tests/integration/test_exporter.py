"""The exporter as a process: what visitors get, good and bad ones, and what the agent notices of it: nothing."""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from exporting import CONFIG, Agent, exporter, get
from prometheus_client.parser import text_string_to_metric_families
from scratch import free_port

from vipguard.lab.wait import wait_until

pytestmark = pytest.mark.lab


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    with closing(Agent(tmp_path / "agent.sock")) as agent:
        yield agent


def test_a_visitor_gets_the_metrics_or_a_clear_answer(tmp_path: Path, agent: Agent) -> None:
    with exporter(tmp_path) as port:
        code, kind, body = get(port)
        families = {family.name for family in text_string_to_metric_families(body.decode())}
        assert code == 200 and kind.startswith("text/plain") and "vipguard_takeover_seconds" in families
        assert get(port, Accept="application/openmetrics-text; version=1.0.0")[1].startswith("application/openmetrics")
        assert get(port, "/-/healthy")[2] == b"ok\n"
        assert get(port, "/metrics", "HEAD")[2] == b""
        code, _, body = get(port, "/../../etc/passwd")
        assert code == 404 and body == b"not here; what there is: /, /metrics, /status.json, /-/healthy\n"
        assert get(port, "/metrics", "POST")[0] == 501
        assert get(port, "/" + "x" * 70000)[0] == 414
        assert get(port, x="y" * 70000)[0] == 431
        agent.silent = True
        wait_until(lambda: b"vipguard_agent_up{" in get(port)[2] and b"vipguard_epoch" not in get(port)[2], 5)
        agent.close()
        assert b'vipguard_agent_up{cluster="orders",node="db1"} 0.0' in get(port)[2]


def test_a_hundred_scrapers_and_as_many_that_say_nothing_hold_nobody_up(tmp_path: Path, agent: Agent) -> None:
    with exporter(tmp_path) as port:
        get(port)
        before = agent.asked
        mute = [socket.create_connection(("127.0.0.1", port)) for _ in range(40)]
        began, codes = time.monotonic(), []

        def scrape() -> None:
            for _ in range(20):
                try:
                    codes.append(get(port)[0])
                    return
                except OSError:
                    time.sleep(0.1)  # all the room was taken

        threads = [threading.Thread(target=scrape) for _ in range(100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took_s = time.monotonic() - began
        assert codes == [200] * 100
        assert agent.asked - before <= 2 + took_s / 0.5
        for one in mute:
            one.close()


def test_who_does_not_know_the_password_is_told_to_say_it(tmp_path: Path, agent: Agent) -> None:
    password = tmp_path / "password"
    password.write_text("s3cret\n")
    password.chmod(0o600)
    with exporter(tmp_path, f'user = "prometheus"\npassword_file = "{password}"') as port:
        assert get(port)[0] == 401
        for login, code in (("prometheus:wrong", 401), ("prometheus:s3cret", 200), ("other:s3cret", 401)):
            assert get(port, Authorization=f"Basic {base64.b64encode(login.encode()).decode()}")[0] == code
        assert get(port, Authorization="Bearer x")[0] == 401


def test_with_a_certificate_it_speaks_tls_alone(tmp_path: Path, agent: Agent) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    with exporter(tmp_path, f'tls_certificate = "{certificate}"\ntls_key = "{key}"') as port:
        context = ssl.create_default_context(cafile=str(certificate))
        connection = http.client.HTTPSConnection("localhost", port, timeout=10, context=context)
        with closing(connection):
            connection.request("GET", "/metrics")
            assert connection.getresponse().status == 200
        with pytest.raises((http.client.HTTPException, OSError)):
            get(port)


def test_another_method_is_refused_in_a_line_of_text(tmp_path: Path, agent: Agent) -> None:
    with exporter(tmp_path) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("POST", "/metrics")
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("Content-Type")) == (501, "text/plain; charset=utf-8")
        assert b"<" not in answer.read()


def test_a_silent_agent_is_named_beside_a_single_look(tmp_path: Path) -> None:
    config = tmp_path / "vipguard.toml"
    config.write_text(CONFIG.format(run=tmp_path, port=free_port(), more=""))
    argv = [sys.executable, "-P", "-m", "vipguard", "--config", str(config), "exporter"]
    done = subprocess.run([*argv, "--once"], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0 and "vipguard_agent_up" in done.stdout
    assert "rule=agent-silent" in done.stderr and f"no agent listens at {tmp_path}" in done.stderr
    for wrong in (["--textfile", ""], ["--textfile", str(tmp_path), "--once"]):
        done = subprocess.run([*argv, *wrong], capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 2 and "--textfile" in done.stderr


def test_what_cannot_be_served_is_one_sentence(tmp_path: Path, agent: Agent) -> None:
    port = free_port()
    config = tmp_path / "vipguard.toml"
    for more, code, said in (
        ('tls_certificate = "/nowhere.pem"\ntls_key = "/nokey.pem"', 2, "exporter.tls_certificate: names /nowhere.pem"),
        (f'tls_certificate = "{config}"\ntls_key = "/nokey.pem"', 2, "exporter.tls_key: names /nokey.pem"),
        (f'tls_certificate = "{config}"\ntls_key = "{config}"', 2, "exporter.tls_key: cannot be used with"),
        ('tls_certificate = "/nowhere.pem"', 2, "exporter.tls_key: is missing"),
        ('user = "prometheus"', 2, "exporter.password_file: is missing"),
        ('password_file = "/nowhere"', 2, "exporter.user: is missing"),
        ('address = "192.0.2.1"', 3, "cannot listen at 192.0.2.1"),
    ):
        config.write_text(CONFIG.format(run=tmp_path, port=port, more=more))
        argv = [sys.executable, "-P", "-m", "vipguard", "--config", str(config), "exporter"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
        assert (done.returncode, done.stderr.count("\n")) == (code, 1) and said in done.stderr, done.stderr


def test_the_textfile_and_a_single_look(tmp_path: Path, agent: Agent) -> None:
    config = tmp_path / "vipguard.toml"
    config.write_text(CONFIG.format(run=tmp_path, port=free_port(), more=""))
    argv = [sys.executable, "-P", "-m", "vipguard", "--config", str(config), "exporter"]
    once = subprocess.run([*argv, "--once"], capture_output=True, text=True, timeout=20, check=True).stdout
    assert "vipguard_agent_up" in once
    subprocess.run([*argv, "--textfile", str(tmp_path)], timeout=20, check=True)
    assert (tmp_path / "vipguard.prom").read_text().count("# TYPE") == once.count("# TYPE")
    broken = subprocess.run([*argv, "--textfile", "/nowhere"], capture_output=True, text=True, timeout=20, check=False)
    assert broken.returncode == 3 and broken.stderr.startswith("vipguard: cannot write /nowhere/vipguard.prom")
