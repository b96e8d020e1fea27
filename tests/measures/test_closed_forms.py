"""Our formulas against other people's: pingouin, scipy, statsmodels, and plain loops."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon
from tests.measures.synthetic import personas, rate, wrap

from personae.errors import PersonaeError
from personae.measures import latent, scale
from personae.measures.components import components
from personae.measures.intervals import estimate
from personae.measures.metrics import METRICS, dispersion_at
from personae.measures.moral import _repeat_variances, published_se
from personae.measures.paired import holm
from personae.measures.repeats import mean_moments, sd_variance
from personae.measures.saturation import profile_distance, saturation
from personae.measures.temperature import at_temperature, temperature_curve
from personae.measures.weighted import Weighted
from personae.ratings import Ratings


def long_table(r: Ratings):  # type: ignore[no-untyped-def]
    import pandas as pd

    rows = [
        (p, i, j, r.scale_min + k)
        for p, i in itertools.product(range(r.shape[0]), range(r.shape[1]))
        for j, k in enumerate(np.repeat(np.arange(r.shape[2]), r.cells[p, i].astype(int)))
    ]
    return pd.DataFrame(rows, columns=["persona", "item", "repeat", "rating"])


@pytest.fixture(scope="module")
def run() -> Ratings:
    rng = np.random.default_rng(11)
    return rate(personas(14, 6, rng), 0.7, 5, rng)


# --- variance components -----------------------------------------------------------------------
def test_icc_of_one_item_is_pingouins(run: Ratings) -> None:
    import pingouin

    one = run.subset(items=[2])
    table = pingouin.intraclass_corr(
        data=long_table(one), targets="persona", raters="repeat", ratings="rating"
    )
    found = dict(
        zip(table.iloc[:, 0].str.replace(r"\W", "", regex=True), table["ICC"], strict=True)
    )
    ours = components(one)
    single = next(v for k, v in found.items() if k in {"ICC1", "ICC11"})
    average = next(v for k, v in found.items() if k in {"ICC1k"})
    assert ours.icc1 == pytest.approx(single, abs=1e-9)
    assert ours.icck == pytest.approx(average, abs=1e-9)
    assert ours.k == pytest.approx(5)


def test_mean_squares_are_those_of_a_two_way_layout(run: Ratings) -> None:
    import pandas as pd
    from statsmodels.api import stats as sm
    from statsmodels.formula.api import ols

    P, I, _ = run.shape
    cells = pd.DataFrame(
        [(p, i, run.mean[p, i]) for p in range(P) for i in range(I)], columns=["p", "i", "m"]
    )
    table = sm.anova_lm(ols("m ~ C(p) + C(i)", cells).fit())
    square = table["sum_sq"] / table["df"]
    ours = components(run)
    assert ours.mean_square_persona == pytest.approx(square["C(p)"])
    assert ours.mean_square_interaction == pytest.approx(square["Residual"])
    assert ours.persona == pytest.approx((square["C(p)"] - square["Residual"]) / I)
    assert ours.persona_item == pytest.approx(square["Residual"] - run.variance.mean() / 5)
    total = ours.persona + ours.persona_item
    assert ours.icc1 == pytest.approx(total / (total + ours.within))
    assert components(run, k=3).icck == pytest.approx(total / (total + ours.within / 3))
    assert ours.noise_ratio == pytest.approx(math.sqrt(ours.within / total))


def test_planted_components_are_recovered_with_unequal_repeats() -> None:
    rng = np.random.default_rng(5)
    full = rate(personas(1500, 8, rng, spread=3.0, centre=30.0), 2.0, 12, rng, top=60)
    keep = rng.binomial(full.cells.astype(int), 0.4).astype(float)
    some = keep.sum(axis=2, keepdims=True) > 0
    ours = components(wrap(np.where(some, keep, full.cells)))
    within = 4.0 + 1 / 12
    assert ours.within == pytest.approx(within, rel=0.03)
    assert ours.persona == pytest.approx(4.5, rel=0.1)
    assert ours.persona_item == pytest.approx(4.5, rel=0.1)
    assert ours.icc1 == pytest.approx(9 / (9 + within), rel=0.03)


@pytest.mark.filterwarnings("error")
def test_a_mean_over_nobody_is_nan_without_a_word(run: Ratings) -> None:
    nobody = Weighted(run, np.zeros((1, len(run.personas))))
    cells = np.ones((len(run.personas), 3))
    assert np.isnan(nobody.over_cells(cells)).all()
    assert np.isnan(nobody.over_personas(cells)).all()


def test_components_need_two_personas(run: Ratings) -> None:
    with pytest.raises(PersonaeError, match="2 complete personas"):
        components(run.subset(personas=[0]))


def test_cronbach_alpha_is_pingouins_with_reverse_keys(run: Ratings) -> None:
    import pandas as pd
    import pingouin

    turned = run.cells.copy()
    turned[:, 1] = turned[:, 1, ::-1]
    keyed = Ratings(**{**vars(wrap(turned)), "reverse": (False, True, *(False,) * 4)})
    expected = pingouin.cronbach_alpha(pd.DataFrame(run.mean))[0]
    assert METRICS["cronbach_alpha"].value(keyed) == pytest.approx(expected)
    assert METRICS["cronbach_alpha"].value(wrap(turned)) < expected


# --- repeats -----------------------------------------------------------------------------------
def test_repeat_bootstrap_of_a_cell_is_the_multinomial_one() -> None:
    rng = np.random.default_rng(0)
    r = wrap(np.array([[[3, 0, 1, 0, 0, 6], [1, 1, 0, 0, 0, 0], [0, 4, 0, 0, 0, 0]]]))
    draws = rng.multinomial(r.n.astype(int), r.share, size=(200_000, 1, 3))
    n, values = r.n, r.values
    mean = draws @ values / n
    sd = np.sqrt(np.maximum(draws @ values**2 / n - mean**2, 0) * n / (n - 1))
    assert sd_variance(r, 400, rng) == pytest.approx(sd.var(axis=0), rel=0.02)
    for k, ours in zip((2, 3, 4), mean_moments(r), strict=True):
        assert ours == pytest.approx(((mean - r.mean) ** k).mean(axis=0), rel=0.05, abs=1e-3)


def test_very_many_repeats_are_drawn_instead() -> None:
    cell = np.array([[[30, 10, 20, 5, 5, 50]]])
    drawn = sd_variance(wrap(cell), 4000, np.random.default_rng(0))[0, 0]
    share = cell[0, 0] / 120
    v = np.arange(6)
    m = share @ v
    s2, m4 = share @ (v - m) ** 2, share @ (v - m) ** 4
    assert drawn == pytest.approx((m4 - s2**2) / (4 * s2 * 120), rel=0.1)  # delta method


def test_repeat_bootstrap_of_susceptibility() -> None:
    rng = np.random.default_rng(2)
    r = rate(personas(30, 5, rng, centre=4.0), 0.5, 6, rng)
    draws = rng.multinomial(r.n.astype(int), r.share, size=(20_000, 30, 5))
    sd = (draws @ r.values / r.n).std(axis=1, ddof=1)
    assert _repeat_variances(r, 400, rng)[1] == pytest.approx(sd.var(axis=0), rel=0.06)


def test_published_persona_error_is_that_of_a_bootstrap() -> None:
    rng = np.random.default_rng(4)
    r = wrap(rng.dirichlet(np.ones(5), size=(25, 4)), kind="probs")  # no repeat noise
    found = published_se(r, personas=20_000)
    rows = rng.integers(0, 25, (4000, 25))
    S = r.mean[rows].std(axis=1, ddof=1).mean(axis=1).std()
    U = r.sd[rows].mean(axis=(1, 2))
    assert found.susceptibility == pytest.approx(S, rel=0.05)
    assert found.dispersion == pytest.approx(U.std(), rel=0.05)
    assert found.robustness == pytest.approx(found.dispersion / r.sd.mean() ** 2)


def test_dispersion_at_n_is_the_mean_over_all_subsets() -> None:
    cell = [0, 0, 1, 3, 3, 5]
    r = wrap(np.bincount(cell, minlength=6)[None, None].astype(float))
    for n in (2, 3, 6):
        every = [np.std(s, ddof=1) for s in itertools.combinations(cell, n)]
        assert dispersion_at(n).value(r) == pytest.approx(np.mean(every))
    assert math.isnan(dispersion_at(7).value(r))


def test_n_invariant_dispersions_are_unbiased_and_u_is_not() -> None:
    rng = np.random.default_rng(8)
    share = np.array([0.1, 0.0, 0.2, 0.0, 0.3, 0.4])
    for name, truth in (
        ("gini", 1 - (share**2).sum()),
        ("variance", share @ np.arange(6) ** 2 - (share @ np.arange(6)) ** 2),
    ):
        for n in (2, 10):
            cells = wrap(rng.multinomial(n, share, size=(200, 200)))
            assert METRICS[name].value(cells) == pytest.approx(truth, rel=0.015)
    U = [METRICS["dispersion"].value(wrap(rng.multinomial(n, share, (200, 50)))) for n in (2, 10)]
    assert U[0] < 0.9 * U[1]


# --- scale -------------------------------------------------------------------------------------
def test_scale_use_by_hand() -> None:
    r = wrap(
        np.array(
            [[[4, 0, 0, 0, 0, 0], [1, 0, 0, 0, 3, 0]], [[0, 2, 2, 0, 0, 0], [0, 0, 0, 0, 0, 4]]]
        )
    )
    pooled = np.array([1.25, 0.5, 0.5, 0, 0.75, 1]) / 4
    assert METRICS["endpoint_mass"].value(r) == pytest.approx(2.25 / 4)
    assert METRICS["entropy"].value(r) == pytest.approx(stats.entropy(pooled, base=2))
    assert METRICS["top_rating_share"].value(r) == pytest.approx(1.25 / 4)
    assert METRICS["span_rate"].value(r) == pytest.approx(1 / 4)


def test_span_rate_of_exact_ratings_is_that_of_ten_draws() -> None:
    rng = np.random.default_rng(1)
    share = rng.dirichlet(np.full(7, 0.4))
    drawn = rng.multinomial(10, share, size=100_000) > 0
    span = 6 - drawn[:, ::-1].argmax(axis=1) - drawn.argmax(axis=1)
    exact = METRICS["span_rate"].value(wrap(share[None, None], kind="probs"))
    assert exact == pytest.approx((span >= 4).mean(), abs=0.005)


def test_distances_are_scipys() -> None:
    rng = np.random.default_rng(6)
    a, b = (wrap(rng.multinomial(7, rng.dirichlet(np.ones(6)), size=(5, 3))) for _ in range(2))
    one, two = Weighted.plain(a), Weighted.plain(b)
    counts = [x.cells.sum(axis=(0, 1)) for x in (a, b)]
    assert scale.kl(one, two)[0] == pytest.approx(
        stats.entropy(counts[0] + 1, counts[1] + 1, base=2)
    )
    assert scale.jensen_shannon(one, two)[0] == pytest.approx(jensenshannon(*counts, base=2) ** 2)
    assert scale.kl(one, one)[0] == 0
    assert scale.jensen_shannon(one, one)[0] == pytest.approx(0, abs=1e-12)


# --- latent ------------------------------------------------------------------------------------
@pytest.mark.parametrize("centre", [2.5, 4.5, 5.5])
def test_latent_susceptibility_survives_a_ceiling(centre: float) -> None:
    rng = np.random.default_rng(9)
    r = rate(personas(1500, 6, rng, spread=1.2, centre=centre), 0.5, 10, rng)
    assert METRICS["susceptibility_latent"].value(r) == pytest.approx(1.2, rel=0.06)
    assert METRICS["robustness_latent"].value(r) == pytest.approx(2.0, rel=0.12)
    if centre > 5:
        assert METRICS["susceptibility"].value(r) < 0.75


def test_latent_fit_stays_finite_on_hopeless_items() -> None:
    cells = np.zeros((40, 5, 6))
    cells[:, 0, 5] = 10  # all ceiling
    cells[:20, 1, 0], cells[20:, 1, 5] = 10, 10  # both ends, nothing between
    cells[:, 2, 5], cells[0, 2] = 10, [10, 0, 0, 0, 0, 0]  # one persona apart
    cells[:, 3, 4], cells[7, 3] = 10, [0, 0, 0, 0, 9, 1]  # one odd answer
    cells[:, 4] = [1, 0, 0, 0, 0, 9]  # noise only
    fit = latent.items(Weighted.plain(wrap(cells)))
    assert all(np.isfinite(x).all() for x in fit)
    assert fit.tau[0, 0] == 0
    assert fit.tau[0, 1] == pytest.approx(5.0)  # capped at the range of the scale
    assert (fit.tau <= 5 + 1e-9).all()
    assert fit.rho[0, 4] == 0


# --- temperature -------------------------------------------------------------------------------
def test_temperature_is_a_power_of_the_distribution() -> None:
    rng = np.random.default_rng(0)
    r = wrap(rng.dirichlet(np.ones(6), size=(4, 3)), kind="probs")
    logits = np.log(r.cells)
    for t in (0.3, 1.0, 2.0):
        expected = np.exp(logits / t) / np.exp(logits / t).sum(axis=2, keepdims=True)
        assert at_temperature(r, t).cells == pytest.approx(expected)
    curve = temperature_curve(r, [1e-4, 0.5, 1.0])
    assert curve[0].dispersion == pytest.approx(0, abs=1e-9)
    assert curve[2].robustness == pytest.approx(1 / curve[2].dispersion)
    assert curve[0].dispersion < curve[1].dispersion < curve[2].dispersion
    assert curve[2].dispersion == pytest.approx(r.sd.mean())
    with pytest.raises(PersonaeError, match="exact"):
        at_temperature(wrap(np.ones((1, 1, 2))), 1.0)


# --- profiles and Holm -------------------------------------------------------------------------
def test_profiles_apart_and_at_the_ceiling() -> None:
    high = wrap(np.eye(6)[np.array([[5, 5, 4, 5]])])
    low = wrap(np.eye(6)[np.array([[2, 1, 2, 1]])])
    from personae.measures.moral import profile

    assert profile_distance(profile(high), profile(low)) == pytest.approx(
        math.sqrt((2.5**2 + 4**2) / 2)
    )
    assert saturation(high).ceiling == ("s0", "s1")
    assert saturation(high).saturated
    assert not saturation(low).saturated


def test_holm_is_statsmodels() -> None:
    from statsmodels.stats.multitest import multipletests

    p = [0.04, 0.001, 0.02, 0.5, 0.02]
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    with_gap = holm([0.01, math.nan, 0.04])
    assert with_gap[0] == pytest.approx(0.02)
    assert math.isnan(with_gap[1])
    assert holm([]) == []


def test_jackknife_of_a_mean_is_the_t_interval() -> None:
    rng = np.random.default_rng(3)
    r = wrap(rng.dirichlet(np.ones(6), size=(12, 4)), kind="probs")
    e = estimate(r, "endpoint_mass")
    per_persona = (r.share[:, :, 0] + r.share[:, :, -1]).mean(axis=1)
    assert e.se == pytest.approx(stats.sem(per_persona))
    assert e.low < per_persona.mean() < e.high
