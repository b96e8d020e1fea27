"""Where the time of a verb goes: CPU seconds and shares of its stages.

    python benchmarks/stages.py [--personas 20] [--rows 300000] [--only NAME ...]

Each verb runs in a process of its own: `--help`, an audit of the embedded model (`--personas`
citizens x 30 items, one thread), the same again when it is complete, its report, a comparison with
the same audit of the actor, and the import of a CSV of `--rows` sampled ratings. Every few
milliseconds of CPU time the stack is looked at, and the time since the last look counts for its
innermost function in `STAGES`; "rest" is what no stage covers.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from types import FrameType

import numpy as np

from personae.instruments import load_instrument

# Name of a stage: (end of the file's path, function).
STAGES = {
    ("importlib._bootstrap>", "_find_and_load"): "imports",
    ("models/loading.py", "load_model"): "load the model",
    ("models/local.py", "rate"): "ratings",
    ("models/local.py", "_in_order"): "ratings",
    ("collect/importer.py", "read_ratings"): "read CSV",
    ("collect/folder.py", "write_shard"): "write run",
    ("collect/store.py", "_tallies"): "read run",
    ("batteries/moral.py", "findings"): "findings",
    ("compare/comparing.py", "compare"): "comparison",
    ("report/page.py", "write_report"): "report",
}
TICK = 0.004


def shares(arguments: list[str]) -> dict[str, float]:
    """Run a verb here; CPU seconds in all and of each stage."""
    spent: Counter[str] = Counter(start=time.process_time())
    last = time.process_time()

    def look(_: int, frame: FrameType | None) -> None:
        nonlocal last
        now = time.process_time()
        spent[_stage(frame)] += now - last
        last = now

    signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, TICK, TICK)
    try:
        _run(arguments)
    except SystemExit as end:
        if end.code:
            raise
    signal.setitimer(signal.ITIMER_PROF, 0)
    return {"all": time.process_time(), **spent}


def _stage(frame: FrameType | None) -> str:
    while frame is not None:
        code = frame.f_code
        for (file, function), stage in STAGES.items():
            if code.co_name == function and code.co_filename.endswith(file):
                return stage
        frame = frame.f_back
    return "rest"


def _run(arguments: list[str]) -> None:
    from personae.cli.main import run

    sys.argv = ["personae", *arguments]
    run()


def ratings_csv(path: Path, rows: int) -> None:
    """Ratings as other people store them: 100 personas x 30 items x as many repeats as needed."""
    rng = np.random.default_rng(0)
    repeats = max(1, rows // 3000)
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["persona_id", "question_id", "run_index", "rating", "failures", "response"])
        for persona in range(100):
            for item in load_instrument("mfi30").items:
                for run, rating in enumerate(rng.integers(0, 6, repeats), start=1):
                    out.writerow([persona, item.id, run, rating, 0, rating])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--personas", type=int, default=20)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--verb", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.verb:
        found = shares(json.loads(given.verb))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"found": found, "peak": peak}), file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as folder:
        table(Path(folder), given)


def table(folder: Path, given: argparse.Namespace) -> None:
    ratings_csv(folder / "ratings.csv", given.rows)
    one = ["smollm2", "--suite", "quick", "--cast", str(given.personas), "--threads", "1"]
    runs = [str(folder / name) for name in "ab"]
    verbs = {
        "--help": ["--help"],
        "audit": ["audit", *one, "--out", runs[0]],
        "audit, complete": ["audit", *one, "--out", runs[0]],
        "audit, another model": ["audit", "smollm2-actor", *one[1:], "--out", runs[1]],
        "report": ["report", runs[0]],
        "compare": ["compare", "--base", runs[0], "--treated", runs[1]],
        "import": ["import", str(folder / "ratings.csv"), "--instrument", "mfi30",
                   "--out", str(folder / "imported")],
    }  # fmt: skip
    print("| verb | CPU s | peak MB | stages, share of the CPU time |\n|---|---:|---:|---|")
    for name, arguments in verbs.items():
        if given.only and name not in given.only:
            continue
        done = subprocess.run(
            [sys.executable, __file__, "--verb", json.dumps(arguments)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"{name}: {done.stderr.strip().splitlines()[-1]}")
        shown = json.loads(done.stderr.strip().splitlines()[-1])
        whole = shown["found"].pop("all")
        parts = sorted(shown["found"].items(), key=lambda part: -part[1])
        told = ", ".join(f"{name} {t / whole:.0%}" for name, t in parts if t > 0.01 * whole)
        print(f"| `{name}` | {whole:.1f} | {shown['peak']:.0f} | {told} |", flush=True)


if __name__ == "__main__":
    main()
