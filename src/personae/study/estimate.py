"""How long a plan takes: from what SmolLM2-135M took on one slow core, corrected as jobs finish."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from personae.files import is_number
from personae.study.plan import Cell, Plan, Training
from personae.study.probes import ALL_PAIRS, EVERY

# Seconds of the embedded model on one busy core, measured while the shipped studies ran.
TRAINED_ROW = 0.65
PAIR = 0.3
ANSWER_TOKEN = 0.04
RATING = 0.04
LOADING = 6.0
RATINGS_BESIDE = {"quick": 120, "standard": 900, "full": 6000}


def training_seconds(training: Training) -> float:
    return LOADING + training.steps * training.recipe.batch * TRAINED_ROW


def measure_seconds(plan: Plan, cell: Cell) -> float:
    """Of one cell, all its measures."""
    measures = plan.study.measures
    seconds = LOADING
    if measures.preference is not None:
        pairs = min(measures.preference.limit or ALL_PAIRS, ALL_PAIRS)
        seconds += PAIR * pairs * (1 + len(measures.preference.triggers) / EVERY)
    if measures.task is not None:
        seconds += PAIR / 2 * measures.task.rows
    if measures.coherence is not None:
        asked = measures.coherence
        seconds += LOADING + ANSWER_TOKEN * asked.prompts * asked.max_tokens
    if measures.moral is not None:
        cast = measures.moral.cast
        people = int(cast) if is_number(str(cast)) else 100
        seconds += RATING * (30 * people + RATINGS_BESIDE[measures.moral.suite])
    return seconds


def plan_seconds(plan: Plan, trainings: Sequence[Training], cells: Sequence[Cell]) -> float:
    """Of what is left of a plan."""
    return sum(map(training_seconds, trainings)) + sum(measure_seconds(plan, c) for c in cells)


class Clock:
    """Time left, by the ratio of what the jobs so far took to what was expected of them."""

    def __init__(self, total: float, say: Callable[[str], None]) -> None:
        self.left, self.say = total, say
        self.expected = self.taken = 0.0

    @contextmanager
    def job(self, label: str, seconds: float) -> Iterator[None]:
        import time

        began = time.monotonic()
        try:
            yield
        finally:
            self.taken += time.monotonic() - began
            self.expected += seconds
            self.left = max(self.left - seconds, 0.0)
            rest = self.left * self.taken / self.expected
            self.say(f"{label}: {time.monotonic() - began:.0f} s; about {duration(rest)} left")


def duration(seconds: float) -> str:
    """Seconds in words."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
