"""What calls cost: a small dated price table, and a budget that is never passed.

Prices are US dollars per million tokens. The bundled table is an estimate of a date that it
names; a user's own table of the same form wins, entry by entry.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from personae.errors import PersonaeError
from personae.files import parse_yaml, read_document, validated

USER_FILE = Path("~/.config/personae/prices.yaml")
# A variant of a model: a date or version after the family's name.
VARIANT = re.compile(r"[-@](\d{4}-?\d{2}-?\d{2}|\d{3,4}|latest)$")
# Bytes of text per token: between dense scripts or digits and long English words.
BYTES_PER_TOKEN = (2.0, 5.0)
TOKENS_PER_MESSAGE = (3, 12)


class Price(BaseModel):
    """US dollars per million input and output tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: Annotated[float, Field(ge=0)]
    output: Annotated[float, Field(ge=0)]

    def of(self, input_tokens: float, output_tokens: float) -> float:
        return (self.input * input_tokens + self.output * output_tokens) / 1e6


class Prices(BaseModel):
    """A price table: `date` and `source` say whose and when."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    date: str
    source: str = ""
    models: dict[str, Price]

    def price(self, model: str) -> Price | None:
        """The price of a model id, or of its family; None if neither is in the table."""
        return self.models.get(model) or self.models.get(VARIANT.sub("", model)) or None


def load_prices(path: Path | None = None) -> Prices:
    """The bundled table, overridden by `path`, or by the user's file if there is one.

    Raises:
        PersonaeError: the file is missing or is no price table.
    """
    text = files("personae.models").joinpath("prices.yaml").read_text("utf-8")
    bundled = _prices(parse_yaml(text, "bundled prices"), "bundled prices")
    own = path or USER_FILE.expanduser()
    if path is None and not own.is_file():
        return bundled
    mine = _prices(read_document(own), str(own))
    source = f"{mine.source or own.name}; else {bundled.source} ({bundled.date})"
    return Prices(date=mine.date, source=source, models={**bundled.models, **mine.models})


def _prices(data: Any, where: str) -> Prices:
    try:
        dated = isinstance(data, Mapping) and {**data, "date": str(data.get("date", "undated"))}
        return validated(Prices, dated or data, where)
    except PersonaeError as error:
        raise PersonaeError(
            f"{error}; a price file gives models: NAME: {{input: ..., output: ...}} in dollars per "
            "million tokens"
        ) from None


def token_range(text: str, messages: int = 1) -> tuple[int, int]:
    """Fewest and most tokens that a text of some messages is likely to be, without a tokenizer."""
    size = len(text.encode())
    few, many = BYTES_PER_TOKEN
    return (
        round(size / many) + TOKENS_PER_MESSAGE[0] * messages,
        round(size / few) + TOKENS_PER_MESSAGE[1] * messages,
    )


@dataclass
class Purse:
    """Dollars that may be spent, and what was."""

    usd: float
    spent: float = 0.0
    reserved: float = 0.0


class Budget:
    """Dollars that may be spent. Every call is reserved at its most expensive before it is made,
    and settled at what it did cost, so that the sum never passes `usd`.

    Args:
        usd: most to spend from now on; or a purse that the budgets of several models share.
        price: of the model asked.
    """

    def __init__(self, usd: float | Purse, price: Price) -> None:
        self.purse = usd if isinstance(usd, Purse) else Purse(usd)
        self.price = price
        self._most_per_byte = 1 / BYTES_PER_TOKEN[0]

    @property
    def usd(self) -> float:
        return self.purse.usd

    @property
    def spent(self) -> float:
        return self.purse.spent

    @property
    def reserved(self) -> float:
        return self.purse.reserved

    def reserve(self, text: str, messages: int, max_tokens: int) -> float | None:
        """Dollars set aside for one call, or None if it may not fit now."""
        size = len(text.encode()) * self._most_per_byte + TOKENS_PER_MESSAGE[1] * messages
        most = self.price.of(size, max_tokens)
        if self.spent + self.reserved + most > self.usd:
            return None
        self.purse.reserved += most
        return most

    def settle(self, reserved: float, text: str, tokens: tuple[int, int] | None) -> None:
        """Replace a reservation by the call's true cost; without a count, by all of it."""
        self.purse.reserved -= reserved
        if tokens is None:
            self.purse.spent += reserved
            return
        self.purse.spent += self.price.of(*tokens)
        per_byte = tokens[0] / max(1, len(text.encode()))
        self._most_per_byte = max(self._most_per_byte, per_byte)

    @property
    def idle(self) -> bool:
        """No call is under way that might give something back."""
        return self.reserved < 1e-12
