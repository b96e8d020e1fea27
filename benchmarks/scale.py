"""What a store of N ratings costs: writing, scanning, findings, report.

    python benchmarks/scale.py --ratings 1e5,1e6,1e7,1e8:10000,1e9:10000 [--keep FOLDER]

Synthetic sampled ratings in shards as an audit writes them: N or N:PERSONAS (1,000 where not given)
x 30 items x as many repeats as N needs. Each stage runs in a process of its own, so that the peak
of resident memory belongs to it. benchmarks/plan.py reckons with these slopes (docs/scale.md).
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from personae import api
from personae.cast.model import Cast, Persona
from personae.collect.assemble import RATING_COLUMNS, RESPONSE_COLUMNS
from personae.collect.manifest import Manifest
from personae.collect.plan import SELF, Panel, Plan
from personae.collect.store import Run
from personae.instruments import load_instrument
from personae.models.protocol import ModelCard

STAGES = ("write", "scan", "lazy", "findings", "report", "open")


def make(path: Path, ratings: int, personas: int) -> None:
    """A run of about `ratings` sampled answers, in shards of four personas."""
    instrument = load_instrument("mfi30")
    cast = Cast(
        name="synthetic",
        personas=tuple(Persona(id=f"p{k:06d}", text=f"person {k}") for k in range(personas)),
    )
    repeats = max(2, round(ratings / (personas * len(instrument))))
    plan = Plan(instrument, (Panel("cast", cast), Panel(SELF, None)), "scale-first", repeats)
    run = Run.create(path, Manifest.of_plan(plan, ModelCard("synthetic", "planted", "r")))
    rng = np.random.default_rng(0)
    centre = rng.uniform(1, 4, (personas, len(instrument)))
    for shard in plan.shards:
        run.append(shard.name, _rows(shard, repeats, rng, centre))


def _rows(shard: Any, repeats: int, rng: Any, centre: Any) -> pl.DataFrame:
    items = [i.id for i in shard.items]
    ids = [None if p is None else p.id for p in shard.personas]
    shape = (len(ids), len(items), repeats)
    p, i, r = (a.ravel() for a in np.meshgrid(*map(np.arange, shape), indexing="ij"))
    row = np.array([0 if x is None else int(x[1:]) for x in ids])
    rating = np.clip(np.rint(rng.normal(centre[row[p], i], 0.8)), 0, 5).astype(np.int32)
    fixed = {"panel": shard.panel, "attempt": 0, "status": "ok", "mass": None, "unseen": None}
    table = pl.DataFrame({
        "persona_id": pl.Series(ids, dtype=pl.String).gather(p),
        "item_id": pl.Series(items).gather(i),
        "repeat": r,
        "rating": rating,
        "response": pl.Series(rating).cast(pl.String),
    })  # fmt: skip
    return table.with_columns(**{k: pl.lit(v) for k, v in fixed.items()}).select(RESPONSE_COLUMNS)


def scan(path: Path) -> int:
    """The ratings of all panels, piece by piece."""
    run = Run.open(path)
    return sum(r.cells.size for r in map(run.ratings, run.manifest.panels) if r is not None)


def lazy(path: Path) -> int:
    """A summary that people write themselves: mean rating by item, by polars' lazy scan."""
    rows = pl.scan_parquet(path / "responses" / "*.parquet").select(RATING_COLUMNS)
    means = rows.group_by("item_id").agg(pl.col("rating").mean())
    return means.collect(engine="streaming").height


def findings(path: Path) -> int:
    from personae.batteries import moral

    run = Run.open(path)
    found = moral.findings(run)
    run.write_findings(found)
    return len(found)


def report(path: Path) -> int:
    return api.report(Run.open(path)).stat().st_size


def opened(path: Path) -> int:
    """What compare and gate read."""
    return len(Run.open(path).findings())


def stage(name: str, path: Path, ratings: int, personas: int) -> dict[str, Any]:
    """Run one stage here, and what it took."""
    work: dict[str, Callable[[], Any]] = {
        "write": lambda: make(path, ratings, personas),
        "scan": lambda: scan(path),
        "lazy": lambda: lazy(path),
        "findings": lambda: findings(path),
        "report": lambda: report(path),
        "open": lambda: opened(path),
    }
    start, cpu = time.perf_counter(), time.process_time()
    made = work[name]()
    return {
        "seconds": time.perf_counter() - start,
        "cpu": time.process_time() - cpu,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "made": made,
    }


def measured(name: str, path: Path, ratings: int, personas: int) -> dict[str, Any]:
    """One stage in a process of its own."""
    arguments = ["--stage", name, "--keep", str(path), "--ratings", f"{ratings}:{personas}"]
    shown = subprocess.run(
        [sys.executable, __file__, *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if shown.returncode:
        raise SystemExit(f"{name} at {ratings:,}: {shown.stderr.strip().splitlines()[-1]}")
    found: dict[str, Any] = json.loads(shown.stdout)
    return found


def table(sizes: list[tuple[int, int]], folder: Path) -> None:
    print("| ratings | personas | stage | seconds | CPU s | ratings/CPU s | peak MB | |")
    print("|---:|---:|---|---:|---:|---:|---:|---|")
    for ratings, personas in sizes:
        path = folder / f"run-{ratings}"
        shutil.rmtree(path, ignore_errors=True)
        for name in STAGES:
            took = measured(name, path, ratings, personas)
            note = ""
            if name == "write":
                files = list((path / "responses").iterdir())
                size = sum(f.stat().st_size for f in files)
                note = (
                    f"{size / 1e6:.1f} MB, {size / ratings:.2f} bytes a rating, {len(files)} files"
                )
            elif name == "report":
                note = f"{took['made'] / 1e6:.1f} MB of HTML"
            speed = f"{ratings / took['cpu']:,.0f}"
            print(
                f"| {ratings:,} | {personas:,} | {name} "
                f"| {took['seconds']:.2f} | {took['cpu']:.2f} | {speed} "
                f"| {took['peak_mb']:.0f} | {note} |",
                flush=True,
            )
        shutil.rmtree(path, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ratings", default="1e5,1e6,1e7", help="sizes: N or N:PERSONAS")
    parser.add_argument("--keep", type=Path, help="where the runs are made (removed at the end)")
    parser.add_argument("--quick", action="store_true", help="1e5 and 1e6 ratings")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    sizes = [_size(text) for text in ("1e5,1e6" if given.quick else given.ratings).split(",")]
    if given.stage:
        print(json.dumps(stage(given.stage, given.keep, *sizes[0])))
        return
    with tempfile.TemporaryDirectory(dir=given.keep) as folder:
        table(sizes, Path(folder))


def _size(text: str) -> tuple[int, int]:
    ratings, _, personas = text.partition(":")
    return round(float(ratings)), int(personas or 1000)


if __name__ == "__main__":
    main()
