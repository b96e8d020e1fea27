"""Answers that cost money, stored in order of arrival: what has come is never lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from personae.models.protocol import Answer, Answers

if TYPE_CHECKING:
    from personae.collect.folder import RunFolder

Row = tuple[Any, ...]
FLUSH_SECONDS = 3.0


def drain(answers: Answers, take: Callable[[int, Answer], None]) -> None:
    """Hand on every answer with its request's position.

    After Ctrl-C nothing more is asked, but what is under way is paid for already and still taken;
    a second Ctrl-C does not wait for it.
    """
    try:
        for index, answer in answers:
            take(index, answer)
    except KeyboardInterrupt:
        answers.stop()
        for index, answer in answers:
            take(index, answer)
        raise
    except BaseException:
        answers.stop()
        raise


class Parts:
    """Rows on their way to disk: files PREFIX-000000, ..., one every `FLUSH_SECONDS` and at exit.

    Args:
        write: stores rows under a name, whole or not at all.
    """

    def __init__(
        self, folder: RunFolder, prefix: str, write: Callable[[str, Sequence[Row]], None]
    ) -> None:
        self._prefix, self._write = prefix, write
        self._rows: list[Row] = []
        self._written = time.monotonic()
        numbers = (
            f.name.split(".")[0].removeprefix(f"{prefix}-")
            for f in folder.responses_dir.glob(f"{prefix}-*.*")
        )
        self._number = 1 + max((int(n) for n in numbers if n.isdecimal()), default=-1)

    def __enter__(self) -> Parts:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    def add(self, rows: Sequence[Row]) -> None:
        self._rows += rows
        if time.monotonic() - self._written > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        if self._rows:
            self._write(f"{self._prefix}-{self._number:06d}", self._rows)
            self._number += 1
            self._rows = []
        self._written = time.monotonic()
