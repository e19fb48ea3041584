"""Does a campaign count what its seeds came to, and put it where it belongs?"""

from __future__ import annotations

from pathlib import Path

import pytest
from sim import campaign
from sim.campaign import BEGIN, END, Figures
from sim.cluster import Cluster


def test_seeds_in_two_processes_come_to_the_same_as_one_by_one(tmp_path: Path) -> None:
    seeds = range(3, 9)
    together = campaign.campaign(seeds, 2)
    apart = campaign.many(seeds)
    assert (together.seeds, together.openings, together.faults) == (6, apart.openings, apart.faults)
    assert (together.broken, together.pardons) == (apart.broken, apart.pardons)
    assert together.openings >= 6
    assert sum(together.shapes.values()) == 6
    assert sum(together.faults.values()) >= 6


def test_a_campaign_whose_time_is_over_counts_the_first_of_its_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "CHUNK", 2)
    figures = campaign.campaign(range(3 * campaign.CHUNK), 1, within_s=0.0)
    assert figures.seeds == campaign.CHUNK
    assert campaign.text(figures, 0, 1.0, 1).startswith(f"Seeds 0 to {campaign.CHUNK - 1}: ")


def test_a_broken_law_is_named_with_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    def play(seed: int, cluster: Cluster) -> None:
        cluster.laws.broken("law 1: two of them")

    monkeypatch.setattr(campaign, "play", play)
    figures = campaign.one(4)
    assert figures.broken == {4: "law 1: two of them"}
    assert "- seed 4: law 1: two of them" in campaign.text(figures, 4, 1.0, 1)


def test_figures_go_between_the_marks_of_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    campaign.write(page, campaign.text(Figures(seeds=1), 0, 60.0, 2))
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n\nSeeds 0 to 0: **1 runs**")
    assert text.endswith(f"{END}\nafter\n")
    assert "old" not in text


def test_a_page_without_marks_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing")
    with pytest.raises(SystemExit, match="no place for the figures"):
        campaign.write(page, "x")
    assert page.read_text() == "nothing"


def test_the_page_about_reliability_has_the_marks() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reliability.md").read_text()
    assert page.count(BEGIN) == page.count(END) == 1
