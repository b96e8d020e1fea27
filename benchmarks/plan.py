"""What large measurements take: arithmetic on measured slopes, and a simulation of lost workers.

    python benchmarks/plan.py sweep [--checkpoints 10000] [--workers 16] [--cells-per-second 12]
    python benchmarks/plan.py model [--parameters 400e9] [--gpus 8] [--gpu-memory 141]
    python benchmarks/plan.py store [--ratings 1e9]
    python benchmarks/plan.py faults [--shards 10000] [--workers 64] [--lifetime 7200]
    python benchmarks/plan.py all

Every slope is an option whose default was measured (docs/scale.md says where, or calls it an
assumption); put in your own. Costs: `--dollars-an-hour` of one worker or GPU.
"""

from __future__ import annotations

import argparse
import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PERSONAS, ITEMS = 100, 30
TOKENS_A_CELL = 5011 / 180  # packed tree, scale-first, SmolLM2's tokenizer (rating_engine.py)
TOKENS_ALONE = 27522 / 180  # the same cells prompt by prompt, as a server without a tree sees them
SHARDS = 25  # of a run of 100 x 30


def clock(seconds: float) -> str:
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def rows(title: str, lines: Sequence[tuple[str, ...]], *columns: str) -> None:
    print(f"\n| {' | '.join((title, *columns))} |\n|---{'|---:' * len(columns)}|")
    for line in lines:
        print(f"| {' | '.join(line)} |")


def money(dollars: float) -> str:
    if dollars < 0.01:
        return "under a cent"
    return f"${dollars:,.0f}" if dollars >= 10 else f"${dollars:.2f}"


def sweep(given: argparse.Namespace) -> None:
    """Many small checkpoints: one run each, each on one worker."""
    cells = given.checkpoints * PERSONAS * ITEMS
    stages = {
        "start, load": given.checkpoints * given.start,
        f"rating, {given.cells_per_second:g} cells/s": cells / given.cells_per_second,
        "findings": given.checkpoints * given.findings,
        "report": given.checkpoints * given.report,
    }
    stages["all"] = sum(stages.values())
    memory = given.workers * given.worker_gb
    disk = (cells * given.bytes_a_cell + given.checkpoints * 1e6) / 1e9
    rows(
        f"{given.checkpoints:,} checkpoints x {PERSONAS} personas x {ITEMS} items",
        [
            (name, clock(took / given.workers), f"{memory:.0f} GB",
             money(took / 3600 * given.dollars_an_hour))
            for name, took in stages.items()
        ],
        f"time, {given.workers} workers", "memory of all workers", "cost",
    )  # fmt: skip
    print(f"\n{cells:,} cells; {disk:.0f} GB on disk: {cells * given.bytes_a_cell / 1e9:.1f} GB of "
          f"answers in {given.checkpoints * SHARDS:,} files, a report of 1 MB each")  # fmt: skip


def model(given: argparse.Namespace) -> None:
    """One large model: what fits, and one audit of it."""
    cells = PERSONAS * ITEMS
    hourly = given.gpus * given.dollars_an_hour
    rate = given.gpu_tflops * 1e12 * given.utilisation
    ways = {
        "rating: token tree, device_map (one GPU at a time)": (TOKENS_A_CELL, 1),
        "rating: server, tensor parallel, no prefix shared": (TOKENS_ALONE, given.gpus),
        "rating: server, persona prefix cached": (TOKENS_ALONE / 3, given.gpus),
    }
    stages = {
        f"loading, {dtype}": given.parameters * size / 1e9 / given.load_gb_s
        for dtype, size in (("bf16", 2), ("fp8", 1))
    }
    for name, (tokens, gpus) in ways.items():
        stages[name] = 2 * given.active * cells * tokens / (rate * gpus)
    rows(
        f"{given.parameters / 1e9:,.0f}B parameters on {given.gpus} GPUs, {cells:,} cells",
        [(name, clock(took), money(took / 3600 * hourly)) for name, took in stages.items()],
        "time", "cost",
    )  # fmt: skip
    cache = 2 * given.layers * given.kv_heads * given.head_dim * 2
    tree = TOKENS_A_CELL * ITEMS
    widest = given.hidden + 3 * given.mlp
    room = given.gpus * given.gpu_memory
    memory = [
        ("weights, bf16; fp8", given.parameters * 2, given.parameters),
        (f"key-value cache, {given.calls:g} calls of {TOKENS_ALONE:.0f} tokens",
         given.calls * TOKENS_ALONE * cache),
        (f"one tree of {ITEMS} cells: widest layer, logits at the leaves",
         tree * widest * 2 + 2 * ITEMS * given.vocabulary * 4),
    ]  # fmt: skip
    rows(
        f"memory, of {room:,.0f} GB",
        [(str(name), "; ".join(f"{v / 1e9:,.1f} GB" for v in sizes)) for name, *sizes in memory],
        "",
    )


