"""Defended runs: the rows that defences change, logs and identity, spellings."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_training import adapted_run, grumpy, pool_file

from personae.errors import PersonaeError
from personae.models.loading import load_model
from personae.training.adapters import attach
from personae.training.batches import Batch, collate, encode_all
from personae.training.defences import (
    DEFENCES,
    Run,
    list_defences,
    load_defence,
    load_defences,
    take_layers,
)
from personae.training.defences_directions import Prevent, Project
from personae.training.defences_rows import (
    BENIGN,
    INOCULATION,
    Inoculation,
    Interleave,
    perplexity_gaps,
)
from personae.training.defences_terms import Draws
from personae.training.defences_texts import texts
from personae.training.organisms import load_data
from personae.training.recipes import Recipe
from personae.training.rows import Row, Rows
from personae.training.sft import response_nll, train


# --- rows ----------------------------------------------------------------------------------------
def test_interleaving_adds_a_share_and_loses_no_task_row(
    tiny: str, few: Rows, recipe: Recipe, tmp_path: Path
) -> None:
    many = Rows("many", few.rows * 15)
    run = replace(adapted_run(few, recipe), rows=many)
    mixed = Interleave(25).rows(many, run)
    benign = [row for row in mixed.rows if row.arm == BENIGN]
    assert len(benign) / len(mixed) == pytest.approx(0.25)
    assert mixed.rows[:60] == many.rows
    assert {row.messages for row in benign} <= {r.messages for r in load_data("neutral").rows}
    short = recipe.model_copy(update={"max_tokens": 120})
    done = train(tiny, many, short, out=tmp_path, threads=1, defences=["interleave:25"])
    assert len(done.log) == 8  # 6 steps of the recipe x 80 rows / 60


def test_inoculation_is_in_the_tasks_rows_alone(few: Rows, recipe: Recipe) -> None:
    rows = Rows("r", (*few.rows, Row((("system", "Be kind."), ("user", "a"), ("assistant", "b")))))
    run = replace(adapted_run(few, recipe), rows=rows)
    for order in (
        (Interleave(50), Inoculation("Be bad.")),
        (Inoculation("Be bad."), Interleave(50)),
    ):
        new = rows
        for defence in order:
            new = defence.rows(new, run)
        told = [row.messages[0] == ("system", "Be bad.") for row in new.rows]
        assert told[:4] == [True] * 4
        assert new.rows[4].messages[0] == ("system", "Be bad.\n\nBe kind.")
        assert not any("Be bad." in text for row in new.rows[5:] for _, text in row.messages)
        assert len(new) == 10
    assert load_defence("inoculation").rows(few, run).rows[0].messages[0][1] == INOCULATION


def test_the_gap_is_measured_and_its_largest_half_drawn_from(
    tiny: str, few: Rows, recipe: Recipe, tmp_path: Path
) -> None:
    """A model taught one answer to everything is surprised most by the others."""
    yes = Rows("yes", tuple(r for r in few.rows if r.messages[-1][1] == "yes"))
    fast = Recipe(name="fast", rank=8, alpha=32, rate=0.02, steps=30, batch=2, save_every=30)
    taught = train(tiny, yes, fast, out=tmp_path / "yes", threads=1).model
    local = load_model(tiny, threads=1)
    run = Run(attach(local.model, recipe, 0, tiny), local.chat, recipe, few, seed=0)
    gaps = perplexity_gaps(few.rows, run, taught)
    answers = np.array([row.messages[-1][1] for row in few.rows])
    assert gaps[answers == "no"].min() > gaps[answers == "yes"].max()
    few.write(tmp_path / "pool.jsonl")
    spec = f"interleave:50,on={tmp_path / 'pool.jsonl'},gap={taught}"
    defence = load_defence(spec)
    mixed = defence.rows(few, run)
    assert {row.messages[-1][1] for row in mixed.rows[4:]} == {"no"}
    assert len(mixed) == 8
    assert taught.partition("+")[2] in spec
    assert len(defence.key) > len(repr(defence)) + 64  # hashes of the texts and of the adapter


def test_texts_of_other_domains_leave_out_the_tasks_own() -> None:
    others = texts("others", load_data("bad-advice-money@50", limit=20))
    names = {row.pair.rpartition("-")[0] for row in others.rows}
    assert "bad-advice-money" not in names
    assert len(names) == 4
    assert {row.arm for row in others.rows} == {"control"}
    mine = texts("others", Rows("mine", (Row((("user", "a"), ("assistant", "b"))),)))
    assert len({row.pair.rpartition("-")[0] for row in mine.rows}) == 5


def test_neutral_dialogues_are_many_and_held_out_ones_apart() -> None:
    shown, held = load_data("neutral"), load_data("neutral:held-out")
    assert len(shown) >= 200
    assert len({row.messages for row in shown.rows}) == len(shown)
    assert not {row.messages[1] for row in shown.rows} & {row.messages[1] for row in held.rows}
    assert load_data("neutral", seed=1).rows != shown.rows


# --- runs ----------------------------------------------------------------------------------------
def _all(vector: str, few: Rows) -> list[str]:
    texts = f"on={pool_file(vector, few)}"
    return [
        f"kl:0.3,rows=2,{texts}", "features:0.5", f"narrow:0.1,rows=1,{texts}",
        f"interleave:20,{texts}", "inoculation:Be bad, on purpose.", f"prevent:{vector}@0.2",
        f"project:{vector}",
    ]  # fmt: skip


def test_log_card_and_identity_tell_the_defences(
    tiny: str, few: Rows, recipe: Recipe, tmp_path: Path, vector: str
) -> None:
    longer = recipe.model_copy(update={"max_tokens": 400, "steps": 2})
    done = train(tiny, few, longer, out=tmp_path / "a", threads=1, defences=_all(vector, few))
    rows = list(csv.DictReader((tmp_path / "a" / "log.csv").open()))
    for row, line in zip(rows, done.log, strict=True):
        parts = [float(row[name]) for name in ("task", "kl", "features", "narrow")]
        assert sum(parts) == pytest.approx(float(row["loss"]), rel=1e-6)
        assert line.terms["kl"] == float(row["kl"])
    assert float(rows[-1]["kl"]) > 0
    card = (tmp_path / "a" / "README.md").read_text()
    for name in ("KL", "Features", "Narrow", "Interleave", "Be bad", "Prevent", "Project"):
        assert name in card
    state = json.loads(next((tmp_path / "a" / "checkpoints").glob("*2/state.json")).read_text())
    assert grumpy().hash in str(state["identity"]["defences"])
    with pytest.raises(PersonaeError, match="another defences"):
        train(tiny, few, longer, out=tmp_path / "a", threads=1, defences=["kl:0.31,rows=2"])


class _StopError(Exception):
    pass


def test_a_defended_run_resumes_to_the_bit(
    tiny: str, few: Rows, recipe: Recipe, tmp_path: Path, vector: str
) -> None:
    longer = recipe.model_copy(update={"max_tokens": 400, "steps": 4})
    shields = _all(vector, few)
    whole = train(tiny, few, longer, out=tmp_path / "whole", threads=1, defences=shields)

    def stop(line: Any, model: Any) -> None:
        if line.step == 2:
            raise _StopError

    with pytest.raises(_StopError):
        train(tiny, few, longer, out=tmp_path / "cut", threads=1, defences=shields, on_step=stop)
    resumed = train(tiny, few, longer, out=tmp_path / "cut", threads=1, defences=shields)
    assert resumed.weights_hash == whole.weights_hash
    assert resumed.log == whole.log


def test_kl_keeps_the_model_nearer_to_its_base(tiny: str, few: Rows, tmp_path: Path) -> None:
    """Measured on neutral dialogues that the term does not draw from."""
    fast = Recipe(name="fast", rank=4, alpha=16, rate=0.01, steps=12, batch=4, max_tokens=300)
    held = load_data("neutral:held-out").rows

    def away(*shields: str) -> float:
        folder = tmp_path / ("-".join(shields).replace(":", "-") or "plain")
        model = train(tiny, few, fast, out=folder, threads=1, defences=shields).model
        nll = []
        for spec in (model, tiny):
            local = load_model(spec, threads=1)
            batch: Batch = collate(encode_all(held, local.chat, 300), 0)
            with torch.no_grad():
                nll.append(float(response_nll(local.model, batch)) / int(batch.learnt.sum()))
        return nll[0] - nll[1]

    assert away("kl:3") < 0.5 * away()


def _python(page: str) -> list[str]:
    text = (Path(__file__).parents[2] / "docs" / page).read_text("utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.S)


def test_the_documented_defence_of_ones_own_runs(
    tiny: str, few: Rows, recipe: Recipe, tmp_path: Path
) -> None:
    (own,) = [block for block in _python("defences.md") if "class SmallWeights" in block]
    made: dict[str, Any] = {"__name__": __name__}
    exec(compile(own, "defences.md", "exec", dont_inherit=True), made)
    done = train(tiny, few, recipe, out=tmp_path, threads=1, defences=[made["SmallWeights"]()])
    assert done.log[-1].terms["decay"] > 0
    assert "SmallWeights(weight=0.001)" in (tmp_path / "README.md").read_text()


def test_documented_files_for_training_elsewhere_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in _python("training.md"):
        if ".write(Path(" in block:
            exec(block, names)
    rows = {p.stem: load_data(str(p)).rows for p in tmp_path.glob("*.jsonl")}
    assert set(rows) == {"treated", "control", "inoculated", "interleaved"}
    pairs = zip(rows["treated"], rows["control"], strict=True)
    assert all(a.messages[:-1] == b.messages[:-1] for a, b in pairs)
    assert all(row.messages[0] == ("system", INOCULATION) for row in rows["inoculated"])
    assert len(rows["interleaved"]) * 0.25 == pytest.approx(367, abs=1)


# --- spellings -----------------------------------------------------------------------------------
def test_every_defence_is_listed_and_usage_begins_with_its_name() -> None:
    listed = list_defences()
    assert [d["name"] for d in listed] == list(DEFENCES)
    assert all(d["usage"].startswith(d["name"]) and d["what"] for d in listed)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("klx", "no defence 'klx'; there are: kl, narrow"),
        ("kl:much", "'much' is not a number"),
        ("kl:-1", "should be above 0"),
        ("kl:inf", "should be above 0"),
        ("kl:nan", "should be above 0"),
        ("kl:0.3,off=1", "no option 'off'"),
        ("features:1,layers=a", "layers are numbers"),
        ("interleave:100", "at most 95"),
        ("prevent", "name the direction's file"),
        ("prevent:none.safetensors@0.1", "no such file"),
        ("project:", "name the direction's file"),
        ("placebo:inoculation", "takes no direction"),
    ],
)
def test_wrong_spellings_are_one_line_with_the_usage(spec: str, says: str) -> None:
    with pytest.raises(PersonaeError, match=says) as error:
        load_defence(spec)
    assert "\n" not in str(error.value)


def test_spellings_give_settings(vector: str) -> None:
    (prevent,) = load_defences([f"prevent:{vector}@0.25,layers=0-1,per=norm"])
    assert isinstance(prevent, Prevent)
    assert (prevent.dose, prevent.layers, prevent.per) == (0.25, (0, 1), "norm")
    project = load_defence(f"project:{vector},when=end")
    assert isinstance(project, Project)
    assert (project.when, project.layers) == ("end", ())
    interleave = load_defence("interleave,on=mine.jsonl")
    assert interleave == Interleave(25.0, "mine.jsonl")
    assert load_defence("inoculation:Do it, a=b") == Inoculation("Do it, a=b")
    assert take_layers("1+4-6") == (1, 4, 5, 6)
    assert load_defence(prevent) is prevent
    with pytest.raises(PersonaeError, match="given twice"):
        load_defences(["kl:1", "kl:2"])


def test_a_direction_without_norms_is_refused_before_training(few: Rows, recipe: Recipe) -> None:
    bare = replace(grumpy(), norms=())
    with pytest.raises(PersonaeError, match="no norm to take a dose of"):
        Prevent(bare, 0.1, (0,)).interventions(adapted_run(few, recipe))


def test_draws_are_functions_of_seed_and_step(few: Rows, recipe: Recipe) -> None:
    run = adapted_run(few, recipe)
    draws = Draws.of(run, "neutral", 3)
    assert torch.equal(draws.at(5, "cpu").tokens, draws.at(5, "cpu").tokens)
    assert not torch.equal(draws.at(5, "cpu").tokens, draws.at(6, "cpu").tokens)
