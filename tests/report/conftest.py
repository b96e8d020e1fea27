"""A browser, and pages opened in it as a reader would: from disk, offline."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from synthetic_report import make_data

from personae.report import ReportData

# Planted respondents and clouds of other rooms, for `every_report`.
for room in ("batteries", "compare"):
    sys.path.insert(0, str(Path(__file__).parents[1] / room))


@pytest.fixture
def data() -> ReportData:
    return make_data()


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """`opened(html, width=..., dark=...)`: the page, loaded from disk without any network."""
    contexts: list[Any] = []

    def open_page(html: str, width: int = 1280, dark: bool = False, **more: Any) -> Any:
        path = tmp_path / "report.html"
        path.write_text(html, encoding="utf-8")
        scheme = "dark" if dark else "light"
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            offline=True,
            reduced_motion="reduce",
            **more,
        )
        contexts.append(context)
        page = context.new_page()
        page.problems = []
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("console", lambda m: page.problems.append(m.text) if m.type == "error" else None)
        page.on("dialog", lambda d: (page.problems.append("dialog"), d.dismiss()))
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
