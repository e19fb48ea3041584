"""Which failed test may be run again, and who hears of it? A plugin of pytest, by the types of `lawful.py`.

On real servers a test whose wait ran out is tried again, twice at most: it waits for real programs, and the machine may
be shared. A broken law ends the run as soon as it is seen, whatever else failed in that test. Everything else fails at
once. The end of the run names each test that was run again, with the first reason.

`make test` runs three streams of tests side by side (`--left-to FILE`). What fails there while the machine is busy, by
the kernel's measure (`pressure.py`), or lasts too long three times, is judged once more at the end, when nothing else
runs: that is named too, with its whole failure above it.
"""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Generator, Iterator

import pymysql
import pytest
from lawful import LawBroken, TooSlow
from pressure import BUSY, machine

from vipguard.lab import WaitTimeout

REAL = ("/tests/lab/", "/tests/integration/", "/tests/behaviour/", "/tests/packaging/")
AGAIN = 2
SLOW = (WaitTimeout, TooSlow, TimeoutError, subprocess.TimeoutExpired)
#: Of this attempt: did something fail that a second one may not hide?
_final = pytest.StashKey[bool]()
_laws = pytest.StashKey[list[str]]()


def members(error: BaseException) -> Iterator[BaseException]:
    """The failures that pytest or a task group reports as one."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from members(each)
    else:
        yield error


def chain(error: BaseException) -> Iterator[BaseException]:
    """The failure and all in whose course it came up: none of them is hidden by it."""
    seen: set[int] = set()
    left = [error]
    while left:
        each = left.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        left += [*members(each), *(more for more in (each.__cause__, each.__context__) if more is not None)]


def law_in(error: BaseException) -> LawBroken | None:
    return next((each for each in chain(error) if isinstance(each, LawBroken)), None)


def is_slow(error: BaseException) -> bool:
    """Did it only last too long? Of several failures each must be of that kind, by its own type."""
    return law_in(error) is None and all(_lasted(each) for each in members(error))


def _lasted(error: BaseException) -> bool:
    if isinstance(error, pymysql.OperationalError):  # a server that did not answer in the session's time
        return any(isinstance(each, TimeoutError) for each in chain(error))
    if isinstance(error, pytest.fail.Exception):
        return "from pytest-timeout" in str(error)
    return isinstance(error, SLOW)


def _is_open(error: BaseException) -> bool:
    """Is it for a quiet machine to say whether it fails? No broken law; else what only lasted too long, or came while
    processes waited for a processor."""
    return is_slow(error) or (law_in(error) is None and machine.waited() >= BUSY)


def _may_repeat(item: pytest.Item, error: BaseException | None) -> bool:
    return error is not None and not item.stash.get(_final, False) and is_slow(error)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--left-to",
        metavar="FILE",
        help="A run beside others: append the tests to FILE that are to be judged when nothing else runs.",
    )


def _is_real(item: pytest.Item) -> bool:
    return any(part in str(item.path) for part in REAL)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    machine.begin()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _is_real(item):
            item.add_marker(pytest.mark.flaky(reruns=AGAIN, condition=functools.partial(_may_repeat, item)))


# first of all: what this finds is asked for while the plugin that runs tests again makes its own report
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    if call.when == "setup":
        item.stash[_final] = False
    error = call.excinfo.value if call.excinfo is not None else None
    if error is not None and not isinstance(error, pytest.skip.Exception):
        law = law_in(error)
        if law is not None:
            text = str(law).partition("\n")[0]
            item.config.stash.setdefault(_laws, []).append(f"{item.nodeid}: {text}")
            item.session.shouldfail = f"A LAW IS BROKEN, nothing further is run: {item.nodeid}: {text}"
        item.stash[_final] = item.stash[_final] or not is_slow(error)
    report = yield
    if report.failed:
        report.user_properties.append(("reason", _reason(error)))
        report.user_properties.append(("open", error is not None and _is_real(item) and _is_open(error)))
    return report


def _reason(error: BaseException | None) -> str:
    text = str(error).strip().partition("\n")[0] if error is not None else ""
    waited = machine.waited()
    busy = f" (processes waited for a processor {waited:.0%} of the time)" if waited >= BUSY else ""
    return f"{type(error).__name__}: {text}{busy}"


class Summary:
    """Hears of each attempt, and tells at the end. Where all that failed is left to a quiet machine, the run as a whole
    has not failed yet."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.reasons: dict[str, list[str]] = {}
        self.ends: dict[str, str] = {}
        self.failed: dict[str, bool] = {}  # is it for a quiet machine to say?
        self.left: list[str] = []

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.failed[report.nodeid] = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            is_open = ("open", True) in report.user_properties
            self.failed[report.nodeid] = is_open and self.failed.get(report.nodeid, True)
        if report.outcome == "rerun":
            reasons = [str(value) for name, value in report.user_properties if name == "reason"]
            self.reasons.setdefault(report.nodeid, []).append(f"{report.when}: {reasons[-1] if reasons else ''}")
        elif report.nodeid in self.reasons and (report.failed or report.when == "call"):
            self.ends[report.nodeid] = "failed" if report.failed else "passed"

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        place = self.config.getoption("--left-to")
        if place is None or session.exitstatus != pytest.ExitCode.TESTS_FAILED or not all(self.failed.values()):
            return
        self.left = list(self.failed)
        with open(place, "a", encoding="utf-8") as file:
            file.writelines(f"{nodeid}\n" for nodeid in self.left)
        session.exitstatus = pytest.ExitCode.OK

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        told = terminalreporter
        if self.reasons:
            told.section(f"run again: {len(self.reasons)} tests")
        for nodeid, reasons in self.reasons.items():
            told.line(f"{nodeid}: {self.ends.get(nodeid, 'failed')} at attempt {len(reasons) + 1}; first {reasons[0]}")
        if self.left:
            told.section(f"left for the end, when nothing else runs: {len(self.left)} tests")
        for nodeid in self.left:
            told.line(nodeid)
        for law in self.config.stash.get(_laws, []):
            told.section("A LAW IS BROKEN", red=True)
            told.line(law)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Summary(config), "told-again")
