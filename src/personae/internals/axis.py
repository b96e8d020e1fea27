"""The assistant axis (arXiv 2601.10387): from sums of answers to an axis, its PCs and their nulls.

With r_l the mean answer of role r at layer l and d_l that of the default assistant (the mean of
its instructions' means), both [d]:

    axis_l  =  d_l - mean_r r_l                        positive: more like the default assistant
    PCs     of the role means alone, centred; PC1's sign is that of its cosine with the axis

Everything here is a function of `Sums`: sums [R, B, L, d] of the answers of R roles in B
blocks of slots, with counts [R, B], and the same for the default's instructions.

Interval of cos(axis, PC1)  roles resampled with replacement, estimate +/- 1.96 SE on Fisher's z
    (copies of a role bias the draws' centre, hardly their spread).
Shuffled labels    within each block the role's names are permuted, so that a shuffled "role" is
    made of B roles' answers. Its PCs hold the spread of answers and 1/B of the roles' own
    variance: a null that is harder to beat than none of it.
Each role's own axis    r_l - mean of the other roles, against the same PC1: is the default more
    special than any one role?
Halves    even and odd blocks: other questions and, with four instructions, other instructions.

Layer  The one at which the default stands furthest from the roles on answers that did not make the
axis: axis of one half, projections p of the other, (mean p_default - mean p_roles) / sd p_roles,
mean of the two ways round.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import linalg

from personae.errors import PersonaeError
from personae.measures.resample import bootstrap_counts
from personae.ratings import Floats

Z95 = 1.959963984540054
DRAWS, SHUFFLES = 200, 100
TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Sums:
    """Running sums of answers.

    Args:
        roles: [R, B, L, d] sums, counts [R, B] of the answers behind them.
        default: [D, B, L, d] and [D, B], the same of the default's instructions.
    """

    roles: Floats
    counts: Floats
    default: Floats
    default_counts: Floats

    def __post_init__(self) -> None:
        if len(self.roles) < 3:
            raise PersonaeError(
                f"{len(self.roles)} roles were held, an axis needs three or more: the model does "
                "not take the parts (see the answers in the .fit folder), or --pairs is too small"
            )

    def half(self, odd: int) -> Sums:
        """The answers of the even (0) or odd (1) blocks alone."""
        return Sums(
            self.roles[:, odd::2], self.counts[:, odd::2],
            self.default[:, odd::2], self.default_counts[:, odd::2],
        )  # fmt: skip

    def of_roles(self, chosen: Floats | Sequence[int]) -> Sums:
        """Some of the roles, the same default."""
        rows = np.asarray(chosen)
        return Sums(self.roles[rows], self.counts[rows], self.default, self.default_counts)

    def role_means(self) -> Floats:
        """[R, L, d]; a role without answers gets NaN."""
        return _means(self.roles, self.counts)

    def default_mean(self) -> Floats:
        """[L, d], the mean of the instructions' means."""
        found: Floats = np.nanmean(_means(self.default, self.default_counts), axis=0)
        return found


