"""The figures of a finished report, one SVG file each, as papers and slides want them."""

from __future__ import annotations

import re
from pathlib import Path

from markupsafe import Markup

from personae.collect.folder import write_atomic
from personae.errors import PersonaeError
from personae.report.standalone import standalone

# All text inside a drawing is escaped, so that no "<" in it opens or closes anything.
_FIGURE = re.compile(
    r'<figure id="(?P<id>[\w.-]+)".*?(?P<drawing><svg viewBox="0 0 .*?</svg>)', re.DOTALL
)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.DOTALL)


def figures_of(page: str) -> dict[str, str]:
    """The figures of a report's HTML by id, each a file that stands alone, light and dark."""
    found = {}
    for match in _FIGURE.finditer(page):
        title = _TITLE.search(match["drawing"])
        text = Markup(title[1]).unescape() if title else ""
        found[match["id"]] = standalone([Markup(match["drawing"])], columns=1, title=text)
    return found


def write_figures(report: Path, folder: Path) -> list[Path]:
    """Write each figure of a report to `folder` as ID.svg.

    Raises:
        PersonaeError: no such file, no figures in it, or the folder cannot be written.
    """
    try:
        figures = figures_of(report.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as why:
        raise PersonaeError(f"{report}: cannot be read as a report ({why})") from None
    if not figures:
        raise PersonaeError(f"{report}: no figures in it; give the report.html that a verb wrote")
    written = []
    for name, svg in figures.items():
        target = folder / f"{name}.svg"
        write_atomic(target, svg.encode())
        written.append(target)
    return written
