"""What does an ordinary application do during a failover? This program: one connection, inserts, and a new
connection after an error.

Run in the client's namespace as `python -m vipguard.lab.writer SETTINGS`; it prints one line for each thing
that happens, with the monotonic clock in nanoseconds: `a NS ID` acknowledged, `e NS CODE TEXT` an error, `c
NS SERVER_ID` connected.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from typing import Any

import pymysql

PAUSE_S = 0.001  # after a refusal: enough not to be a busy loop


class Application:
    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.id = int(settings["first_id"])
        self.period_s = 1.0 / settings["rate"] if settings["rate"] else 0.0

    def connect(self) -> pymysql.Connection[Any]:
        settings = self.settings
        return pymysql.connect(
            host=settings["host"], port=settings["port"], user=settings["user"], password=settings["password"],
            database="app", autocommit=True, ssl_disabled=True,
            connect_timeout=settings["connect_timeout_s"], read_timeout=settings["read_timeout_s"],
            write_timeout=settings["read_timeout_s"],
        )  # fmt: skip

    def run(self) -> None:
        while True:
            connection = None
            try:
                connection = self.connect()
                self.insert_until_error(connection)
            except (pymysql.MySQLError, OSError) as exc:
                code = exc.args[0] if exc.args else 0
                say(f"e {time.monotonic_ns()} {code} {str(exc.args[-1] if exc.args else exc)[:120]!r}")
                time.sleep(PAUSE_S)
            finally:
                if connection is not None:
                    with contextlib.suppress(pymysql.MySQLError, OSError):
                        connection.close()

    def insert_until_error(self, connection: pymysql.Connection[Any]) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT @@server_id")
            row = cursor.fetchone()
            say(f"c {time.monotonic_ns()} {row[0] if row else 0}")
            due = time.monotonic()
            while True:
                # the id is used up before the outcome is known: a lost answer never makes two rows of one id
                self.id += 1
                cursor.execute(f"INSERT INTO app.t (id, node) VALUES ({self.id}, @@server_id)")
                say(f"a {time.monotonic_ns()} {self.id}")
                if self.period_s:
                    due = max(due + self.period_s, time.monotonic() - 0.1)
                    time.sleep(max(0.0, due - time.monotonic()))


def say(line: str) -> None:
    os.write(1, line.encode() + b"\n")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        Application(json.loads(sys.argv[1])).run()
