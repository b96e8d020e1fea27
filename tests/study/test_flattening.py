"""The intercept: planted lines, flattening alone, and agreement with statsmodels."""

from __future__ import annotations

import numpy as np
import pytest

from personae.study.flattening import at_even


def test_flattening_alone_is_no_change_at_even() -> None:
    base = np.random.default_rng(0).normal(-0.3, 0.6, 90)
    difference = 0.85 * base - base  # every log-odds 15% nearer to 0: the mean rises
    assert difference.mean() > 0.03
    assert at_even(difference, base).value == pytest.approx(0, abs=1e-12)


def test_a_planted_shift_is_found_through_the_flattening() -> None:
    rng = np.random.default_rng(1)
    base = rng.normal(-0.3, 0.6, 400)
    found = at_even(0.1 - 0.2 * base + rng.normal(0, 0.2, 400), base)
    assert found.low < 0.1 < found.high
    assert found.low > 0.05


def test_value_and_error_agree_with_statsmodels() -> None:
    api = pytest.importorskip("statsmodels.api")
    rng = np.random.default_rng(2)
    base = rng.normal(-0.3, 0.6, 40)
    difference = 0.1 - 0.2 * base + rng.normal(0, 0.1 + 0.2 * np.abs(base))
    found = at_even(difference, base)
    fit = api.OLS(difference, api.add_constant(base)).fit(cov_type="HC3", use_t=True)
    assert found.value == pytest.approx(fit.params[0])
    assert (found.low, found.high) == pytest.approx(tuple(fit.conf_int()[0]))
    assert found.se == pytest.approx(fit.bse[0])
    assert found.n == 40
    assert f"slope {fit.params[1]:+.3f}" in found.method


def test_too_few_or_equal_units_have_no_line() -> None:
    assert np.isnan(at_even(np.ones(3), np.arange(3.0)).value)
    assert np.isnan(at_even(np.ones(9), np.ones(9)).value)
    assert at_even(np.array([0.5, 0.4, 0.3, 0.2]), np.arange(4.0)).value == pytest.approx(0.5)


@pytest.mark.parametrize("n", [6, 7, 10, 90])
def test_units_alike_but_for_rounding_have_no_line(n: int) -> None:
    base = np.full(n, 0.7)
    base[0] = 0.1 * 7  # 0.7000000000000001
    assert np.isnan(at_even(np.random.default_rng(n).normal(size=n), np.full(n, 0.7)).value)
    assert np.isnan(at_even(np.random.default_rng(n).normal(size=n), base).value)


@pytest.mark.parametrize(("most", "one"), [(0.0, 1.0), (0.3, 0.8), (0.3, 0.81)])
def test_one_unit_that_makes_the_line_alone_gives_no_interval(most: float, one: float) -> None:
    """It lies on the line whatever it says, so that nothing tells how far off it is."""
    base = np.array([most] * 8 + [one])
    found = at_even(np.random.default_rng(4).normal(size=9), base)
    assert np.isfinite(found.value)
    assert np.isnan([found.low, found.high, found.se]).all()
    assert "no interval" in found.method