def store(given: argparse.Namespace) -> None:
    n, personas = given.ratings, given.personas
    array = personas * ITEMS * 6 * 8
    stages = {
        "writing": n / given.writes_a_second,
        "one pass for ratings (findings, report: the same and a few seconds)": n
        / given.reads_a_second,
    }
    rows(
        f"{n:.0e} sampled ratings in one run, {personas:,.0f} personas",
        [
            (name, clock(took), money(took / 3600 * given.dollars_an_hour))
            for name, took in stages.items()
        ],
        "time, one core", "cost",
    )  # fmt: skip
    print(f"\non disk {n * given.bytes_a_rating / 1e9:.2f} GB; memory of a pass "
          f"{(n + array) / 1e9 + given.base_gb:.1f} GB: {given.base_gb:g} GB of libraries and the "
          f"piece read, {array / 1e9:.2f} GB of array, one byte a rating")  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    wall: float
    busy: float
    lost: float
    deaths: int


def simulate(
    shards: int, workers: int, seconds: float, load: float, lifetime: float, seed: int = 0
) -> Outcome:
    """Workers that die at random (exponential lifetimes) and load their model again.

    A shard under way at a death is done again from its start by whoever is free next; what is
    stored stays. Shards vary by a fifth (log-normal).
    """
    rng = np.random.default_rng(seed)
    free = [(load, k) for k in range(workers)]
    heapq.heapify(free)
    dies = rng.exponential(lifetime, workers)
    left, deaths, lost, busy, wall = shards, 0, 0.0, 0.0, 0.0
    while left:
        now, k = heapq.heappop(free)
        took = seconds * float(rng.lognormal(0, 0.2))
        if now + took > dies[k]:
            died = max(float(dies[k]), now)
            lost += died - now
            deaths += 1
            dies[k] = died + load + rng.exponential(lifetime)
            heapq.heappush(free, (died + load, k))
            continue
        left -= 1
        busy += took
        wall = max(wall, now + took)
        heapq.heappush(free, (now + took, k))
    return Outcome(wall, busy, lost, deaths)


def faults(given: argparse.Namespace) -> None:
    ideal = given.shards * given.shard_seconds / given.workers
    print(f"\n{given.shards:,} shards of {given.shard_seconds:g} s, {given.workers} workers, "
          f"{given.load:g} s to load; without loss {clock(ideal)}\n")  # fmt: skip
    print("| mean lifetime of a worker | wall time | over ideal | deaths | work done twice |")
    print("|---:|---:|---:|---:|---:|")
    for lifetime in (1e12, 10 * given.lifetime, given.lifetime, given.lifetime / 10):
        found = simulate(given.shards, given.workers, given.shard_seconds, given.load, lifetime)
        name = "no deaths" if lifetime > 1e11 else clock(lifetime)
        print(f"| {name} | {clock(found.wall)} | {found.wall / ideal - 1:.1%} | {found.deaths} "
              f"| {found.lost / found.busy:.2%} |")  # fmt: skip


def _number(text: str) -> float:
    value = float(text)
    return int(value) if value.is_integer() else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parts = parser.add_subparsers(dest="part", required=True)
    options: dict[str, dict[str, float]] = {
        "sweep": {"checkpoints": 10_000, "workers": 16, "cells-per-second": 12, "start": 5.3,
                  "findings": 0.2, "report": 0.3, "worker-gb": 1.5, "bytes-a-cell": 76,
                  "dollars-an-hour": 0.05},
        "model": {"parameters": 400e9, "active": 400e9, "gpus": 8, "gpu-memory": 141,
                  "gpu-tflops": 990, "utilisation": 0.3, "load-gb-s": 2, "dollars-an-hour": 3,
                  "layers": 126, "hidden": 16384, "mlp": 53248, "kv-heads": 8, "head-dim": 128,
                  "vocabulary": 128_256, "calls": 64},
        "store": {"ratings": 1e9, "personas": 10_000, "bytes-a-rating": 0.83,
                  "writes-a-second": 5e6, "reads-a-second": 2.5e6, "base-gb": 0.4,
                  "dollars-an-hour": 0.05},
        "faults": {"shards": 10_000, "workers": 64, "shard-seconds": 10, "load": 300,
                   "lifetime": 7200},
    }  # fmt: skip
    for name, chosen in options.items():
        part = parts.add_parser(name)
        for option, default in chosen.items():
            part.add_argument(f"--{option}", type=_number, default=default)
    parts.add_parser("all", help="every part with its defaults")
    given = parser.parse_args()
    work = {"sweep": sweep, "model": model, "store": store, "faults": faults}
    for name in work if given.part == "all" else [given.part]:
        work[name](parser.parse_args([name]) if given.part == "all" else given)


if __name__ == "__main__":
    main()
