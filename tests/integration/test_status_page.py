"""The status page in a real browser, served by the real exporter: it keeps itself fresh, and says when it cannot."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path

import pytest
import statuses
from browser import Browser, browser
from exporting import Agent, exporter, get

from vipguard.lab.wait import wait_until

pytestmark = pytest.mark.lab

#: What is wider than the window, and texts of a drawing that are cut off by it.
TOO_WIDE = """[...document.querySelectorAll("body *")].filter(
  (one) => one.offsetParent && one.getBoundingClientRect().right > innerWidth + 0.5
).map((one) => one.outerHTML.slice(0, 80))"""
OUTSIDE = """[...document.querySelectorAll("svg text")].filter((one) => {
  const picture = one.ownerSVGElement.getBoundingClientRect(), box = one.getBoundingClientRect();
  return box.width && (box.left < picture.left - 1 || box.right > picture.right + 1);
}).map((one) => one.textContent)"""
#: Of the two drawings, the one that fits.
SHOWN = "[...document.querySelectorAll('svg.cluster')].filter((one) => one.getClientRects().length).length"
#: Texts of a drawing that lie on each other.
COVERED = """[...document.querySelectorAll("svg")].flatMap((svg) => {
  const texts = [...svg.querySelectorAll("text")].map((one) => [one.textContent, one.getBoundingClientRect()])
    .filter(([, box]) => box.width);
  const cover = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 &&
    Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 4;
  return texts.flatMap(([word, box], at) => texts.slice(at + 1).filter(([, other]) => cover(box, other))
    .map(([other]) => `${word} | ${other}`));
})"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as made:
        yield made


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    with closing(Agent(tmp_path / "agent.sock")) as agent:
        agent.status, agent.stories = statuses.healthy_pair(), statuses.told_stories()
        yield agent


def headline(chromium: Browser) -> str:
    return chromium.text("#sentence")


def wait_headline(chromium: Browser, words: str) -> None:
    wait_until(lambda: words in headline(chromium), 20, lambda: headline(chromium))


def test_it_follows_what_happens_and_says_when_it_cannot(tmp_path: Path, agent: Agent, chromium: Browser) -> None:
    chromium.show(1280)
    with exporter(tmp_path) as port:
        chromium.open(f"http://127.0.0.1:{port}/")
        assert headline(chromium) == "db1 writes." and "db1 writes." in chromium.eval("document.title")
        # what the reader opened and has the focus on stays so over the changes
        chromium.eval("document.getElementById('s-table').focus(); document.getElementById('table').open = true")
        began = chromium.eval("document.getElementById('at').dataset.at")
        for make, words in (
            (statuses.failing_over, "Nobody writes yet: db1 is taking over"),
            (statuses.two_writers, "Two nodes accept writes"),
            (statuses.healthy_pair, "db1 writes."),
        ):
            agent.status = make()
            wait_headline(chromium, words)
        assert chromium.eval("document.getElementById('table').open") is True
        assert chromium.eval("document.activeElement.id") == "s-table"
        assert chromium.eval("document.getElementById('at').dataset.at") > began
        agent.silent = True
        wait_headline(chromium, "The agent of db1 is silent")
        assert not chromium.eval("document.querySelector('[data-part=checks]')")
        agent.silent = False
        wait_headline(chromium, "db1 writes.")
        assert chromium.eval("document.querySelectorAll('.check').length") == 8
        assert chromium.said == []
        assert {url for url in chromium.asked if not url.startswith("data:")} == {f"http://127.0.0.1:{port}/"}
    # the exporter is gone: nothing on the page may look alive
    wait_headline(chromium, "Not known: db1 has not answered since")
    assert chromium.eval("document.documentElement.classList.contains('stale')")
    assert chromium.text("#lost").startswith("No answer from the exporter of db1 for")
    assert "then it said: db1 writes." in chromium.text("#lost")
    assert chromium.eval("document.title").startswith("? orders: no answer since")
    with exporter(tmp_path, at=port):
        wait_headline(chromium, "db1 writes.")
        assert not chromium.eval("document.documentElement.classList.contains('stale')")
        assert chromium.eval("document.getElementById('lost').offsetParent === null")