def _means(sums: Floats, counts: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        found: Floats = sums.sum(1) / counts.sum(1)[:, None, None]
    return found


def axis_of(sums: Sums) -> Floats:
    """[L, d] default minus roles, each role counted once."""
    found: Floats = sums.default_mean() - np.nanmean(sums.role_means(), axis=0)
    return found


# --- principal components ------------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class Components:
    """PCs of role means at one layer.

    Args:
        variances: [k] eigenvalues of the covariance (divisor R), largest first.
        components: [k, d] unit vectors. scores: [R, k] of the centred roles.
    """

    variances: Floats
    components: Floats
    scores: Floats

    @property
    def explained(self) -> Floats:
        """[k] share of the variance."""
        total = self.variances.sum()
        found: Floats = self.variances / (total if total > 0 else 1.0)
        return found


def principal_components(x: Floats, towards: Floats) -> Components:
    """PCs of [R, d], each with the sign of its cosine with `towards` [d]."""
    z = x - x.mean(0)
    _, s, v = np.linalg.svd(z, full_matrices=False)
    v = v * np.where(v @ towards < 0, -1.0, 1.0)[:, None]
    return Components(s**2 / len(x), v, z @ v.T)


def pc1_cosine(x: Floats, axis: Floats) -> float:
    """|cos| of the axis [d] and PC1 of [R, d]."""
    pc = principal_components(x, axis).components[0]
    length = float(np.linalg.norm(axis))
    return float(pc @ axis) / length if length > TINY else math.nan


@dataclass(frozen=True)
class Agreement:
    """cos(axis, PC1) at one layer with its interval over roles."""

    value: float
    low: float
    high: float
    se: float


def pc1_agreement(x: Floats, default: Floats, draws: int = DRAWS, seed: int = 0) -> Agreement:
    """|cos| of PC1 of [R, d] with default [d] - mean, roles resampled with replacement.

    Only inner products enter, so a draw costs the eigenvector of at most [R, R].
    """
    every = np.vstack([x, default]) - x.mean(0)
    gram = every @ every.T
    plain = _weighted_cosine(gram, np.full(len(x), 1 / len(x)))
    weights = bootstrap_counts(np.random.default_rng(seed), draws, len(x)) / len(x)
    drawn = np.array([_weighted_cosine(gram, w) for w in weights])
    z, centre = np.arctanh(np.clip(drawn, 0, 1 - TINY)), math.atanh(min(plain, 1 - TINY))
    width = Z95 * float(np.nanstd(z, ddof=1))
    low, high = max(math.tanh(centre - width), 0.0), math.tanh(centre + width)
    return Agreement(plain, low, high, float(np.nanstd(drawn, ddof=1)))


def _weighted_cosine(gram: Floats, weights: Floats) -> float:
    """|cos| of axis and PC1 from inner products [R+1, R+1] (default last) under role weights."""
    there = np.flatnonzero(weights)
    w, kept = weights[there], np.append(there, len(weights))
    k = gram[np.ix_(kept, kept)]
    n = len(there)
    to_mean = k[:, :n] @ w
    k = k - to_mean[:, None] - to_mean[None] + w @ to_mean[:n]
    root = np.sqrt(w)
    top, vectors = linalg.eigh(root[:, None] * k[:n, :n] * root, subset_by_index=[n - 1, n - 1])
    if top[0] <= TINY or k[n, n] <= TINY:
        return math.nan
    along = float((vectors[:, 0] * root) @ k[:n, n])
    return abs(along) / math.sqrt(float(top[0]) * float(k[n, n]))


# --- nulls ---------------------------------------------------------------------------------------
def shuffled_means(sums: Floats, counts: Floats, rng: np.random.Generator) -> Floats:
    """[R, d] means of "roles" whose answers come from another role in every block.

    Args:
        sums: [R, B, d] at one layer. counts: [R, B].
    """
    orders = [rng.permutation(len(sums)) for _ in range(sums.shape[1])]
    total = sum(sums[order, b] for b, order in enumerate(orders))
    number = sum(counts[order, b] for b, order in enumerate(orders))
    with np.errstate(invalid="ignore"):
        means: Floats = total / number[:, None]
    return means[np.isfinite(means).all(1)]


@dataclass(frozen=True, eq=False)
class ShuffledNull:
    """Of `SHUFFLES` shuffles: [n, k] variances of the PCs, [n] |cos| of the axis and PC1."""

    variances: Floats
    cosines: Floats


def shuffled_null(
    sums: Sums, layer: int, axis: Floats, k: int, shuffles: int = SHUFFLES, seed: int = 0
) -> ShuffledNull:
    """The shuffled-label null at one layer (index); see the module's head."""
    rng = np.random.default_rng(seed)
    variances, cosines = np.zeros((shuffles, k)), np.zeros(shuffles)
    for n in range(shuffles):
        x = shuffled_means(sums.roles[:, :, layer], sums.counts, rng)
        found = principal_components(x, axis)
        kept = found.variances[:k]  # fewer than k where shuffled roles are without an answer
        variances[n, : len(kept)] = kept
        cosines[n] = float(found.components[0] @ axis) / (float(np.linalg.norm(axis)) or 1.0)
    return ShuffledNull(variances, cosines)


def own_axis_cosines(x: Floats) -> Floats:
    """[R] |cos| of PC1 of [R, d] with each role's own axis: the role minus the other roles."""
    pc = principal_components(x, x[0]).components[0]
    own = (x - x.mean(0)) * len(x) / (len(x) - 1)
    lengths = np.linalg.norm(own, axis=1)
    found: Floats = np.abs(own @ pc) / np.where(lengths > TINY, lengths, 1.0)
    return found


# --- reliability and the choice of a layer -------------------------------------------------------
def split_half(sums: Sums, draws: int = 100, seed: int = 0) -> Floats:
    """[draws, L] cosine of two axes that share neither answers nor roles.

    One is made of the even blocks of a random half of the roles, the other of the odd blocks of
    the remaining roles; the default's answers are split by block alike.
    """
    rng = np.random.default_rng(seed)
    means = [sums.half(odd).role_means() for odd in (0, 1)]
    default = [sums.half(odd).default_mean() for odd in (0, 1)]
    found = []
    for _ in range(draws):
        order = rng.permutation(len(sums.roles))
        parts = (order[::2], order[1::2])
        one, other = (default[odd] - np.nanmean(means[odd][parts[odd]], axis=0) for odd in (0, 1))
        found.append(_cosines(one, other))
    return np.array(found)


def order_reliability(sums: Sums, layer: int) -> float:
    """Pearson's r over roles of their places along the axis in the two halves.

    Each half is projected on the axis of the other one.
    """
    places = []
    for odd in (0, 1):
        v = axis_of(sums.half(1 - odd))[layer]
        places.append(sums.half(odd).role_means()[:, layer] @ v)
    both = np.isfinite(places[0]) & np.isfinite(places[1])
    if both.sum() < 3:
        return math.nan
    return float(np.corrcoef(places[0][both], places[1][both])[0, 1])


def default_distance(sums: Sums) -> Floats:
    """[L] distance of the default from the roles in their SDs, on answers not in the axis."""
    ways = []
    for odd in (0, 1):
        v, other = axis_of(sums.half(odd)), sums.half(1 - odd)
        places = np.einsum("rld,ld->rl", other.role_means(), v)
        default = np.einsum("ld,ld->l", other.default_mean(), v)
        spread = np.nanstd(places, axis=0, ddof=1)
        ways.append((default - np.nanmean(places, axis=0)) / np.where(spread > 0, spread, np.nan))
    found: Floats = np.mean(ways, axis=0)
    return found


def choose_layer(sums: Sums) -> int:
    """The layer (index) at which the default stands furthest from the roles, cross-checked."""
    distances = default_distance(sums)
    if not np.isfinite(distances).any():
        raise PersonaeError("no layer tells the default from the roles: every answer is alike")
    return int(np.nanargmax(distances))


def _cosines(a: Floats, b: Floats) -> Floats:
    """[L] cosines of the rows of [L, d]."""
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    found: Floats = (a * b).sum(1) / np.where(lengths > TINY, lengths, np.nan)
    return found
