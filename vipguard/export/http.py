"""Who may read the metrics over HTTP, and what do others get? A small server that nobody can hold up.

It runs in a process of its own and holds nothing that the agent needs: the worst that a visitor can do is to wait.
"""

from __future__ import annotations

import base64
import hmac
import http.server
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from ..log import get_logger

VISITORS_MAX = 64
PATIENCE_S = 5.0  # for a visitor to say what it wants, and to take the answer
_log = get_logger("exporter")



class Content(NamedTuple):
    """What is there: its type, and its bytes; with headers of its own."""

    kind: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


#: path: what is there; it gets the request's Accept header
Pages = Mapping[str, Callable[[str], Content]]


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    server_version, sys_version = "vipguard", ""
    protocol_version = "HTTP/1.1"
    timeout = PATIENCE_S

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, body: bool) -> None:
        if not self.server.may(self.headers.get("Authorization", "")):
            self._send(HTTPStatus.UNAUTHORIZED, Content("text/plain", b"name and password, please\n"), body)
            return
        page = self.server.pages.get(self.path.partition("?")[0])
        if page is None:
            there = f"not here; what there is: {', '.join(self.server.pages)}\n"
            self._send(HTTPStatus.NOT_FOUND, Content("text/plain", there.encode()), body)
            return
        try:
            content = page(self.headers.get("Accept", ""))
        except Exception as exc:  # a status of another shape than any that is known: the visitor is told, and the log
            _log.error("defect", rule="unexpected-error", page=self.path.partition("?")[0], error=repr(exc))
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, Content("text/plain", b"this cannot be shown now\n"), body)
            return
        self._send(HTTPStatus.OK, content, body)

    def _send(self, code: HTTPStatus, content: Content, body: bool) -> None:
        kind = content.kind
        self.send_response(code)
        if code is HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", 'Basic realm="vipguard"')
        self.send_header("Content-Type", kind if "charset" in kind or "/" not in kind else f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content.body)))
        self.send_header("Cache-Control", "no-store")
        for name, value in content.headers:
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """In one line of text, as every other answer."""
        self.close_connection = True
        status = HTTPStatus(code)
        said = Content("text/plain", f"{message or status.phrase}\n".encode(), (("Connection", "close"),))
        self._send(status, said, body=self.command != "HEAD")

    def log_message(self, format: str, *args: Any) -> None:
        _log.debug("request", rule="http", said=format % args, visitor=self.client_address[0])


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """Serves `pages` at (`address`, `port`); with `tls`, over TLS alone; with `login`, to who knows it alone.

    Raises OSError where it cannot listen.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        address: str,
        port: int,
        pages: Pages,
        *,
        tls: ssl.SSLContext | None = None,
        login: tuple[str, str] | None = None,
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.pages, self._tls = pages, tls
        self._login = None if login is None else base64.b64encode(":".join(login).encode()).decode()
        self._room = threading.BoundedSemaphore(VISITORS_MAX)
        super().__init__((address, port), _Handler)

    def may(self, authorization: str) -> bool:
        if self._login is None:
            return True
        kind, _, given = authorization.partition(" ")
        return kind.lower() == "basic" and hmac.compare_digest(given.strip().encode(), self._login.encode())

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)  # who comes when all the room is taken may come again
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def finish_request(self, request: Any, client_address: Any) -> None:
        request.settimeout(PATIENCE_S)
        if self._tls is not None:  # here, in the visitor's own thread: a slow handshake holds nobody else up
            request = self._tls.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A visitor that broke off, spoke no TLS or sent rubbish."""
        import sys

        _log.debug("request", rule="broken-off", visitor=client_address[0], reason=repr(sys.exc_info()[1]))
