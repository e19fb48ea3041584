"""What does the local agent say? One line asked over its socket, one line of answer.

The wrapper that keepalived calls speaks the same protocol in shell: `check` answers `0 RULE` or `1 RULE`, `hook`
wakes the agent, `status` and `stories` answer one line of JSON.
"""

from __future__ import annotations

import json
import socket
import time
from typing import Any, TypeVar

from .errors import Absent, CouldNotDo, CouldNotLook, Silent

_ANSWER_BYTES_MAX = 4_000_000
_T = TypeVar("_T")


def ask(path: str, command: str, deadline_s: float) -> str:
    """The agent's answer to `command`, within `deadline_s` seconds in all.

    Raises Absent where no agent listens, Silent where it does not answer in time, CouldNotLook without the right to
    ask, CouldNotDo when it refuses the command.
    """
    until_s = time.monotonic() + deadline_s
    data = b""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
            agent.settimeout(deadline_s)
            agent.connect(path)
            agent.sendall(command.encode() + b"\n")
            while not data.endswith(b"\n"):
                agent.settimeout(max(0.001, until_s - time.monotonic()))
                more = agent.recv(65536)
                if not more or len(data) > _ANSWER_BYTES_MAX:
                    raise Silent(f"the agent closed its socket {path} without an answer")
                data += more
    except (TimeoutError, BlockingIOError) as exc:
        raise Silent(f"the agent did not answer at {path} within {deadline_s:g} s") from exc
    except (FileNotFoundError, ConnectionError) as exc:
        raise Absent(f"no agent listens at {path}") from exc
    except OSError as exc:
        raise CouldNotLook(f"cannot ask the agent at {path}: {exc.strerror}") from exc
    text = data.decode("utf-8", "replace").rstrip("\n")
    if text.startswith("error "):
        raise CouldNotDo(text.removeprefix("error "), refused=True)
    return text


def status(path: str, deadline_s: float) -> dict[str, Any]:
    """The agent's status (agent/report.py says what is in it). Raises as `ask`, and CouldNotLook for no JSON."""
    return _told(path, "status", dict, deadline_s)


def stories(path: str, deadline_s: float) -> list[Any]:
    """The last stories, oldest first, in the form of `model.story.as_plain`. Raises as `status`."""
    return _told(path, "stories", list, deadline_s)


def _told(path: str, what: str, kind: type[_T], deadline_s: float) -> _T:
    text = ask(path, what, deadline_s)
    try:
        answer = json.loads(text)
    except ValueError as exc:
        raise CouldNotLook(f"the agent's answer to {what} at {path} is no JSON") from exc
    if not isinstance(answer, kind):
        raise CouldNotLook(f"the agent's answer to {what} at {path} is another kind of JSON")
    return answer
