"""The one Jinja environment: everything escaped, everything cleaned, nothing undefined."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from personae.report.text import clean, minus, number, script_json, sentence


def _shown(value: Any) -> Any:
    """Every `{{ }}`: our own markup as it is, other text cleaned (and then escaped by Jinja)."""
    return value if isinstance(value, Markup) else clean(value) if isinstance(value, str) else value


def _moment(value: Any) -> str:
    """`2026-11-21T12:00:00+00:00` as `2026-11-21 12:00 UTC`; anything else as it is."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d):\d\d(\+00:00|Z)", str(value))
    return f"{match[1]} {match[2]} UTC" if match else str(value)


def _cell(value: Any) -> str:
    """A table cell: numbers short, anything else as text."""
    return number(value) if value is None or isinstance(value, float) else str(value)


def _breakable(text: str) -> Markup:
    """Text that may break after a slash, dot or underscore."""
    escaped = str(escape(clean(text)))
    return Markup(re.sub(r"(?<=[/._])(?=[^\W\d_])", "<wbr>", escaped))


@cache
def environment() -> Any:
    """Autoescape on for every template, whatever its name."""
    made = Environment(
        loader=PackageLoader("personae.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "cell": _cell,
        "script_json": script_json,
        "breakable": _breakable,
        "minus": minus,
        "moment": _moment,
        "sentence": sentence,
    }
    made.tests["long"] = lambda value: any(len(word) > 28 for word in str(value).split())
    return made
