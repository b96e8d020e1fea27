"""A few rounds of chaos (many.py runs as many as one likes)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from many import KINDS, rounds


@pytest.mark.parametrize("kind", KINDS)
def test_killed_and_resumed_runs_equal_an_undisturbed_one(kind: str, tmp_path: Path) -> None:
    runs = 1 if kind == "study" else 2  # a study takes seconds
    if kind == "hosted":
        pytest.importorskip("inspect_ai")
    seed = int.from_bytes(os.urandom(4), "big")  # rounds() prints it
    counted = rounds([kind], runs=runs, kills=2, seed=seed, folder=tmp_path)
    assert counted[f"{kind} runs"] == runs
    assert counted[f"{kind} kills"] >= runs
