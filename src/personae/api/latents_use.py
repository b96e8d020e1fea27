"""`personae latents predict`, `reroute` and `narrow` as functions."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from personae.api.latents import check_base, evaluation_pairs
from personae.batteries.misalignment_items import Pair
from personae.errors import PersonaeError
from personae.files import read_document
from personae.findings import Finding
from personae.internals.direction_files import load_direction
from personae.latents import causal, diff, prediction, rerouting
from personae.latents.documents import write_step
from personae.latents.files import load_sae
from personae.latents.making import Stage, silent
from personae.latents.sae import SAE
from personae.models.local import LocalModel
from personae.models.weights import sha256_of
from personae.report.from_latents import write_latents_report
from personae.training import narrowness
from personae.training.blockem import parse_latents, read_kept
from personae.training.organisms import load_data


# --- prediction -----------------------------------------------------------------------------------
def read_organisms(path: Path) -> list[dict[str, Any]]:
    """The fine-tunes of a YAML or JSON file: `organisms`, each with model, domain and share.

    Raises:
        PersonaeError: another shape.
    """
    found = read_document(path)
    rows = found.get("organisms") if isinstance(found, dict) else None
    if not isinstance(rows, list) or not rows:
        raise PersonaeError(f"{path}: should hold a list `organisms`")
    for n, row in enumerate(rows, 1):
        if not isinstance(row, dict) or not {"model", "domain", "share"} <= set(row):
            raise PersonaeError(f"{path}: organism {n} should have model, domain and share")
        if not all(isinstance(row[key], str) for key in ("model", "domain")):
            raise PersonaeError(f"{path}: organism {n}: model and domain should be names")
        share = row["share"]
        if not isinstance(share, int | float) or not 0 <= share <= 100:
            raise PersonaeError(f"{path}: organism {n}: share should be a percentage, 0 to 100")
    return rows


def measure_organisms(
    rows: Sequence[Mapping[str, Any]],
    base: str,
    dictionary: str,
    *,
    pairs: str = "pairs",
    outside: Sequence[str] = (),
    limit: int | None = None,
    seed: int = 0,
    device: str | None = None,
    threads: int | None = None,
    stage: Stage = silent,
    cache: Path | None = None,
) -> tuple[list[prediction.Organism], dict[str, Any]]:
    """Every fine-tune's changes and outcome against base, one model in memory at a time.

    Args:
        outside: domains of pairs to leave out: those that fine-tunes were trained in.
        cache: folder in which what was measured is kept, so that a stopped call resumes.

    Returns:
        The organisms, and what the numbers depend on.
    """
    from personae.models.loading import load_model

    sae = load_sae(dictionary)
    ranking, testing = evaluation_pairs(pairs, limit, seed)
    ranking, testing = ([p for p in some if p.domain not in outside] for some in (ranking, testing))
    if not ranking or not testing:
        raise PersonaeError("no pairs are left: leave fewer domains out")
    first = load_model(base, device=device, threads=threads)
    check_base(sae, first)
    setting = [sae.hash, first.card.revision, [p.id for p in ranking], [p.id for p in testing]]
    kept = Kept(cache / "organisms" if cache else None, setting)
    before = kept.get(base, partial(_read, first, sae, ranking, testing))
    del first
    found, tell = [], stage("organisms")
    for n, row in enumerate(rows):
        name = str(row["model"])

        def read(name: str = name) -> dict[str, Any]:
            model = load_model(name, device=device, threads=threads)
            return _read(model, sae, ranking, testing)

        now = kept.get(name, read)
        moved = now["z"] - before["z"]
        found.append(
            prediction.Organism(
                str(row.get("name") or Path(name).name), str(row["domain"]), float(row["share"]),
                moved.mean(0), (now["h"] - before["h"]).mean(0), now["odds"] - before["odds"],
                _loss(name), moved,
            )
        )  # fmt: skip
        tell(n + 1, len(rows))
    facts = {
        "base": base, "sae": {"folder": dictionary, "hash": sae.hash, "layer": sae.layer},
        "pairs": pairs, "outside": list(outside), "limit": limit, "seed": seed,
        "prompts": len(ranking), "outcome_pairs": len(testing),
    }  # fmt: skip
    return found, facts


def _read(
    model: LocalModel, sae: SAE, ranking: Sequence[Pair], testing: Sequence[Pair]
) -> dict[str, Any]:
    pooled = diff.pool(model, sae, ranking)
    odds = causal.preference_odds(model, sae.layer, testing)
    return {"z": pooled.z["answer"], "h": pooled.h["answer"], "odds": odds}


class Kept:
    """Arrays by model, on disk where there is a folder, under a hash of the setting and model."""

    def __init__(self, folder: Path | None, setting: Any) -> None:
        self.folder, self.setting = folder, setting

    def get(self, model: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        if self.folder is None:
            return make()
        key = json.dumps([self.setting, model, _weights(model)])
        path = self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.npz"
        if path.is_file():
            with np.load(path, allow_pickle=False) as stored:
                return dict(stored)
        found = make()
        self.folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npz")
        np.savez(part, **found)
        part.replace(path)
        return found


def _weights(model: str) -> str:
    """Hash of an adapter's weights; empty for anything else, whose name is its identity."""
    file = Path(model.partition("+")[2] or model) / "adapter_model.safetensors"
    return sha256_of([file]) if file.is_file() else ""


