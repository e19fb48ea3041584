"""Threshold ranges as the Monitoring Plugins guidelines define them, section "Threshold and Ranges"."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vipguard.model.ranges import Range, number

# the guidelines' own table: range, numbers that alert, numbers that don't
GUIDELINES = [
    ("10", [-0.001, 10.001], [0, 5, 10]),
    ("10:", [9.999, -1], [10, 1e9]),
    ("~:10", [10.001, 1e9], [10, 0, -1e9]),
    ("10:20", [9.999, 20.001], [10, 15, 20]),
    ("@10:20", [10, 15, 20], [9.999, 20.001]),
]


@pytest.mark.parametrize(("text", "alerting", "_"), GUIDELINES)
def test_a_range_alerts_where_the_guidelines_say(text: str, alerting: list[float], _: list[float]) -> None:
    assert all(Range.parse(text).alerts(value) for value in alerting)


@pytest.mark.parametrize(("text", "_", "fine"), GUIDELINES)
def test_a_range_is_quiet_where_the_guidelines_say(text: str, _: list[float], fine: list[float]) -> None:
    assert not any(Range.parse(text).alerts(value) for value in fine)


@pytest.mark.parametrize("text", [text for text, _, _ in GUIDELINES] + ["0:", "-5:5", "~:-3", "@~:0", "0.25"])
def test_a_range_prints_as_it_was_written(text: str) -> None:
    assert str(Range.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "@",
        "~",
        "@:",
        "abc",
        "1:2:3",
        "20:10",
        "-5",
        "10..20",
        "1e3",
        "1,5",
        "10 20",
        "٣",
        "nan",
        "inf",
        "9" * 400,
    ],
)
def test_what_is_no_range_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="is no threshold range"):
        Range.parse(text)


_NUMBERS = st.floats(-1e15, 1e15, allow_nan=False)


@given(_NUMBERS, _NUMBERS, st.booleans(), st.booleans(), st.booleans())
def test_every_range_reads_back_as_itself(
    one: float, other: float, inside: bool, from_low: bool, to_high: bool
) -> None:
    low, high = sorted((one, other))
    made = Range(-math.inf if from_low else low, math.inf if to_high else high, inside)
    assert Range.parse(str(made)) == made


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_digits_and_keeps_its_value(value: float) -> None:
    text = number(value)
    assert re.fullmatch(r"-?\d+(\.\d+)?", text)
    assert float(text) == value


@given(_NUMBERS, _NUMBERS, _NUMBERS)
def test_inside_alerts_exactly_where_outside_does_not(one: float, other: float, value: float) -> None:
    low, high = sorted((one, other))
    assert Range(low, high).alerts(value) is not Range(low, high, inside=True).alerts(value)
