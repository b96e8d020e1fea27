"""Kill runs at random moments, resume them, and compare with an undisturbed run.

    python tests/chaos/many.py --runs 40 [--kinds audit,workers,import,study,hosted] [--seed 0]

Each round begins a run in a process of its own, kills it (SIGKILL, the process and everything it
began) at a random moment, as often as `--kills` says, then lets it finish, and holds the findings
and the stored ratings against those of a run that nobody disturbed: they must be equal to the bit.
A round in which no kill hit a living run does not count and is done again.

    audit     a tiny random model, this process
    workers   a planted model behind worker processes, of which single ones are killed too
    import    public-style rating files
    study     training, interventions and measures of a small study
    hosted    a battery with a judge, both behind a real HTTP server that answers in any order

Processes are forked from a server that has imported everything, so that the moments fall into
the work, not into the start of Python.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "models"), str(TESTS / "executors"), str(TESTS / "chaos")]
KINDS = ("audit", "workers", "import", "study", "hosted")
KEY = {"LOOP_API_KEY": "sk-loopback-0123456789abcdef", "TOKENIZERS_PARALLELISM": "false"}
FORKS = multiprocessing.get_context("forkserver")


@dataclass(frozen=True)
class Work:
    """One kind of run: words that are safe to repeat, and what must come out the same."""

    words: Callable[[Path], list[str]]
    outcome: Callable[[Path], object]


def outcome(folder: Path) -> object:
    """Findings and answers of every run below a folder."""
    from personae import api
    from personae.collect.folder import RunFolder
    from personae.collect.store import Run

    found: dict[str, object] = {}
    for manifest in sorted(folder.rglob("manifest.json")):
        path = manifest.parent
        if not (path / "responses").is_dir():
            continue
        run = api.load_run(path)
        found[str(path.relative_to(folder))] = (
            [f.as_json() for f in RunFolder(path).findings()],
            run.responses.sort(["panel", "persona_id", "item_id", "repeat", "attempt"]).rows()
            if isinstance(run, Run)
            else run.answers.rows(),  # an ask that was made twice would be there twice
        )
    return found


def study_outcome(folder: Path) -> object:
    """A study's findings and the weights of its adapters."""
    study = folder / "study"
    weights = sorted(study.glob("adapters/*/adapter_model.safetensors"))
    numbers = (study / "findings.csv").read_text("utf-8")
    return numbers, [(f.parent.name, f.read_bytes()) for f in weights]


def works(kinds: list[str], inputs: Path, stack: ExitStack) -> dict[str, Work]:
    from chaos_inputs import NAME, model_folder, rating_files, serve, study_file

    model, files = model_folder(inputs), rating_files(inputs)
    asked = study_file(inputs, model)
    url = stack.enter_context(serve()).url if "hosted" in kinds else ""

    def audit(path: Path) -> list[str]:
        return [
            "audit", str(model), "--cast", "12", "--suite", "quick", "--threads", "1",
            "--device", "cpu", "--out", str(path / "run"),
        ]  # fmt: skip

    def workers(path: Path) -> list[str]:
        return ["workers", str(path / "run")]

    def imported(path: Path) -> list[str]:
        where = ("--instrument", "mfi30", "--out", str(path / "runs"))
        return ["import", *map(str, files), *where]

    def study(path: Path) -> list[str]:
        return ["study", str(asked), "--threads", "1", "--out", str(path / "study")]

    def hosted(path: Path) -> list[str]:
        return [
            "run", "misalignment", NAME, "--judge", NAME, "--base-url", url,
            "--judge-base-url", url, "--set", "questions=open", "--limit", "16",
            "--max-connections", "4", "--out", str(path / "run"),
        ]  # fmt: skip

    return {
        "audit": Work(audit, outcome),
        "workers": Work(workers, outcome),
        "import": Work(imported, outcome),
        "study": Work(study, study_outcome),
        "hosted": Work(hosted, outcome),
    }


