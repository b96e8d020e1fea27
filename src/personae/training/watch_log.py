"""Readings of a watch, and where they are written: CSV always, TensorBoard and W&B if present."""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from personae.errors import PersonaeError

FILE = "watch.csv"


@dataclass(frozen=True)
class Reading:
    """One measurement.

    Args:
        step: optimiser steps done before it; 0 is the model before training.
        values: by name; see watch_measures.py.
        seconds: what it took. share: of the training time so far, all readings together.
        breaches: limits crossed, in words.
    """

    step: int
    values: Mapping[str, float]
    seconds: float
    share: float = 0.0
    breaches: tuple[str, ...] = ()


class WatchLog:
    """watch.csv in a folder; a resumed run goes on with the readings that it holds.

    Raises:
        PersonaeError: the file holds other values.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.path, self.names = folder / FILE, tuple(names)
        self.header = ["step", *self.names, "seconds", "share", "breaches"]
        self.readings = self._read() if self.path.exists() else []
        self._board: Any = None

    def drop_from(self, step: int) -> None:
        """Forget readings of steps that are made again."""
        kept = [r for r in self.readings if r.step < step]
        if len(kept) < len(self.readings):
            self.readings = kept
            self._write("w", kept)

    def add(self, reading: Reading) -> None:
        self.readings.append(reading)
        self._write("a" if self.path.exists() else "w", [reading])
        self._to_board(reading)
        self._to_wandb(reading)

    def close(self) -> None:
        if self._board is not None:
            self._board.close()

    def _write(self, mode: str, readings: Sequence[Reading]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open(mode, newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if mode == "w":
                writer.writerow(self.header)
            for r in readings:
                values = [r.values[name] for name in self.names]
                writer.writerow([r.step, *values, r.seconds, r.share, "; ".join(r.breaches)])

    def _read(self) -> list[Reading]:
        try:
            with self.path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.reader(file))
            if rows and rows[0] == self.header:
                # A line that was cut off by a kill is measured again.
                return [self._reading(row) for row in rows[1:] if len(row) == len(self.header)]
        except (csv.Error, ValueError) as why:
            raise PersonaeError(f"{self.path}: damaged ({why}); remove it") from None
        raise PersonaeError(f"{self.path}: holds another watch; remove it or give another out")

    def _reading(self, row: Sequence[str]) -> Reading:
        values = dict(zip(self.names, map(float, row[1:-3]), strict=True))
        said = tuple(filter(None, row[-1].split("; ")))
        return Reading(int(row[0]), values, float(row[-3]), float(row[-2]), said)

    def _to_board(self, reading: Reading) -> None:
        if self._board is None:
            if find_spec("tensorboard") is None:
                return
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self.path.parent / "tensorboard"))
        for name, value in reading.values.items():
            self._board.add_scalar(f"personae/{name}", value, reading.step)
        self._board.flush()

    def _to_wandb(self, reading: Reading) -> None:
        """To the run that the user's script has begun, if it has."""
        run = getattr(sys.modules.get("wandb"), "run", None)
        if run is not None:
            values = {f"personae/{name}": value for name, value in reading.values.items()}
            run.log(values | {"personae/step": reading.step})
