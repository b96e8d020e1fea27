"""`Ask`: one question of a battery that is not a questionnaire, and the table of its answers.

An ask has a kind, given by its request: "rate" (a distribution over a scale), "choose" (over
labels), "write" (free text) or "score" (log-likelihood of a given answer). What it is about is
said in columns that findings group by: `part` (which question of the battery), `condition` (a
persona, an arm, a format), `item`, `repeat`, and `facets`, anything else, as text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from personae.errors import PersonaeError
from personae.models.protocol import (
    Answer,
    ChoiceRequest,
    RatingRequest,
    Request,
    ScoreRequest,
    TextRequest,
)

if TYPE_CHECKING:
    import polars as pl

Kind = Literal["rate", "choose", "write", "score"]
KINDS: dict[type, Kind] = {
    RatingRequest: "rate",
    ChoiceRequest: "choose",
    TextRequest: "write",
    ScoreRequest: "score",
}
KEY = ("part", "condition", "item", "repeat")
NEEDED = (*KEY, "kind", "facets", "attempt", "status")  # columns without an empty cell


@dataclass(frozen=True)
class Ask:
    """One question. (part, condition, item, repeat) is its name, unique in a battery.

    Args:
        to: "model", the respondent under study, or "judge".
        facets: further columns for the findings, such as the domain.
    """

    part: str
    condition: str
    item: str
    request: Request
    repeat: int = 0
    to: Literal["model", "judge"] = "model"
    facets: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, str, int]:
        return (self.part, self.condition, self.item, self.repeat)

    @property
    def kind(self) -> Kind:
        return KINDS[type(self.request)]

    def seeded(self, seed: int) -> Ask:
        """The same ask with a seed of its own, whatever else is asked."""
        if isinstance(self.request, ScoreRequest):
            return self
        digest = hashlib.sha256(f"{seed}|{self.key}".encode()).digest()
        own = int.from_bytes(digest[:8], "big")
        return replace(self, request=replace(self.request, seed=own))


Row = tuple[Any, ...]
Stage = Callable[["pl.DataFrame"], Sequence[Ask]]
"""Asks of one step, given the answers of all steps before it (a table as of `answer_schema`)."""


def answer_schema() -> pl.Schema:
    """Columns of a battery's answers; `facets` is JSON text, `stage`, `place` the order asked."""
    import polars as pl

    columns: dict[str, pl.DataType] = {
        "part": pl.String(),
        "condition": pl.String(),
        "item": pl.String(),
        "repeat": pl.Int32(),
        "kind": pl.String(),
        "to": pl.String(),
        "facets": pl.String(),
        "attempt": pl.Int32(),
        "status": pl.String(),
        "rating": pl.Int32(),
        "mass": pl.List(pl.Float64()),
        "loglik": pl.Float64(),
        "tokens": pl.Int32(),
        "response": pl.String(),
        "stage": pl.Int32(),
        "place": pl.Int32(),
    }
    return pl.Schema(columns)


def rows_of(ask: Ask, answer: Answer, at: tuple[int, int], first_attempt: int = 0) -> list[Row]:
    """One row an attempt, earlier attempts first; `at` is stage and place of the ask."""
    facets = json.dumps(dict(ask.facets), sort_keys=True)
    return [
        (
            *ask.key, ask.kind, ask.to, facets, n,
            a.status, a.rating, a.mass, a.loglik, a.tokens, storable(a.response), *at,
        )
        for n, a in enumerate([*answer.earlier, answer], start=first_attempt)
    ]  # fmt: skip


def answer_frame(rows: Sequence[Row]) -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame(rows, schema=answer_schema(), orient="row")


def in_order(answers: pl.DataFrame) -> pl.DataFrame:
    """Rows in the order asked, whatever the order of arrival; without such columns as stored."""
    if "place" not in answers.columns:
        return answers
    order = ("stage", "place", "attempt")
    return answers.sort(order, nulls_last=False, maintain_order=True)


def final(answers: pl.DataFrame, part: str | None = None) -> pl.DataFrame:
    """The last attempt of each ask (of one part), in the order asked."""
    import polars as pl

    rows = answers if part is None else answers.filter(pl.col("part") == part)
    return rows.unique(KEY, keep="last", maintain_order=True)


def facet(answers: pl.DataFrame, name: str) -> pl.Series:
    """A facet as a column; null where an ask does not have it.

    Raises:
        PersonaeError: stored facets are no JSON object of texts.
    """
    import polars as pl

    try:
        values = [json.loads(text).get(name) for text in answers["facets"].to_list()]
        return pl.Series(name, values, dtype=pl.String())
    except (TypeError, ValueError, AttributeError, RecursionError):
        raise PersonaeError(
            "the stored answers are damaged (column facets); run the battery again with --fresh"
        ) from None


def storable(text: str) -> str:
    """Lone surrogates cannot be written as UTF-8: shown as the replacement character."""
    return text.encode("utf-8", "replace").decode("utf-8")
