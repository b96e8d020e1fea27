"""S and R on an unbounded latent scale, which a ceiling or a floor does not compress.

Model, per item i: the rating of persona p in repeat j is a normal variable rounded to the nearest
scale point, with everything beyond the ends counted at the ends,

    z_pij = alpha_i + b_pi + e_pij,   b ~ N(0, rho_i tau_i^2),   e ~ N(0, (1 - rho_i) tau_i^2).

This is an ordered probit with thresholds half-way between the scale points, so alpha and tau are
in scale points and agree with the plain mean and sd where no end is near.

    latent S = mean over items of sqrt(rho_i) tau_i
    latent U = mean over items of sqrt(1 - rho_i) tau_i;   latent R = 1 / latent U

Two steps, both functions of sums over personas:
1. alpha_i, tau_i from the item's pooled ratings by penalised maximum likelihood: Fisher scoring
   with step halving, so the objective never falls and the scoring matrix is never singular. The
   penalty, one persona's worth, draws log tau to the plain log sd (unit 1) and alpha to the plain
   mean (unit: the range of the scale): where the data cannot tell (one or two distinct ratings),
   latent falls back towards plain. Its weight stays fixed when personas are resampled.
   tau is capped at the range of the scale: ratings at both ends and few between (polarised
   personas) drive it up without limit, and say only "very wide".
2. rho_i from the item's observed ICC(1) (repeat noise removed). Two ratings of one persona are a
   bivariate normal cut at the thresholds t, whose covariance grows with the correlation as
   dC/d rho = sum_kl phi2(t_k, t_l; rho) (Price 1958): C(rho) / C(1) = ICC(1) is solved for rho.

Assumes normal persona effects and one noise level per item; see docs/measures/latent-scale.md.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from personae.measures.components import noise, within_known
from personae.measures.weighted import Weighted
from personae.ratings import Floats

STEPS = 200
NODES = 49
SMALLEST_SD = 1e-3
TOLERANCE = 1e-7
HALVINGS = 20


class LatentItems(NamedTuple):
    """[B, I] item location alpha, total sd tau (both scale points) and share rho of personas."""

    alpha: Floats
    tau: Floats
    rho: Floats


def susceptibility(w: Weighted) -> Floats:
    """[B] latent S in scale points."""
    fit = items(w)
    return w.over_items(fit.tau * np.sqrt(fit.rho))


def dispersion(w: Weighted) -> Floats:
    """[B] latent U in scale points."""
    fit = items(w)
    return w.over_items(fit.tau * np.sqrt(1 - fit.rho))


def items(w: Weighted) -> LatentItems:
    """Fit every item under every resample; rho is NaN with fewer than two personas.

    An item whose ratings are all alike has tau = 0: nothing is known of what lies beyond it.
    """
    r = w.r
    P, I, K = r.shape
    share = (w.personas @ r.share.reshape(P, I * K)).reshape(-1, I, K) / w.size[:, None, None]
    persona = np.maximum(w.variance(r.mean) - w.over_personas(noise(r)), 0.0)
    total = persona + w.over_personas(within_known(r))
    icc = np.divide(persona, total, out=np.where(np.isnan(total), np.nan, 0.0), where=total > 0)
    alpha, tau = (x.reshape(icc.shape) for x in _locate(share.reshape(-1, K), r.values, 1 / P))
    cuts = (r.values[:-1] + 0.5 - alpha[..., None]) / tau[..., None]
    return LatentItems(alpha, np.where(total == 0, 0.0, tau), _correlation(icc, cuts))


# --- step 1 ----------------------------------------------------------------------------------
class _Prior(NamedTuple):
    """Gaussian penalty on (alpha, log tau) of N fits: centre [2, N], unit [2, 1], weight."""

    centre: Floats
    unit: Floats
    weight: float

    def of(self, rows: NDArray[np.intp]) -> _Prior:
        return _Prior(self.centre[:, rows], self.unit, self.weight)


def _locate(share: Floats, values: Floats, weight: float) -> tuple[Floats, Floats]:
    """alpha and tau [N] of N pooled distributions [N, K]; only unfinished fits go on."""
    span = values[-1] - values[0]
    mean = share @ values
    sd = np.sqrt(np.maximum((share * (values - mean[:, None]) ** 2).sum(axis=1), 0.0))
    prior = _Prior(
        np.stack([mean, np.log(np.maximum(sd, SMALLEST_SD))]), np.array([[span], [1.0]]), weight
    )
    # Wide enough at the start that no observed rating is out of floating-point reach.
    point = np.stack([mean, np.log(np.maximum(sd, span / 8))])
    going = np.arange(len(share))
    for _ in range(STEPS):
        if not going.size:
            break
        new = _step(point[:, going], share[going], values, prior.of(going))
        moved = np.abs(new - point[:, going]).max(axis=0)
        point[:, going] = new
        going = going[moved > TOLERANCE]
    return point[0], np.exp(point[1])


def _step(point: Floats, share: Floats, values: Floats, prior: _Prior) -> Floats:
    """One scoring step of every fit, halved until its objective does not fall; [2, N]."""
    step = _scoring_step(point, share, values, prior)
    step /= np.maximum(1.0, np.abs(step[1]))
    best = _objective(point, share, values, prior)
    tried = np.arange(len(share))
    for _ in range(HALVINGS):
        now = _objective(point[:, tried] + step[:, tried], share[tried], values, prior.of(tried))
        tried = tried[now < best[tried]]
        if not tried.size:
            break
        step[:, tried] /= 2
    step[:, tried] = 0.0
    return np.asarray(point + step)


def _objective(point: Floats, share: Floats, values: Floats, prior: _Prior) -> Floats:
    """[N] penalised log-likelihood per persona at `point` [2, N]."""
    chance, _, _ = _cells(point, values)
    likelihood = (share * np.log(np.maximum(chance, 1e-300))).sum(axis=1)
    penalty = (((point - prior.centre) / prior.unit) ** 2).sum(axis=0) / 2
    return np.asarray(likelihood - prior.weight * penalty)


def _scoring_step(point: Floats, share: Floats, values: Floats, prior: _Prior) -> Floats:
    """(Fisher information + prior precision)^-1 times the gradient, [2, N]."""
    chance, by_alpha, by_tau = _cells(point, values)
    chance = np.maximum(chance, 1e-300)
    precision = prior.weight / prior.unit**2
    pull = precision * (point - prior.centre)
    gradient_a = (share / chance * by_alpha).sum(axis=1) - pull[0]
    gradient_t = (share / chance * by_tau).sum(axis=1) - pull[1]
    aa = (by_alpha**2 / chance).sum(axis=1) + precision[0]
    tt = (by_tau**2 / chance).sum(axis=1) + precision[1]
    at = (by_alpha * by_tau / chance).sum(axis=1)
    room = np.log(values[-1] - values[0]) - point[1]
    at = np.where(room <= 0, 0.0, at)  # at the cap on tau, alpha moves by itself
    determinant = aa * tt - at**2
    by_alpha_step = (tt * gradient_a - at * gradient_t) / determinant
    by_tau_step = (aa * gradient_t - at * gradient_a) / determinant
    return np.stack([by_alpha_step, np.minimum(by_tau_step, room)])


def _cells(point: Floats, values: Floats) -> tuple[Floats, Floats, Floats]:
    """[N, K] probability of each rating and its derivatives by alpha and by log tau."""
    alpha, tau = point[0][:, None], np.exp(point[1])[:, None]
    cuts = (values[:-1] + 0.5 - alpha) / tau
    edge = np.full_like(cuts[:, :1], np.inf)
    low, high = np.concatenate([-edge, cuts], axis=1), np.concatenate([cuts, edge], axis=1)
    # In the upper half the difference of upper tails keeps the digits that 1 - 1 would lose.
    upper = low > 0
    chance = ndtr(np.where(upper, -low, high)) - ndtr(np.where(upper, -high, low))
    density: Floats = np.exp(-(cuts**2) / 2) / np.sqrt(2 * np.pi)
    none = np.zeros_like(density[:, :1])

    def difference(x: Floats) -> Floats:
        return np.asarray(np.concatenate([x, none], axis=1) - np.concatenate([none, x], axis=1))

    return chance, -difference(density) / tau, -difference(density * cuts)


# --- step 2 ----------------------------------------------------------------------------------
def _correlation(icc: Floats, cuts: Floats) -> Floats:
    """[B, I] rho at which cut bivariate normals have the observed ICC; cuts [B, I, K - 1].

    With rho = sin(theta) the integrand of C is bounded; the grid is finest near rho = 1, where
    low-temperature data lie.
    """
    u = np.linspace(0.0, 1.0, NODES)
    theta = np.pi / 2 * (1 - (1 - u) ** 2)
    slope = np.stack([_covariance_slope(cuts, angle) for angle in theta], axis=2)
    area = np.cumsum((slope[..., 1:] + slope[..., :-1]) / 2 * np.diff(theta), axis=2)
    grown = np.concatenate([np.zeros_like(area[..., :1]), area], axis=2)
    share = grown / np.maximum(grown[..., -1:], 1e-300)
    below = np.clip((share <= icc[..., None]).sum(axis=2) - 1, 0, NODES - 2)[..., None]
    left = np.take_along_axis(share, below, axis=2)[..., 0]
    right = np.take_along_axis(share, below + 1, axis=2)[..., 0]
    part = np.clip((icc - left) / np.maximum(right - left, 1e-300), 0.0, 1.0)
    start = below[..., 0]
    angle = theta[start] + part * (theta[start + 1] - theta[start])
    return np.where(icc >= 1, 1.0, np.sin(angle))


def _covariance_slope(cuts: Floats, angle: float) -> Floats:
    """[B, I] dC / d theta (times 2 pi) at one angle: sum over pairs of thresholds."""
    sine, cosine2 = np.sin(angle), np.cos(angle) ** 2
    slope = np.zeros(cuts.shape[:2])
    for k in range(cuts.shape[2]):
        one = cuts[..., k]
        slope += np.exp(-(one**2) / (1 + sine))
        if cosine2 > 1e-9:
            rest = cuts[..., k + 1 :]
            square = one[..., None] ** 2 + rest**2 - 2 * sine * one[..., None] * rest
            slope += 2 * np.exp(-square / (2 * cosine2)).sum(axis=2)
    return slope
