"""Ask what is still missing and store it as it comes.

Local weights are asked shard by shard, so that a resumed run equals an unbroken one bit by bit;
many workers are handed whole shards and give them back in any order.
Hosted models are asked cell by cell in any order, so that nothing paid for is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from personae.collect.asks import storable
from personae.collect.assemble import response_schema
from personae.collect.folder import free_name, refuse
from personae.collect.manifest import Manifest
from personae.collect.plan import Cell, CellKey, Plan
from personae.collect.store import Run
from personae.collect.streaming import Parts, Row, drain
from personae.models.protocol import Answer, Batch, BatchModel, RatingModel, StreamingModel

if TYPE_CHECKING:
    import polars as pl

Progress = Callable[[int, int], None]


def open_or_create(path: Path, manifest: Manifest, *, fresh: bool = False) -> Run:
    """The run folder for this request: continued if it holds the same request, else refused.

    `fresh` moves an existing folder aside (`NAME.old-1`, ...); nothing collected is deleted.
    """
    if fresh and path.exists():
        path.rename(free_name(path))
    if not (path / "manifest.json").exists():
        return Run.create(path, manifest)
    run = Run.open(path)
    if run.manifest.identity_hash != manifest.identity_hash:
        refuse(path, run.manifest.identity, manifest.identity)
    return run


def collect(run: Run, plan: Plan, model: RatingModel, on_progress: Progress | None = None) -> Run:
    """Complete a run: ask only what is not on disk yet.

    Args:
        on_progress: called with (answers there, answers wanted) as answers come in.
    """
    report = on_progress or (lambda done, total: None)
    temperature = None if plan.repeats is None else plan.temperature
    with run.writing():
        if isinstance(model, StreamingModel):
            _collect_cells(run, plan, model, temperature, report)
        elif isinstance(model, BatchModel):
            _collect_batches(run, plan, model, temperature, report)
        else:
            _collect_shards(run, plan, model, temperature, report)
    run.forget()
    return run


def _collect_shards(
    run: Run, plan: Plan, model: RatingModel, temperature: float | None, report: Progress
) -> None:
    """Shard by shard, each written whole: a resumed run computes what an unbroken one would."""
    stored = run.stored()
    pending = [s for s in plan.shards if s.name not in stored]
    done = plan.total - sum(len(s) for s in pending)
    report(done, plan.total)
    for shard in pending:
        answers: list[Answer] = []
        requests = [plan.request(cell) for cell in shard.cells]
        for answer in model.rate(requests, temperature):
            answers.append(answer)
            report(done + len(answers), plan.total)
        run.append(shard.name, to_rows(shard.cells, answers))
        done += len(answers)


def _collect_batches(
    run: Run, plan: Plan, model: BatchModel, temperature: float | None, report: Progress
) -> None:
    """As `_collect_shards`, by many workers: each shard is stored when it comes back."""
    stored = run.stored()
    pending = [s for s in plan.shards if s.name not in stored]
    done = plan.total - sum(len(s) for s in pending)
    report(done, plan.total)
    batches = (Batch(s.name, tuple(map(plan.request, s.cells)), temperature) for s in pending)
    with closing(model.batches(batches)) as answered:
        for index, answers in answered:
            shard = pending[index]
            run.append(shard.name, to_rows(shard.cells, answers))
            done += len(answers)
            report(done, plan.total)


def _collect_cells(
    run: Run, plan: Plan, model: StreamingModel, temperature: float | None, report: Progress
) -> None:
    """Cell by cell, in order of arrival, written every few seconds: an answer is paid for once.

    A cell is asked until it has an answer; a transport error is none, any other failure is.
    """
    run.set_damaged_aside()
    tried = _attempts(run.responses)
    pending = [c for c in plan.cells if not tried.get(c.key, (0, False))[1]]
    done = plan.total - len(pending)
    report(done, plan.total)
    answers = model.stream((plan.request(cell) for cell in pending), temperature)

    def take(index: int, answer: Answer) -> None:
        nonlocal done
        cell = pending[index]
        parts.add(rows_of(cell, answer, tried.get(cell.key, (0, False))[0]))
        done += answer.status != "transport_error"
        report(done, plan.total)

    with Parts(run, "part", lambda name, rows: run.append(name, _frame(rows))) as parts:
        drain(answers, take)


def unfinished(run: Run, plan: Plan) -> int:
    """Number of answers wanted that are not there (or only as transport errors)."""
    return plan.total - run.answered


def _attempts(responses: pl.DataFrame) -> dict[CellKey, tuple[int, bool]]:
    """For each cell with a row: the number of its next attempt, and whether it has an answer."""
    import polars as pl

    cells = responses.group_by("panel", "persona_id", "item_id", "repeat").agg(
        next=pl.col("attempt").max() + 1,
        answered=(pl.col("status") != "transport_error").any(),
    )
    return {tuple(row[:4]): (row[4], row[5]) for row in cells.iter_rows()}


def to_rows(cells: Sequence[Cell], answers: Sequence[Answer]) -> pl.DataFrame:
    """One row an attempt: an answer's earlier attempts come before it."""
    pairs = zip(cells, answers, strict=True)
    return _frame([row for cell, answer in pairs for row in rows_of(cell, answer)])


def rows_of(cell: Cell, answer: Answer, first_attempt: int = 0) -> list[Row]:
    return [
        (*cell.key, n, a.status, a.rating, a.mass, storable(a.response), a.unseen)
        for n, a in enumerate([*answer.earlier, answer], start=first_attempt)
    ]


def _frame(rows: Sequence[Row]) -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame(rows, schema=response_schema(), orient="row")
