"""Run a battery: ask stage by stage, store, resume, and turn the answers into findings.

A stage's asks may depend on the answers before it (a judge reads what was written, a second turn
follows a first); how a stage is asked and stored is in `personae.collect.answering`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from personae import __version__
from personae.collect.answering import Respondents, answer_stage
from personae.collect.asks import NEEDED, Ask, Stage, answer_schema, in_order
from personae.collect.folder import RunFolder, free_name, refuse
from personae.collect.manifest import now, versions
from personae.collect.schemas import Step, stored, upgraded
from personae.errors import PersonaeError
from personae.findings import Finding
from personae.models.protocol import ModelCard, Respondent

if TYPE_CHECKING:
    import polars as pl

SCHEMA = 1
STEPS: dict[int, Step] = {}  # see schemas.py
Options = Mapping[str, Any]
Progress = Callable[[int, int], None]


class Battery(Protocol):
    """One experiment: what to ask, and which findings the answers give.

    Attributes:
        name: the word on the command line. title: one line. version: raise it when asks change.
        defaults: every option with its default; only these are accepted.
    """

    name: str
    title: str
    version: str
    defaults: Options

    def stages(self, options: Options, can: frozenset[str]) -> Sequence[Stage]:
        """The steps of the experiment for a model that answers the kinds in `can`."""
        ...

    def findings(self, answers: pl.DataFrame, options: Options) -> list[Finding]:
        """Findings from all answers (a table as of `answer_schema`)."""
        ...


@dataclass(frozen=True)
class BatteryManifest:
    """The record of one battery run."""

    battery: str
    version: str
    model: ModelCard
    judge: ModelCard | None
    options: Options
    seed: int
    created: str = ""
    command: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    kind: str = "battery"
    schema: int = SCHEMA

    @property
    def identity(self) -> dict[str, Any]:
        """What must be equal for a run folder to be continued."""
        return {
            "battery": f"{self.battery} {self.version}",
            "model": self.model.name,
            "model revision": self.model.revision,
            "details": {k: self.model.details.get(k) for k in ("adapter", "interventions")},
            "judge": None if self.judge is None else self.judge.name,
            "options": dict(self.options),
            "seed": self.seed,
        }

    @property
    def identity_hash(self) -> str:
        text = json.dumps(self.identity, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def as_json(self) -> dict[str, Any]:
        extra = {"personae": __version__, "identity_hash": self.identity_hash}
        return asdict(self) | {"options": dict(self.options)} | extra

    @classmethod
    def from_json(cls, data: dict[str, Any], where: Path) -> BatteryManifest:
        if data.get("kind") != "battery":
            raise PersonaeError(f"{where}: this run is no battery but {data.get('kind')!r}")
        return stored(cls, upgraded(data, SCHEMA, STEPS, where), where)

    def summary(self) -> dict[str, Any]:
        """The part that `--json` prints."""
        return {
            "kind": self.kind,
            "battery": self.battery,
            "model": self.model.name,
            "model_revision": self.model.revision,
            "host": self.model.host,
            "judge": None if self.judge is None else self.judge.name,
            "options": dict(self.options),
            "seed": self.seed,
            "created": self.created,
            "versions": self.versions,
        }


class BatteryRun(RunFolder):
    """The folder of one battery run."""

    def __init__(self, path: Path, manifest: BatteryManifest) -> None:
        super().__init__(path)
        self.manifest = manifest

    @classmethod
    def create(cls, path: Path, manifest: BatteryManifest) -> BatteryRun:
        run = cls(path, manifest)
        run.write_manifest(manifest.as_json())
        return run

    @classmethod
    def open(cls, path: Path | str) -> BatteryRun:
        data = cls.read_manifest(path)
        return cls(Path(path), BatteryManifest.from_json(data, Path(path) / "manifest.json"))

    @cached_property
    def answers(self) -> pl.DataFrame:
        """Every attempt of every ask (columns: `answer_schema`)."""
        return in_order(self.read_shards(answer_schema(), NEEDED))


def run_battery(
    path: Path,
    battery: Battery,
    model: Respondent,
    *,
    judge: Respondent | None = None,
    options: Options | None = None,
    seed: int = 0,
    fresh: bool = False,
    command: tuple[str, ...] = (),
    on_progress: Progress | None = None,
) -> BatteryRun:
    """Ask everything that is not on disk yet; write the findings.

    Only answers of shards on disk count: a stage sees its predecessors' answers as stored.

    Args:
        options: overrides of the battery's defaults; an unknown one is an error.
        on_progress: called with (answers there, answers wanted so far); later stages add to the
            second number when they are reached.
    """
    chosen = checked_options(battery, options or {})
    manifest = BatteryManifest(
        battery.name, battery.version, model.card, None if judge is None else judge.card,
        chosen, seed, now(), command, versions(),
    )  # fmt: skip
    run = _open_or_create(path, manifest, fresh=fresh)
    report = on_progress or (lambda done, total: None)
    who = Respondents(model, judge)
    with run.writing():
        run.set_damaged_aside()
        before = 0
        for number, stage in enumerate(battery.stages(chosen, who.can)):
            asks = [ask.seeded(seed) for ask in stage(run.answers)]
            _check_names(asks, battery.name)
            tick = partial(_tell, report, before, before + len(asks))
            answer_stage(run, number, asks, who, tick)
            before += len(asks)
            run.__dict__.pop("answers", None)
    run.write_findings(battery.findings(run.answers, chosen))
    return run


def _tell(report: Progress, before: int, wanted: int, done: int) -> None:
    report(before + done, wanted)


def checked_options(battery: Battery, given: Options) -> dict[str, Any]:
    unknown = sorted(set(given) - set(battery.defaults))
    if unknown:
        raise PersonaeError(
            f"{battery.name} has no option {unknown[0]!r}; there are: {', '.join(battery.defaults)}"
        )
    return dict(battery.defaults) | dict(given)


def _open_or_create(path: Path, manifest: BatteryManifest, *, fresh: bool) -> BatteryRun:
    if fresh and path.exists():
        path.rename(free_name(path))
    if not (path / "manifest.json").exists():
        return BatteryRun.create(path, manifest)
    run = BatteryRun.open(path)
    if run.manifest.identity_hash != manifest.identity_hash:
        refuse(path, run.manifest.identity, manifest.identity)
    return run


def _check_names(asks: Sequence[Ask], battery: str) -> None:
    seen: set[tuple[str, str, str, int]] = set()
    for ask in asks:
        if ask.key in seen:
            raise ValueError(f"battery {battery} asks {ask.key} twice")
        seen.add(ask.key)
