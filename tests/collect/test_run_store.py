from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from personae.cast.model import Cast
from personae.collect.execute import collect, open_or_create
from personae.collect.manifest import Manifest, differences
from personae.collect.plan import Panel, Plan
from personae.collect.store import Run
from personae.errors import PersonaeError
from personae.instruments.model import Instrument
from respondents import Planted


@pytest.fixture
def plan(small_cast: Cast, small_instrument: Instrument) -> Plan:
    return Plan(small_instrument, (Panel("cast", small_cast), Panel("self", None)), "scale-first")


def run_plan(path: Path, plan: Plan, model: Planted, **options: bool) -> Run:
    run = open_or_create(path, Manifest.of_plan(plan, model.card), **options)
    return collect(run, plan, model)


def test_exact_answers_become_renormalised_probabilities(tmp_path: Path, plan: Plan) -> None:
    model = Planted()
    ratings = run_plan(tmp_path / "run", plan, model).ratings("cast")
    assert ratings is not None
    assert ratings.kind == "probs"
    assert ratings.shape == (7, 30, 6)
    raw = model.mass(plan.request(plan.shards[0].cells[31]).prompt, 6)
    np.testing.assert_allclose(ratings.cells[1, 1], raw / raw.sum(), rtol=1e-12)
    np.testing.assert_allclose(ratings.scale_mass, 0.9, rtol=1e-9)


def test_sampled_answers_become_counts_and_failures_stay_out(
    tmp_path: Path, small_cast: Cast, small_instrument: Instrument
) -> None:
    plan = Plan(small_instrument, (Panel("cast", small_cast),), "scale-first", repeats=8)
    run = run_plan(tmp_path / "run", plan, Planted())
    ratings = run.ratings("cast")
    assert ratings is not None
    assert ratings.kind == "counts"
    valid = run.responses.filter(pl.col("status") == "ok")
    assert ratings.cells.sum() == len(valid) < len(run.responses) == plan.total
    assert ratings.scale_mass is not None
    assert ratings.scale_mass.mean() == pytest.approx(len(valid) / plan.total)


def test_every_cell_is_asked_once_and_a_second_call_asks_nothing(
    tmp_path: Path, plan: Plan
) -> None:
    model = Planted()
    first = run_plan(tmp_path / "run", plan, model)
    assert model.asked == plan.total == 8 * 30
    again = run_plan(tmp_path / "run", plan, model)
    assert model.asked == plan.total
    assert again.responses.equals(first.responses)
    assert not first.responses.select("panel", "persona_id", "item_id").is_duplicated().any()


