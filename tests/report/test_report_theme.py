from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from colour_blindness import VISION, apart, seen

from personae.report.theme import PALETTE, contrast, ramp


def test_contrast_of_known_colours() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", [0, 1])
@pytest.mark.parametrize("ink", ["ink", "muted", "link", "c1", "c2", "c3", "c4"])
def test_text_and_series_can_be_read_on_page_and_panel(theme: int, ink: str) -> None:
    for ground in ("page", "panel"):
        assert contrast(PALETTE[ink][theme], PALETTE[ground][theme]) >= 4.5


@pytest.mark.parametrize("theme", [0, 1])
def test_warning_can_be_read(theme: int) -> None:
    assert contrast(PALETTE["warn"][theme], PALETTE["warn-panel"][theme]) >= 4.5


@pytest.mark.parametrize("theme", [0, 1])
def test_ramp_moves_one_way_away_from_the_page(theme: int) -> None:
    steps = [contrast(colour, PALETTE["page"][theme]) for colour in ramp(theme)]
    assert steps == sorted(steps)
    assert steps[-1] / steps[0] > 6


def test_the_simulation_tells_apart_what_is_known_to_be_confused() -> None:
    red, green = "#d62728", "#2ca02c"  # of a palette in wide use
    assert apart(red, green, "all cones") > 100
    assert apart(red, green, "deuteranopia") < 30
    assert seen("#ffffff", "protanopia") == pytest.approx([100, 0, 0], abs=0.02)


@pytest.mark.parametrize("theme", [0, 1])
@pytest.mark.parametrize("vision", VISION)
def test_series_keep_apart_without_one_kind_of_cone(theme: int, vision: str) -> None:
    series = {name: PALETTE[name][theme] for name in ("c1", "c2", "c3", "c4")}
    near = {(a, b): apart(series[a], series[b], vision) for a, b in combinations(series, 2)}
    assert min(near.values()) >= 15, near


@pytest.mark.parametrize("theme", [0, 1])
@pytest.mark.parametrize("vision", VISION)
def test_the_ramp_moves_one_way_without_one_kind_of_cone(theme: int, vision: str) -> None:
    lightness = [seen(colour, vision)[0] for colour in ramp(theme)]
    steps = [b - a for a, b in pairwise(lightness)]
    assert all(step > 1 for step in steps) or all(step < -1 for step in steps)
