"""Inspect logs of persona ratings: of `personae/moral_metrics`, and of runs of ours.

One sample is one persona (id: the persona's; `PANEL/ID` outside the cast), an epoch is a repeat.
The answers stand in the sample's store under `STORE_KEY`:

    scale    [lowest, highest]
    answers  item id -> [status, rating, response], in logs of ours with a fourth entry:
             {"mass": exact probabilities, "unseen": bound on what they miss, "attempt": number}
    earlier  attempts that failed before them: [item id, attempt, status, response]

A log of ours carries its run's manifest, so that importing it gives the same run back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personae.cast.model import Cast, Persona
from personae.collect.assemble import response_schema
from personae.collect.folder import conformed
from personae.collect.manifest import Manifest
from personae.collect.store import NEEDED, Run
from personae.errors import PersonaeError
from personae.files import one_line

if TYPE_CHECKING:
    import polars as pl
    from inspect_ai.log import EvalLog as InspectLog
    from inspect_ai.log import EvalResults, EvalSample

STORE_KEY = "personae"
MANIFEST_KEY = "personae_manifest"
SUFFIX = ".eval"
HEADLINES = ("susceptibility", "robustness", "dispersion", "scale_mass")


@dataclass(frozen=True)
class EvalLog:
    """What a log holds.

    Args:
        responses: columns of a response file; an epoch is a repeat.
        model: Inspect's name of the model. task: name and version of the task.
        instrument, layout: names. instrument_hash, cast_hash: of what was asked.
        temperature: of the answers.
        cast: the personas with their texts; None if there was none.
        manifest: of the run that was exported; None in a log of the task.
    """

    responses: pl.DataFrame
    model: str
    task: str
    instrument: str
    instrument_hash: str
    cast_hash: str
    layout: str
    temperature: float
    cast: Cast | None = None
    manifest: Manifest | None = field(default=None, repr=False)


# --- reading ---------------------------------------------------------------------------------
def read_log(path: Path | str) -> EvalLog:
    """Read an `.eval` (or `.json`) log of the task `personae/moral_metrics` or of a run of ours.

    Raises:
        PersonaeError: no such file, no log, or a log of another task.
    """
    import polars as pl

    log = _read(Path(path))
    kept = (log.eval.metadata or {}).get(MANIFEST_KEY)
    manifest = None if kept is None else _manifest(kept, Path(path))
    try:
        return _content(log, manifest, path)
    except (
        AttributeError, KeyError, TypeError, ValueError, OverflowError, pl.exceptions.PolarsError,
    ) as error:  # fmt: skip
        reason = one_line(error, 200)
        raise PersonaeError(f"{path}: damaged persona ratings in this log ({reason})") from None


def _manifest(kept: Any, path: Path) -> Manifest:
    if not isinstance(kept, dict):
        raise PersonaeError(f"{path}: damaged manifest in this log")
    return Manifest.from_json(kept, path)


def _content(log: InspectLog, manifest: Manifest | None, path: Path | str) -> EvalLog:
    import polars as pl

    rows = [row for sample in log.samples or [] for row in _rows(sample)]
    if not rows:
        raise PersonaeError(
            f"{path}: no persona ratings in this log; it should be of personae/moral_metrics, or "
            "made by personae export"
        )
    asked = log.eval.metadata or {}
    responses = pl.DataFrame(rows, schema=response_schema(), orient="row")
    return EvalLog(
        responses=conformed(responses, response_schema(), NEEDED),
        model=log.eval.model,
        task=f"{log.eval.task}@{log.eval.task_version}",
        instrument=str(asked.get("instrument", "")),
        instrument_hash=str(asked.get("instrument_hash", "")),
        cast_hash=str(asked.get("cast_hash", "")),
        layout=str(asked.get("layout", "")),
        temperature=float(log.eval.task_args.get("temperature", 1.0)),
        cast=_cast(log),
        manifest=manifest,
    )


def _read(path: Path) -> InspectLog:
    try:
        from inspect_ai.log import read_eval_log
    except ImportError:
        raise PersonaeError(_MISSING) from None
    if not path.is_file():
        raise PersonaeError(f"{path}: no such file")
    try:
        return read_eval_log(str(path))
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise PersonaeError(f"{path}: not an Inspect log ({reason})") from None


_MISSING = 'Inspect logs need the hosted extra: pip install "personae[hosted]"'


def _rows(sample: EvalSample) -> Iterator[tuple[Any, ...]]:
    """Rows of `response_schema`, earlier attempts first."""
    found = sample.store.get(STORE_KEY)
    if found is None:
        return
    panel, repeat = sample.metadata["panel"], sample.epoch - 1
    persona = None if sample.metadata["persona"] is None else _persona_id(sample)
    for item, attempt, status, response in found.get("earlier", ()):
        yield (panel, persona, item, repeat, attempt, status, None, None, response, None)
    for item, (status, rating, response, *rest) in found["answers"].items():
        more = rest[0] if rest else {}
        mass, unseen = more.get("mass"), more.get("unseen")
        attempt = more.get("attempt", 0)
        yield (panel, persona, item, repeat, attempt, status, rating, mass, response, unseen)


def _persona_id(sample: EvalSample) -> str:
    return str(sample.metadata.get("persona_id", sample.id))


def _cast(log: InspectLog) -> Cast | None:
    texts = {
        _persona_id(sample): str(sample.metadata["persona"])
        for sample in log.samples or []
        if STORE_KEY in sample.store and sample.metadata["panel"] == "cast"
    }
    if not texts:
        return None
    name = (log.eval.dataset.name or "imported").split(" on ")[0]
    return Cast(name=name, personas=tuple(Persona(id=k, text=t) for k, t in texts.items()))


# --- writing ---------------------------------------------------------------------------------
def write_log(run: Run, path: Path) -> None:
    """Write a questionnaire run as an Inspect log; `inspect view` opens it.

    Raises:
        PersonaeError: the run is unfinished, the file does not end in .eval, or it exists.
    """
    try:
        from inspect_ai.log import (
            EvalConfig,
            EvalDataset,
            EvalLog,
            EvalSpec,
            EvalStats,
            write_eval_log,
        )
    except ImportError:
        raise PersonaeError(_MISSING) from None
    if path.suffix != SUFFIX:
        raise PersonaeError(f"{path}: an Inspect log is a file that ends in {SUFFIX}")
    manifest = run.manifest
    results = _results(run)
    samples = list(_samples(run))
    cast = manifest.panels.get("cast")
    name = f"{'no cast' if cast is None else cast.name} on {manifest.instrument.name}"
    ids = list(dict.fromkeys(str(sample.id) for sample in samples))
    spec = EvalSpec(
        created=manifest.created,
        task="personae/moral_metrics",
        task_version=1,
        task_args={"temperature": manifest.temperature or 1.0},
        dataset=EvalDataset(name=name, samples=len(ids), sample_ids=ids),
        model=manifest.model.name,
        config=EvalConfig(epochs=manifest.repeats or 1),
        packages=manifest.versions,
        metadata={
            "instrument": manifest.instrument.name,
            "instrument_hash": manifest.instrument.hash,
            "cast_hash": "" if cast is None else cast.hash,
            "layout": manifest.layout,
            "estimator": manifest.estimator,
            MANIFEST_KEY: manifest.as_json(),
        },
    )
    # The viewer wants two times; a run keeps when it began alone.
    stats = EvalStats(started_at=manifest.created, completed_at=manifest.created)
    log = EvalLog(status="success", eval=spec, stats=stats, results=results, samples=samples)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_eval_log(log, str(path))


def _results(run: Run) -> EvalResults:
    """The run's own overall values, as the viewer's headline."""
    from inspect_ai.log import EvalMetric, EvalResults, EvalScore

    metrics = {
        f.metric: EvalMetric(name=f.metric, value=f.value)
        for f in run.findings()
        if f.scope == "overall" and f.metric in HEADLINES
    }
    return EvalResults(scores=[EvalScore(name="ratings", scorer="ratings", metrics=metrics)])


def _samples(run: Run) -> Iterator[EvalSample]:
    order = ("panel", "persona_id", "repeat")
    for key, rows in run.responses.group_by(order, maintain_order=True):
        panel, persona, repeat = key
        yield _sample(run.manifest, str(panel), None if persona is None else str(persona),
                      int(str(repeat)), rows)  # fmt: skip


def _sample(
    manifest: Manifest, panel: str, persona: str | None, repeat: int, rows: pl.DataFrame
) -> EvalSample:
    from inspect_ai.log import EvalSample
    from inspect_ai.model import ChatMessageAssistant, ChatMessageUser, ModelOutput
    from inspect_ai.scorer import Score

    cast, questionnaire = manifest.panels[panel], manifest.instrument_of(panel)
    texts = {} if cast is None else {p.id: p.text for p in cast.personas}
    text = None if persona is None else texts.get(persona, persona)
    rows = rows.sort("attempt", maintain_order=True)
    last = rows.unique("item_id", keep="last", maintain_order=True)
    earlier = rows.join(last, on=["item_id", "attempt"], how="anti")
    answers = {
        r["item_id"]: [
            r["status"], r["rating"], r["response"],
            {"mass": r["mass"], "unseen": r["unseen"], "attempt": r["attempt"]},
        ]
        for r in last.iter_rows(named=True)
    }  # fmt: skip
    shown = _as_table(answers, {item.id: item.text for item in questionnaire.items})
    valid = sum(answer[0] == "ok" for answer in answers.values())
    name = persona or panel
    return EvalSample(
        id=name if panel in ("cast", "self") else f"{panel}/{name}",
        epoch=repeat + 1,
        input=text or "(no persona)",
        target="",
        messages=[
            ChatMessageUser(content=text or "(no persona)"),
            ChatMessageAssistant(content=shown),
        ],
        output=ModelOutput.from_content(manifest.model.name, shown),
        scores={
            "ratings": Score(
                value=valid / len(answers), answer=f"{valid} of {len(answers)} items rated"
            )
        },
        metadata={"panel": panel, "persona": text, "persona_id": name},
        store={
            STORE_KEY: {
                "scale": [questionnaire.scale.min, questionnaire.scale.max],
                "answers": answers,
                "earlier": earlier.select("item_id", "attempt", "status", "response").rows(),
            }
        },
    )


def _as_table(answers: dict[str, list[Any]], items: dict[str, str]) -> str:
    """The answers as a markdown table for the viewer; exact ones by their mean and mode."""
    lines = ["| item | text | answer |", "|---|---|---|"]
    for item, (status, rating, response, more) in answers.items():
        said = rating if status == "ok" and rating is not None else f"{status}: {response}"
        if more["mass"] is not None:
            shares = ", ".join(f"{p:.3f}" for p in more["mass"])
            said = f"probabilities {shares}"
        cells = (item, items.get(item, ""), said)
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return "\n".join(lines)


def _cell(value: Any) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")


def imported(log: EvalLog, path: Path, model: str | None) -> Manifest | None:
    """The manifest of an exported run, marked as imported; None for a log of the task."""
    if log.manifest is None:
        return None
    note = f"imported from {path.name}"
    card = log.manifest.model if model is None else replace(log.manifest.model, name=model)
    return replace(log.manifest, kind="import", model=card, notes=(*log.manifest.notes, note))
