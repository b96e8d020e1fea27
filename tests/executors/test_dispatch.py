"""No batch is lost or doubled, whatever befalls the workers."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import ScriptedSlot

from personae.cast.model import Cast
from personae.collect.execute import collect, open_or_create
from personae.collect.manifest import Manifest
from personae.collect.plan import Panel, Plan
from personae.collect.store import Run
from personae.errors import PersonaeError
from personae.executors.dispatch import Dispatch
from personae.executors.pool import WorkerPool
from personae.instruments.model import Instrument, Scale
from personae.models.protocol import Batch, RatingRequest
from personae.prompts import Prompt
from respondents import Planted

FATES = st.lists(st.sampled_from(["", "lose", "fail", "late", "short"]), max_size=6)


def batches(n: int, size: int = 3) -> list[Batch]:
    scale = Scale(min=0, max=5)
    return [
        Batch(
            f"shard-{k:05d}",
            tuple(RatingRequest(Prompt((("user", f"{k}.{j}"),)), scale, j) for j in range(size)),
        )
        for k in range(n)
    ]


@settings(max_examples=60, deadline=None)
@given(st.lists(FATES, min_size=1, max_size=4), st.integers(0, 12), st.integers(1, 4))
def test_what_comes_back_is_right_and_comes_once(
    fates: list[list[str]], n: int, tries: int
) -> None:
    slots = [ScriptedSlot(f"w{k}", list(f)) for k, f in enumerate(fates)]
    asked = batches(n)
    found = []
    try:
        for index, answers in Dispatch(slots, iter(asked), tries).results():
            found.append(index)
            assert answers == list(Planted().rate(asked[index].requests))  # type: ignore[arg-type]
    except PersonaeError:
        ended = False
    else:
        ended = True
    assert (sorted(found) == list(range(n))) == ended
    assert max(Counter(found).values(), default=1) == 1


def test_a_failed_batch_goes_to_another_worker() -> None:
    bad = ScriptedSlot("bad", ["fail"] * 100)
    good = ScriptedSlot("good")
    found = dict(Dispatch([bad, good], batches(20), tries=2).results())
    assert len(found) == 20
    # A batch that failed here is never tried here again while another worker lives.
    assert max(Counter(bad.asked).values()) == 1


def test_a_poisonous_batch_ends_in_one_line_after_all_others_are_done() -> None:
    slots = [ScriptedSlot(f"w{k}", poison=lambda b: b.name == "shard-00004") for k in range(3)]
    found = []
    with pytest.raises(PersonaeError, match=r"shard-00004 failed 3 times on w\d, w\d, w\d") as why:
        found.extend(index for index, _ in Dispatch(slots, batches(10), tries=3).results())
    assert sorted(found) == [k for k in range(10) if k != 4]
    assert "\n" not in str(why.value)
    assert "killed by SIGKILL" in str(why.value)


def test_when_every_worker_is_lost_it_says_so() -> None:
    slots = [ScriptedSlot(f"w{k}", ["lose"] * 9, revivals=1) for k in range(2)]
    with pytest.raises(PersonaeError, match=r"every worker was lost|failed 9 times"):
        list(Dispatch(slots, batches(6), tries=9).results())


def test_what_only_the_user_can_mend_is_not_tried_again() -> None:
    class Refusing(ScriptedSlot):
        def ask(self, batch: Batch) -> list[object]:  # type: ignore[override]
            self.asked.append(batch.name)
            raise PersonaeError("the tokenizer cannot tell 1 from 2")

    slot = Refusing("w")
    with pytest.raises(PersonaeError, match="tokenizer"):
        list(Dispatch([slot], batches(5)).results())
    assert len(slot.asked) == 1


def test_batches_are_taken_as_they_are_needed() -> None:
    taken = []

    def lazily():
        for batch in batches(1000):
            taken.append(batch.name)
            yield batch

    results = Dispatch([ScriptedSlot("a"), ScriptedSlot("b")], lazily()).results()
    next(results)
    assert len(taken) < 20
    results.close()


# --- the whole way to the store ---------------------------------------------------------------


@pytest.fixture
def plan(small_cast: Cast, small_instrument: Instrument) -> Plan:
    return Plan(small_instrument, (Panel("cast", small_cast), Panel("self", None)), "scale-first")


def run_with(path: Path, plan: Plan, model: object) -> Run:
    run = open_or_create(path, Manifest.of_plan(plan, model.card))  # type: ignore[attr-defined]
    return collect(run, plan, model)  # type: ignore[arg-type]


@pytest.mark.parametrize("repeats", [None, 3])
def test_a_pool_writes_what_one_process_writes(
    tmp_path: Path, plan: Plan, repeats: int | None
) -> None:
    plan = Plan(plan.instrument, plan.panels, plan.layout, repeats)
    alone = run_with(tmp_path / "alone", plan, Planted())
    slots = [ScriptedSlot(f"w{k}", ["", "lose", "fail"]) for k in range(3)]
    with WorkerPool(slots, tries=9) as pool:
        shared = run_with(tmp_path / "shared", plan, pool)
    assert shared.responses.equals(alone.responses)
    assert all(slot.closed for slot in slots)
    for file in (tmp_path / "alone" / "responses").glob("*.parquet"):
        assert file.read_bytes() == (shared.responses_dir / file.name).read_bytes()


def test_after_a_poisonous_shard_only_it_is_asked_again(tmp_path: Path, plan: Plan) -> None:
    bad = plan.shards[1].name
    slots = [ScriptedSlot(f"w{k}", poison=lambda b: b.name == bad) for k in range(2)]
    with WorkerPool(slots) as pool, pytest.raises(PersonaeError, match=bad):
        run_with(tmp_path / "run", plan, pool)
    model = Planted()
    resumed = run_with(tmp_path / "run", plan, model)
    assert model.asked == len(plan.shards[1].cells)
    assert resumed.responses.height == plan.total


def test_an_error_in_storing_ends_the_workers(tmp_path: Path, plan: Plan) -> None:
    slots = [ScriptedSlot("a"), ScriptedSlot("b")]
    before = threading.active_count()
    with WorkerPool(slots) as pool:
        run = open_or_create(tmp_path / "run", Manifest.of_plan(plan, pool.card))
        run.append = lambda name, rows: (_ for _ in ()).throw(  # type: ignore[method-assign]
            PersonaeError("the disk is full")
        )
        with pytest.raises(PersonaeError, match="disk is full"):
            collect(run, plan, pool)
    assert all(slot.closed for slot in slots)
    patience = time.monotonic() + 60
    while threading.active_count() > before and time.monotonic() < patience:
        time.sleep(0.05)
    assert threading.active_count() <= before


def test_workers_of_different_models_do_not_mix() -> None:
    slots = [ScriptedSlot("a"), ScriptedSlot("b", model=Planted(salt="other"))]
    with pytest.raises(PersonaeError, match=r"do not agree on revision: 'r-' and 'r-other'"):
        WorkerPool(slots)
    assert all(slot.closed for slot in slots)
