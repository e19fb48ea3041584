"""When are the operator's own executables due, and what does their failure change?

Before an opening their failure may forbid it; otherwise it is told and nothing else. They never delay a close.
"""

from __future__ import annotations

from ..model.effect import RunHooks
from .draft import Draft
from .event import Failed
from .world import Closing, Writing

BEFORE_OPEN, AFTER_OPEN, AFTER_CLOSE = "before-open", "after-open", "after-close"


def after_open(draft: Draft, epoch: int) -> None:
    _send(draft, AFTER_OPEN, epoch, "taken-over", "this node is the writer")


def after_close(draft: Draft, rule: str) -> None:
    """To be called while the world still says what this node was."""
    phase, done = draft.world.phase, draft.world.memory.completed
    if not isinstance(phase, Writing | Closing):
        return
    epoch = phase.epoch if isinstance(phase, Writing) else done.epoch if done is not None else 0
    text = phase.text if isinstance(phase, Closing) else "the server went away or was closed by another hand"
    _send(draft, AFTER_CLOSE, epoch, rule, text)


def _send(draft: Draft, event: str, epoch: int, rule: str, text: str) -> None:
    facts = (("EPOCH", str(epoch)), ("RULE", rule), ("TEXT", text))
    draft.send(RunHooks(draft.world.policy.hooks.deadline_s, event, facts))


def ended(draft: Draft, effect: RunHooks, failure: Failed | None) -> dict[str, object]:
    """What a takeover under way records of it, if these were its hooks."""
    if failure is None:
        return {"hooked": True}
    draft.note("hook", "hook-failed", "warning", hooks=effect.event, reason=failure.text)
    if effect.event == BEFORE_OPEN and draft.world.policy.hooks.before_open_required:
        return {"veto": failure.text}
    return {"hooked": True}
