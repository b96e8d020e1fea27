"""A run's ratings in the columns of public raw ratings: `personae import` reads them back.

    X.csv        persona_id, question_id, run_index, rating, failures, response, collected_at
    X_self.csv   the same without persona_id: the answers given without a persona

One row a cell and repeat: its last attempt, `failures` the number of attempts before it. A failed
answer has rating -1 and its text; one that never came has the text ERROR.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from personae.collect.folder import write_atomic
from personae.collect.store import Run
from personae.errors import PersonaeError
from personae.files import csv_cell

COLUMNS = ("question_id", "run_index", "rating", "failures", "response", "collected_at")


def write_ratings_csv(run: Run, path: Path) -> list[Path]:
    """Write the cast's and the self panel's ratings; returns the files written.

    Raises:
        PersonaeError: the file does not end in .csv, or the ratings are exact: such columns hold
            single ratings, no probabilities.
    """
    if path.suffix.lower() != ".csv":
        raise PersonaeError(f"{path}: name a file that ends in .csv")
    if run.manifest.estimator == "exact":
        raise PersonaeError(
            f"{run.path}: holds exact probabilities, which these columns cannot hold; use "
            "--eval FILE, or audit with --repeats N"
        )
    written = []
    for panel, file in (("cast", path), ("self", path.with_stem(f"{path.stem}_self"))):
        rows = run.responses.filter(run.responses["panel"] == panel)
        if rows.height:
            persona = ("persona_id",) if panel == "cast" else ()
            write_csv(file, (*persona, *COLUMNS), _rows(rows, run.manifest.created, panel))
            written.append(file)
    return written


def _rows(rows: Any, created: str, panel: str) -> Iterator[tuple[Any, ...]]:
    cell = ["persona_id", "item_id", "repeat"]
    last = rows.sort("attempt", maintain_order=True).unique(cell, keep="last", maintain_order=True)
    for r in last.sort(cell, maintain_order=True).iter_rows(named=True):
        rating = r["rating"] if r["status"] == "ok" else -1
        text = "ERROR" if r["status"] == "transport_error" else r["response"] or ""
        row = (r["item_id"], r["repeat"], rating, r["attempt"], text, created)
        yield (r["persona_id"], *row) if panel == "cast" else row


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A CSV file, there whole or not at all; no cell is a formula to a spreadsheet."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    for row in (columns, *rows):
        writer.writerow([csv_cell(value) for value in row])
    write_atomic(path, buffer.getvalue().encode("utf-8", "replace"))
