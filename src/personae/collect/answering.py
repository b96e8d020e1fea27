"""Who answers the asks of one step of a battery, and how what comes back is stored.

Local weights, and workers that hold them, are asked shard by shard, each stored whole: a resumed
run asks exactly what an unbroken one would have asked. Hosted models are asked one by one in any
order: nothing paid for is lost, and an ask that brought no answer is asked again on resume.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from personae.collect.asks import KEY, Ask, Kind, Row, answer_frame, answer_schema, rows_of
from personae.collect.streaming import Parts, drain
from personae.errors import PersonaeError
from personae.models.protocol import (
    Answer,
    Batch,
    BatchModel,
    RatingRequest,
    Respondent,
    StreamingModel,
)

if TYPE_CHECKING:
    import polars as pl

    from personae.collect.folder import RunFolder

SHARD = 64
Numbered = tuple[int, Ask]
NamedShard = tuple[str, list[Numbered]]


@dataclass(frozen=True)
class Respondents:
    """Who is asked: the model under study and, where there is one, the judge."""

    model: Respondent
    judge: Respondent | None = None

    def asked(self, ask: Ask) -> Respondent:
        who = self.model if ask.to == "model" else self.judge
        if who is None:
            raise PersonaeError("this step needs a judge: name one with --judge MODEL")
        return who

    @property
    def can(self) -> frozenset[str]:
        """What can be asked; "judge" stands for a judge being there."""
        return self.model.can | ({"judge"} if self.judge is not None else set())


def answer_stage(
    folder: RunFolder,
    stage: int,
    asks: Sequence[Ask],
    who: Respondents,
    tick: Callable[[int], None],
) -> None:
    """Store an answer to every ask that has none yet.

    Args:
        stage: the step's number; files are named by it.
        tick: called with the number of this step's answers that are there.
    """
    streamed: list[Numbered] = []
    computed: list[Numbered] = []
    for place, ask in enumerate(asks):
        calls = isinstance(who.asked(ask), StreamingModel)
        (streamed if calls else computed).append((place, ask))
    stored = folder.stored()
    shards = [s for s in _shards(stage, computed) if s[0] not in stored]
    done = len(computed) - sum(len(some) for _, some in shards)

    def more(count: int) -> None:
        nonlocal done
        done += count
        tick(done)

    tick(done)
    for name, some, answers in _answered(shards, who, more):
        rows = [
            row
            for (place, ask), answer in zip(some, answers, strict=True)
            for row in rows_of(ask, answer, (stage, place))
        ]
        folder.write_shard(name, answer_frame(rows))
    if streamed:
        stream_asks(
            folder, f"stage-{stage:02d}-part", stage, streamed, who, lambda n: tick(done + n)
        )


def stream_asks(
    folder: RunFolder,
    prefix: str,
    stage: int,
    numbered: Sequence[Numbered],
    who: Respondents,
    tick: Callable[[int], None],
) -> None:
    """Ask hosted models what has no answer yet; a transport error is none, any other failure is.

    Args:
        prefix: of the files' names.
    """
    tried = _attempts(folder.read_shards(answer_schema()))
    pending = [(n, ask) for n, ask in numbered if not tried.get(ask.key, (0, False))[1]]
    done = len(numbered) - len(pending)
    tick(done)

    def write(name: str, rows: Sequence[Row]) -> None:
        folder.write_shard(name, answer_frame(rows))

    with Parts(folder, prefix, write) as parts:
        for _, group in groupby(sorted(pending, key=_group_key), key=_group_key):
            members = list(group)

            def take(index: int, answer: Answer, members: list[Numbered] = members) -> None:
                nonlocal done
                place, ask = members[index]
                first = tried.get(ask.key, (0, False))[0]
                parts.add(rows_of(ask, answer, (stage, place), first))
                done += answer.status != "transport_error"
                tick(done)

            first = members[0][1]
            asked = who.asked(first)
            assert isinstance(asked, StreamingModel)
            requests = (ask.request for _, ask in members)
            drain(asked.stream(requests, _temperature(asked, first)), take)


def _group_key(numbered: Numbered) -> tuple[Kind, str]:
    return numbered[1].kind, numbered[1].to


def _attempts(answers: pl.DataFrame) -> dict[tuple[Any, ...], tuple[int, bool]]:
    """For each ask with a row: the number of its next attempt, and whether it has an answer."""
    import polars as pl

    asks = answers.group_by(KEY).agg(
        next=pl.col("attempt").max() + 1,
        answered=(pl.col("status") != "transport_error").any(),
    )
    return {tuple(row[:-2]): (row[-2], row[-1]) for row in asks.iter_rows()}


def _shards(stage: int, numbered: Sequence[Numbered]) -> Iterator[NamedShard]:
    """Runs of at most `SHARD` asks of one kind and one addressee, named by their place."""
    number = 0
    for _, group in groupby(numbered, key=_group_key):
        members = list(group)
        for start in range(0, len(members), SHARD):
            yield f"stage-{stage:02d}-{number:05d}", members[start : start + SHARD]
            number += 1


def _answered(
    shards: Sequence[NamedShard], who: Respondents, more: Callable[[int], None]
) -> Iterator[tuple[str, list[Numbered], list[Answer]]]:
    """Each shard with its answers; `more` hears of answers as they come."""
    alone = list(shards)
    if isinstance(who.model, BatchModel):
        alone = [s for s in shards if s[1][0][1].to != "model"]
        shared = [s for s in shards if s[1][0][1].to == "model"]
        # Workers hold local weights, whose ratings are exact: no temperature.
        batches = (Batch(name, tuple(ask.request for _, ask in some)) for name, some in shared)
        with closing(who.model.batches(batches)) as found:
            for index, answers in found:
                more(len(answers))
                yield (*shared[index], answers)
    for name, some in alone:
        answers = []
        for answer in _answers([ask for _, ask in some], who):
            answers.append(answer)
            more(1)
        yield name, some, answers


def _answers(asks: Sequence[Ask], who: Respondents) -> Iterator[Answer]:
    """Answers to asks of one kind and one addressee, in order."""
    asked = who.asked(asks[0])
    requests: list[Any] = [ask.request for ask in asks]
    kind: Kind = asks[0].kind
    if kind == "rate":
        return asked.rate(requests, _temperature(asked, asks[0]))
    if kind == "choose":
        return asked.choose(requests)
    return asked.write(requests) if kind == "write" else asked.score(requests)


def _temperature(who: Respondent, ask: Ask) -> float | None:
    """Exact ratings and choices where the respondent gives them; else a judge's likeliest one and
    a sample of the model's. Texts have a temperature of their own."""
    if ask.kind in ("rate", "choose") and getattr(who, "exact", True):
        return None
    return 0.0 if ask.kind == "rate" and ask.to == "judge" else 1.0


def rate(
    who: Respondent, requests: Sequence[RatingRequest], *, temperature: float
) -> Iterator[Answer]:
    """Exact ratings where the respondent gives them, else one sampled at `temperature`."""
    return who.rate(requests, None if getattr(who, "exact", True) else temperature)
