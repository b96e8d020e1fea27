"""A byte that changed on disk is an error or asked again, never a number."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from personae import api
from personae.collect.folder import CHECKSUMS, RunFolder
from personae.errors import PersonaeError
from personae.findings import Finding

ROWS = pl.DataFrame({"n": range(2_000), "text": [f"answer {n}" for n in range(2_000)]})
OLD = Path(__file__).parents[1] / "data" / "run-schema-1"


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    for n in range(3):
        folder.write_shard(f"shard-{n}", ROWS.with_columns(shard=pl.lit(n)))
    return folder


def flip(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 0x10
    file.write_bytes(content)


def test_any_changed_byte_is_found(folder: RunFolder) -> None:
    file = folder.responses_dir / "shard-1.parquet"
    whole = file.read_bytes()
    for place in np.random.default_rng(0).integers(0, len(whole), 40):
        flip(file, int(place))
        with pytest.raises(PersonaeError, match=r"shard-1\.parquet: damaged; delete it"):
            RunFolder(folder.path).read_shards(ROWS.schema)
        with pytest.raises(PersonaeError, match="damaged"):
            list(RunFolder(folder.path).pieces(["n"]))
        assert RunFolder(folder.path).stored() == {"shard-0", "shard-2"}
        file.write_bytes(whole)
    assert len(RunFolder(folder.path).read_shards(ROWS.schema)) == 6_000


def test_any_changed_byte_of_the_findings_is_found(folder: RunFolder) -> None:
    folder.write_findings([Finding("b", "old", "s", 1.0)])
    folder.write_findings([Finding("b", "new", "s", 2.0)])
    assert [f.metric for f in folder.findings()] == ["new"]
    file = folder.path / "findings.parquet"
    whole = file.read_bytes()
    for place in np.random.default_rng(0).integers(0, len(whole), 40):
        flip(file, int(place))
        with pytest.raises(PersonaeError, match=r"findings\.parquet: damaged; run"):
            folder.findings()
        file.write_bytes(whole)
    (folder.path / CHECKSUMS).unlink()  # as in a run of an earlier version
    assert [f.metric for f in folder.findings()] == ["new"]


def test_a_damaged_file_is_set_aside_and_its_successor_counts(folder: RunFolder) -> None:
    flip(folder.responses_dir / "shard-1.parquet", 100)
    again = RunFolder(folder.path)
    again.set_damaged_aside()
    assert (folder.responses_dir / "shard-1.damaged").exists()
    again.write_shard("shard-1", ROWS.head(5).with_columns(shard=pl.lit(1)))
    assert len(again.read_shards(ROWS.schema)) == 4_005
    assert again.stored() == {"shard-0", "shard-1", "shard-2"}


def test_a_change_under_an_open_run_is_seen(folder: RunFolder) -> None:
    assert len(folder.stored()) == 3
    flip(folder.responses_dir / "shard-2.parquet", 100)
    assert len(folder.stored()) == 2


def test_a_line_cut_by_a_kill_costs_nothing(folder: RunFolder) -> None:
    log = folder.responses_dir / CHECKSUMS
    with log.open("ab") as file:
        file.write(b"0123456789abcdef")
    folder.write_shard("shard-3", ROWS)
    assert len(RunFolder(folder.path).stored()) == 4
    flip(folder.responses_dir / "shard-3.parquet", 100)
    assert len(RunFolder(folder.path).stored()) == 3


def test_the_log_is_what_sha256sum_reads(folder: RunFolder) -> None:
    if (tool := shutil.which("sha256sum")) is None:
        pytest.skip("sha256sum is not on this machine")
    check = [tool, "--check", "--strict", "--quiet", CHECKSUMS]
    assert subprocess.run(check, cwd=folder.responses_dir, check=False).returncode == 0
    flip(folder.responses_dir / "shard-0.parquet", 100)
    assert subprocess.run(check, cwd=folder.responses_dir, check=False).returncode != 0


def test_runs_without_checksums_never_end_in_a_traceback(tmp_path: Path) -> None:
    """Written before there were any: what polars cannot read is one line, too."""
    random = np.random.default_rng(1)
    lines = []
    for trial in range(60):
        run = shutil.copytree(OLD, tmp_path / str(trial))
        file = random.choice(
            [*sorted((run / "responses").glob("*.parquet")), run / "findings.parquet"]
        )
        size = file.stat().st_size
        for place in random.integers(4, size, 4):
            flip(file, int(place))
        try:
            found = api.load_run(run)
            found.findings()
            found.ratings()  # type: ignore[union-attr]
        except PersonaeError as error:
            lines.append(str(error))
    assert len(lines) > 10
    assert not any("\n" in line for line in lines)
