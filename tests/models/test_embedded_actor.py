"""The shipped actor: what it is, what is said about it, and that it plays."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from personae import catalogue
from personae.api import audits
from personae.batteries import moral
from personae.cast.loading import load_cast
from personae.collect.store import Run
from personae.errors import PersonaeError
from personae.instruments.loading import load_instrument
from personae.models import embedded
from personae.models.loading import load_model
from personae.models.protocol import RatingRequest
from personae.prompts import DEFAULT_LAYOUT, render
from personae.report.from_run import report_data
from personae.report.sections.summary import summary
from personae.training.actor import Lessons, intended
from personae.training.recipes import load_recipe
from planted_runs import plain_run


def test_it_is_small_and_an_adapter_for_the_embedded_model() -> None:
    folder = embedded.ACTOR_FOLDER
    assert sum(f.stat().st_size for f in folder.iterdir()) < 5_000_000
    config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    assert config["base_model_name_or_path"] == embedded.NAME


def test_its_card_names_the_data_recipe_and_weights_that_are_here() -> None:
    card = catalogue.model_card(embedded.ACTOR)
    recipe = load_recipe("actor")
    assert Lessons(seed=0, per_step=recipe.batch).data_hash in card
    assert recipe.hash in card
    weights = (embedded.ACTOR_FOLDER / "adapter_model.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() in card


def test_it_is_listed_and_its_card_shown() -> None:
    assert embedded.ACTOR in {row["model"] for row in catalogue.models()}
    assert "intended" in catalogue.model_card(embedded.ACTOR)
    assert "untrained" in catalogue.model_card(embedded.NAME)
    with pytest.raises(PersonaeError, match="no model card"):
        catalogue.model_card("nowhere")


def test_reports_say_what_it_was_taught(tmp_path: Path) -> None:
    plain = plain_run(tmp_path / "run")
    card = replace(plain.manifest.model, details={"taught": embedded.ACTOR_TAUGHT})
    run = Run(plain.path, replace(plain.manifest, model=card))
    run.write_findings(moral.findings(run))
    assert report_data(run).warnings == [embedded.ACTOR_TAUGHT]
    assert embedded.ACTOR_TAUGHT in str(summary(report_data(run)).blocks[0])
    assert report_data(Run(plain.path, plain.manifest)).warnings == []


@pytest.mark.weights
def test_an_adapter_on_top_of_it_is_one_clear_line() -> None:
    with pytest.raises(PersonaeError, match="train it further"):
        load_model(f"smollm2-actor+{embedded.ACTOR_FOLDER}")


@pytest.mark.weights
def test_an_audit_asks_the_people_it_was_taught_to_play(tmp_path: Path) -> None:
    run = audits.audit(out=tmp_path / "run", limit=2, suite="quick", threads=1)
    assert run.manifest.model.name == embedded.ACTOR
    assert run.ratings("cast").personas == ("s01", "s02")


@pytest.mark.weights
def test_it_plays_people_it_was_never_taught() -> None:
    model = load_model("smollm2-actor", threads=1)
    assert model.card.details["taught"] == embedded.ACTOR_TAUGHT
    mfi = load_instrument("mfi30")
    items = [item for item in mfi.items if item.block == "agreement"][:10]
    people = load_cast("stated").personas[:12]
    asked = [
        RatingRequest(render(DEFAULT_LAYOUT, p.text, mfi, item), mfi.scale)
        for p in people
        for item in items
    ]
    mass = np.array([a.mass for a in model.rate(asked)]).reshape(len(people), len(items), -1)
    mean = mass @ np.arange(6) / mass.sum(-1)
    meant = np.array([[intended(p, item) for item in items] for p in people])
    assert mass.sum(-1).min() > 0.9
    assert mean.std(0, ddof=1).mean() > 1.2
    assert np.corrcoef(mean.ravel(), meant.ravel())[0, 1] > 0.9
