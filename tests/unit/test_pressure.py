"""Is it told how long processes waited for a processor, and nothing where nobody counts it?"""

from __future__ import annotations

from pathlib import Path

import pressure
import pytest

TEXT = "some avg10=77.44 avg60=67.29 avg300=65.64 total={}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=99999999\n"


def test_the_share_counts_from_the_beginning_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, now_s = tmp_path / "cpu", 100.0
    monkeypatch.setattr(pressure.time, "monotonic", lambda: now_s)
    place.write_text(TEXT.format(16_000_000))
    machine = pressure.Machine(place)
    now_s = 104.0
    place.write_text(TEXT.format(19_000_000))
    assert machine.waited() == pytest.approx(0.75)
    machine.begin()
    now_s = 108.0
    assert machine.waited() == 0.0


def test_a_kernel_that_does_not_count_knows_no_busy_machine(tmp_path: Path) -> None:
    assert pressure.Machine(tmp_path / "none").waited() == 0.0
