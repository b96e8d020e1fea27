"""Casts by name, by number, or from a file.

Bundled casts are the YAML files in `data/`; `personahub100` is fetched. The 100 citizens stand in
an order in which every prefix is spread over age, region, work, politics, faith and moral
outlook, so that "the first N" is a small cast and not a corner of the large one.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from personae.cast.model import Cast
from personae.errors import PersonaeError
from personae.fetch import fetch
from personae.files import (
    is_file,
    one_line,
    parse_json,
    parse_yaml,
    read_document,
    read_text,
    validated,
)

BUNDLED = ("citizens", "stated", "toxic", "null")
FETCHED = "personahub100"
SUFFIXES = (".txt", ".csv", ".json", ".jsonl", ".yaml", ".yml")
PERSONAHUB_REPOSITORY = "bastoscostadavi/persona-moral-collapse-in-emergent-misalignment"
PERSONAHUB_PATH = "llm-persona-moral-metrics/personas.json"


@dataclass(frozen=True)
class CastEntry:
    """A cast that can be named: `bundled` is False where it is fetched on first use."""

    name: str
    title: str
    size: int
    source: str
    licence: str
    bundled: bool


def list_casts() -> list[CastEntry]:
    """The casts that `load_cast` knows by name."""
    entries = [
        CastEntry(cast.name, cast.title, len(cast), cast.source, cast.licence, bundled=True)
        for cast in map(_bundled, BUNDLED)
    ]
    hub = _personahub_header()
    return [*entries, CastEntry(FETCHED, hub["title"], 100, hub["source"], hub["licence"], False)]


def load_cast(spec: str | int | Path) -> Cast:
    """The cast that `spec` names.

    Args:
        spec: a name from `list_casts`; "all" for all citizens; a number N (or its digits) for
            the first N citizens; or a file:
            .txt    one persona a line;
            .csv    a header with `text` or `persona`, optionally `id`; other columns become tags;
            .json, .yaml, .yml   a list of texts, a list of objects with the same fields, or a
                    whole cast (name, title, source, licence, personas);
            .jsonl  one text or object a line.

    Raises:
        PersonaeError: unknown name, impossible number, or a file that is not a cast.
    """
    if isinstance(spec, int) or (isinstance(spec, str) and spec.isdecimal() and spec.isascii()):
        return _first(int(str(spec)[:9]))
    if isinstance(spec, str):
        if spec == "all":
            return _bundled("citizens")
        if spec in BUNDLED:
            return _bundled(spec)
        if spec == FETCHED:
            return _personahub()
        looks_like_file = "/" in spec or Path(spec).suffix.lower() in SUFFIXES
        if not looks_like_file and not is_file(Path(spec)):
            names = ", ".join((*BUNDLED, FETCHED))
            raise PersonaeError(
                f"no cast {one_line(spec)!r}; there are {names}, a number of citizens, or a file"
            )
    return _from_file(Path(spec))


def _first(n: int) -> Cast:
    citizens = _bundled("citizens")
    if not 1 <= n <= len(citizens):
        raise PersonaeError(f"a cast of {n} citizens: choose a number from 1 to {len(citizens)}")
    if n == len(citizens):
        return citizens
    return citizens.head(n).model_copy(update={"title": f"the first {n} of 100 citizens"})


@cache
def _bundled(name: str) -> Cast:
    text = files("personae.cast").joinpath(f"data/{name}.yaml").read_text("utf-8")
    return validated(Cast, parse_yaml(text, f"cast {name}"), f"cast {name}")


def _personahub_header() -> dict[str, str]:
    return {
        "name": FETCHED,
        "title": "100 PersonaHub personas (arXiv 2605.12850)",
        "source": f"PersonaHub (arXiv 2406.20094), first 100 of {PERSONAHUB_REPOSITORY}",
        "licence": "CC BY-NC-SA 4.0",
    }


def _personahub() -> Cast:
    path = fetch(PERSONAHUB_REPOSITORY, PERSONAHUB_PATH)
    texts = read_document(path)
    # The public ratings call these personas 0 to 99, in file order.
    personas = [{"id": str(n), "text": text} for n, text in enumerate(texts[:100])]
    return validated(Cast, {**_personahub_header(), "personas": personas}, path.name)


# --- files ---------------------------------------------------------------------------------


def _from_file(path: Path) -> Cast:
    match path.suffix.lower():
        case ".txt":
            rows: Any = [line for line in read_text(path).split("\n") if line.strip()]
        case ".csv":
            rows = _csv_rows(read_text(path), path)
        case ".jsonl":
            lines = enumerate(read_text(path).split("\n"), start=1)
            rows = [parse_json(line, f"{path}: line {n}") for n, line in lines if line.strip()]
        case ".json" | ".yaml" | ".yml":
            rows = read_document(path)
        case suffix:
            kinds = ", ".join(SUFFIXES)
            found = "a folder" if path.is_dir() else suffix or "nothing"
            raise PersonaeError(f"{path}: a cast file ends in {kinds}; this is {found}")
    if isinstance(rows, Mapping):
        data = dict(rows) if rows.get("name") else {**rows, "name": path.stem}
    elif isinstance(rows, list):
        data = {"name": path.stem, "personas": list(_personas(rows, path))}
    else:
        raise PersonaeError(f"{path}: should hold a list of personas or a cast")
    if data.get("personas") == []:
        raise PersonaeError(f"{path}: the cast is empty; give at least one persona")
    return validated(Cast, data, str(path))


def _personas(rows: Iterable[Any], path: Path) -> Iterable[dict[str, Any]]:
    """Rows of a list file as fields of `Persona`; ids are p001, p002, ... where none is given."""
    for number, row in enumerate(rows, start=1):
        given = {"text": row} if isinstance(row, str) else row
        if not isinstance(given, Mapping):
            kind = type(row).__name__
            raise PersonaeError(f"{path}: persona number {number} is a {kind}, not a text")
        fields = {"id": f"p{number:03d}", **given}
        if "persona" in fields and "text" not in fields:
            fields["text"] = fields.pop("persona")
        yield fields


def _csv_rows(text: str, path: Path) -> list[dict[str, Any]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip().lower() for name in reader.fieldnames or ()]
        column = next((name for name in ("text", "persona") if name in header), None)
        if column is None:
            found = one_line(json.dumps(header, ensure_ascii=False))
            raise PersonaeError(f"{path}: no column 'text' or 'persona' in the header {found}")
        if len(set(header)) < len(header):
            raise PersonaeError(f"{path}: a column name is given twice in the header")
        reader.fieldnames = header
        return [_csv_persona(row, column, reader.line_num, path) for row in reader]
    except csv.Error as error:
        raise PersonaeError(f"{path}: line {reader.line_num}: not CSV ({error})") from None


def _csv_persona(
    row: dict[str | Any, str | Any], column: str, line: int, path: Path
) -> dict[str, Any]:
    if None in row:
        raise PersonaeError(f"{path}: line {line} has more cells than the header; quote commas")
    if not (row[column] or "").strip():
        raise PersonaeError(f"{path}: line {line}: the {column} is empty")
    fields: dict[str, Any] = {"text": row.pop(column)}
    if (row.get("id") or "").strip():
        fields["id"] = row["id"]
    fields["tags"] = {k: v for k, v in row.items() if k and k != "id" and (v or "").strip()}
    return fields
