"""Recipes: everything about a fine-tune but its base, its data and its seed."""

from __future__ import annotations

import hashlib
import math
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from personae.errors import PersonaeError
from personae.files import named_path, read_document, validated

# Fields that came later count where they are set: earlier runs keep their hash.
LATER = ("kind", "blocks", "beta2", "precision")


class Recipe(BaseModel):
    """A LoRA fine-tune by AdamW.

    Args:
        rank, alpha, rslora, dropout: of the adapter; its weights are scaled by alpha / rank, or
            alpha / sqrt(rank) with `rslora` (arXiv 2312.03732).
        kind: "lora", or "vector": nothing but one vector, added to the output of each adapted
            block; rank, alpha, dropout and targets then mean nothing.
        targets: names of the linear layers adapted; empty: all but the output head. "mlp_out" is
            the one by which a block's feed-forward part writes, whatever the model calls it.
        first_layer: share of the blocks, from the bottom, that is left alone. Gradients stop
            there, which saves that share of the backward pass.
        blocks: depths, 0 to 1, of the only blocks adapted; empty: all from `first_layer` on.
        rate: peak learning rate. It rises over `warmup` steps and follows `schedule` afterwards.
        epochs: passes over the data; `steps`, where given, counts instead.
        batch: conversations per step; `micro`: at once in memory. The result is the same.
        max_tokens: longer conversations are cut at the end.
        clip: largest gradient norm; larger ones are scaled down to it.
        beta2: of AdamW, the memory of squared gradients; with 0.999, a gradient that grows
            suddenly moves the weights up to thirty times as far as a steady one.
        precision: of the products; "bfloat16" is quicker where the processor has it. The
            adapter and its gradients stay float32.
        save_every: steps between checkpoints.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str = ""
    kind: Literal["lora", "vector"] = "lora"
    rank: int = Field(default=8, ge=1)
    alpha: float = Field(default=16, gt=0)
    rslora: bool = False
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: tuple[str, ...] = ()
    first_layer: float = Field(default=0.0, ge=0, lt=1)
    blocks: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = ()
    rate: float = Field(default=1e-4, gt=0, allow_inf_nan=False)
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    warmup: int = Field(default=0, ge=0)
    epochs: float = Field(default=1.0, gt=0)
    steps: int | None = Field(default=None, ge=1)
    batch: int = Field(default=8, ge=1)
    micro: int = Field(default=4, ge=1)
    max_tokens: int = Field(default=512, ge=2)
    weight_decay: float = Field(default=0.0, ge=0)
    clip: float = Field(default=1.0, gt=0)
    beta2: float = Field(default=0.999, gt=0, lt=1)
    precision: Literal["float32", "bfloat16"] = "float32"
    save_every: int = Field(default=50, ge=1)

    @property
    def hash(self) -> str:
        """sha256 over all fields that the result depends on."""
        unset = {name for name in LATER if name not in self.model_fields_set}
        content = self.model_dump_json(exclude={"name", "title", "save_every"} | unset)
        return hashlib.sha256(content.encode()).hexdigest()

    def layers_of(self, depth: int) -> list[int]:
        """The blocks, of `depth`, that are adapted."""
        if self.blocks:
            return sorted({int(share * depth) for share in self.blocks})
        return list(range(int(self.first_layer * depth), depth))

    def rate_at(self, step: int, steps: int) -> float:
        """Learning rate of step 0 .. steps - 1."""
        if step < self.warmup:
            return self.rate * (step + 1) / (self.warmup + 1)
        left = 1 - (step - self.warmup) / max(steps - self.warmup, 1)
        if self.schedule == "linear":
            return self.rate * left
        if self.schedule == "cosine":
            return self.rate * (1 - math.cos(math.pi * left)) / 2
        return self.rate

    def steps_for(self, rows: int) -> int:
        """Steps that a data set of so many rows takes."""
        return self.steps or max(1, math.ceil(rows * self.epochs / self.batch))


@cache
def _bundled() -> dict[str, Any]:
    found: dict[str, Any] = read_document(Path(__file__).parent / "data" / "recipes.yaml")
    return found


def recipe_names() -> list[str]:
    return list(_bundled())


def load_recipe(name: str, **changes: Any) -> Recipe:
    """A bundled recipe by name, or one from a YAML or JSON file; `changes` replace fields.

    Raises:
        PersonaeError: no such recipe or file, or a field that is not one.
    """
    path = named_path(name)
    if name in _bundled():
        fields, where = dict(_bundled()[name]), f"recipe {name}"
    elif path.suffix.lower() in (".yaml", ".yml", ".json"):
        fields, where = read_document(path), str(path)
    else:
        known = ", ".join(recipe_names())
        raise PersonaeError(f"no recipe {name!r}; there are: {known}, or give a YAML file")
    if isinstance(fields, dict):
        fields = {"name": path.stem, **fields, **changes}
    return validated(Recipe, fields, where)
