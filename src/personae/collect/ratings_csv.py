"""A worn CSV of ratings as rows of text: encodings, line ends, cut-off and overlong rows.

Nothing is interpreted here beyond the columns' names; what was odd is kept in `Found`.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO

from personae.errors import PersonaeError
from personae.files import one_line

NEEDED = ("question_id", "run_index", "rating")
KNOWN = ("persona_id", *NEEDED, "failures", "response", "collected_at")
FIELDS = ("persona_id", "item_id", "repeat", "rating", "failures", "response", "collected_at")

Row = list[str | int]  # `FIELDS` as text, then the number of the row's first line


@dataclass
class Found:
    """Matters noticed while reading one file, for the notes."""

    rows: int = 0
    columns: tuple[str, ...] = ()
    encoding: str = "utf-8"
    nul_characters: int = 0
    long_lines: list[int] = field(default_factory=list)
    short_lines: list[int] = field(default_factory=list)
    quotation_marks: int = 0
    last_row: tuple[int, int] = (0, 0)  # first and last line of the last row
    unplaced_lines: list[int] = field(default_factory=list)
    exact_copies: int = 0

    @property
    def panel(self) -> str:
        return "cast" if "persona_id" in self.columns else "self"


# --- bytes to text -------------------------------------------------------------------------


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The file's bytes; a `PersonaeError` where it is missing, a folder, or unreadable."""
    try:
        binary = path.open("rb")
    except FileNotFoundError:
        raise PersonaeError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise PersonaeError(f"{path}: a folder; read_folder imports folders") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL byte inside the path itself
        reason = getattr(error, "strerror", None) or error
        raise PersonaeError(f"{one_line(path)}: cannot be read ({reason})") from None
    with binary:
        try:
            yield binary
        except OSError as error:
            raise PersonaeError(f"{path}: cannot be read ({error.strerror or error})") from None


def read_rows(path: Path, binary: BinaryIO, found: Found) -> Iterator[Row]:
    """The data rows of an opened file, one by one.

    Raises:
        PersonaeError: empty, not text, or without the columns of ratings.
    """
    text = _as_text(path, binary, found)
    try:
        yield from _rows(path, text, found)
    finally:
        text.detach()  # the caller's file stays open


def _as_text(path: Path, binary: BinaryIO, found: Found) -> io.TextIOWrapper:
    """The file as text, after a look at its first bytes and a decoding pass over all of it."""
    head = binary.read(4096)
    kind = _not_a_table(head)
    if kind:
        raise PersonaeError(f"{path} is {kind}, not a CSV of ratings; expected {_expected()}")
    found.encoding = _encoding(head, binary)
    binary.seek(0)
    # Strict decoding of UTF-8 and Latin-1 cannot fail here; UTF-16 may be cut in mid-character.
    return io.TextIOWrapper(binary, encoding=found.encoding, errors="replace", newline="")


def _not_a_table(head: bytes) -> str | None:
    signs = (
        (b"PAR1", "a Parquet file"),
        (b"\x1f\x8b", "a gzip archive (unpack it first)"),
        (b"PK\x03\x04", "a zip archive or a spreadsheet (unpack it, or save it as CSV)"),
        (b"%PDF", "a PDF"),
    )
    for sign, kind in signs:
        if head.startswith(sign):
            return kind
    text = head.removeprefix(codecs.BOM_UTF8).replace(b"\0", b"").strip()
    if not text:
        return "empty"
    if text.startswith(b"<"):
        return "an HTML or XML page (was it saved from a web site?)"
    if text.startswith((b"{", b"[")):
        return "JSON"
    return None


def _encoding(head: bytes, binary: BinaryIO) -> str:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    # Without a mark: Latin letters in UTF-16 have a zero in every second byte.
    if head[1::2].count(0) > 0.8 * len(head[1::2]) and head[::2].count(0) < 0.2 * len(head):
        return "utf-16-le"
    if head[::2].count(0) > 0.8 * len(head[::2]) and head[1::2].count(0) < 0.2 * len(head):
        return "utf-16-be"
    decoder = codecs.getincrementaldecoder("utf-8")()
    binary.seek(0)
    try:
        while block := binary.read(1 << 20):
            decoder.decode(block)
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8-sig"


# --- text to rows --------------------------------------------------------------------------


@contextmanager
def _long_fields() -> Iterator[None]:
    """The csv module refuses fields over 128 KiB; an answer may be longer."""
    before = csv.field_size_limit(1 << 30)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _rows(path: Path, text: io.TextIOWrapper, found: Found) -> Iterator[Row]:
    """Each data row: the fields of `FIELDS` as text, then its first line's number."""

    def lines() -> Iterator[str]:
        for line in text:
            found.quotation_marks += line.count('"')
            if "\0" in line:
                found.nul_characters += line.count("\0")
                line = line.replace("\0", "")
            yield line

    feed = lines()
    delimiter, header = _header(path, feed, found)
    # A column that the file lacks is the empty field put behind every row.
    known = itemgetter(*(header.index(n) if n in header else len(header) for n in KNOWN))
    answer = header.index("response") if "response" in header else None
    reader = csv.reader(feed, delimiter=delimiter)
    first = 2
    with _long_fields():
        try:
            for fields in reader:
                line, first = first, reader.line_num + 2
                if not "".join(fields).strip():
                    continue
                found.rows += 1
                found.last_row = (line, first - 1)
                if len(fields) != len(header):
                    fields = _mended(fields, len(header), answer, line, found)
                fields.append("")
                yield [*known(fields), line]
        except csv.Error as error:
            raise PersonaeError(f"{path} line {first} is not CSV: {error}") from None


def _header(path: Path, feed: Iterator[str], found: Found) -> tuple[str, list[str]]:
    """Delimiter and lower-case column names; an error names the columns that are wanting."""
    first = next(feed, "").lstrip("\ufeff")
    names: list[str] = []
    for delimiter in (",", ";", "\t"):
        fields = next(iter(csv.reader([first], delimiter=delimiter)), [])
        names = [f.strip().lower() for f in fields]
        if set(NEEDED) <= set(names):
            break
    else:
        raise PersonaeError(
            f"{path} is not ratings: expected {_expected()}; found {one_line(first)!r}"
        )
    twice = sorted({n for n in names if n in KNOWN and names.count(n) > 1})
    if twice:
        raise PersonaeError(f"{path} has the column {twice[0]!r} twice; rename or remove one")
    found.columns = tuple(n for n in names if n in KNOWN)
    return delimiter, names


def _expected() -> str:
    return f"columns {', '.join(NEEDED)} (and persona_id, failures, response, collected_at)"


def _mended(
    fields: list[str], width: int, answer: int | None, line: int, found: Found
) -> list[str]:
    """A row of another length than the header's, brought to it.

    Too few fields: the row was cut off; the rest is empty. Too many: unquoted commas in the
    answer, the only free text; the surplus is joined to it.
    """
    surplus = len(fields) - width
    if surplus < 0:
        found.short_lines.append(line)
        return fields + [""] * -surplus
    found.long_lines.append(line)
    if answer is None:
        return fields[:width]
    end = answer + surplus + 1
    return [*fields[:answer], ",".join(fields[answer:end]), *fields[end:]]
