"""Every benchmark, one after another, each in a process of its own.

    python benchmarks/run_all.py [--full] [--only NAME ...] [--ratings FOLDER] [--out bench]

Without `--full` each is cut down, to some 9 minutes in all: enough to see that they run and where a
ratio lies, too little to report one. `--ratings` is the folder of public ratings that `measures`
needs. What a benchmark prints goes to OUT/NAME.txt; at the end
one line for each. Exit code 1 if one failed. benchmarks/README.md lists what they measure.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
RATINGS = "FOLDER"
STUDY = HERE.parent / "studies/results/defences-smollm2.csv"
DIFFERENCES = f"{STUDY} prevent-prevent-control harmful-control"


@dataclass(frozen=True)
class Bench:
    """A benchmark with its arguments, in short and in full, and the packages it needs."""

    name: str
    quick: str
    full: str
    needs: tuple[str, ...] = ()


BENCHES = (
    Bench("scale", "--quick", "--ratings 1e5,1e6,1e7,1e8:10000"),
    Bench("plan", "all", "all"),
    Bench("stages", "--personas 4 --rows 30000", "--personas 100 --rows 1000000", ("torch",)),
    Bench("rating_engine", "--personas 1 --rounds 1 --threads 1", "--personas 6 --rounds 3",
          ("torch",)),
    Bench("internals", "--prompts 16 --rounds 1 --skip-memory", "--prompts 96 --rounds 3",
          ("torch",)),
    Bench("training", "--steps 3 --rounds 1 --watch-steps 0", "", ("torch", "trl")),
    Bench("latents", "--width 256 --d 128 --k 8 --batch 512 --rounds 1 --steps 50", "",
          ("torch", "sae_lens")),
    Bench("hosted", "--calls 300 --memory 300 --rounds 1", "", ("inspect_ai",)),
    Bench("measures", f"{RATINGS} --peer-draws 2", RATINGS, ("pandas",)),
    Bench("coverage", "--quick", "--trials 500"),
    Bench("calibration", "--quick", ""),
    Bench("geometry_intervals", "--studies 40", ""),
    Bench("separation_interval", "--studies 40", ""),
    Bench("vectors", "--traits rudeness --random 2 --out bench/vectors", "", ("torch",)),
    Bench("differences", DIFFERENCES, DIFFERENCES),
    Bench("actor", "same smollm2-actor smollm2", "play smollm2-actor", ("torch",)),
)  # fmt: skip


def command(bench: Bench, *, full: bool, ratings: Path | None) -> list[str] | str:
    """How to run it, or why it cannot be run here."""
    if missing := [n for n in bench.needs if importlib.util.find_spec(n) is None]:
        return f"skipped: needs {', '.join(missing)}"
    arguments = (bench.full if full else bench.quick).split()
    if RATINGS in arguments:
        if ratings is None:
            return "skipped: needs --ratings FOLDER"
        arguments[arguments.index(RATINGS)] = str(ratings)
    return [sys.executable, str(HERE / f"{bench.name}.py"), *arguments]


def run(bench: Bench, asked: list[str], out: Path, limit: float | None) -> str:
    """Run it; the verdict in words."""
    file = out / f"{bench.name}.txt"
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with file.open("w") as shown:
        try:
            code = subprocess.run(
                asked, stdout=shown, stderr=subprocess.STDOUT, env=environment, timeout=limit,
                check=False,
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"FAILED: not done after {limit:.0f} s"
    if code:
        last = (file.read_text().strip().splitlines() or [""])[-1]
        return f"FAILED with code {code}: {last[:100]}"
    return f"done, see {file}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="as for benchmarks/RESULTS.md")
    parser.add_argument("--only", nargs="*", default=[], choices=[b.name for b in BENCHES])
    parser.add_argument("--ratings", type=Path)
    parser.add_argument("--out", type=Path, default=Path("bench"))
    parser.add_argument("--limit", type=float, help="seconds for one benchmark [240; full: none]")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    limit = given.limit or (None if given.full else 240.0)
    failed = False
    begun = time.monotonic()
    for bench in BENCHES:
        if given.only and bench.name not in given.only:
            continue
        asked = command(bench, full=given.full, ratings=given.ratings)
        start = time.monotonic()
        verdict = asked if isinstance(asked, str) else run(bench, asked, given.out, limit)
        failed |= verdict.startswith("FAILED")
        print(f"{bench.name:<20} {time.monotonic() - start:6.0f} s  {verdict}", flush=True)
    print(f"{'all':<20} {time.monotonic() - begun:6.0f} s")
    sys.exit(failed)


if __name__ == "__main__":
    main()