def test_a_seed_belongs_to_its_cell_whatever_else_is_asked(
    small_cast: Cast, small_instrument: Instrument
) -> None:
    whole = Plan(small_instrument, (Panel("cast", small_cast),), "scale-first", repeats=3)
    part = Plan(small_instrument, (Panel("cast", small_cast.head(2)),), "scale-first", repeats=2)
    seeds = {
        (c.persona_id, c.item.id, c.repeat): whole.request(c).seed
        for s in whole.shards
        for c in s.cells
    }
    assert len(set(seeds.values())) == whole.total
    for shard in part.shards:
        for c in shard.cells:
            assert part.request(c).seed == seeds[c.persona_id, c.item.id, c.repeat]


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from respondents import Planted
from test_run_store import run_plan
from personae.cast.model import Cast
from personae.collect.plan import Panel, Plan
from personae.instruments.model import Instrument
cast = Cast.model_validate_json(sys.argv[3])
instrument = Instrument.model_validate_json(sys.argv[4])
plan = Plan(instrument, (Panel("cast", cast), Panel("self", None)), "scale-first")
print("go", flush=True)
run_plan(Path(sys.argv[2]), plan, Planted(delay=0.002))
"""


@pytest.mark.parametrize("after", [0.0, 0.1, 0.3, 0.5])
def test_kill_at_any_moment_and_resume_gives_the_same_rows(
    tmp_path: Path, plan: Plan, after: float
) -> None:
    whole = run_plan(tmp_path / "whole", plan, Planted())
    cast = plan.panels[0].cast
    assert cast is not None
    tests = str(Path(__file__).parents[1])
    texts = [cast.model_dump_json(), plan.instrument.model_dump_json()]
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, tests, str(tmp_path / "cut"), *texts],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
    )
    assert child.stdout is not None
    child.stdout.readline()
    time.sleep(after)
    child.kill()
    child.wait()
    resumed = run_plan(tmp_path / "cut", plan, Planted())
    assert resumed.responses.equals(whole.responses)


def test_another_request_on_the_same_folder_is_refused_and_fresh_keeps_the_old(
    tmp_path: Path, plan: Plan
) -> None:
    run_plan(tmp_path / "run", plan, Planted())
    with pytest.raises(PersonaeError, match=r"differs in model revision.*--fresh"):
        run_plan(tmp_path / "run", plan, Planted(salt="other"))
    run_plan(tmp_path / "run", plan, Planted(salt="other"), fresh=True)
    assert Run.open(tmp_path / "run.old-1").responses.height == plan.total


def test_a_shard_cut_short_is_asked_again(tmp_path: Path, plan: Plan) -> None:
    run = run_plan(tmp_path / "run", plan, Planted())
    whole = run.responses
    shard = run.responses_dir / "shard-00001.parquet"
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(PersonaeError, match="shard-00001"):
        _ = Run.open(tmp_path / "run").responses
    model = Planted()
    assert run_plan(tmp_path / "run", plan, model).responses.equals(whole)
    assert model.asked == len(plan.shards[1].cells)


def test_full_disk_is_one_line_and_loses_nothing(tmp_path: Path, plan: Plan) -> None:
    class FillsUp(Planted):
        def rate(self, requests, temperature=None):  # type: ignore[no-untyped-def]
            yield from super().rate(requests, temperature)
            if self.asked > 130:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (64, resource.RLIM_INFINITY))

    whole = run_plan(tmp_path / "whole", plan, Planted())
    try:
        with pytest.raises(PersonaeError, match="disk is full"):
            run_plan(tmp_path / "run", plan, FillsUp())
    finally:
        limits = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert Run.open(tmp_path / "run").stored() == {"shard-00000"}
    assert not list((tmp_path / "run").rglob("*.part"))
    assert run_plan(tmp_path / "run", plan, Planted()).responses.equals(whole.responses)


def test_two_writers_are_refused(tmp_path: Path, plan: Plan) -> None:
    run = run_plan(tmp_path / "run", plan, Planted())
    with run.writing(), pytest.raises(PersonaeError, match="another process"):
        run_plan(tmp_path / "run", plan, Planted())


def test_a_half_deleted_run_is_one_line(tmp_path: Path, plan: Plan) -> None:
    run = run_plan(tmp_path / "run", plan, Planted())
    with pytest.raises(PersonaeError, match="no findings yet"):
        run.findings()
    manifest = run.path / "manifest.json"
    text = manifest.read_text()
    for broken in ("", "[]", text[: len(text) // 2], text.replace('"scale-first"', "7", 1)):
        manifest.write_text(broken)
        with pytest.raises(PersonaeError, match="damaged manifest"):
            Run.open(run.path)
    manifest.unlink()
    with pytest.raises(PersonaeError, match="not a run folder"):
        Run.open(run.path)
    with pytest.raises(PersonaeError, match="no such run folder"):
        Run.open(tmp_path / "nowhere")


def test_manifest_survives_its_file_and_names_what_differs(
    tmp_path: Path, plan: Plan, small_cast: Cast, small_instrument: Instrument
) -> None:
    manifest = run_plan(tmp_path / "run", plan, Planted()).manifest
    assert Run.open(tmp_path / "run").manifest == manifest
    other_plan = Plan(
        small_instrument, (Panel("cast", small_cast.head(3)),), "costa2026", repeats=4
    )
    other = Manifest.of_plan(other_plan, Planted(name="b").card)
    found = " ".join(differences(manifest, other))
    for part in ("layout", "estimator", "repeats", "cast panel"):
        assert part in found
    assert differences(manifest, manifest) == []
    data = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert data["comparability_hash"] == manifest.comparability_hash != other.comparability_hash
