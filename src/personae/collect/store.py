"""`Run`: the folder of a questionnaire run (see folder.py), for reading and for adding to."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from personae.collect.assemble import (
    RATING_COLUMNS,
    RESPONSE_COLUMNS,
    Tally,
    response_schema,
)
from personae.collect.folder import RunFolder, conformed, damage
from personae.collect.manifest import Manifest
from personae.errors import PersonaeError
from personae.ratings import Ratings

if TYPE_CHECKING:
    import polars as pl

NEEDED = ("panel", "item_id", "repeat", "attempt", "status")  # columns without an empty cell
ATTEMPT_KEY = ("panel", "persona_id", "item_id", "repeat", "attempt")


class Run(RunFolder):
    """A questionnaire run: its manifest, responses, ratings and findings."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        super().__init__(path)
        self.manifest = manifest

    @classmethod
    def create(cls, path: Path, manifest: Manifest) -> Run:
        run = cls(path, manifest)
        run.write_manifest(manifest.as_json())
        return run

    @classmethod
    def open(cls, path: Path | str) -> Run:
        data = cls.read_manifest(path)
        if (kind := data.get("kind")) in ("battery", "axis"):
            raise PersonaeError(
                f"{path}: holds a run of {data.get('battery', kind)}, not of 'personae audit'; "
                "name another folder"
            )
        return cls(Path(path), Manifest.from_json(data, Path(path) / "manifest.json"))

    def append(self, name: str, rows: pl.DataFrame) -> None:
        """Store one shard of responses, whole or not at all."""
        self.write_shard(name, rows.select(RESPONSE_COLUMNS).cast(response_schema()))

    @cached_property
    def responses(self) -> pl.DataFrame:
        """All responses: one row an attempt (columns: `RESPONSE_COLUMNS`), each attempt once."""
        rows = self.read_shards(response_schema(), NEEDED)
        return rows.unique(ATTEMPT_KEY, keep="first", maintain_order=True)

    def ratings(self, panel: str = "cast") -> Ratings | None:
        """The ratings of one panel; None if the run has no such panel."""
        return None if panel not in self._tallies else self._tallies[panel].ratings()

    @property
    def answered(self) -> int:
        """Answers there, each repeat of a cell once."""
        return sum(tally.answered for tally in self._tallies.values())

    @cached_property
    def _tallies(self) -> dict[str, Tally]:
        """Every panel's answers added up in one pass, without holding the table."""
        import polars as pl

        manifest = self.manifest
        tallies = {
            name: Tally(
                manifest.instrument_of(name),
                ("self",) if cast is None else tuple(p.id for p in cast.personas),
            )
            for name, cast in manifest.panels.items()
        }
        schema = pl.Schema({k: v for k, v in response_schema().items() if k in RATING_COLUMNS})
        with damage(self.responses_dir):
            for piece in self.pieces(RATING_COLUMNS):
                rows = conformed(piece, schema, NEEDED)
                for (name,), part in rows.partition_by("panel", as_dict=True).items():
                    if name in tallies:
                        tallies[name].add(part)
        return tallies

    def forget(self) -> None:
        """Drop what was read, once more is stored."""
        for name in ("responses", "_tallies"):
            self.__dict__.pop(name, None)