def _loss(model: str) -> float:
    """The last loss in an adapter's training log; NaN where there is none."""
    log = Path(model.partition("+")[2] or model) / "log.csv"
    if not log.is_file():
        return float("nan")
    try:
        with log.open(newline="", encoding="utf-8") as file:
            return float(list(csv.DictReader(file))[-1]["loss"])
    except (OSError, ValueError, IndexError, KeyError, TypeError, csv.Error):
        return float("nan")  # some other log


def predict_misalignment(
    organisms: Sequence[prediction.Organism],
    out: Path,
    *,
    threshold: float = 0.0,
    watched: int | None = None,
    directions: Sequence[Path] = (),
    seed: int = 0,
    facts: Mapping[str, Any] | None = None,
) -> list[prediction.Predicted]:
    """Leave-one-domain-out prediction and, where there are mixtures, early warning.

    Args:
        watched: the latent of the early warning; default: for each domain the one that was
            chosen without it.
        directions: files of directions, such as trait vectors, to compare with.
    """
    layer = int((facts or {}).get("sae", {}).get("layer", 0))
    named = {
        found.name: found.unit_vector(layer).numpy() for found in map(load_direction, directions)
    }
    found = prediction.predict(organisms, threshold, directions=named, seed=seed)
    y = prediction.labels(organisms, threshold)
    latents = {d: j if watched is None else watched for d, j in found[0].chosen.items()}
    warnings = {}
    for domain in dict.fromkeys(o.domain for o in organisms):
        some = [o for o in organisms if o.domain == domain]
        if len({o.share for o in some}) > 2:
            warnings[domain] = prediction.early_warning(some, latents[domain])
    document = {
        **(facts or {}), "threshold": threshold, "watched": latents,
        "organisms": [
            _organism(o, bool(label), latents[o.domain])
            for o, label in zip(organisms, y, strict=True)
        ],
        "predictors": [
            {"name": p.name, "auroc": p.auroc.value, "low": p.auroc.low, "high": p.auroc.high,
             "p": p.p, "brier": p.brier, "chosen": dict(p.chosen), "scores": p.scores.tolist()}
            for p in found
        ],
        "early_warning": {
            domain: [
                {"share": d.share, "outcome": vars(d.outcome), "latent": vars(d.latent)}
                for d in doses
            ]
            for domain, doses in warnings.items()
        },
        "first_moved": {
            domain: {w: prediction.first_moved(doses, w) for w in ("outcome", "latent")}
            for domain, doses in warnings.items()
        },
    }  # fmt: skip
    write_step(out, "predict", document, prediction.findings(found, y))
    write_latents_report(out)
    return found


def _organism(o: prediction.Organism, label: bool, latent: int) -> dict[str, Any]:
    return {"name": o.name, "domain": o.domain, "share": o.share, "loss": o.loss, "label": label,
            "outcome": vars(o.misalignment), "latent": float(o.latents[latent])}  # fmt: skip


