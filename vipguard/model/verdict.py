"""May this node take or keep the writer VIP? The decision as a value: outcome, rule, numbers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Eligibility(StrEnum):
    ELIGIBLE = "eligible"
    INELIGIBLE = "ineligible"
    UNDETERMINED = "undetermined"


Standing = Literal["candidate", "taking", "holder"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`standing` is what the node is to the VIP; `numbers` made the decision (name, value) in the order they count."""

    standing: Standing
    eligibility: Eligibility
    rule: str
    text: str
    numbers: tuple[tuple[str, float | int | str | None], ...] = ()

    @property
    def may(self) -> bool:
        """Does the track file say 1? A candidate must be seen eligible; blindness takes no VIP from who has it."""
        if self.standing == "candidate":
            return self.eligibility is Eligibility.ELIGIBLE
        return self.eligibility is not Eligibility.INELIGIBLE
