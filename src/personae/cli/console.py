"""What every verb shares: where output goes, progress, one-line errors, JSON.

stdout carries the result (one JSON document with `--json`, nothing else); progress and messages
go to stderr.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from personae.findings import Finding

LINE_SECONDS = 15.0
WIDTH = 80  # of text that no terminal has asked for otherwise
BORDERS, BETWEEN = 2, 3  # columns of the terminal around a table and between two of its columns
LONG = 24  # words up to here are not broken after their marks
_MARKED = re.compile(r"[^,;:/|+=&_-]*[,;:/|+=&_-]+\s*|[^,;:/|+=&_-]+")
JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


def say(message: str) -> None:
    """One line for the person at the terminal (stderr)."""
    typer.echo(clean(message), err=True)


def print_json(document: Any) -> None:
    """One document on stdout, with the version of its form (docs/formats.md)."""
    if isinstance(document, dict):
        document = {"schema": 1, **document}
    sys.stdout.write(json.dumps(document, ensure_ascii=True, allow_nan=False, indent=1) + "\n")


@contextmanager
def progress(label: str) -> Iterator[Bar]:
    """A progress bar on stderr with rate and time left.

    Where stderr is no terminal (a log, CI), a line every `LINE_SECONDS` takes its place.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    if not console.is_terminal or console.is_dumb_terminal:
        yield Bar(label, _Lines())
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
    )
    with Progress(*columns, console=console) as shown:
        task = shown.add_task(label, total=None, rate="")

        def draw(stage: str, done: int, total: int, rate: str) -> None:
            shown.update(task, description=stage, completed=done, total=total, rate=rate)

        yield Bar(label, draw)


class Bar:
    """Call it with (done, total); `stage` names what is under way now.

    The rate counts only what this process did in this stage, so that a resumed run shows a true
    estimate.
    """

    def __init__(self, label: str, draw: Callable[[str, int, int, str], None]) -> None:
        self._label = label
        self._draw = draw
        self._clock = _Clock()

    def stage(self, name: str) -> None:
        self._label, self._clock = name, _Clock()

    def __call__(self, done: int, total: int) -> None:
        self._draw(self._label, done, total, self._clock.tick(done, total))


class _Lines:
    """Progress as a line now and then."""

    def __init__(self) -> None:
        self.said = 0.0

    def __call__(self, stage: str, done: int, total: int, rate: str) -> None:
        import time

        self.said = self.said or time.monotonic()
        if time.monotonic() - self.said > LINE_SECONDS:
            say(f"{stage}: {done} of {total} {rate}")
            self.said = time.monotonic()


class _Clock:
    """Rate since the first tick, in words."""

    def __init__(self) -> None:
        self.start: tuple[float, int] | None = None

    def tick(self, done: int, total: int) -> str:
        import time

        now = time.monotonic()
        if self.start is None:
            self.start = (now, done)
        elapsed, made = now - self.start[0], done - self.start[1]
        if made <= 0 or elapsed <= 0:
            return ""
        rate = made / elapsed
        seconds = int((total - done) / rate)
        return f"{rate:.1f}/s, {seconds // 60}:{seconds % 60:02d} left"


def table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table that stays readable at 80 columns and without colour.

    Long cells are broken at spaces, then after commas and such marks; inside a word only where the
    terminal is too narrow for it.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    console = terminal()
    cells = [[clean(cell) for cell in row] for row in (columns, *rows)]
    numeric = [bool(rows) and all(_is_number(row[k]) for row in rows) for k in range(len(columns))]
    room = console.width - BORDERS - BETWEEN * (len(columns) - 1)
    widths = column_widths([list(column) for column in zip(*cells, strict=True)], numeric, room)
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    broken = [
        [Text("\n".join(in_lines(cell, width))) for cell, width in zip(row, widths, strict=True)]
        for row in cells
    ]
    for name, number_like, width in zip(broken[0], numeric, widths, strict=True):
        shown.add_column(name, justify="right" if number_like else "left", width=width)
    for row in broken[1:]:
        shown.add_row(*row)
    if title:
        console.print(Text("\n".join(in_lines(clean(title), console.width)), style="italic"))
    console.print(shown)


def terminal() -> Console:
    """stdout as rich sees it; with NO_COLOR set, without any escape code."""
    from rich.console import Console

    return Console(color_system=None if os.environ.get("NO_COLOR") else "auto")


def plain_help() -> None:
    """With NO_COLOR set, no escape codes in help either: Typer would keep bold and dim."""
    if os.environ.get("NO_COLOR"):
        import typer.rich_utils

        typer.rich_utils.COLOR_SYSTEM = None


def column_widths(columns: list[list[str]], whole: list[bool], room: int) -> list[int]:
    """Widths that fit into `room`; what is too wide is cut where it costs the fewest lines.

    Args:
        columns: cells by column. whole: columns whose cells are not broken at spaces.
    """
    from rich.cells import cell_len

    lines = [[line for cell in column for line in cell.split("\n")] for column in columns]
    most = [max(map(cell_len, column), default=1) or 1 for column in lines]
    if sum(most) <= room:
        return most
    asked = [max((_least(w) for x in column for w in x.split()), default=1) for column in lines]
    widths = [most[k] if whole[k] else asked[k] for k in range(len(columns))]
    while sum(widths) > room and max(widths) > 1:
        widths[widths.index(max(widths))] -= 1
    while sum(widths) < room:
        growing = [k for k in range(len(widths)) if widths[k] < most[k]]
        widths[max(growing, key=lambda k: most[k] / widths[k])] += 1
    return widths


def in_lines(text: str, width: int) -> list[str]:
    """The text in lines of at most `width`, broken at spaces, then after marks, then anywhere."""
    from rich.cells import cell_len

    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for part in _parts(paragraph, width):
            if line and cell_len((line + part).rstrip()) > width:
                lines.append(line.rstrip())
                line = ""
            line += part
        lines.append(line.rstrip())
    return lines


def _parts(text: str, width: int) -> Iterator[str]:
    """Words with the space that follows them; those wider than `width` in pieces."""
    from rich.cells import cell_len, chop_cells

    for word in re.findall(r"^\s+|\S+\s*", text):
        if cell_len(word.rstrip()) <= width:
            yield word
        else:
            for piece in _MARKED.findall(word):
                yield from chop_cells(piece, width)


def _least(word: str) -> int:
    """The width that a word asks for; a long one can be broken after its marks."""
    from rich.cells import cell_len

    parts = [word] if cell_len(word) <= LONG else _MARKED.findall(word)
    return max(map(cell_len, parts))


def clean(text: str) -> str:
    """Text that is safe on a terminal: no control characters, no lone surrogates."""
    kept = "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
    return kept.encode("utf-8", "replace").decode("utf-8")


def number(value: float, digits: int = 3) -> str:
    """A number in the form that tables use; an en dash for what is not defined."""
    if value != value:
        return "–"
    return "inf" if value in (float("inf"), float("-inf")) else f"{value:.{digits}f}"


def interval(low: float, high: float) -> str:
    """An interval as tables show it; nothing where there is none."""
    return "" if low != low and high != high else f"[{number(low)}, {number(high)}]"


def findings_table(title: str, findings: Iterable[Finding]) -> None:
    """Findings, one a row."""
    rows = [[f.metric, f.scope, number(f.value), interval(f.low, f.high), f.unit] for f in findings]
    table(title, ["metric", "scope", "value", "95% interval", "unit"], rows)


def _is_number(text: str) -> bool:
    return not text.strip(" 0123456789.,-+–[]infe%")
