"""The watch: it disturbs nothing, costs what it may, agrees with the batteries."""

from __future__ import annotations

import csv
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import build_model, build_tokenizer
from tiny_training import SMALL, grumpy

from personae.internals.direction_files import save_direction
from personae.models.loading import load_model
from personae.prompts import Prompt
from personae.training.adapters import attach
from personae.training.recipes import Recipe
from personae.training.rows import Rows
from personae.training.sft import train
from personae.training.watch import Clock, Watch, WatchCallback
from personae.training.watch_measures import WatchSet, as_respondent, measure, undisturbed
from personae.training.watch_policy import WatchLimit, WatchPolicy


# --- nothing is disturbed ------------------------------------------------------------------------
def test_a_watched_run_ends_with_the_same_bytes(
    tiny: str, few: Rows, recipe: Recipe, tmp_path: Path
) -> None:
    """Dropout is on, so that a single draw of the watch would show."""
    plain = train(tiny, few, recipe, out=tmp_path / "plain", threads=1)
    watch = Watch(tmp_path / "seen", every=1, asked=SMALL, directions=[grumpy()])
    seen = train(tiny, few, recipe, out=tmp_path / "seen", threads=1, watch=watch)
    assert [r.step for r in watch.readings] == [0, 1, 2, 3, 4, 5, 6]
    assert seen.weights_hash == plain.weights_hash
    assert seen.log == plain.log
    assert "7 readings" in (tmp_path / "seen" / "README.md").read_text()


def _draw_and_fail(model: Any) -> None:
    random.random(), np.random.random(), torch.rand(3)
    assert not any(m.training for m in model.modules())
    raise KeyError


def test_modes_and_random_states_come_back() -> None:
    model = build_model()
    model.train()
    model.get_submodule("model.layers.1").eval()
    modes = [m.training for m in model.modules()]

    def draws() -> tuple[float, float, float]:
        return random.random(), float(np.random.random()), float(torch.rand(()))

    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = draws()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    with pytest.raises(KeyError), undisturbed(model):
        _draw_and_fail(model)
    assert draws() == expected
    assert [m.training for m in model.modules()] == modes


# --- what is measured ----------------------------------------------------------------------------
def test_values_are_those_of_the_batteries(tiny: str) -> None:
    """An independent way: the audit's and the battery's own code on the same questions."""
    from personae.cast import load_cast
    from personae.instruments import load_instrument
    from personae.judging.preference import log_odds
    from personae.models.protocol import RatingRequest, ScoreRequest
    from personae.prompts import render

    local = load_model(tiny, threads=1)
    found = measure(local, WatchSet(personas=3, items=30, pairs=3, texts=2))
    instrument, cast = load_instrument("mfi30"), load_cast("citizens").personas
    means = []
    for persona in (cast[0], cast[33], cast[66]):
        answers = local.rate([
            RatingRequest(render("scale-first", persona.text, instrument, i), instrument.scale)
            for i in instrument.items
        ])  # fmt: skip
        mass = np.array([a.mass for a in answers])
        means.append(mass @ np.arange(instrument.scale.min, instrument.scale.max + 1)
                     / mass.sum(1))  # fmt: skip
    assert found["susceptibility"] == pytest.approx(np.std(means, axis=0, ddof=1).mean(), rel=1e-6)
    from personae.batteries.misalignment_items import load_pairs

    first: dict[str, Any] = {}
    for pair in load_pairs().pairs:
        first.setdefault(pair.domain, pair)
    scored = [
        [next(iter(local.score([ScoreRequest(Prompt((("user", p.question),)), t)])))
         for t in (p.aligned, p.misaligned)]
        for p in list(first.values())[:3]
    ]  # fmt: skip
    total = np.array([[a.loglik for a in row] for row in scored], dtype=float)
    tokens = np.array([[a.tokens for a in row] for row in scored], dtype=float)
    expected = log_odds(total[:, 0], total[:, 1], tokens[:, 0], tokens[:, 1]).mean()
    assert found["log_odds_per_token"] == pytest.approx(expected, rel=1e-5)
    assert 0 < found["scale_mass"] < 1
    assert found["perplexity"] > 1


