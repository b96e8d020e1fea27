"""`Manifest`: everything a run's numbers depend on, written before the first answer.

Two hashes summarise it. `identity_hash` covers the whole request (model revision included): a run
folder is resumed only by the same request. `comparability` covers what two *different* models must
share for their numbers to be compared; `differences` names what does not match.
"""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from personae import __version__
from personae.cast.model import Cast
from personae.collect.plan import Plan
from personae.collect.schemas import Step, stored, upgraded
from personae.instruments import canonical_wording
from personae.instruments.model import Instrument
from personae.models.protocol import ModelCard
from personae.prompts import LAYOUTS, layout_hash

SCHEMA = 1
STEPS: dict[int, Step] = {}  # see schemas.py
LIBRARIES = ("numpy", "polars", "torch", "transformers", "peft", "inspect-ai")


@dataclass(frozen=True)
class Manifest:
    """The record of one run.

    `panels` maps a panel's name to its cast (None: no persona). `instruments` and `layouts` hold
    those of the panels that differ from the run's own.
    """

    kind: str
    battery: str
    model: ModelCard
    instrument: Instrument
    panels: dict[str, Cast | None]
    layout: str
    layout_hash: str
    estimator: str
    repeats: int | None
    temperature: float | None
    seed: int | None
    canonical_wording: bool
    created: str = ""
    command: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    instruments: dict[str, Instrument] = field(default_factory=dict)
    layouts: dict[str, str] = field(default_factory=dict)
    schema: int = SCHEMA

    @classmethod
    def of_plan(cls, plan: Plan, model: ModelCard, command: tuple[str, ...] = ()) -> Manifest:
        return cls(
            kind="audit",
            battery="moral",
            model=model,
            instrument=plan.instrument,
            panels={p.name: p.cast for p in plan.panels},
            layout=plan.layout,
            layout_hash=layout_hash(plan.layout),
            estimator=plan.estimator,
            repeats=plan.repeats,
            temperature=1.0 if plan.repeats is None else plan.temperature,
            seed=plan.seed,
            canonical_wording=canonical_wording(plan.instrument),
            created=now(),
            command=command,
            versions=versions(),
            instruments={p.name: p.instrument for p in plan.panels if p.instrument},
            layouts={p.name: p.layout for p in plan.panels if p.layout},
        )

    # --- identity --------------------------------------------------------------------------
    @property
    def comparability(self) -> dict[str, Any]:
        """What must be equal before two runs' numbers may be compared."""
        return {
            "instrument": self.instrument.hash,
            "layout": self.layout_hash,
            "estimator": self.estimator,
            "repeats": self.repeats,
            "temperature": self.temperature,
            "host": self.model.host,
            "chat template": self.model.chat_template_hash,
            "dtype": self.model.details.get("dtype"),
            "parser": self.model.details.get("parser"),
        } | {f"{name} panel": cast.hash for name, cast in self.panels.items() if cast is not None}

    @property
    def comparability_hash(self) -> str:
        return _digest(self.comparability)

    @property
    def identity(self) -> dict[str, Any]:
        """What must be equal for a run folder to be continued."""
        return self.comparability | {
            "model": self.model.name,
            "model revision": self.model.revision,
            "adapter": self.model.details.get("adapter"),
            "seed": self.seed,
            "panels": sorted(self.panels),
            "panel instruments": {name: i.hash for name, i in self.instruments.items()},
            "panel layouts": {name: layout_hash(x) for name, x in self.layouts.items()},
        }

    @property
    def identity_hash(self) -> str:
        return _digest(self.identity)

    def instrument_of(self, panel: str) -> Instrument:
        return self.instruments.get(panel, self.instrument)

    # --- file ------------------------------------------------------------------------------
    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {
            "instrument": _dumped(self.instrument),
            "instruments": {name: _dumped(i) for name, i in self.instruments.items()},
            "panels": {
                name: None if cast is None else _dumped(cast) for name, cast in self.panels.items()
            },
            "personae": __version__,
            "comparability_hash": self.comparability_hash,
            "identity_hash": self.identity_hash,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any], where: Path) -> Manifest:
        data = upgraded(data, SCHEMA, STEPS, where)
        for name in ("instruments", "panels"):
            if isinstance(members := data.get(name), dict):
                data[name] = {key: _without_hash(value) for key, value in members.items()}
        return stored(cls, data | {"instrument": _without_hash(data.get("instrument"))}, where)

    def summary(self) -> dict[str, Any]:
        """The part that `--json` prints: no item or persona texts."""
        return {
            "kind": self.kind,
            "battery": self.battery,
            "model": self.model.name,
            "model_revision": self.model.revision,
            "host": self.model.host,
            "instrument": self.instrument.name,
            "instrument_hash": self.instrument.hash,
            "canonical_wording": self.canonical_wording,
            "panels": {n: 1 if c is None else len(c) for n, c in self.panels.items()},
            "cast": next((c.name for c in self.panels.values() if c is not None), None),
            "layout": self.layout,
            "estimator": self.estimator,
            "repeats": self.repeats,
            "temperature": self.temperature,
            "seed": self.seed,
            "created": self.created,
            "comparability_hash": self.comparability_hash,
            "versions": self.versions,
        }


def differences(a: Manifest, b: Manifest) -> list[str]:
    """What keeps two runs from being comparable, in words; empty when nothing does."""
    left, right = a.comparability, b.comparability
    return [
        f"{key}: {_short(left.get(key))} against {_short(right.get(key))}"
        for key in dict.fromkeys([*left, *right])
        if left.get(key) != right.get(key)
    ]


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Versions of personae, Python and the libraries that are installed."""
    found = {"personae": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def known_layout(name: str) -> str:
    """Hash of a layout of ours; other people's layouts are known by name alone."""
    return layout_hash(name) if name in LAYOUTS else f"unknown ({name})"


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _short(value: Any) -> str:
    text = "unknown" if value in (None, "") else str(value)
    is_hash = len(text) == 64 and all(c in "0123456789abcdef" for c in text)
    return text[:12] if is_hash else text


def _dumped(value: Instrument | Cast) -> dict[str, Any]:
    return value.model_dump(mode="json") | {"hash": value.hash}


def _without_hash(data: Any) -> Any:
    return {k: v for k, v in data.items() if k != "hash"} if isinstance(data, dict) else data
