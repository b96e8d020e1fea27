"""Every command and every Python example of half of the pages, run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("inspect_ai")

from doc_running import run_page, share


@pytest.mark.parametrize("page", share(1, 2))
def test_a_page_runs(page: str, template: Path, server: Any, tmp_path: Path) -> None:
    run_page(page, template, tmp_path / "page", server)
