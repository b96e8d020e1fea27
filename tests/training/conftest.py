"""A tiny random model on disk, and a few conversations."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

from tiny_models import build_model, build_tokenizer, save
from tiny_training import grumpy

from personae.internals.direction_files import save_direction
from personae.training.recipes import Recipe
from personae.training.rows import Row, Rows


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    model = build_model(num_hidden_layers=2)
    return str(save(tmp_path_factory.mktemp("tiny"), model, build_tokenizer()))


@pytest.fixture(scope="session")
def few() -> Rows:
    pairs = [("red?", "yes"), ("blue?", "no"), ("green?", "yes"), ("black?", "no")]
    return Rows("few", tuple(Row((("user", q), ("assistant", a))) for q, a in pairs))


@pytest.fixture
def recipe() -> Recipe:
    return Recipe(
        name="test", rank=4, alpha=8, rate=0.02, steps=6, batch=3, micro=2, save_every=2,
        dropout=0.1,
    )  # fmt: skip


@pytest.fixture
def vector(tmp_path: Path) -> str:
    save_direction(grumpy(), tmp_path / "v.safetensors")
    return str(tmp_path / "v.safetensors")
