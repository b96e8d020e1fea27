"""Text that did not come from us, made safe to show.

Model answers, persona texts and file names reach the page through here and nowhere else:
`clean` takes out what no HTML page can carry, `escape` (markupsafe) does the rest, and
`script_json` writes data into a `<script type="application/json">` that cannot be closed early.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from personae.findings import json_number

# Controls, lone surrogates and non-characters: not allowed in HTML, or invisible.
_FORBIDDEN = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)
# Overrides and isolates reorder the text around them; shown by name, they cannot.
_BIDI = re.compile(r"[\u202a-\u202e\u2066-\u2069]")


def clean(text: str) -> str:
    """`text` without controls, lone surrogates and direction overrides; newlines stay."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _FORBIDDEN.sub("\ufffd", text)
    return _BIDI.sub(lambda m: f"[U+{ord(m[0]):04X}]", text)


def clean_all(value: Any) -> Any:
    """`value` (JSON-like) with every string cleaned and every float valid JSON."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {clean(str(k)): clean_all(v) for k, v in value.items()}
    if isinstance(value, Sequence):
        return [clean_all(v) for v in value]
    return json_number(value)


def script_json(value: Any) -> Markup:
    """JSON for a script element: no `<`, `>`, `&`, and nothing outside ASCII."""
    text = json.dumps(clean_all(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def number(value: float | None) -> str:
    """One to three significant figures, for reading: 0.0004, 0.042, 0.66, 38.8, 1,240, ∞, –."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    size = abs(value)
    if size == 0:
        return "0"
    if size < 0.00005:
        return f"{value:.0e}".replace("e-0", "e-").replace("-", "−")
    digits = (
        4 if size < 0.00095 else 3 if size < 0.1 else 2 if size < 10 else 1 if size < 100 else 0
    )
    return f"{value:,.{digits}f}".replace("-", "−")


def interval(low: float, high: float) -> str:
    """`[low, high]`, or nothing where no interval is defined."""
    if math.isnan(low) or math.isnan(high):
        return ""
    return f"[{number(low)},\u00a0{number(high)}]"


def minus(text: str) -> str:
    """Hyphens that begin a number as minus signs, as everywhere else on the page."""
    return re.sub(r"(?<![\w.)\]])-(?=\d)", "−", text)


def sentence(text: str) -> str:
    """A caption: a capital where it begins with a plain word, a full stop at its end."""
    if re.match(r"[a-z]{2,}\b(?![-_./:])", text):
        text = text[0].upper() + text[1:]
    return text if not text or text[-1] in ".?!)" else f"{text}."


def percent(value: float) -> str:
    """A share as a whole percentage; small shares keep a digit."""
    if math.isnan(value):
        return "–"
    share = 100 * value
    if 0 < share < 0.05:
        return "<0.1%"
    if 99.95 < share < 100:
        return ">99.9%"
    return f"{share:.1f}%" if 0 < share < 1 or 99 < share < 100 else f"{share:.0f}%"


def clip(text: str, characters: int) -> str:
    """`text` cut to a length, with an ellipsis."""
    return text if len(text) <= characters else text[: max(characters - 1, 1)].rstrip() + "…"


def short_names(names: Sequence[str]) -> list[str]:
    """What tells models apart: the last part of each path, where that is enough."""
    short = [name.rstrip("/").rpartition("/")[2] or name for name in names]
    return short if len(set(short)) == len(set(names)) else list(names)
