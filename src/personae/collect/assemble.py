"""From stored responses to `Ratings`, a piece at a time: memory depends on persona x item x scale
(and one byte an answer), not on the length of the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from personae.instruments.model import Instrument
from personae.ratings import Ratings

if TYPE_CHECKING:
    import polars as pl

RESPONSE_COLUMNS = (
    "panel", "persona_id", "item_id", "repeat", "attempt", "status", "rating", "mass", "response",
    "unseen",
)  # fmt: skip
DENSE = 4096  # repeats with a place in a table; a stranger's file may number them as it likes
# What ratings are made of: the texts are not read.
RATING_COLUMNS = RESPONSE_COLUMNS[:8]


def response_schema() -> pl.Schema:
    """Column types of a response file.

    `mass` holds K raw probabilities and `unseen` a bound on what they miss (exact answers only).
    """
    import polars as pl

    columns: dict[str, pl.DataType] = {
        "panel": pl.String(),
        "persona_id": pl.String(),
        "item_id": pl.String(),
        "repeat": pl.Int32(),
        "attempt": pl.Int32(),
        "status": pl.String(),
        "rating": pl.Int32(),
        "mass": pl.List(pl.Float64()),
        "response": pl.String(),
        "unseen": pl.Float64(),
    }
    return pl.Schema(columns)


def assemble(
    responses: pl.DataFrame,
    instrument: Instrument,
    panel: str,
    personas: Sequence[str] | None = None,
) -> Ratings:
    """The P x I x K array of one panel.

    Args:
        responses: rows with `RESPONSE_COLUMNS`; rows of other panels and of items that the
            instrument does not hold are left out.
        personas: row order; default: order of first appearance. The self panel has one row, "self".
    """
    import polars as pl

    rows = responses.filter(pl.col("panel") == panel)
    if personas is None:
        asked = rows.filter(pl.col("status") != "transport_error")["persona_id"]
        personas = asked.fill_null("self").unique(maintain_order=True).to_list()
    tally = Tally(instrument, personas)
    tally.add(rows)
    return tally.ratings()


class Tally:
    """Answers of one panel, added up.

    Exact answers give `probs`, sampled ones `counts`; every answer counts towards `scale_mass`,
    only valid ratings towards the cells. Attempts that failed in transport are no answers, and an
    attempt that is stored twice counts once.
    """

    def __init__(self, instrument: Instrument, personas: Sequence[str]) -> None:
        self._instrument = instrument
        self._personas = tuple(personas)
        self._items = tuple(i.id for i in instrument.items)
        self._place = {
            "persona_id": _place("persona_id", self._personas),
            "item_id": _place("item_id", self._items),
        }
        cells = len(self._personas) * len(self._items)
        points = len(instrument.scale.points)
        self._counts = np.zeros((cells, points))
        self._mass: NDArray[np.float64] | None = None
        self._asked = np.zeros(cells)
        # Bit a: attempt a of this repeat is counted; all other numbers in `_late`.
        self._seen = np.zeros((cells, 1), dtype=np.uint8)
        self._late: set[tuple[int, int, int]] = set()

    @property
    def answered(self) -> int:
        """Repeats of cells that have an answer."""
        late = {(cell, repeat) for cell, repeat, _ in self._late}
        there = self._seen.shape[1]
        return int(np.count_nonzero(self._seen)) + sum(
            not 0 <= repeat < there or not self._seen[cell, repeat] for cell, repeat in late
        )

    def add(self, rows: pl.DataFrame) -> None:
        """Rows of the panel, with `RATING_COLUMNS` at least."""
        import polars as pl

        rows = rows.filter(pl.col("status") != "transport_error").with_columns(
            p=self._place["persona_id"], i=self._place["item_id"]
        )
        rows = rows.filter(pl.col("p").is_not_null() & pl.col("i").is_not_null())
        rows = rows.unique(("p", "i", "repeat", "attempt"), keep="first", maintain_order=True)
        cell = rows["p"].to_numpy().astype(np.intp) * len(self._items) + rows["i"].to_numpy()
        new = self._unseen(cell, rows["repeat"].to_numpy(), rows["attempt"].to_numpy())
        if not new.all():
            rows, cell = rows.filter(pl.Series(new)), cell[new]
        np.add.at(self._asked, cell, 1.0)
        self._add_exact(rows, cell)
        low, high = self._instrument.scale.min, self._instrument.scale.max
        rating = rows["rating"].fill_null(low - 1).to_numpy()
        ok = (rows["status"] == "ok").to_numpy() & (rating >= low) & (rating <= high)
        np.add.at(self._counts, (cell[ok], rating[ok] - low), 1.0)

    def ratings(self) -> Ratings:
        instrument = self._instrument
        shape = (len(self._personas), len(self._items), self._counts.shape[1])
        exact = self._mass is not None
        cells = self._counts if self._mass is None else self._mass
        with np.errstate(invalid="ignore", divide="ignore"):
            valid = cells.sum(axis=1)
            share = valid if exact else valid / self._asked
            scale_mass = np.where(self._asked > 0, share, np.nan)
            if exact:
                cells = np.nan_to_num(cells / valid[:, None])
        return Ratings(
            cells=cells.reshape(shape).copy(),
            kind="probs" if exact else "counts",
            personas=self._personas,
            items=self._items,
            subscales=tuple(item.subscale for item in instrument.items),
            reverse=tuple(item.reverse for item in instrument.items),
            scale_min=instrument.scale.min,
            scale_mass=scale_mass.reshape(shape[:2]),
            subscale_order=tuple(instrument.subscales),
        )

    def _add_exact(self, rows: pl.DataFrame, cell: NDArray[np.intp]) -> None:
        exact = rows["mass"].is_not_null()
        if not exact.any():
            return
        if self._mass is None:
            self._mass = np.zeros_like(self._counts)
        given = np.array(rows["mass"].filter(exact).to_list(), dtype=np.float64)
        self._mass[cell[exact.to_numpy()]] = given

    def _unseen(self, cell: Any, repeat: Any, attempt: Any) -> NDArray[np.bool_]:
        """Which attempts are new; they count as seen from now on."""
        early = (attempt >= 0) & (attempt < 8) & (repeat >= 0) & (repeat < DENSE)
        self._make_room(int(repeat[early].max(initial=0)) + 1)
        bit = np.left_shift(1, np.where(early, attempt, 0)).astype(np.uint8)
        new = (self._seen[cell, np.where(early, repeat, 0)] & bit == 0) & early
        np.bitwise_or.at(self._seen, (cell[new], repeat[new]), bit[new])
        for k in np.flatnonzero(~early):
            key = (int(cell[k]), int(repeat[k]), int(attempt[k]))
            new[k] = key not in self._late
            self._late.add(key)
        return np.asarray(new)

    def _make_room(self, repeats: int) -> None:
        if repeats > self._seen.shape[1]:
            grown = np.zeros((len(self._seen), repeats), dtype=np.uint8)
            grown[:, : self._seen.shape[1]] = self._seen
            self._seen = grown


def _place(column: str, order: Sequence[str]) -> pl.Expr:
    """Position of each value in `order`, null where it is not there."""
    import polars as pl

    text = pl.col(column).fill_null("self") if column == "persona_id" else pl.col(column)
    return text.cast(pl.Enum(order), strict=False).to_physical()