@pytest.mark.parametrize("name", [*statuses.STATES, "silent"])
def test_every_state_fits_a_desk_and_a_phone_by_day_and_by_night(
    name: str, tmp_path: Path, agent: Agent, chromium: Browser
) -> None:
    if name == "silent":
        agent.silent = True
    else:
        agent.status = statuses.STATES[name]()
    with exporter(tmp_path) as port:
        for width in (1280, 360):
            chromium.show(width, dark=width == 360)
            chromium.open(f"http://127.0.0.1:{port}/")
            chromium.eval("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
            assert chromium.eval("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
            for question in (TOO_WIDE, OUTSIDE, COVERED):
                assert chromium.eval(question) == [], (width, question)
            assert chromium.eval(SHOWN) == 1
            assert chromium.said == []


def test_without_a_script_it_says_all_and_loads_itself_anew(tmp_path: Path, agent: Agent, chromium: Browser) -> None:
    chromium.show(1280)
    with exporter(tmp_path) as port:
        code, kind, body = get(port, "/")
        assert (code, kind) == (200, "text/html; charset=utf-8")
        assert get(port, "/", "HEAD") == (200, kind, b"")

        class Text(HTMLParser):
            words = ""

            def handle_data(self, data: str) -> None:
                self.words += data

        text = Text()
        text.feed(body.decode())
        assert "db1 writes." in text.words and "db2 may take over." in text.words
        chromium.script(on=False)
        try:
            chromium.open(f"http://127.0.0.1:{port}/")
            agent.status = statuses.two_writers()
            wait_headline(chromium, "Two nodes accept writes")  # by <noscript>'s refresh
        finally:
            chromium.script(on=True)


def test_what_a_server_says_runs_nowhere(tmp_path: Path, agent: Agent, chromium: Browser) -> None:
    evil = "<img src=x onerror=\"document.title='hit'\"><script>document.title='hit'</script>"
    status = statuses.no_writer()
    status["nodes"][1]["reason"] = evil
    agent.status = status
    chromium.show(1280)
    with exporter(tmp_path) as port:
        chromium.open(f"http://127.0.0.1:{port}/")
        agent.status = {**status, "cluster": f"orders{evil}"}
        wait_until(lambda: "orders<img" in chromium.eval("document.title"), 20)
        assert "<img src=x" in chromium.text("#more")
        assert chromium.eval("document.images.length") == 0 and chromium.eval("document.title") != "hit"
        # and had something slipped through: the policy refuses it
        chromium.eval("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"document.title=1\">')")
        script = "Object.assign(document.createElement('script'), {textContent: 'document.title=1'})"
        chromium.eval(f"document.body.append({script})")
        wait_until(lambda: any("Content Security Policy" in line for line in chromium.said), 5)
        assert chromium.eval("document.title") != "1"


def test_a_status_of_another_shape_is_an_error_that_is_told_and_survived(tmp_path: Path, agent: Agent) -> None:
    with exporter(tmp_path) as port:
        agent.status = {**statuses.healthy_pair(), "nodes": [{"node": "db1"}]}
        assert get(port, "/")[:2] == (500, "text/plain; charset=utf-8")
        assert get(port, "/-/healthy")[0] == 200


def test_password_and_json(tmp_path: Path, agent: Agent) -> None:
    password = tmp_path / "password"
    password.write_text("s3cret\n")
    password.chmod(0o600)
    login = base64.b64encode(b"prometheus:s3cret").decode()
    with exporter(tmp_path, f'user = "prometheus"\npassword_file = "{password}"') as port:
        assert get(port, "/")[0] == 401 and b"db1" not in get(port, "/")[2]
        assert get(port, "/", Authorization=f"Basic {login}")[0] == 200
        code, kind, body = get(port, "/status.json", Authorization=f"Basic {login}")
        assert code == 200 and kind.startswith("application/json") and json.loads(body) == agent.status
        agent.silent = True
        wait_until(
            lambda: json.loads(get(port, "/status.json", Authorization=f"Basic {login}")[2])["agent"] == "silent", 5
        )


def test_an_open_page_keeps_no_room_between_two_looks(tmp_path: Path, agent: Agent) -> None:
    with exporter(tmp_path) as port, socket.create_connection(("127.0.0.1", port), 10) as visitor:
        visitor.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while more := visitor.recv(65536):  # until the exporter closes it
            answer += more
        assert answer.endswith(b"</html>\n")
