"""`Finding`: one number with its interval and how it was made.

Every battery writes findings, and `compare`, `gate` and `report` read nothing else. A metric has
the field's standard name; `scope` says what it is over: `overall`, a subscale, `self`, an arm.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personae.errors import PersonaeError

if TYPE_CHECKING:
    import polars as pl

SCHEMA = 1
VERSION_KEY = "personae_schema"
TEXTS = ("battery", "metric", "scope", "method", "unit")


@dataclass(frozen=True)
class Finding:
    """One measured number.

    Args:
        battery: the experiment it came from, e.g. "moral".
        metric: standard name, e.g. "susceptibility".
        scope: what it is over, e.g. "overall" or "Harm/Care".
        value: the estimate (may be inf, e.g. robustness when dispersion is 0).
        low, high: interval, NaN where none is defined. se: standard error, NaN likewise.
        n: number of independent units behind it (personas, items or answers; see `method`).
        method: how value and interval were made, e.g. "exact; persona bootstrap 2000, 95%".
        unit: "points", "1/points", "share", "bits", ...
    """

    battery: str
    metric: str
    scope: str
    value: float
    low: float = math.nan
    high: float = math.nan
    se: float = math.nan
    n: int = 0
    method: str = ""
    unit: str = ""

    def __post_init__(self) -> None:
        for name in TEXTS:
            if not isinstance(getattr(self, name), str):
                raise TypeError(f"a finding's {name} should be text")

    def as_json(self) -> dict[str, Any]:
        """A dict that is valid JSON: NaN becomes None, infinities become strings."""
        return {k: json_number(v) for k, v in asdict(self).items()}


def json_number(value: Any) -> Any:
    if isinstance(value, float):
        if math.isnan(value):
            return None
        if math.isinf(value):
            return "inf" if value > 0 else "-inf"
    return value


def to_table(findings: Iterable[Finding]) -> pl.DataFrame:
    """Findings as a polars table, one row each, column types fixed even when empty."""
    import polars as pl

    return pl.DataFrame([asdict(f) for f in findings], schema=_columns(), orient="row")


def _columns() -> dict[str, pl.DataType]:
    import polars as pl

    kinds = {name: pl.String() for name in TEXTS} | {"n": pl.Int64()}
    return {f.name: kinds.get(f.name, pl.Float64()) for f in fields(Finding)}


def findings_file(findings: Iterable[Finding]) -> bytes:
    """The content of a `findings.parquet`; its metadata names the version of the columns."""
    buffer = io.BytesIO()
    to_table(findings).write_parquet(buffer, metadata={VERSION_KEY: str(SCHEMA)})
    return buffer.getvalue()


def read_findings(path: Path) -> list[Finding]:
    """The findings of a file; columns that a later version added are left out.

    Raises:
        PersonaeError: written by a newer personae whose findings mean something else.
    """
    import polars as pl

    found = pl.read_parquet_metadata(path).get(VERSION_KEY, str(SCHEMA))
    if found.isdecimal() and int(found) > SCHEMA:
        raise PersonaeError(
            f"{path}: findings of schema {found}, written by a newer personae (this one reads "
            f"{SCHEMA}); upgrade with: pip install --upgrade personae"
        )
    table = pl.read_parquet(path)
    known = {name: kind for name, kind in _columns().items() if name in table.columns}
    rows = table.select(list(known)).cast(pl.Schema(known))
    rows = rows.with_columns(pl.col(pl.Float64).fill_null(math.nan), pl.col(pl.Int64).fill_null(0))
    return [Finding(**row) for row in rows.iter_rows(named=True)]
