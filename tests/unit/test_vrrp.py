"""What becomes of keepalived's notify lines, and of everything else that may stand in the pipe."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vipguard.model.vrrp import LINE_BYTES_MAX, Ignored, VrrpEvent, down_timer_s, parse_lines, skew_s


def one(line: bytes, instance: str | None = None) -> VrrpEvent | Ignored:
    items, rest = parse_lines(line + b"\n", instance)
    assert rest == b""
    (item,) = items
    return item


@pytest.mark.parametrize(
    ("line", "state", "priority"),
    [
        (b'INSTANCE "writer" MASTER 150', "MASTER", 150),
        (b'INSTANCE "writer" BACKUP 150', "BACKUP", 150),
        (b'INSTANCE "writer" FAULT 150', "FAULT", 150),
        (b'INSTANCE "writer" STOP 150', "STOP", 150),
        (b'INSTANCE "writer" MASTER_RX_LOWER_PRI 150', "MASTER", 150),
        (b'INSTANCE "writer" MASTER_PRIORITY 130', "MASTER", 130),
        (b'INSTANCE "writer" BACKUP_PRIORITY 0', "BACKUP", 0),
        (b'INSTANCE "writer" DELETED 255', "STOP", 255),
    ],
)
def test_each_word_of_keepalived_names_a_state(line: bytes, state: str, priority: int) -> None:
    word = line.split()[2].decode()
    assert one(line) == VrrpEvent("writer", state, priority, word)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"", "not a line"),
        (b"garbage", "not a line"),
        (b'INSTANCE "writer" MASTER', "not a line"),
        (b'INSTANCE "writer" MASTER 150 ', "not a line"),
        (b'xINSTANCE "writer" MASTER 150', "not a line"),
        (b'INSTANCE "writer" MASTER 150\r', "not a line"),
        (b'INSTANCE "writer" master 150', "not a line"),
        (b'INSTANCE "" MASTER 150', "not a line"),
        (b'INSTANCE "writer" MASTER -1', "not a line"),
        (b'INSTANCE "writer" MASTER 1000', "not a line"),
        (b'INSTANCE "writer" MASTER 256', "above 255"),
        ('INSTANCE "writer" MASTER ١٥٠'.encode(), "not a line"),
        (b'INSTANCE "writer" WALTZ 150', "unknown state"),
        (b'INSTANCE "\xff\xfe" MASTER 150', "UTF-8"),
        (b'GROUP "G" MASTER 0', "sync group"),
        (b"x" * (LINE_BYTES_MAX + 1), "longer than"),
        (b"\0" * 20, "not a line"),
    ],
)
def test_every_other_line_is_ignored_with_a_reason(line: bytes, why: str) -> None:
    item = one(line)
    assert isinstance(item, Ignored)
    assert why in item.why


def test_another_instance_is_ignored_only_when_one_is_asked_for() -> None:
    line = b'INSTANCE "reader" MASTER 150'
    assert isinstance(one(line), VrrpEvent)
    item = one(line, "writer")
    assert isinstance(item, Ignored)
    assert "another instance than writer" in item.why


def test_half_a_line_waits_for_its_other_half() -> None:
    items, rest = parse_lines(b'INSTANCE "writer" BACKUP 150\nINSTANCE "wri')
    assert [item.state for item in items if isinstance(item, VrrpEvent)] == ["BACKUP"]
    items, rest = parse_lines(rest + b'ter" MASTER 150\n')
    assert items == (VrrpEvent("writer", "MASTER", 150, "MASTER"),)
    assert rest == b""


def test_an_endless_line_costs_no_memory_and_is_ignored_once_when_it_ends() -> None:
    rest = b""
    for _ in range(1000):
        items, rest = parse_lines(rest + b"x" * 999)
        assert items == ()
        assert len(rest) <= LINE_BYTES_MAX + 1
    items, rest = parse_lines(rest + b'\nINSTANCE "writer" FAULT 1\n')
    assert [type(item) for item in items] == [Ignored, VrrpEvent]


lines = st.one_of(
    st.binary(max_size=40),
    st.binary(min_size=LINE_BYTES_MAX - 2, max_size=LINE_BYTES_MAX + 40),
    st.builds(
        lambda kind, name, word, priority: f'{kind} "{name}" {word} {priority}'.encode(
            "utf-8", "surrogatepass"
        ),
        st.sampled_from(["INSTANCE", "GROUP", "INSTANC"]),
        st.sampled_from(["writer", "reader", "", "w r", "w\udc80"]),
        st.sampled_from(["MASTER", "BACKUP", "FAULT", "STOP", "MASTER_PRIORITY", "X"]),
        st.integers(-1, 300),
    ),
)


@given(st.lists(lines), st.lists(st.integers(0, 4000)), st.sampled_from([None, "writer"]))
def test_a_line_is_the_same_however_its_bytes_were_split(
    written: list[bytes], cuts: list[int], instance: str | None
) -> None:
    stream = b"".join(line + b"\n" for line in written)
    whole, rest = parse_lines(stream, instance)
    assert rest == b""
    seen: list[VrrpEvent | Ignored] = []
    held, start = b"", 0
    for cut in [*sorted(cuts), len(stream)]:
        items, held = parse_lines(held + stream[start:cut], instance)
        seen += items
        start = max(start, min(cut, len(stream)))
    assert tuple(seen) == whole


@given(st.binary(max_size=600))
def test_events_are_just_the_lines_that_a_dumb_reading_finds(stream: bytes) -> None:
    events = [item for item in parse_lines(stream)[0] if isinstance(item, VrrpEvent)]
    dumb = []
    for line in stream.split(b"\n")[:-1]:
        words = line.decode("latin-1").split(" ")
        if (
            len(words) == 4
            and words[0] == "INSTANCE"
            and re.fullmatch('"[^"]+"', words[1])
            and words[3].isdigit()
        ):
            dumb.append(words)
    assert len(events) <= len(dumb)


def test_the_timers_follow_the_formula_of_the_standard() -> None:
    assert skew_s(200, 0.1) == pytest.approx(0.021875)
    assert down_timer_s(200, 0.1) == pytest.approx(0.321875)
    assert skew_s(100, 1.0) == pytest.approx(0.609375)
    assert down_timer_s(100, 1.0) == pytest.approx(3.609375)


@given(st.integers(1, 254), st.integers(1, 254), st.floats(0.01, 40))
def test_the_higher_priority_waits_less(low: int, high: int, advert_s: float) -> None:
    if low < high:
        assert down_timer_s(high, advert_s) < down_timer_s(low, advert_s)
