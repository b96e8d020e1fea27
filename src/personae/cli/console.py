"""What every verb shares: where output goes, progress, one-line errors, JSON.

stdout carries the result (one JSON document with `--json`, nothing else); progress and messages
go to stderr.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from personae.findings import Finding

LINE_SECONDS = 15.0
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
    if not console.is_terminal:
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
    """Print a table that stays readable at 80 columns and without colour."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(
        title=clean(title) or None, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False
    )
    for k, name in enumerate(columns):
        numeric = all(_is_number(row[k]) for row in rows) and bool(rows)
        shown.add_column(
            name, justify="right" if numeric else "left", overflow="fold", no_wrap=k == 0
        )
    for row in rows:
        shown.add_row(*(Text(clean(cell)) for cell in row))
    Console().print(shown)


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
