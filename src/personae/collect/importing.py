"""Imported ratings as run folders."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from personae.cast.model import Cast, Persona
from personae.collect.eval_log import SUFFIX, imported, read_log
from personae.collect.importer import ImportedRatings, read_folder, read_together
from personae.collect.manifest import Manifest, known_layout, now, versions
from personae.collect.plan import SELF
from personae.collect.store import Run
from personae.errors import PersonaeError
from personae.instruments import canonical_wording, load_instrument
from personae.instruments.model import Instrument
from personae.models.protocol import ModelCard

USUAL = "mfq30"  # the questionnaire of the public raw ratings


def import_runs(
    paths: Sequence[Path],
    out: Path,
    instrument: Instrument | None = None,
    *,
    model: str | None = None,
    host: str | None = None,
    layout: str = "unknown",
    cast: Cast | None = None,
) -> list[Run]:
    """One run folder below `out` for each model found in files and folders, or for each log.

    Args:
        instrument: what was asked; default: `USUAL`, and for a log the one that it names.
        model: name to record; only where the paths hold one model.
        cast: the personas that were asked, where known; ids in the files are then ids of the
            cast or positions in it.
    """
    if logs := [p for p in paths if p.suffix == SUFFIX]:
        if len(logs) < len(paths):
            raise PersonaeError("import Inspect logs and other files with a command each")
        if model is not None and len(logs) > 1:
            raise PersonaeError(f"--model names one model, but there are {len(logs)} logs")
        return [_import_log(path, out, instrument, model, host) for path in logs]
    if gone := [p for p in paths if not p.exists()]:  # before the questionnaire is fetched
        raise PersonaeError(f"{gone[0]}: no such file or folder")
    instrument = instrument or load_instrument(USUAL)
    scale = (instrument.scale.min, instrument.scale.max)
    files = [p for p in paths if not p.is_dir()]
    found = read_together(files, scale=scale) if files else []
    for folder in (p for p in paths if p.is_dir()):
        found += read_folder(folder, scale=scale)
    if model is not None and len(found) != 1:
        names = ", ".join(f.name for f in found)
        raise PersonaeError(f"--model names one model, but the files hold {len(found)}: {names}")
    return [
        _write(ratings, out, instrument, model or ratings.name, host, layout, cast)
        for ratings in found
    ]


def _import_log(
    path: Path, out: Path, instrument: Instrument | None, model: str | None, host: str | None
) -> Run:
    """An exported run as it was, or a log of the task as ratings of its cast."""
    log = read_log(path)
    if (manifest := imported(log, path, model)) is not None:
        run = Run.create(out / path.stem, manifest)
        run.append("imported", log.responses)
        return run
    instrument = instrument or load_instrument(log.instrument)
    if log.instrument_hash != instrument.hash:
        raise PersonaeError(
            f"{path}: asked another wording than {instrument.name} has here; name the "
            f"questionnaire that was asked ({log.instrument}) with --instrument"
        )
    note = f"Inspect log of {log.task}"
    height = log.responses.height
    ratings = ImportedRatings(path.stem, log.responses, (note,), height, log.temperature, (path,))
    return _write(ratings, out, instrument, model or log.model, host, log.layout, log.cast)


def _write(
    ratings: ImportedRatings,
    out: Path,
    instrument: Instrument,
    model: str,
    host: str | None,
    layout: str,
    cast: Cast | None,
) -> Run:
    rows, panels = ratings.responses, set(ratings.responses["panel"].unique().to_list())
    _check_items(rows["item_id"].unique().to_list(), instrument, ratings)
    ids = rows["persona_id"].drop_nulls().unique(maintain_order=True).to_list()
    ids.sort(key=lambda x: (0, int(x), "") if x.isdecimal() else (1, 0, x))
    who = {name: _cast(ids, cast) if name != SELF else None for name in sorted(panels)}
    repeats = _usual_repeats(ratings)
    manifest = Manifest(
        kind="import",
        battery="moral",
        model=ModelCard(model, "imported", _digest(ratings.files), host or "", "", {}),
        instrument=instrument,
        panels=who,
        layout=layout,
        layout_hash=known_layout(layout),
        estimator="sampled",
        repeats=repeats,
        temperature=ratings.temperature,
        seed=None,
        canonical_wording=canonical_wording(instrument),
        created=now(),
        command=(),
        versions=versions(),
        notes=ratings.notes,
    )
    run = Run.create(out / ratings.name.replace("/", "-"), manifest)
    run.append("imported", rows)
    return run


def _check_items(items: list[str], instrument: Instrument, ratings: ImportedRatings) -> None:
    known = {i.id for i in instrument.items}
    unknown = sorted(set(items) - known)
    if unknown:
        raise PersonaeError(
            f"{ratings.files[0]}: question {unknown[0]!r} is not an item of {instrument.name}; "
            "name the questionnaire that was asked with --instrument"
        )


def _cast(ids: list[str], cast: Cast | None) -> Cast:
    """The personas in the file; without a cast their texts are unknown and said to be so."""
    if cast is None:
        personas = tuple(Persona(id=i, text=f"persona {i} (text not in the file)") for i in ids)
        return Cast(name="imported", personas=personas)
    by_id = {p.id: p.text for p in cast.personas}
    by_place = {str(k): p.text for k, p in enumerate(cast.personas)}
    texts = by_id if set(ids) <= set(by_id) else by_place
    if missing := [i for i in ids if i not in texts]:
        raise PersonaeError(f"persona {missing[0]!r} of the file is not in cast {cast.name}")
    return Cast(name=cast.name, personas=tuple(Persona(id=i, text=texts[i]) for i in ids))


def _usual_repeats(ratings: ImportedRatings) -> int:
    """The commonest number of answers a cell: the n of the study, whatever a few cells hold."""
    cells = ratings.responses.group_by("panel", "persona_id", "item_id").len()
    return int(str(cells["len"].mode().max()))


def _digest(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()
