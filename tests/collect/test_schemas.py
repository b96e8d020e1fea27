"""Runs written by earlier versions open, and mean the same (tests/data/run-schema-1 is one)."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from personae import api
from personae.batteries import moral
from personae.collect import manifest
from personae.collect.folder import CHECKSUMS
from personae.collect.store import Run
from personae.errors import PersonaeError
from personae.findings import VERSION_KEY

WRITTEN = Path(__file__).parents[1] / "data" / "run-schema-1"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return shutil.copytree(WRITTEN, tmp_path / "run")


def edit(run: Path, **changes: Any) -> None:
    data = json.loads((run / "manifest.json").read_text("utf-8"))
    kept = {k: v for k, v in (data | changes).items() if v is not ...}
    (run / "manifest.json").write_text(json.dumps(kept), "utf-8")


def test_a_run_of_schema_1_opens_and_its_findings_are_computed_again_alike(old: Path) -> None:
    run = api.load_run(old)
    assert isinstance(run, Run)
    stored = {(f.metric, f.scope): f.value for f in run.findings()}
    now = {(f.metric, f.scope): f.value for f in moral.findings(run)}
    assert stored.keys() <= now.keys()
    for key, value in stored.items():
        assert now[key] == pytest.approx(value, rel=1e-9, nan_ok=True), key
    assert math.isfinite(stored["susceptibility", "overall"])
    assert api.report(run).stat().st_size > 10_000


def test_fields_that_came_later_may_be_absent(old: Path) -> None:
    edit(old, instruments=..., layouts=..., versions=..., notes=..., command=...)
    assert api.load_run(old).manifest.summary()["model"] == "planted"
    edit(old, model=...)
    with pytest.raises(PersonaeError, match=r"damaged manifest .*model"):
        api.load_run(old)


def test_a_newer_schema_says_upgrade_and_a_broken_one_says_damaged(old: Path) -> None:
    edit(old, schema=2)
    with pytest.raises(PersonaeError, match=r"newer personae .* upgrade with"):
        api.load_run(old)
    for broken in ("1", None, 0, True, -3, ...):
        edit(old, schema=broken)
        with pytest.raises(PersonaeError, match=r"damaged \(schema"):
            api.load_run(old)


def test_a_step_takes_an_old_manifest_to_the_next_version(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if version 2 had called the seed otherwise, and version 3 counted it from 1."""
    wanted = api.load_run(old).manifest

    def renamed(data: dict[str, Any]) -> dict[str, Any]:
        return {k if k != "layout" else "wording": v for k, v in data.items()}

    def back(data: dict[str, Any]) -> dict[str, Any]:
        assert data["schema"] == 2
        return {k if k != "wording" else "layout": v for k, v in data.items()}

    monkeypatch.setattr(manifest, "SCHEMA", 3)
    monkeypatch.setattr(manifest, "STEPS", {1: renamed, 2: back})
    found = api.load_run(old).manifest
    assert found.schema == 3
    assert found.identity_hash == wanted.identity_hash
    assert json.loads((old / "manifest.json").read_text("utf-8"))["schema"] == 1
    edit(old, schema=4)
    with pytest.raises(PersonaeError, match=r"newer personae .*this one reads 3"):
        api.load_run(old)


def test_findings_say_their_version_and_a_newer_one_is_refused(old: Path) -> None:
    run = api.load_run(old)
    found = run.findings()
    run.write_findings(found)
    file = old / "findings.parquet"
    assert pl.read_parquet_metadata(file)[VERSION_KEY] == "1"
    assert str(run.findings()) == str(found)
    pl.read_parquet(file).write_parquet(file, metadata={VERSION_KEY: "2"})
    (old / CHECKSUMS).unlink()  # it tells of the file before
    with pytest.raises(PersonaeError, match=r"schema 2, written by a newer personae"):
        run.findings()


def test_findings_with_columns_of_a_later_version_are_read(old: Path) -> None:
    file = old / "findings.parquet"
    table = pl.read_parquet(file)
    table.with_columns(judge=pl.lit("x")).write_parquet(file)
    assert len(api.load_run(old).findings()) == len(table)
    table.drop("value").write_parquet(file)
    with pytest.raises(PersonaeError, match="damaged"):
        api.load_run(old).findings()
