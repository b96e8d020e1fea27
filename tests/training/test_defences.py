"""Defences: gradients by finite differences, algebra against references, the directions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import build_model
from tiny_training import adapted_run, grumpy, loss_of, pool_file

from personae.errors import PersonaeError
from personae.internals.hooks import blocks
from personae.models.loading import load_model
from personae.training.adapters import trainable, written_by
from personae.training.batches import Batch, collate, encode_all
from personae.training.defences import (
    Defence,
    Run,
    load_defence,
)
from personae.training.defences_directions import Placebo, Prevent, project_out
from personae.training.recipes import Recipe
from personae.training.rows import Rows
from personae.training.sft import ResponseObjective, train
from personae.training.terms import as_base


@pytest.mark.parametrize(
    "spec",
    ["kl:0.7,rows=2,on=POOL", "narrow:0.7,rows=2,on=POOL", "features:2",
     "features:2,on=POOL,rows=2", "prevent"],
)  # fmt: skip
def test_gradients_agree_with_finite_differences(
    few: Rows, recipe: Recipe, vector: str, spec: str
) -> None:
    """Along a random direction of all trained weights, in float64.

    GPT-NeoX, since Llama's norm computes in float32 whatever the model is in.
    """
    run = adapted_run(few, recipe, "gpt_neox")
    pool = pool_file(vector, few)
    defence = load_defence(
        f"prevent:{vector}@0.4" if spec == "prevent" else spec.replace("POOL", pool)
    )
    weights = list(trainable(run.model).values())
    loss_of(run, defence).backward()
    generator = torch.Generator().manual_seed(7)
    way = [torch.randn(w.shape, generator=generator, dtype=torch.float64) for w in weights]
    found = sum(float((w.grad * d).sum()) for w, d in zip(weights, way, strict=True))
    step, sides = 1e-6, []
    for sign in (1, -1):
        for w, d in zip(weights, way, strict=True):
            w.data += sign * step * d
        sides.append(float(loss_of(run, defence).detach()))
        for w, d in zip(weights, way, strict=True):
            w.data -= sign * step * d
    expected = (sides[0] - sides[1]) / (2 * step)
    assert found == pytest.approx(expected, rel=2e-5)
    plain = adapted_run(few, recipe, "gpt_neox")  # and the defence does change the gradient
    loss_of(plain, Defence()).backward()
    changed = [(a.grad - b.grad).abs().max() for a, b in
               zip(weights, trainable(plain.model).values(), strict=True)]  # fmt: skip
    assert float(max(changed)) > 1e-6


def _term(run: Run, spec: str, step: int = 0) -> tuple[torch.Tensor, Any]:
    (term,) = load_defence(spec).terms(run)
    examples = encode_all(run.rows.rows, run.chat, 400)
    return term(run.model, collate(examples, 0), step), term


def test_kl_is_torchs_own_on_the_same_tokens(few: Rows, recipe: Recipe) -> None:
    run = adapted_run(few, recipe)
    value, term = _term(run, "kl:0.5,rows=3")
    drawn = term.draws.at(0, "cpu")
    plain = build_model(num_hidden_layers=2).double()
    with torch.no_grad():
        p = plain(input_ids=drawn.tokens, attention_mask=drawn.mask).logits.log_softmax(-1)
        q = run.model(input_ids=drawn.tokens, attention_mask=drawn.mask).logits.log_softmax(-1)
    per_token = torch.nn.functional.kl_div(q, p, log_target=True, reduction="none").sum(-1)
    wanted = per_token[:, :-1][drawn.learnt[:, 1:]].mean()
    assert float(value.detach()) == pytest.approx(0.5 * float(wanted), rel=1e-9)
    assert float(value.detach()) > 0


@pytest.mark.parametrize("spec", ["kl", "narrow", "features:1,on=neutral"])
def test_terms_are_zero_where_the_adapter_does_nothing(
    few: Rows, recipe: Recipe, spec: str
) -> None:
    value, _ = _term(adapted_run(few, recipe, moved=False), spec)
    assert abs(float(value.detach())) < 1e-12


def _output(model: Any, layer: int, batch: Batch) -> torch.Tensor:
    """One block's output, by a hook of the test's own."""
    kept: list[Any] = []
    hook = blocks(model)[layer].register_forward_hook(lambda m, a, out: kept.append(out))
    with torch.no_grad():
        model(input_ids=batch.tokens)
    hook.remove()
    h: torch.Tensor = kept[0][0] if isinstance(kept[0], tuple) else kept[0]
    return h


def test_features_are_relative_squared_distances(few: Rows, recipe: Recipe) -> None:
    run = adapted_run(few, recipe, "gpt_neox")
    with_term = float(loss_of(run, load_defence("features:3,layers=1")).detach())
    without = float(loss_of(run, Defence()).detach())
    objective = ResponseObjective(
        encode_all(few.rows, run.chat, 400), run.recipe, seed=0, padding=0
    )
    plain, distances = build_model("gpt_neox", num_hidden_layers=2).double(), []
    for n in objective.members(4):
        batch = collate(encode_all([few.rows[n]], run.chat, 400), 0)
        kept = {"base": _output(plain, 1, batch), "tuned": _output(run.model, 1, batch)}
        rows = batch.learnt[0, 1:].nonzero()[:, 0]
        for row in rows:
            h, h0 = kept["tuned"][0, row], kept["base"][0, row]
            distances.append(float((h - h0) @ (h - h0) / (h0 @ h0)))
    assert with_term - without == pytest.approx(3 * np.mean(distances), rel=1e-9)


@pytest.mark.parametrize("micro", [1, 2])
def test_terms_do_not_depend_on_the_split(few: Rows, recipe: Recipe, micro: int) -> None:
    run = adapted_run(few, recipe, "gpt_neox")
    defence = load_defence("features:3")
    split = replace(run, recipe=run.recipe.model_copy(update={"micro": micro}))
    whole = replace(run, recipe=run.recipe.model_copy(update={"micro": 4}))
    assert float(loss_of(split, defence).detach()) == pytest.approx(
        float(loss_of(whole, defence).detach()), rel=1e-10
    )


def test_the_base_is_restored_to_the_bit(few: Rows, recipe: Recipe) -> None:
    run = adapted_run(few, recipe)
    frozen = next(iter(trainable(run.model).values()))
    frozen.requires_grad_(False)
    run.model.base_model.model.model.layers[0].eval()
    modes = [m.training for m in run.model.modules()]
    wanted = [p.requires_grad for p in run.model.parameters()]
    batch = collate(encode_all(few.rows, run.chat, 400), 0)
    before = run.model(input_ids=batch.tokens).logits
    with as_base(run.model):
        base = run.model(input_ids=batch.tokens).logits
    assert not torch.equal(base, before)
    assert torch.equal(run.model(input_ids=batch.tokens).logits, before)
    assert [m.training for m in run.model.modules()] == modes
    assert [p.requires_grad for p in run.model.parameters()] == wanted


def test_prevent_adds_its_dose_in_training_and_nothing_afterwards(
    few: Rows, recipe: Recipe, vector: str
) -> None:
    run = adapted_run(few, recipe)
    defence = load_defence(f"prevent:{vector}@0.4,layers=0")
    found = float(loss_of(run, defence).detach())
    u = grumpy().vectors[0].double()
    u = u / u.norm()
    hook = blocks(run.model)[0].register_forward_hook(
        lambda m, a, out: (out[0] + 0.4 * 3.0 * u, *out[1:]) if isinstance(out, tuple)
        else out + 0.4 * 3.0 * u
    )  # fmt: skip
    by_hand = float(loss_of(run, Defence()).detach())
    hook.remove()
    assert found == pytest.approx(by_hand, rel=1e-9)
    assert float(loss_of(run, Defence()).detach()) != pytest.approx(found, rel=1e-6)
    assert not blocks(run.model)[0]._forward_hooks


def test_prevention_takes_over_what_it_gives(tiny: str, few: Rows, tmp_path: Path) -> None:
    """Planted truth: base + vector is the target; trained under that vector, nothing is left."""
    run = adapted_run(few, Recipe(name="r"), moved=False)
    direction = grumpy((1,))
    defence = Prevent(direction, 0.5, (1,))
    batch = collate(encode_all(few.rows, run.chat, 400), 0)

    def pull(shield: Defence) -> float:
        """Length of the gradient of KL(steered base || steered tuned) at the adapter's start."""
        from personae.internals.interventions import apply

        with apply(run.model, defence.interventions(run)), as_base(run.model):
            aim = run.model(input_ids=batch.tokens).logits.softmax(-1)
        run.model.zero_grad()
        with apply(run.model, shield.interventions(run)):
            now = run.model(input_ids=batch.tokens).logits.log_softmax(-1)
        (-(aim * now).sum(-1).mean()).backward()
        return float(sum(w.grad.norm() for w in trainable(run.model).values()))

    assert pull(defence) < 1e-9 < pull(Defence())


