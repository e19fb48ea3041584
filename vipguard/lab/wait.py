"""How does one wait for something in a lab? With a condition, a bound in seconds, and the whole lab printed
when it fails.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from vipguard.errors import VipguardError

T = TypeVar("T")
Describe = str | Callable[[], str]


class LabError(VipguardError):
    """The lab itself could not do something; its text is for the person in front of it."""


class Ended(LabError):
    """A process that was waited for has ended: waiting longer is no use."""


class WaitTimeout(LabError, AssertionError):
    """A condition did not come true in time; the text has what was described at that moment."""


def wait_until(
    condition: Callable[[], T],
    within_s: float,
    describe: Describe = "the condition",
    *,
    every_s: float = 0.02,
) -> T:
    """The first true value of `condition()`, asked each `every_s` until `within_s` have passed.

    `describe` is the name of what is waited for, or a callable that tells the state of the world at the
    failure. Raises WaitTimeout, and Ended at once. Another exception in the condition counts as "not yet",
    and is named when time is up.
    """
    deadline = time.monotonic() + within_s
    failure: Exception | None = None
    while True:
        try:
            failure = None
            if value := condition():
                return value
        except Ended:
            raise
        except Exception as exc:
            failure = exc
        if time.monotonic() >= deadline:
            text = describe if isinstance(describe, str) else describe()
            raise WaitTimeout(
                f"not within {within_s} s: {text}" + (f" ({failure!r})" if failure else "")
            ) from failure
        time.sleep(every_s)
