"""The short ways give what scipy.stats gives."""

from __future__ import annotations

import numpy as np
from scipy import stats

from personae.measures import quantiles as q

rng = np.random.default_rng(0)
P, DF, X = rng.uniform(1e-4, 1 - 1e-4, 300), rng.integers(1, 400, 300), rng.normal(0, 3, 300)


def test_quantiles_and_tails_are_those_of_scipy_stats() -> None:
    pairs = [
        (q.t_quantile(P, DF), stats.t.ppf(P, DF)),
        (q.t_tail(X, DF), stats.t.sf(X, DF)),
        (q.normal_quantile(P), stats.norm.ppf(P)),
        (q.normal_tail(X), stats.norm.sf(X)),
        (q.beta_quantile(P, DF, 3), stats.beta.ppf(P, DF, 3)),
        (q.chi2_tail(np.abs(X), DF), stats.chi2.sf(np.abs(X), DF)),
    ]
    for ours, theirs in pairs:
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    assert np.isnan(q.t_quantile(0.975, 0))
    np.testing.assert_allclose(q.t_quantile(0.975, np.inf), stats.norm.ppf(0.975))


def test_far_tails_keep_their_digits() -> None:
    """Where one minus the rest would be 0."""
    far = np.array([9.0, 20.0, 36.0])
    pairs = [
        (q.t_tail(far, 400), stats.t.sf(far, 400)),
        (q.normal_tail(far), stats.norm.sf(far)),
        (q.chi2_tail(far**2, 3), stats.chi2.sf(far**2, 3)),
        (q.t_quantile(10.0**-far, 9), stats.t.ppf(10.0**-far, 9)),
        (q.beta_quantile(10.0**-far, 2, 5), stats.beta.ppf(10.0**-far, 2, 5)),
    ]
    for ours, theirs in pairs:
        assert (np.abs(theirs) > 0).all()
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)
