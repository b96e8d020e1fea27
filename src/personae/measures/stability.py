"""Do differences survive a change of context? Rank-order and ipsative stability, and AUROC.

    rank-order   Spearman's r over personas: is whoever expressed its persona most still first?
    ipsative     Spearman's r over a persona's own profile, averaged over personas: does each
                 keep its shape, whatever its place among the others?
    AUROC        P(score of a positive > score of a negative), ties half (Mann-Whitney)

Intervals: r by Fisher's z with variance (1 + r^2/2) / (n - 3) (Bonett & Wright 2000); AUROC by
Wilson's score interval at n = the smaller class, since its variance is at most
A (1 - A) / min(m, n) (Birnbaum & Klose 1957): wide rather than narrow, and never of width 0.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from personae.measures.quantiles import normal_quantile
from personae.measures.ratio import LEVEL, Interval, mean_interval
from personae.ratings import Floats


def spearman(x: Floats, y: Floats) -> float:
    """Spearman's r of [n] values; NaN for fewer than three pairs or values all alike."""
    from scipy import stats

    both = np.isfinite(x) & np.isfinite(y)
    x, y = stats.rankdata(x[both]), stats.rankdata(y[both])
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    return float(np.corrcoef(x, y)[0, 1])


def rank_order(x: Floats, y: Floats, level: float = LEVEL) -> Interval:
    """Spearman's r over [personas] in two contexts; an interval from four personas on."""
    n = int((np.isfinite(x) & np.isfinite(y)).sum())
    r = spearman(x, y)
    if n < 4 or math.isnan(r):
        return Interval(r, math.nan, math.nan, math.nan, n)
    se_z = math.sqrt((1 + r * r / 2) / (n - 3))
    # A perfect order has no finite z; the nearest order that n personas can show stands for it.
    z = math.atanh(max(-1.0, min(1.0, r)) * (1 - 6 / (n * (n * n - 1))))
    wide = float(normal_quantile((1 + level) / 2)) * se_z
    low, high = min(math.tanh(z - wide), r), max(math.tanh(z + wide), r)
    return Interval(r, low, high, (1 - r * r) * se_z, n)


def ipsative(x: Floats, y: Floats, level: float = LEVEL) -> Interval:
    """Mean over personas of Spearman's r between their profiles [personas, parts]."""
    found = mean_interval(np.array([spearman(a, b) for a, b in zip(x, y, strict=True)]), level)
    low, high = (float(np.clip(end, -1, 1)) for end in (found.low, found.high))
    return replace(found, low=low, high=high)


def auroc(positive: Floats, negative: Floats) -> float:
    """P(positive > negative) + P(equal) / 2 of [m] and [n] scores."""
    from scipy import stats

    if not len(positive) or not len(negative):
        return math.nan
    ranks = stats.rankdata(np.concatenate([positive, negative]))
    m, n = len(positive), len(negative)
    return float((ranks[:m].sum() - m * (m + 1) / 2) / (m * n))


def wilson(share: float, n: int, level: float = LEVEL) -> Interval:
    """Wilson's score interval of a share (or an AUROC, see head) at `n` units."""
    if n < 1 or math.isnan(share):
        return Interval(share, math.nan, math.nan, math.nan, n)
    z2 = float(normal_quantile((1 + level) / 2)) ** 2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    wide = math.sqrt(z2 * share * (1 - share) / n + (z2 / (2 * n)) ** 2) / (1 + z2 / n)
    low, high = min(middle - wide, share), max(middle + wide, share)
    return Interval(share, max(0.0, low), min(1.0, high), math.sqrt(share * (1 - share) / n), n)