def test_live_weights_are_measured_adapter_and_all(tiny: str, recipe: Recipe) -> None:
    """Unmerged, and as the same weights answer when merged."""
    local = load_model(tiny, threads=1)
    adapted = attach(local.model, recipe, 0, tiny).eval()
    before = measure(as_respondent(adapted, local.chat.tokenizer), SMALL)
    generator = torch.Generator().manual_seed(1)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            weight.data += 0.1 * torch.randn(weight.shape, generator=generator)
    asked = WatchSet(2, 3, 2, 2, (grumpy(),))
    after = measure(as_respondent(adapted, local.chat.tokenizer), asked)
    assert after["perplexity"] != before["perplexity"]
    merged = as_respondent(adapted.merge_and_unload(), local.chat.tokenizer)
    for name, value in measure(merged, asked).items():
        assert value == pytest.approx(after[name], rel=2e-3, abs=1e-4), name


def test_projections_are_those_of_the_states(tiny: str) -> None:
    from personae.training.organisms import load_data

    local, direction = load_model(tiny, threads=1), grumpy()
    found = measure(local, WatchSet(2, 1, 1, 2, (direction,)))
    u, along = direction.unit_vector(1), []
    for row in load_data("neutral:held-out").rows[:2]:
        ids = local.chat.encode(local.chat.text(Prompt(row.messages[:-1])))
        with torch.no_grad():
            out = local.model.model.layers  # the last block's output is before the final norm
            kept: list[Any] = []
            hook = out[1].register_forward_hook(lambda m, a, o, kept=kept: kept.append(o))
            local.model(torch.tensor([ids]))
            hook.remove()
        h = kept[0][0] if isinstance(kept[0], tuple) else kept[0]
        along.append(float(h[0, -1].double() @ u) if h.ndim == 3 else float(h[-1].double() @ u))
    assert found["projection:grumpy"] == pytest.approx(np.mean(along), rel=1e-4)


# --- what it costs -------------------------------------------------------------------------------
@given(
    cost=st.floats(0.1, 20), step=st.floats(0.05, 5), steps=st.integers(1, 400),
    share=st.floats(0.02, 0.5),
)  # fmt: skip
def test_the_share_is_kept_whatever_things_cost(
    cost: float, step: float, steps: int, share: float
) -> None:
    time = [0.0]
    clock = Clock(now=lambda: time[0])
    clock.training()

    def read() -> None:
        time[0] += cost
        clock.measuring()

    read()
    middle, last = 0, False
    for done in range(1, steps + 1):
        time[0] += step
        clock.training()
        if clock.has_room(share, done, steps):
            read()
            middle, last = middle + 1, done == steps
    assert clock.trained == pytest.approx(step * steps)
    if middle:
        assert clock.share <= share * (1 + 1e-9)
    if share * step * steps > 2.01 * cost:
        assert last  # the last step is never given up for an earlier one
    if share * step * steps < 1.99 * cost:
        assert not middle


def test_readings_are_spread_over_a_long_run() -> None:
    time = [0.0]
    clock = Clock(now=lambda: time[0])
    clock.training()
    found = [0]
    time[0] += 2.0
    clock.measuring()
    for done in range(1, 1001):
        time[0] += 1.0
        clock.training()
        if clock.has_room(0.1, done, 1000):
            time[0] += 2.0
            clock.measuring()
            found.append(done)
    gaps = np.diff(found)
    assert found[-1] == 1000
    assert len(found) == 50
    assert set(gaps[1:-1]) == {20}


# --- in other people's trainers ------------------------------------------------------------------
def _trainer_args(folder: Path) -> dict[str, Any]:
    return {
        "output_dir": str(folder), "max_steps": 4, "per_device_train_batch_size": 2,
        "learning_rate": 1e-2, "report_to": [], "save_strategy": "no", "use_cpu": True,
        "seed": 3, "disable_tqdm": True, "logging_steps": 1,
    }  # fmt: skip


def _plain_trainer(folder: Path, callbacks: list[Any]) -> tuple[Any, Any]:
    from transformers import Trainer, TrainingArguments

    tokenizer, model = build_tokenizer(), build_model(attention_dropout=0.2)
    texts = ["red is a colour", "blue is one too", "and so is green", "but four is not"]
    rows = [tokenizer(text)["input_ids"][:12] for text in texts]
    trainer = Trainer(
        model=model, args=TrainingArguments(**_trainer_args(folder)), processing_class=tokenizer,
        train_dataset=[{"input_ids": r, "labels": r} for r in rows], callbacks=callbacks,
    )  # fmt: skip
    return trainer, model


def _hf_weights(folder: Path, callbacks: list[Any]) -> list[torch.Tensor]:
    trainer, model = _plain_trainer(folder, callbacks)
    trainer.train()
    return [p.detach().clone() for p in model.parameters()]


