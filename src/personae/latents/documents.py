"""A folder of results on latents: one JSON document a step, one findings table, one report.

train.json  diff.json  test.json  predict.json  reroute.json    what was done and what came out
findings.parquet                                               the findings of all of them
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from personae.collect.folder import write_atomic
from personae.errors import PersonaeError
from personae.files import read_document
from personae.findings import Finding, findings_file, json_number

STEPS = ("train", "diff", "test", "predict", "reroute", "narrow")
MAX_BYTES = 64 * 2**20


def write_step(
    folder: Path, step: str, document: Mapping[str, Any], findings: Sequence[Finding]
) -> dict[str, Any]:
    """Write one step's document, and the table of all steps' findings again.

    Raises:
        PersonaeError: the folder cannot be written.
    """
    whole = _clean({**document, "findings": [f.as_json() for f in findings]})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{step}.json.part"
        part.write_text(json.dumps(whole, indent=1, allow_nan=False) + "\n", "utf-8")
        part.replace(folder / f"{step}.json")
    except OSError as why:
        raise PersonaeError(f"{folder}: cannot be written ({why.strerror or why})") from None
    write_atomic(folder / "findings.parquet", findings_file(all_findings(folder)))
    found: dict[str, Any] = whole
    return found


def read_step(folder: Path, step: str) -> dict[str, Any]:
    """One step's document.

    Raises:
        PersonaeError: the step has not been done there, or its document is damaged.
    """
    path = folder / f"{step}.json"
    if not path.is_file():
        raise PersonaeError(f"{folder}: has no {step}.json; run `personae latents {step}` first")
    found: dict[str, Any] = read_document(path, MAX_BYTES)
    try:
        _findings(found)
        shlex.join(found.get("command") or ())
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as why:
        raise PersonaeError(
            f"{path}: damaged ({why}); run `personae latents {step}` again"
        ) from None
    return found


def all_steps(folder: Path) -> dict[str, dict[str, Any]]:
    """Every step's document that is there."""
    return {step: read_step(folder, step) for step in STEPS if (folder / f"{step}.json").is_file()}


def all_findings(folder: Path, steps: Sequence[str] = STEPS) -> list[Finding]:
    """The findings of every step, or of some."""
    return [
        finding
        for step, document in all_steps(folder).items()
        if step in steps
        for finding in _findings(document)
    ]


def _findings(document: Mapping[str, Any]) -> list[Finding]:
    rows = document["findings"]
    return [Finding(**{k: _typed(k, v) for k, v in row.items()}) for row in rows]


def _typed(key: str, value: Any) -> Any:
    if key in ("value", "low", "high", "se"):
        return float("nan") if value is None else float(value)
    return int(value) if key == "n" else value


def _clean(value: Any) -> Any:
    """Valid JSON: no NaN, no infinities."""
    if isinstance(value, Mapping):
        return {str(k): _clean(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(v) for v in value]
    return json_number(value)