# --- rerouting ------------------------------------------------------------------------------------
def blocked(dictionary: str, up: str, down: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """K+ and K- as named, or as `latents test` left them beside the dictionary.

    Raises:
        PersonaeError: neither.
    """
    sides = parse_latents(up), parse_latents(down)
    found = sides if any(sides) else read_kept(Path(dictionary))
    if not any(found):
        raise PersonaeError("no blocked latents: name them (--up, --down)")
    return found


def check_rerouting(
    base: LocalModel,
    plain: LocalModel,
    defended: Mapping[str, LocalModel],
    dictionary: str,
    up: Sequence[int],
    down: Sequence[int],
    out: Path,
    *,
    pairs: str = "pairs",
    limit: int | None = None,
    seed: int = 0,
    stage: Stage = silent,
    command: Sequence[str] = (),
) -> dict[str, rerouting.Rerouting]:
    """Compare fine-tunes under a block (or any defence) with the same one without it."""
    sae = load_sae(dictionary)
    ranking, testing = evaluation_pairs(pairs, limit, seed)
    both = [*ranking, *testing]
    before, undefended = (diff.pool(m, sae, both, stage(m.card.name)) for m in (base, plain))
    odds = causal.preference_odds(base, sae.layer, both)
    rows, findings, found = [], [], {}
    behaviour = {"plain": causal.preference_odds(plain, sae.layer, both) - odds}
    for name, model in defended.items():
        now = diff.pool(model, sae, both, stage(name))
        found[name] = rerouting.rerouting(before, undefended, now, up, down, seed=seed)
        behaviour[name] = causal.preference_odds(model, sae.layer, both) - odds
        findings += found[name].findings(name)
        rows.append({"name": name, "held": found[name].held, "left": found[name].left,
                     "took_over": found[name].took_over()[:50]})  # fmt: skip
    outcomes = {name: causal.outcome_finding(name, values) for name, values in behaviour.items()}
    document = {
        "models": {"base": base.card.name, "plain": plain.card.name,
                   **{name: m.card.name for name, m in defended.items()}},
        "sae": {"folder": dictionary, "hash": sae.hash, "layer": sae.layer}, "up": list(up),
        "down": list(down), "defences": rows, "command": list(command),
        "outcomes": {name: f.as_json() for name, f in outcomes.items()},
    }  # fmt: skip
    write_step(out, "reroute", document, [*findings, *outcomes.values()])
    write_latents_report(out)
    return found


# --- narrow or general ----------------------------------------------------------------------------
def compare_narrowness(
    fine_tunes: Mapping[str, str],
    out: Path,
    *,
    rows: int = 24,
    directions: Sequence[Path] = (),
    seed: int = 0,
    device: str | None = None,
    threads: int | None = None,
    stage: Stage = silent,
    command: Sequence[str] = (),
) -> list[Finding]:
    """Cost of orthogonal noise, loss at matched norm, cosines of directions.

    Args:
        fine_tunes: BASE+ADAPTER -> the data whose loss is taken, an organism's name or a file.
        directions: direction files, such as the mean differences that diffs write.
    """
    found: list[Finding] = []
    opened = {}
    for spec, data in fine_tunes.items():
        model = narrowness.unmerged(spec, device=device, threads=threads)
        opened[Path(spec).name] = (model, load_data(data, seed=seed, limit=rows))
    norms = {name: narrowness.adapter_norm(model.model) for name, (model, _) in opened.items()}
    tell = stage("fine-tunes")
    for n, (name, (model, conversations)) in enumerate(opened.items()):
        loss = narrowness.TaskLoss(model, conversations)
        found += narrowness.stability(model, loss, name, seed=seed)
        found += narrowness.efficiency(model, loss, name, sorted({*norms.values()}))
        tell(n + 1, len(opened))
    vectors = {p.parent.name or p.stem: load_direction(p) for p in directions}
    found += narrowness.cosines({k: d.vectors[0].double().numpy() for k, d in vectors.items()})
    document = {"fine_tunes": dict(fine_tunes), "norms": norms, "rows": rows, "seed": seed,
                "directions": [str(p) for p in directions], "command": list(command)}  # fmt: skip
    write_step(out, "narrow", document, found)
    write_latents_report(out)
    return found
