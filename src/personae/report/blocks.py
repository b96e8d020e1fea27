"""What a section is made of. The template knows how to draw each kind, and nothing else.

A section is a value: an id (its deep link), a title, a lead sentence and a list of blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from markupsafe import Markup


@dataclass(frozen=True)
class Table:
    """Rows of plain values. Numbers are shown short and exported in full.

    `title`: where given, a heading over the table.
    `remark_last`: the last column is a sentence, put under its row on a narrow screen.
    `folded`: where given, the words that open the table.
    `links`: where given, a relative address for each row's first cell.
    `sections`: columns whose cells lead to a section of the row's page, by its id.
    `searchable`: rows can be filtered by what is typed, and sorted by a column.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""
    remark_last: bool = False
    folded: str = ""
    links: Sequence[str] = ()
    sections: Mapping[str, str] = field(default_factory=dict)
    searchable: bool = False
    title: str = ""
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Figure:
    """One figure: drawn on the server, with the data behind it.

    `svg` comes from `personae.report.charts`; `data` feeds the copy and download buttons and,
    for figures of up to 60 rows, a readable table. `wide` figures take the whole column.
    `interactive` is extra JSON for a figure's script (the heat map's texts).
    """

    id: str
    title: str
    svg: Markup
    caption: str
    data: Table
    wide: bool = False
    interactive: Any = None
    kind: ClassVar[str] = "figure"


@dataclass(frozen=True)
class Figures:
    """Figures side by side where the screen is wide enough; `aside` stands in the last place."""

    figures: Sequence[Figure]
    aside: Table | None = None
    kind: ClassVar[str] = "figures"


@dataclass(frozen=True)
class Tile:
    """A headline number."""

    label: str
    value: str
    interval: str
    hint: str


@dataclass(frozen=True)
class Tiles:
    tiles: Sequence[Tile]
    kind: ClassVar[str] = "tiles"


@dataclass(frozen=True)
class Note:
    """A sentence set apart; `level` is "info" or "warning"."""

    text: str
    level: str = "info"
    kind: ClassVar[str] = "note"


@dataclass(frozen=True)
class Verdicts:
    """Plain-language lines that answer the report's question."""

    lines: Sequence[str]
    kind: ClassVar[str] = "verdicts"


@dataclass(frozen=True)
class Prose:
    """Text of our own, already marked up; never text that came from outside."""

    html: Markup
    kind: ClassVar[str] = "prose"


@dataclass(frozen=True)
class Code:
    """A command to copy."""

    text: str
    kind: ClassVar[str] = "code"


Block = Table | Figure | Figures | Tiles | Note | Verdicts | Prose | Code


@dataclass(frozen=True)
class Section:
    """One part of the report; `id` is its deep link and unique on the page."""

    id: str
    title: str
    lead: str
    blocks: Sequence[Block]

    @property
    def is_folded(self) -> bool:
        """Whether nothing of it shows until the reader opens it: such a section is not printed."""
        folded = [isinstance(block, Table) and bool(block.folded) for block in self.blocks]
        return bool(folded) and all(folded)

    @property
    def figures(self) -> list[Figure]:
        found: list[Figure] = []
        for block in self.blocks:
            found += [block] if isinstance(block, Figure) else []
            found += block.figures if isinstance(block, Figures) else []
        return found
