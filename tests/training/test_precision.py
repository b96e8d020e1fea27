"""What a recipe says of the optimiser and of precision."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from personae.training.adapters import WEIGHTS
from personae.training.loop import OPTIMISER
from personae.training.recipes import Recipe, load_recipe
from personae.training.rows import Rows
from personae.training.sft import train


def weights(
    tiny: str, few: Rows, recipe: Recipe, out: Path
) -> tuple[torch.Tensor, list[float], dict[str, torch.Tensor]]:
    """[all] the adapter, its losses, and its optimiser's state."""
    done = train(tiny, few, recipe, out=out, threads=1)
    found = load_file(out / WEIGHTS)
    assert {w.dtype for w in found.values()} == {torch.float32}
    last = out / "checkpoints" / f"step-{len(done.log):06d}" / OPTIMISER
    flat = torch.cat([found[name].flatten() for name in sorted(found)])
    return flat, [line.loss for line in done.log], load_file(last)


def test_bfloat16_training_stays_near_float32(tiny: str, few: Rows, tmp_path: Path) -> None:
    recipe = Recipe(name="r", rank=4, rate=1e-2, steps=8, batch=4)
    low = recipe.model_copy(update={"precision": "bfloat16"})
    start, _, _ = weights(tiny, few, recipe.model_copy(update={"steps": 1}), tmp_path / "start")
    plain, losses, _ = weights(tiny, few, recipe, tmp_path / "plain")
    half, rough, moments = weights(tiny, few, low, tmp_path / "half")
    assert not torch.equal(plain, half)  # it did compute in another precision
    assert rough == pytest.approx(losses, rel=0.02)
    assert losses[-1] < losses[0] - 0.05
    moved = torch.stack([plain - start, half - start])
    assert float(torch.corrcoef(moved)[0, 1]) > 0.9
    assert {m.dtype for m in moments.values()} == {torch.float32}


def test_beta2_is_the_memory_of_squared_gradients(tiny: str, few: Rows, tmp_path: Path) -> None:
    squares = {}
    for beta2 in (0.999, 0.9):
        recipe = Recipe(name="r", rank=2, rate=1e-12, steps=3, batch=8, beta2=beta2)
        _, _, state = weights(tiny, few, recipe, tmp_path / str(beta2))
        squares[beta2] = torch.cat(
            [state[k].flatten() for k in sorted(state) if k.endswith(":exp_avg_sq")]
        )
    # The weights stand still, so the squares differ by their weights' sums 1 - beta2^3 alone.
    ratio = (squares[0.9] / squares[0.999])[squares[0.999] > 0]
    assert len(ratio) > 100
    # Rows differ from step to step: the sums weigh three gradients unevenly.
    assert float(ratio.median()) == pytest.approx((1 - 0.9**3) / (1 - 0.999**3), rel=0.1)


def test_recipes_that_do_not_use_later_fields_keep_their_hash() -> None:
    # As the model cards of adapters that were trained before say.
    assert load_recipe("quick").hash == (
        "783bc280ea710502be15c7e531035365ea7b243d0e2b2a9b092e9a72b8a88863"
    )
    assert load_recipe("quick", beta2=0.95).hash != load_recipe("quick").hash
    assert load_recipe("quick", precision="bfloat16").hash != load_recipe("quick").hash
