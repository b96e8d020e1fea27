"""What the documentation's commands run in: a prepared folder, and a server for hosted models."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))  # tiny_models, servers, test_hosted
sys.path.insert(0, str(Path(__file__).parents[1] / "internals"))  # test_trait_writing


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from doc_workspace import build

    return build(tmp_path_factory.mktemp("docs"))


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    from doc_running import answer
    from servers import Server

    with Server(answer) as running:
        yield running
