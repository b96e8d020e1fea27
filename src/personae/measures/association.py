"""Does one number go with another over few units (arms, models)?

    Pearson's r    interval by Fisher's z: tanh(atanh r +- z / sqrt(n - 3)), from n = 4 on; none
                   for points on a line, where it would have no width (three arms alike and one
                   apart)
    Spearman's r   `stability.rank_order`
    permutation p  share of all n! orders of y whose |Spearman's r| is at least as large, exact
                   up to n = 8; beyond, of `DRAWS` orders drawn by chance and the observed one

With n units no two-sided p can be below 2 / n! (0.083 at n = 4), and Fisher's interval assumes
units drawn independently from a bivariate normal: checkpoints of one training are not that.
"""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np

from personae.measures.quantiles import normal_quantile
from personae.measures.ratio import LEVEL, Interval
from personae.ratings import Floats

EXACT = 8
DRAWS = 9999
LEAST = 4  # units below which a correlation says nothing


def pearson(x: Floats, y: Floats, level: float = LEVEL) -> Interval:
    """Pearson's r of [n] values; NaN for fewer than three pairs or values all alike."""
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    n = len(x)
    if n < 3 or not np.ptp(x) or not np.ptp(y):
        return Interval(math.nan, math.nan, math.nan, math.nan, n)
    r = float(np.clip(np.corrcoef(x, y)[0, 1], -1, 1))
    if n < LEAST or abs(r) > 1 - 1e-12:
        return Interval(r, math.nan, math.nan, math.nan, n)
    se_z = 1 / math.sqrt(n - 3)
    wide = float(normal_quantile((1 + level) / 2)) * se_z
    z = math.atanh(r)
    return Interval(r, math.tanh(z - wide), math.tanh(z + wide), (1 - r * r) * se_z, n)


def permutation_p(x: Floats, y: Floats, seed: int = 0) -> float:
    """Two-sided p of Spearman's r against every order of y (module head); NaN below n = 3."""
    from scipy import stats

    both = np.isfinite(x) & np.isfinite(y)
    one, other = (stats.rankdata(v[both]) for v in (x, y))
    n = len(one)
    if n < 3 or not np.ptp(one) or not np.ptp(other):
        return math.nan
    one, other = one - one.mean(), other - other.mean()
    if n <= EXACT:
        orders = np.array(list(permutations(range(n))))
    else:
        rng = np.random.default_rng(seed)
        orders = np.stack([np.arange(n), *(rng.permutation(n) for _ in range(DRAWS))])
    found = np.abs(other[orders] @ one)
    return float((found >= abs(one @ other) - 1e-9).mean())
