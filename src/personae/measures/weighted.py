"""Ratings under resampling weights: every measure as sums that a weight matrix can be put on.

A resample of personas is a row of weights w [P] (how often each was drawn), a resample of items
a row v [I]. B resamples at once are matrices [B, P] and [B, I]. Any measure made of weighted
sums over personas then takes one matrix product for all B resamples, and no loop. The plain
estimate is the same function under weights of one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from personae.ratings import Floats, Ratings


@dataclass(frozen=True, eq=False)
class Weighted:
    """Complete ratings [P, I, K] under B resamples.

    Args:
        r: ratings without missing cells.
        personas: [B, P] weights; every row sums to the number of personas it stands for.
        items: [B, I] weights, or None for one each.
    """

    r: Ratings
    personas: Floats
    items: Floats | None = None

    @classmethod
    def plain(cls, r: Ratings) -> Weighted:
        """The data as they are: B = 1 and every weight one."""
        return cls(r, np.ones((1, len(r.personas))))

    @cached_property
    def size(self) -> Floats:
        """[B] personas in each resample."""
        return np.asarray(self.personas.sum(axis=1))

    def over_cells(self, cells: Floats) -> Floats:
        """[B] mean of `cells` [P, I] over personas and items."""
        if self.items is None:
            return self._shared(self.personas @ cells.mean(axis=1), self.size)
        return self.over_items(self.over_personas(cells))

    def over_personas(self, cells: Floats) -> Floats:
        """[B, I] mean of `cells` [P, I] over personas."""
        return self._shared(self.personas @ cells, self.size[:, None])

    @staticmethod
    def _shared(sums: Floats, among: Floats) -> Floats:
        """Sums as means; NaN among nobody, as where the only persona is left out."""
        with np.errstate(invalid="ignore"):
            return np.asarray(sums / among)

    def over_items(self, values: Floats) -> Floats:
        """[B] mean of `values` [B, I] over items."""
        if self.items is None:
            return np.asarray(values.mean(axis=1))
        return np.asarray((values * self.items).sum(axis=1) / self.items.sum(axis=1))

    def over_known(self, cells: Floats) -> Floats:
        """[B] mean of the cells [P, I] that are not NaN; NaN where none is drawn."""
        known = ~np.isnan(cells)
        if known.all():
            return self.over_cells(cells)
        share = self.over_cells(known.astype(np.float64))
        total = self.over_cells(np.where(known, cells, 0.0))
        return np.divide(total, share, out=np.full_like(total, np.nan), where=share > 0)

    def pooled(self, cells: Floats) -> Floats:
        """[B, K] mean over personas and items of `cells` [P, I, K]."""
        if self.items is None:
            return np.asarray(self.personas @ cells.mean(axis=1) / self.size[:, None])
        P, I, K = cells.shape
        per_item = (self.personas @ cells.reshape(P, I * K)).reshape(-1, I, K)
        weight = self.size * self.items.sum(axis=1)
        return np.asarray(np.einsum("bik,bi->bk", per_item, self.items) / weight[:, None])

    def variance(self, cells: Floats) -> Floats:
        """[B, I] variance over personas (ddof = 1) of `cells` [P, I]; NaN below two personas.

        The cells are centred first, so that a column without variance gives exactly 0.
        """
        centred = cells - cells[:1] if len(cells) else cells
        second, first = self.over_personas(centred**2), self.over_personas(centred)
        population = np.maximum(second - first**2, 0.0)
        population[population < 1e-12 * second] = 0.0
        size = self.size[:, None]
        return np.where(size > 1, population * size / np.maximum(size - 1, 1), np.nan)
