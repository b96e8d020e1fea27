"""Worker processes that are killed, hang, or find a poisonous shard; a full disk."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import scripted
from scripted import CAN

from personae.cast.model import Cast
from personae.collect.execute import collect, open_or_create
from personae.collect.manifest import Manifest
from personae.collect.plan import Panel, Plan
from personae.collect.store import Run
from personae.errors import PersonaeError
from personae.executors.pool import WorkerPool
from personae.executors.processes import ProcessSlot
from personae.executors.wire import ModelSpec
from personae.instruments.model import Instrument
from respondents import Planted


@pytest.fixture
def plan(small_cast: Cast, small_instrument: Instrument) -> Plan:
    return Plan(small_instrument, (Panel("cast", small_cast), Panel("self", None)), "scale-first")


def slots(
    n: int, *, delay: float = 0.0, poison: str = "", hang: str = "", patience: float = 30.0
) -> list[ProcessSlot]:
    command = (sys.executable, scripted.__file__, str(delay), poison, hang)
    spec = ModelSpec("planted")
    return [ProcessSlot(f"worker {k}", spec, patience, command=command) for k in range(n)]


def run_with(path: Path, plan: Plan, model: WorkerPool | Planted) -> Run:
    run = open_or_create(path, Manifest.of_plan(plan, model.card))
    return collect(run, plan, model)


def test_workers_killed_at_random_lose_and_double_nothing(tmp_path: Path, plan: Plan) -> None:
    alone = run_with(tmp_path / "alone", plan, Planted())
    made = slots(3, delay=0.005)
    done = threading.Event()

    def killer() -> None:
        for k in range(5):
            if done.wait(0.25):
                return
            os.kill(made[k % 3].pid, signal.SIGKILL)

    with WorkerPool(made, tries=9) as pool:
        assert pool.can == CAN
        thread = threading.Thread(target=killer)
        thread.start()
        shared = run_with(tmp_path / "shared", plan, pool)
        done.set()
        thread.join()
    assert shared.responses.equals(alone.responses)
    assert all(slot._process.poll() is not None for slot in made)


def test_a_worker_that_hangs_loses_its_lease(tmp_path: Path, plan: Plan) -> None:
    alone = run_with(tmp_path / "alone", plan, Planted())
    hang = str(tmp_path / "hung")
    with WorkerPool(slots(2, hang=hang, patience=1.5)) as pool:
        shared = run_with(tmp_path / "shared", plan, pool)
    assert Path(hang).exists()
    assert shared.responses.equals(alone.responses)


def test_a_shard_that_kills_its_workers_ends_in_one_line(tmp_path: Path, plan: Plan) -> None:
    with (
        WorkerPool(slots(2, poison="kind 5"), tries=2) as pool,
        pytest.raises(PersonaeError, match=r"shard-00001 failed 2 times on .*killed by SIGKILL"),
    ):
        run_with(tmp_path / "run", plan, pool)
    assert Run.open(tmp_path / "run").stored() == {s.name for s in plan.shards} - {"shard-00001"}


def test_a_full_disk_keeps_what_is_there_and_resumes(tmp_path: Path, plan: Plan) -> None:
    alone = run_with(tmp_path / "alone", plan, Planted())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    sizes = [f.stat().st_size for f in (tmp_path / "alone" / "responses").glob("*.parquet")]
    with WorkerPool(slots(2)) as pool:
        run = open_or_create(tmp_path / "full", Manifest.of_plan(plan, pool.card))
        try:  # room for the small shard of "self", not for those of four personas
            resource.setrlimit(resource.RLIMIT_FSIZE, (max(sizes) - 1000, before[1]))
            with pytest.raises(PersonaeError, match="the disk is full"):
                collect(run, plan, pool)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(run.responses_dir.glob(".*part"))
    with WorkerPool(slots(2)) as pool:
        assert run_with(tmp_path / "full", plan, pool).responses.equals(alone.responses)


DRIVER = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[1:3]
from personae.cast.model import Cast
from personae.collect.plan import Panel, Plan
from personae.executors.pool import WorkerPool
from personae.instruments.model import Instrument
from test_processes import run_with, slots
cast = Cast.model_validate_json(sys.argv[4])
instrument = Instrument.model_validate_json(sys.argv[5])
plan = Plan(instrument, (Panel("cast", cast), Panel("self", None)), "scale-first")
made = slots(2, delay=0.01)
print(*[s.pid for s in made], flush=True)
with WorkerPool(made) as pool:
    run_with(Path(sys.argv[3]), plan, pool)
"""


def test_workers_end_with_the_run_that_began_them(tmp_path: Path, plan: Plan) -> None:
    alone = run_with(tmp_path / "alone", plan, Planted())
    here = Path(__file__).parent
    cast = plan.panels[0].cast
    assert cast is not None
    texts = [cast.model_dump_json(), plan.instrument.model_dump_json()]
    child = subprocess.Popen(
        [sys.executable, "-c", DRIVER, here, here.parent, tmp_path / "cut", *texts],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    pids = [int(p) for p in child.stdout.readline().split()]
    time.sleep(1.5)
    child.kill()
    child.wait()
    until = time.monotonic() + 20
    while any(_alive(p) for p in pids) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(_alive(p) for p in pids)
    with WorkerPool(slots(2)) as pool:
        assert run_with(tmp_path / "cut", plan, pool).responses.equals(alone.responses)


def _alive(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1][:3]
    except OSError:
        return False
