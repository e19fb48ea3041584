"""A witness's name: an address, or an address with a port, in one form each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vipguard.model.witness import Witness, parse


@pytest.mark.parametrize(
    ("text", "address", "port", "name"),
    [
        ("10.73.0.1", "10.73.0.1", None, "10.73.0.1"),
        ("10.73.0.1:443", "10.73.0.1", 443, "10.73.0.1:443"),
        ("fd00:0::1", "fd00::1", None, "fd00::1"),
        ("[fd00:0::1]:443", "fd00::1", 443, "[fd00::1]:443"),
        ("fe80::1%eth0", "fe80::1%eth0", None, "fe80::1%eth0"),
        ("[fe80::1%eth0]:22", "fe80::1%eth0", 22, "[fe80::1%eth0]:22"),
        ("fd00::1:443", "fd00::1:443", None, "fd00::1:443"),  # all of it is the address: brackets are for that
    ],
)
def test_a_name_says_host_and_port(text: str, address: str, port: int | None, name: str) -> None:
    found = parse(text)
    assert (found.address, found.port, found.name) == (address, port, name)


@pytest.mark.parametrize(
    "text",
    ["", "router", "router:22", "10.73.0.1:", "10.73.0.1:0", "10.73.0.1:65536", "[10.73.0.1]:22", "[fd00::1]"],
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)


@given(st.ip_addresses(), st.none() | st.integers(1, 65535))
def test_every_witness_is_read_back_from_its_name(address: object, port: int | None) -> None:
    witness = Witness(str(address), port)
    assert parse(witness.name) == witness


@given(st.text(max_size=40))
def test_no_text_does_anything_but_be_read_or_refused(text: str) -> None:
    try:
        found = parse(text)
    except ValueError:
        return
    assert parse(found.name) == found
