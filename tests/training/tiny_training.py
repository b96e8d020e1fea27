"""Directions, adapted models and their losses, for the tests of defences and of the watch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from tiny_models import build_model, build_tokenizer

from personae.internals.direction import Direction
from personae.models.chat import Chat
from personae.training.adapters import attach, trainable
from personae.training.batches import encode_all
from personae.training.defences import Defence, Run
from personae.training.recipes import Recipe
from personae.training.rows import Rows
from personae.training.sft import ResponseObjective
from personae.training.watch_measures import WatchSet

WIDTH = 32
SMALL = WatchSet(personas=2, items=3, pairs=2, texts=2)


def grumpy(layers: Sequence[int] = (0, 1), seed: int = 0) -> Direction:
    vectors = torch.randn(len(layers), WIDTH, generator=torch.Generator().manual_seed(seed))
    return Direction("grumpy", tuple(layers), vectors, norms=(3.0,) * len(layers),
                     details={"layer": layers[-1]})  # fmt: skip


def adapted_run(few: Rows, recipe: Recipe, family: str = "llama", *, moved: bool = True) -> Run:
    """A float64 model whose adapter is no longer at its start, where B is zero."""
    model, chat = build_model(family, num_hidden_layers=2), Chat(build_tokenizer())
    calm = recipe.model_copy(update={"dropout": 0.0, "max_tokens": 400})
    adapted = attach(model, calm, seed=1, base="x").double().train()
    if moved:
        generator = torch.Generator().manual_seed(5)
        for weight in trainable(adapted).values():
            noise = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
            weight.data += 0.05 * noise
    return Run(adapted, chat, calm, few, seed=3)


def pool_file(vector: str, few: Rows) -> str:
    """A few short texts in a file beside the vector, since long ones take long to encode."""
    path = Path(vector).with_name("pool.jsonl")
    few.write(path)
    return str(path)


def loss_of(run: Run, defence: Defence) -> torch.Tensor:
    """The defence's own share of a step's loss, as the objective computes it."""
    examples = encode_all(run.rows.rows, run.chat, 400)
    objective = ResponseObjective(
        examples, run.recipe, seed=0, padding=0,
        terms=defence.terms(run), interventions=defence.interventions(run),
    )  # fmt: skip
    total = sum(part.loss for part in objective.parts(run.model, 4))
    assert isinstance(total, torch.Tensor)
    return total