def child(words: list[str], said: Path) -> None:
    """A run, in a session of its own; what it says goes to a file."""
    os.setsid()
    log = os.open(said, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.environ.update(KEY)
    sys.argv = ["personae", *words]
    if words[0] == "workers":
        import chaos_driver

        chaos_driver.main(Path(words[1]))
    else:
        from personae.cli.main import run

        run()


def killed_run(work: Work, path: Path, kills: int, longest: float, rng: random.Random) -> int:
    """Begin and kill `kills` times, each within `longest` seconds, then finish.

    Returns:
        The number of kills that hit a living run.
    """
    hits = 0
    for _ in range(kills):
        process = start(work, path)
        until = time.monotonic() + rng.uniform(0, longest)
        while process.is_alive() and time.monotonic() < until:
            time.sleep(0.01)
            # Now and then a worker alone dies; the run must go on without anybody's help.
            if rng.random() < 0.01:
                kill_a_child(process.pid, rng)
        hits += process.is_alive()
        kill_group(process)
    done = start(work, path)
    done.join(300)
    if done.exitcode:
        raise SystemExit(
            f"{path}: resuming ended with {done.exitcode}: {said(path).read_text()[-800:]}"
        )
    return hits


def said(path: Path) -> Path:
    return path.with_name(f"{path.name}.log")


def start(work: Work, path: Path) -> Any:
    process = FORKS.Process(target=child, args=(work.words(path), said(path)))
    process.start()
    return process


def kill_group(process: Any) -> None:
    for kill in (os.killpg, os.kill):  # a child that has not yet begun is no group
        with suppress(ProcessLookupError):
            kill(process.pid, signal.SIGKILL)
    process.join()


def kill_a_child(parent: int, rng: random.Random) -> None:
    try:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    except OSError:
        return
    if children:
        with suppress(ProcessLookupError):
            os.kill(int(rng.choice(children)), signal.SIGKILL)


def rounds(kinds: list[str], runs: int, kills: int, seed: int, folder: Path) -> Counter[str]:
    """All rounds; raises SystemExit at the first difference."""
    print(f"seed {seed}", flush=True)
    FORKS.set_forkserver_preload(
        ["torch", "peft", "transformers", "inspect_ai.model", "openai", "personae.cli.main",
         "personae.api", "personae.study.run", "personae.training.sft", "personae.models.hosted"]
    )  # fmt: skip
    inputs = folder / "inputs"
    inputs.mkdir()
    rng = random.Random(seed)
    counted: Counter[str] = Counter()
    begin = FORKS.Process(target=int)  # the server of forks takes its time to begin
    begin.start()
    begin.join()
    with ExitStack() as stack:
        known = works(kinds, inputs, stack)
        for kind in kinds:
            _rounds(kind, known[kind], runs, kills, rng, folder, counted)
            print(f"{kind}: {runs} runs, {counted[f'{kind} kills']} kills, all equal", flush=True)
    return counted


def _rounds(
    kind: str, work: Work, runs: int, kills: int, rng: random.Random, folder: Path,
    counted: Counter[str],
) -> None:  # fmt: skip
    whole = folder / f"{kind}-whole"
    whole.mkdir()
    began = time.monotonic()
    killed_run(work, whole, 0, 0.0, rng)
    longest = time.monotonic() - began
    wanted = work.outcome(whole)
    if not wanted:
        raise SystemExit(f"{kind}: the undisturbed run left nothing")
    n = tried = 0
    while n < runs:
        tried += 1
        if tried > 10 * runs:
            raise SystemExit(f"{kind}: no kill hits a living run within {longest:.1f} s")
        path = folder / f"{kind}-{tried}"
        path.mkdir()
        hits = killed_run(work, path, rng.randint(1, kills), longest, rng)
        if work.outcome(path) != wanted:
            raise SystemExit(f"{kind}, round {tried}: {path} differs from {whole}")
        counted[f"{kind} kills"] += hits
        n += hits > 0
    counted[f"{kind} runs"] += n


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="of each kind")
    parser.add_argument("--kills", type=int, default=3, help="most kills of one run")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rounds(given.kinds.split(","), given.runs, given.kills, given.seed, Path(folder))


if __name__ == "__main__":
    main()
