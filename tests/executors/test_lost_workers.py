"""Real workers lost in the middle of a run, and Ctrl-C on a run with workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")

from tiny_models import build_model, build_tokenizer, save

from personae import api
from personae.collect.store import Run
from personae.executors.opening import ExecutorSettings

PERSONAS = 40  # ten shards
ONE = {"cast": PERSONAS, "suite": "quick", "threads": 1, "device": "cpu"}
VERB = ["--cast", str(PERSONAS), "--suite", "quick", "--threads", "1", "--device", "cpu"]

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds processes in /proc")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("model") / "tiny", build_model(), build_tokenizer())


@pytest.fixture(scope="module")
def alone(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return api.audit(str(folder), out=tmp_path_factory.mktemp("alone") / "run", **ONE)  # type: ignore[arg-type]


def below(parent: int) -> Iterator[tuple[int, str]]:
    """Every process below another: its number and its command line."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            after = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(after[1]), []).append(int(entry.name))
    waiting = list(parents.get(parent, ()))
    while waiting:
        number = waiting.pop()
        waiting += parents.get(number, ())
        try:
            command = Path(f"/proc/{number}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        yield number, command


class Killer:
    """Kills one worker, the first time an answer has come in."""

    def __init__(self, is_worker: Callable[[str], bool]) -> None:
        self.is_worker = is_worker
        self.killed: list[int] = []

    def __call__(self, done: int, total: int) -> None:
        if done and done < total and not self.killed:
            found = [n for n, command in below(os.getpid()) if self.is_worker(command)]
            assert found, "no worker to kill"
            self.killed = [max(found)]
            os.kill(self.killed[0], signal.SIGKILL)


def assert_same(run: Run, alone: Run) -> None:
    names = sorted(f.name for f in alone.responses_dir.glob("*.parquet"))
    assert names == sorted(f.name for f in run.responses_dir.glob("*.parquet"))
    for name in (*(f"responses/{n}" for n in names), "findings.parquet"):
        assert (run.path / name).read_bytes() == (alone.path / name).read_bytes()


def audit(folder: Path, out: Path, settings: ExecutorSettings, killer: Killer) -> Run:
    run = api.audit(str(folder), out=out, executor=settings, on_progress=killer, **ONE)  # type: ignore[arg-type]
    assert killer.killed
    return run


def test_a_ray_actor_that_dies_loses_and_doubles_nothing(
    folder: Path, alone: Run, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    killer = Killer(lambda command: command.startswith("ray::ActorWorker"))
    assert_same(audit(folder, tmp_path / "run", ExecutorSettings("ray", 2), killer), alone)


def test_a_slurm_task_that_dies_loses_and_doubles_nothing(
    folder: Path, alone: Run, tmp_path: Path
) -> None:
    pytest.importorskip("submitit")
    killer = Killer(lambda command: "submitit" in command)
    settings = ExecutorSettings("slurm", 2, cluster="local")
    assert_same(audit(folder, tmp_path / "run", settings, killer), alone)
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_ctrl_c_ends_run_and_workers_in_one_line_and_resumes(
    folder: Path, alone: Run, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-c", "from personae.cli.main import run; run()"]
    command += ["audit", str(folder), *VERB, "--out", str(out)]
    command += ["--executor", "local", "--workers", "2"]
    begun = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    until = time.monotonic() + 120
    while not list((out / "responses").glob("*.parquet")):
        assert begun.poll() is None, begun.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)
    workers = [number for number, _ in below(begun.pid)]
    os.killpg(begun.pid, signal.SIGINT)  # as a terminal does: to the workers, too
    shown = begun.communicate(timeout=60)[1]
    assert begun.returncode == 130, shown
    assert "run the same command to resume" in shown
    assert "Traceback" not in shown
    assert workers
    for _ in range(100):
        left = [number for number in workers if Path(f"/proc/{number}").exists()]
        if not left:
            break
        time.sleep(0.1)
    assert not left
    kept = len(Run.open(out).stored())
    assert 0 < kept < len(alone.stored())
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert_same(Run.open(out), alone)