@pytest.mark.parametrize("family", ["llama", "gpt_neox", "gpt2", "qwen3"])
def test_projection_leaves_no_write_along_the_direction(
    few: Rows, recipe: Recipe, family: str
) -> None:
    run = adapted_run(few, recipe, family)
    direction = grumpy()
    before = {name: w.clone() for name, w in trainable(run.model).items()}
    project_out(run.model, direction, (0, 1))
    for layer in (0, 1):
        writes = written_by(run.model, layer)
        assert len(writes) == 2  # attention and feed-forward
        for weight in writes:
            assert (
                float((direction.unit_vector(layer) @ weight.double()).abs().max().detach()) < 1e-12
            )
    changed = {n for n, w in trainable(run.model).items() if not torch.equal(w, before[n])}
    assert len(changed) == 4
    assert all("lora_B" in name for name in changed)


@given(st.integers(0, 2**31))
def test_projection_is_idempotent_and_keeps_the_rest(seed: int) -> None:
    from personae.training.defences_directions import without

    generator = torch.Generator().manual_seed(seed)
    u = torch.randn(6, generator=generator, dtype=torch.float64)
    u, w = u / u.norm(), torch.randn(6, 3, generator=generator, dtype=torch.float64)
    once = without(w, u)
    torch.testing.assert_close(without(once, u), once)
    torch.testing.assert_close(once + torch.outer(u, u @ w), w)
    torch.testing.assert_close(without(w[:, 0], u), once[:, 0])