def test_a_plain_trainer_is_watched_and_not_disturbed(tmp_path: Path) -> None:
    plain = _hf_weights(tmp_path / "a", [])
    callback = WatchCallback(out=tmp_path / "watch", every=2, asked=SMALL)
    seen = _hf_weights(tmp_path / "b", [callback])
    assert all(torch.equal(a, b) for a, b in zip(plain, seen, strict=True))
    readings = callback.watch.readings
    assert [r.step for r in readings] == [0, 2, 4]
    assert readings[0].values["perplexity"] != readings[-1].values["perplexity"]


def test_a_plain_trainer_is_stopped_by_a_policy(tmp_path: Path) -> None:
    limit = WatchLimit(metric="perplexity", kind="shift", min=0, max=0, then="stop")
    callback = WatchCallback(
        out=tmp_path / "watch", every=1, asked=SMALL, policy=WatchPolicy(limits=(limit,))
    )
    _hf_weights(tmp_path / "b", [callback])
    assert [r.step for r in callback.watch.readings] == [0, 1]


def _documented(trainer: Any) -> list[dict[str, str]]:
    """The lines of docs/watch.md, word for word; watch.csv."""
    text = (Path(__file__).parents[2] / "docs" / "watch.md").read_text("utf-8")
    (example,) = re.findall(r"```python\n(from personae.training.watch import .*?)```", text, re.S)
    assert len(example.strip().splitlines()) == 3
    exec(example, {"trainer": trainer})
    return list(csv.DictReader(Path("watch/watch.csv").open()))


def test_the_documented_lines_run_in_a_plain_trainer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trainer, _ = _plain_trainer(tmp_path, [])
    table = _documented(trainer)
    assert table[0]["step"] == "0"
    assert float(table[0]["susceptibility"]) > 0


def test_trls_trainer_is_watched_and_not_disturbed(tmp_path: Path) -> None:
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    rows = [{"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]}
            for q, a in (("red?", "yes"), ("blue?", "no"), ("four?", "no"))]  # fmt: skip

    def trained(name: str, callbacks: list[Any]) -> list[torch.Tensor]:
        args = trl.SFTConfig(**_trainer_args(tmp_path / name), max_length=64, bf16=False)
        trainer = trl.SFTTrainer(
            model=build_model(attention_dropout=0.2), args=args, callbacks=callbacks,
            train_dataset=datasets.Dataset.from_list(rows), processing_class=build_tokenizer(),
        )  # fmt: skip
        trainer.train()
        return [p.detach().clone() for p in trainer.model.parameters()]

    callback = WatchCallback(out=tmp_path / "watch", every=2, asked=SMALL)
    plain, seen = trained("a", []), trained("b", [callback])
    assert all(torch.equal(a, b) for a, b in zip(plain, seen, strict=True))
    assert [r.step for r in callback.watch.readings] == [0, 2, 4]


def test_vectors_may_be_given_as_files(tmp_path: Path) -> None:
    save_direction(grumpy(), tmp_path / "v.safetensors")
    watch = Watch(tmp_path, directions=[tmp_path / "v.safetensors"], asked=SMALL)
    assert watch.asked.names[-1] == "projection:grumpy"
    assert watch.asked.personas == 2


def test_the_command_trains_watches_and_reports(tiny: str, few: Rows, tmp_path: Path) -> None:
    """`personae train` with a defence, a watch and a policy: all its files, told as JSON."""
    import json

    from typer.testing import CliRunner

    from personae.cli.main import app

    few.write(tmp_path / "mine.jsonl")
    limits = tmp_path / "limits.yaml"
    limits.write_text("limits: [{metric: perplexity, kind: value, max: 1.0}]")
    done = CliRunner().invoke(app, [
        "train", "--data", str(tmp_path / "mine.jsonl"), "--base", tiny, "--steps", "2",
        "--out", str(tmp_path / "a"), "--defend", f"kl:0.3,on={tmp_path / 'mine.jsonl'}",
        "--watch-every", "2", "--watch-policy", str(limits), "--threads", "1", "--json",
    ])  # fmt: skip
    assert done.exit_code == 0, done.output
    (told,) = json.loads(done.stdout)
    assert told["steps"] == 2
    assert "KL(weight=0.3" in told["defences"][0]
    page = (tmp_path / "a" / "report.html").read_text()
    assert "fig-loss" in page
    assert page.count("fig-watch-") >= 6
    assert "perplexity value" in page
    assert (tmp_path / "a" / "watch.csv").exists()
