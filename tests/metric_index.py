"""The index of metrics in docs/statistics.md, as tests read it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
ROW = re.compile(r"^\| (`[^|]+) \| \[[^]]+\]\(([^)#]+)[^)]*\) \|$", re.MULTILINE)
NAME = re.compile(r"`([^`]+)`")
HOLE = re.compile(r"NAME|N\b")


@cache
def rows() -> tuple[tuple[list[str], Path], ...]:
    """(metrics, page of their entry) of every row."""
    found = ROW.findall((DOCS / "statistics.md").read_text("utf-8"))
    return tuple((NAME.findall(cell), DOCS / page) for cell, page in found)


@cache
def index() -> frozenset[str]:
    return frozenset(name for names, _ in rows() for name in names)


@cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    """Names with a hole, such as `axis:NAME`."""
    names = [n for n in sorted(index()) if HOLE.search(n)]
    return tuple(re.compile(".+".join(map(re.escape, HOLE.split(n)))) for n in names)


def documented(metric: str) -> bool:
    return metric in index() or any(p.fullmatch(metric) for p in _patterns())
