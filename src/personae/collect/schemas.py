"""Which versions of the stored formats this personae reads (docs/formats.md describes them).

Within a version, fields are only ever added, with a default for files that lack them. A change
that older readers would misread raises the version, and a step from the older one goes into the
format's `STEPS`: `upgraded` walks them, so that every later personae opens every older file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from personae.errors import PersonaeError

Record = TypeVar("Record")
Step = Callable[[dict[str, Any]], dict[str, Any]]


def upgraded(
    data: Mapping[str, Any], known: int, steps: Mapping[int, Step], where: Path
) -> dict[str, Any]:
    """A stored document as this version would have written it; the file stays as it is.

    Args:
        known: the version that this personae writes.
        steps: by version, how a document of it becomes one of the next.

    Raises:
        PersonaeError: written by a newer personae, or no version at all.
    """
    found = data.get("schema")
    check_schema(found, known, where)
    document = dict(data)
    for version in range(int(found or known), known):
        document = steps[version](document) | {"schema": version + 1}
    return document


def check_schema(found: object, known: int, where: Path) -> None:
    """Refuse a file of a later version, or of none, in one line that says which.

    Raises:
        PersonaeError: `found` is not one of the versions 1 to `known`.
    """
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise PersonaeError(f"{where}: damaged (schema {found!r}, not {known}); run it again")
    if found > known:
        raise PersonaeError(
            f"{where}: schema {found} was written by a newer personae (this one reads {known}); "
            "upgrade with: pip install --upgrade personae"
        )


def stored(kind: type[Record], data: Mapping[str, Any], where: Path) -> Record:
    """The dataclass `kind` as it is stored; fields with a default may be absent.

    Raises:
        PersonaeError: a field is absent, or of another type.
    """
    any_kind: Any = kind
    known = {f.name: data[f.name] for f in fields(any_kind) if f.name in data}
    try:
        made: Record = _adapter(any_kind).validate_python(known)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise PersonaeError(f"{where}: damaged manifest ({place}: {first['msg']})") from None
    return made


@cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
