"""Quantiles and tails of the usual distributions, for numbers and arrays.

`scipy.stats` offers the same, and takes most of a second to import, which every command would
wait for; the functions below are those it is made of.
"""

from __future__ import annotations

from typing import Any

from scipy import special


def t_quantile(p: Any, df: Any) -> Any:
    """Student's t: x with P(T <= x) = p, 0 < p < 1; NaN where df is not positive."""
    return special.stdtrit(df, p)


def t_tail(x: Any, df: Any) -> Any:
    """Student's t: P(T > x)."""
    return special.stdtr(df, -x)


def normal_quantile(p: Any) -> Any:
    """Standard normal: x with P(Z <= x) = p."""
    return special.ndtri(p)


def normal_tail(x: Any) -> Any:
    """Standard normal: P(Z > x)."""
    return special.ndtr(-x)


def beta_quantile(p: Any, a: Any, b: Any) -> Any:
    """Beta(a, b): x with P(X <= x) = p."""
    return special.betaincinv(a, b, p)


def chi2_tail(x: Any, df: Any) -> Any:
    """Chi squared: P(X > x), x >= 0."""
    return special.chdtrc(df, x)
