"""Is a change of the log-odds more than flattening?

A fine-tune that flattens (or sharpens) all of a model's distributions moves every log-odds d
towards 0 (or away from it), whatever the answers say. Over the units u of one comparison

    d_u(arm) - d_u(reference) = at_even + slope * d_u(base) + rest

`at_even` is the difference for a pair on which the base is even, where flattening does nothing.
Least squares; interval from the standard error that allows for unequal variances (HC3, MacKinnon
and White 1985) and t with n - 2 degrees of freedom.
"""

from __future__ import annotations

import math

import numpy as np

from personae.measures.intervals import Estimate
from personae.measures.quantiles import t_quantile
from personae.ratings import Floats

ALIKE = 1e-9  # numbers that differ by less than this share are equal but for rounding


def at_even(difference: Floats, base: Floats) -> Estimate:
    """The intercept of [units] differences over [units] base log-odds.

    NaN with fewer than four units, or where the base's log-odds are all the same; without an
    interval where one unit alone makes the line.
    """
    n = len(difference)
    if n < 4 or np.ptp(base) <= ALIKE * np.abs(base).max():
        why = "too few units, or all alike in the base: no line"
        return Estimate(math.nan, math.nan, math.nan, math.nan, n, why)
    X = np.stack([np.ones(n), base], axis=1)
    inverse = np.linalg.inv(X.T @ X)
    beta = inverse @ X.T @ difference
    leverage = np.einsum("ij,jk,ik->i", X, inverse, X)
    if leverage.max() > 1 - ALIKE:  # it has no rest, whatever it says
        why = f"intercept over {n} pairs, one of them alone makes the slope: no interval"
        return Estimate(float(beta[0]), math.nan, math.nan, math.nan, n, why)
    rest = (difference - X @ beta) / (1 - leverage)
    spread = inverse @ (X * rest[:, None] ** 2).T @ X @ inverse
    value, se = float(beta[0]), float(math.sqrt(spread[0, 0]))
    wide = float(t_quantile(0.975, n - 2)) * se
    method = f"intercept over {n} pairs, slope {beta[1]:+.3f}; HC3, t, 95%"
    return Estimate(value, value - wide, value + wide, se, n, method)
