"""`vipguard exporter`: this node's metrics for Prometheus, over HTTP or as a file for node_exporter; and its page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .app import App, pass_app

if TYPE_CHECKING:
    import ssl

    from vipguard.config import At
    from vipguard.export.http import Content
    from vipguard.export.source import Source
    from vipguard.model.policy import Exporter, Policy


@click.command()
@click.option("--textfile", metavar="DIR", help="Write DIR/vipguard.prom once instead, for node_exporter's collector.")
@click.option("--once", is_flag=True, help="Print the metrics once instead.")
@pass_app
def command(app: App, textfile: str | None, once: bool) -> int:
    """Serve this node's metrics to Prometheus and its status page to people, until it is stopped.

    \b
      /             the status page: the cluster, every check, the last takeovers
      /metrics      for Prometheus
      /status.json  what the agent says, for programs
      /-/healthy    whether the exporter itself runs

    It asks the agent over its socket, never the database, and needs no right but the group vipguard. While the agent
    is silent both say so: vipguard_agent_up is 0.

    \b
    For example:
      vipguard exporter
      vipguard exporter --once
      vipguard exporter --textfile /var/lib/prometheus/node-exporter

    Exit codes: 0 stopped, or written; 2 wrong usage or configuration; 3 it cannot listen or write.
    """
    from vipguard.export.source import Source

    if textfile is not None and (once or not textfile):
        raise click.UsageError("--textfile wants a directory" if not once else "--textfile and --once: choose one")
    policy = app.policy(secrets=False)
    source = Source(policy.paths.agent_socket)
    if textfile is not None:
        from vipguard.export import textfile as file

        file.write(textfile, _metrics(policy, source, "")[1])
        return 0
    if once:
        click.echo(_metrics(policy, source, "")[1].decode(), nl=False)
        return 0
    return _serve(policy, source)


def _metrics(policy: Policy, source: Source, accept: str) -> tuple[str, bytes]:
    """The content type and the text, in the form that `accept` asks for."""
    from collections.abc import Iterator

    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric
    from prometheus_client.exposition import choose_encoder

    from vipguard.export.metrics import families

    class Collector:
        def collect(self) -> Iterator[Metric]:
            return families(source.get(), policy.cluster, policy.node)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector())  # type: ignore[arg-type]
    encoder, content_type = choose_encoder(accept)
    return content_type, encoder(registry)


def _page(policy: Policy, source: Source) -> Content:
    import time

    from vipguard.export.http import Content
    from vipguard.export.page import HEADERS, page

    seen = source.look()
    stories = source.stories() if seen.status is not None else ""
    return Content("text/html", page(policy, seen, stories, time.time()).encode(), HEADERS)


def _json(policy: Policy, source: Source) -> Content:
    import json

    from vipguard.export.http import Content
    from vipguard.export.page import raw

    return Content("application/json", json.dumps(raw(policy, source.look())).encode() + b"\n")


def _serve(policy: Policy, source: Source) -> int:
    import signal
    import threading

    from vipguard.config import At
    from vipguard.errors import CouldNotDo
    from vipguard.export.http import Content, Server
    from vipguard.log import get_logger

    told = policy.exporter
    at = At(policy.file) / "exporter"
    address = told.address or policy.me.address
    pages = {
        "/": lambda _: _page(policy, source),
        "/metrics": lambda accept: Content(*_metrics(policy, source, accept)),
        "/status.json": lambda _: _json(policy, source),
        "/-/healthy": lambda _: Content("text/plain", b"ok\n"),
    }
    try:
        server = Server(address, told.port, pages, tls=_tls(told, at), login=_login(told, at))
    except OSError as exc:
        where = f"cannot listen at {address} port {told.port}: {exc.strerror or exc}"
        raise CouldNotDo(f"{where}; choose another exporter.address or exporter.port", refused=True) from exc
    log = get_logger("exporter")
    log.info("exporter", rule="listening", address=address, port=server.server_port, tls=bool(told.tls_certificate))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    with server:
        server.serve_forever()
    return 0


def _tls(told: Exporter, at: At) -> ssl.SSLContext | None:
    if not told.tls_certificate:
        return None
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for name, path in (("tls_certificate", told.tls_certificate), ("tls_key", told.tls_key)):
        try:
            with open(path, "rb"):
                pass
        except OSError as exc:
            remedy = "name a PEM file that this process can read: docs/metrics.md has where"
            raise (at / name).wrong(f"names {path}, which cannot be read ({exc.strerror})", remedy) from exc
    try:
        context.load_cert_chain(told.tls_certificate, told.tls_key)
    except ssl.SSLError as exc:
        why = "it is not this certificate's" if "MISMATCH" in str(exc) else "one of the two is no PEM of that kind"
        problem = f"cannot be used with exporter.tls_certificate: {why}"
        remedy = "name a certificate and its own key, both as PEM, the key unencrypted"
        raise (at / "tls_key").wrong(problem, remedy) from exc
    return context


def _login(told: Exporter, at: At) -> tuple[str, str] | None:
    from vipguard.config.host import secret

    if not told.user:
        return None
    return told.user, secret(at / "password_file", told.password_file)