def test_gemma_is_told_that_its_writes_are_normed(few: Rows, recipe: Recipe) -> None:
    run = adapted_run(few, recipe, "gemma2")
    with pytest.raises(PersonaeError, match="norms what it adds"):
        project_out(run.model, grumpy(), (0,))


def test_a_projected_run_ends_without_the_direction(
    tiny: str, few: Rows, recipe: Recipe, tmp_path: Path, vector: str
) -> None:
    for when in ("step", "end"):
        done = train(tiny, few, recipe, out=tmp_path / when, threads=1,
                     defences=[f"project:{vector},when={when}"])  # fmt: skip
        base, tuned = load_model(tiny, threads=1), load_model(done.model, threads=1)
        for layer in (0, 1):
            for name in ("self_attn.o_proj", "mlp.down_proj"):
                change = [blocks(m.model)[layer].get_submodule(name).weight for m in (tuned, base)]
                moved = (change[0] - change[1]).detach().double()
                assert float(moved.abs().max()) > 1e-4
                along = grumpy().unit_vector(layer) @ moved
                assert float(along.abs().max().detach()) < 1e-6


def test_placebo_is_random_of_equal_length_and_another_for_each_seed(
    few: Rows, recipe: Recipe, vector: str
) -> None:
    run = adapted_run(few, recipe)
    placebo = load_defence(f"placebo:prevent:{vector}@0.4")
    assert isinstance(placebo, Placebo)
    (one,), (same,), (other,) = (placebo.interventions(r) for r in (run, run, replace(run, seed=4)))
    true = grumpy()
    assert one.direction.hash == same.direction.hash != other.direction.hash
    torch.testing.assert_close(one.direction.vectors.norm(dim=1), true.vectors.norm(dim=1))
    assert max(map(abs, one.direction.cosine(true))) < 0.6
    assert isinstance(load_defence(f"placebo:project:{vector}"), Placebo)
    with pytest.raises(PersonaeError, match="kl takes no direction"):
        load_defence("placebo:kl:0.3")
