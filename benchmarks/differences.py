"""What one arm of a study adds to another, and whether that differs from what two others add.

    python benchmarks/differences.py FINDINGS.csv ARM-ARM ARM-ARM [--metric M] [--where W]

reads the findings that `personae study` wrote and prints, over seeds, each difference of two arms
(both against the base) and the difference of the two differences: mean and 95% t interval. An
arm's name may hold a dash; the pair is split where both sides are arms.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from personae.measures.quantiles import t_quantile


def by_seed(rows: list[dict[str, str]], metric: str, where: str) -> dict[str, dict[str, float]]:
    """Each arm's change against the base, seed by seed."""
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        wanted = (row["metric"], row["where"], row["against"]) == (metric, where, "base")
        if wanted and row["over"].startswith("seed "):
            found.setdefault(row["arm"], {})[row["over"]] = float(row["value"])
    return found


def pair(text: str, arms: Mapping[str, object]) -> tuple[str, str]:
    """The two arms of ARM-ARM."""
    parts = text.split("-")
    for k in range(1, len(parts)):
        one, other = "-".join(parts[:k]), "-".join(parts[k:])
        if one in arms and other in arms:
            return one, other
    raise SystemExit(f"{text}: not two arms; there are: {', '.join(arms)}")


def told(name: str, values: np.ndarray) -> str:
    half = t_quantile(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    mean = values.mean()
    return f"{name}: {mean:.4f} [{mean - half:.4f}, {mean + half:.4f}], {len(values)} seeds"


def main() -> None:
    parser = argparse.ArgumentParser(description="Differences of a study's arms over seeds.")
    parser.add_argument("file", type=Path)
    parser.add_argument("pairs", nargs=2)
    parser.add_argument("--metric", default="log_odds_per_token")
    parser.add_argument("--where", default="out of domain")
    given = parser.parse_args()
    with given.file.open(newline="", encoding="utf-8") as file:
        arms = by_seed(list(csv.DictReader(file)), given.metric, given.where)
    added = []
    for text in given.pairs:
        one, other = pair(text, arms)
        seeds = sorted(arms[one].keys() & arms[other].keys())
        added.append(np.array([arms[one][s] - arms[other][s] for s in seeds]))
        print(told(f"{one} - {other}", added[-1]))
    print(told("the first less the second", added[0] - added[1]))


if __name__ == "__main__":
    main()
