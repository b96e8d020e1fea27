"""Readers of run folders: manifests, findings, responses; and whole imports."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

from fuzz_binaries import logs
from fuzz_grammar import document, parquet, table, zipped
from fuzz_mutate import Target
from fuzz_texts import RATINGS

from personae import api
from personae.batteries.rejudge import judged_findings, write_answers
from personae.collect.battery_run import BatteryRun
from personae.collect.importing import import_runs
from personae.collect.manifest import differences
from personae.collect.store import Run
from personae.internals.axis_folder import AxisFolder

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "batteries")]
Files = dict[str, bytes]


def _files(folder: Path) -> Files:
    """Every file; without the checksums, which would refuse any damage to the rest."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix not in (".sha256", ".lock", ".html")
    }


@cache
def audit_files() -> Files:
    from planted_runs import answers, spread_means, write_run

    with tempfile.TemporaryDirectory() as place:
        ratings = answers(spread_means(3, 3), 1, 2)
        run = write_run(Path(place) / "run", {"cast": ratings, "self": ratings[:1]})
        api.finish(run)
        return _files(run.path)


@cache
def battery_files() -> Files:
    from answering import Judge, Writer

    from personae.batteries.rejudge import rejudge

    with tempfile.TemporaryDirectory() as place:
        options = {"questions": "open", "limit": 2, "samples": 1, "parts": "answer"}
        run = api.run("misalignment", Writer(), judge=Judge(), options=options,
                      out=Path(place) / "run")  # fmt: skip
        rejudge(run, Judge("second", alignment={"harm": 20, "kind": 80}))
        found = _files(run.path)
    return {re.sub(r"judgements/second-\w+", "judgements/second", k): v for k, v in found.items()}


def _audit(root: int, path: Path) -> None:
    run = api.load_run(path.parents[root])
    assert isinstance(run, Run)
    json.dumps(api.findings_document(run))
    json.dumps(run.manifest.as_json())
    differences(run.manifest, run.manifest)
    for panel in run.manifest.panels:
        run.ratings(panel)
    assert run.answered >= 0
    assert run.responses.height >= 0


def _battery(root: int, path: Path) -> None:
    run = api.load_run(path.parents[root])
    assert isinstance(run, BatteryRun)
    json.dumps(api.findings_document(run))
    json.dumps(run.manifest.as_json())
    assert run.manifest.identity_hash
    assert run.answers.height >= 0
    judged_findings(run)
    write_answers(run, path.parents[root] / "answers.csv")


def _reported(root: int, path: Path) -> None:
    api.report(api.load_run(path.parents[root]))


def _imported(path: Path) -> None:
    from planted_runs import instrument

    out = path.parent / "out"
    shutil.rmtree(out, ignore_errors=True)
    for run in import_runs([path], out, instrument(3), model="m"):
        for panel in run.manifest.panels:
            run.ratings(panel)
        api.finish(run)


@cache
def axis_files() -> Files:
    from personae.findings import Finding, findings_file

    manifest = {
        "kind": "axis", "created": "2026-01-01", "versions": {}, "command": ["personae", "axis"],
        "identity": {"verb": "fit", "model": "m", "model revision": "r"},
    }  # fmt: skip
    found = findings_file([Finding("axis", "share", "overall", 0.5, n=3)])
    return {
        "manifest.json": json.dumps(manifest).encode(), "findings.parquet": found,
        "responses/cat.parquet": audit_files()["responses/cast.parquet"],
    }  # fmt: skip


def _axis(root: int, path: Path) -> None:
    folder = api.open_findings(path.parents[root])
    assert isinstance(folder, AxisFolder)
    json.dumps(api.findings_document(folder))
    folder.read_part("cat")


Reader = Callable[[int, Path], Any]


def _member(
    kind: str, files: Callable[[], Files], name: str, read: Reader, weight: float = 0.3
) -> Target:
    """A target that breaks one file of a folder; `read` is told how far above it the folder is."""
    short = name.removesuffix(".parquet").removesuffix(".json").replace("/", "-")
    is_table = name.endswith(".parquet")
    return Target(
        f"{kind}.{short}", name, lambda: (files()[name],), partial(read, name.count("/")),
        parquet if is_table else document, lambda: {k: v for k, v in files().items() if k != name},
        weight, whole=is_table,
    )  # fmt: skip


def _told(kind: str, files: Callable[[], Files], name: str, read: Reader) -> Target:
    """The same with checksums, which any byte may break."""

    def around() -> Files:
        digest = hashlib.sha256(files()[name]).hexdigest()
        place = Path(name)
        told = {str(place.with_name("checksums.sha256")): f"{digest}  {place.name}\n".encode()}
        return {k: v for k, v in files().items() if k != name} | told

    return Target(f"checked.{kind}.{Path(name).stem}", name, lambda: (files()[name],),
                  partial(read, name.count("/")), parquet, around)  # fmt: skip


AUDIT = ("manifest.json", "findings.parquet", "responses/cast.parquet")
BATTERY = ("manifest.json", "findings.parquet", "responses/stage-00-00000.parquet",
           "responses/stage-01-00000.parquet", "judgements/second/manifest.json",
           "judgements/second/responses/judge-000000.parquet")  # fmt: skip
AXIS = ("manifest.json", "findings.parquet", "responses/cat.parquet")
FOLDERS = (
    *(_member("audit", audit_files, name, _audit) for name in AUDIT),
    *(_member("battery", battery_files, name, _battery, 0.15) for name in BATTERY),
    *(_member("axis", axis_files, name, _axis) for name in AXIS),
    *(_member("report.audit", audit_files, name, _reported, 0.1) for name in AUDIT),
    *(_member("report.battery", battery_files, name, _reported, 0.1) for name in BATTERY),
    *(_told("audit", audit_files, name, _audit) for name in AUDIT[1:]),
    *(_told("battery", battery_files, name, _battery) for name in BATTERY[1:2]),
    Target(
        "import.csv",
        "ratings.csv",
        (RATINGS[0].replace(b",3,", b",0,"),),
        _imported,
        table,
        weight=0.05,
    ),
    Target("import.eval", "log.eval", logs, _imported, zipped, weight=0.05),
)
