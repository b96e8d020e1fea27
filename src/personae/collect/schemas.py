"""Which versions of the stored formats this personae reads (docs/formats.md describes them).

Within a version, fields are only ever added, with a default for files that lack them. A change
that older readers would misread raises the version, and a step from the older one goes into the
format's `STEPS`: `upgraded` walks them, so that every later personae opens every older file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from personae.errors import PersonaeError

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


def stored_fields(kind: type[Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the dataclass `kind` that are stored; those with a default may be absent.

    Raises:
        KeyError: a field without a default is absent.
    """
    needed = {f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}
    return {f.name: data[f.name] for f in fields(kind) if f.name in data or f.name in needed}
