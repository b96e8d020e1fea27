"""What the verbs of `personae latents` do, as functions; each writes a document and the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from personae.batteries.misalignment_items import Pair, load_pairs
from personae.batteries.misalignment_questions import load_questions
from personae.errors import PersonaeError
from personae.findings import Finding
from personae.internals.direction import Direction
from personae.internals.direction_files import load_direction, save_direction
from personae.internals.hooks import check_layers
from personae.latents import causal, diff
from personae.latents.documents import all_findings, read_step, write_step
from personae.latents.files import load_sae
from personae.latents.learning import Plan
from personae.latents.making import QUALITY_TEXTS, Made, Stage, make, silent
from personae.latents.quality import quality
from personae.latents.sae import SAE
from personae.latents.snippets import explain, top_snippets
from personae.latents.texts import (
    Row,
    conversation_rows,
    file_rows,
    own_rows,
    persona_prompts,
    prompt_rows,
)
from personae.models.local import LocalModel
from personae.models.protocol import Respondent
from personae.report.from_latents import write_latents_report
from personae.training.blockem import write_kept
from personae.training.organisms import ORGANISMS, load_data

SOURCES = ("organisms", "personas", "own")
MEAN_DIFFERENCE = "mean-difference.safetensors"
SHOWN = 12  # latents with snippets
SNIPPET_TEXTS = 100


# --- dictionaries ---------------------------------------------------------------------------------
def rows_from(
    model: LocalModel, sources: Sequence[str], *, seed: int = 0, stage: Stage = silent
) -> list[Row]:
    """Texts by name, as token rows.

    Args:
        sources: "organisms" (both arms of all training data of ours), "personas" (a cast's
            personas with open questions), "own" (its samples to a quarter of those), or files.

    Raises:
        PersonaeError: a name that is neither a source nor a file.
    """
    questions = [q.text for q in load_questions("open").questions]
    rows: list[Row] = []
    for name in sources:
        if name == "organisms":
            arms = [f"{one}{arm}" for one in ORGANISMS for arm in ("", ":control")]
            some = [row.messages for arm in arms for row in load_data(arm, seed=seed).rows]
            rows += conversation_rows(model.chat, some)
        elif name == "personas":
            rows += prompt_rows(model.chat, persona_prompts(questions, seed=seed))
        elif name == "own":
            asked = persona_prompts(questions, seed=seed + 1)[::4]
            rows += own_rows(model, asked, seed=seed, on_progress=stage("own samples"))
        elif Path(name).is_file():
            rows += file_rows(model.chat, Path(name))
        else:
            raise PersonaeError(f"no text {name!r}: choose {', '.join(SOURCES)}, or name a file")
    return rows


def train_dictionary(
    model: LocalModel,
    sources: Sequence[str],
    layer: int,
    plan: Plan,
    tokens: int,
    out: Path,
    *,
    also: Mapping[str, LocalModel] | None = None,
    quality_texts: int = QUALITY_TEXTS,
    stage: Stage = silent,
    command: Sequence[str] = (),
) -> Made:
    """Learn a dictionary and measure it on held-out text, on its own model and on others.

    Args:
        also: fine-tunes of the model, by name: is the dictionary still faithful to them?
    """
    check_layers(model.model, [layer])  # before minutes of sampling
    rows = rows_from(model, sources, seed=plan.seed, stage=stage)
    made = make(
        model, rows, layer, plan, tokens, out, sources=sources, quality_texts=quality_texts,
        stage=stage,
    )  # fmt: skip
    document = {
        "model": asdict(model.card), "layer": layer, "plan": asdict(plan), "sources": list(sources),
        "sae": {"folder": str(out), "hash": made.sae.hash, "width": made.sae.width},
        "states": made.sae.about["states"], "dead_in_training": made.sae.about["dead_in_training"],
        "losses": made.sae.about["losses"], "texts": len(made.held_out), "command": list(command),
    }  # fmt: skip
    models = {model.card.name: model, **(also or {})}
    document["revisions"] = {name: one.card.revision for name, one in models.items()}
    known = _measured(out, document)
    found: list[Finding] = []
    for name, one in models.items():
        if name in known:
            found += known[name]
            continue
        measured = quality(one.model, made.sae, made.held_out, stage(f"quality on {name}"))
        found += measured.findings(name)
        write_step(out, "train", document, found)  # at once: the next model may take long
    write_step(out, "train", document, found)
    write_latents_report(out)
    return made


def _measured(folder: Path, document: Mapping[str, Any]) -> dict[str, list[Finding]]:
    """Findings by model of an earlier call on the same dictionary and texts."""
    if not (folder / "train.json").is_file():
        return {}
    before = read_step(folder, "train")
    if any(before.get(key) != document[key] for key in ("sae", "texts")):
        return {}
    then, now = before["revisions"], document["revisions"]
    found: dict[str, list[Finding]] = {}
    for one in all_findings(folder, ("train",)):
        if one.scope in now and then.get(one.scope) == now[one.scope]:
            found.setdefault(one.scope, []).append(one)
    return found


# --- diffing --------------------------------------------------------------------------------------
def evaluation_pairs(spec: str, limit: int | None, seed: int) -> tuple[list[Pair], list[Pair]]:
    """Pairs to rank on and to test on; `limit`: at most so many of each domain in each half."""
    ranking, testing = diff.halves(load_pairs(spec).pairs, seed)
    return _limited(ranking, limit), _limited(testing, limit)


def _limited(pairs: Sequence[Pair], limit: int | None) -> list[Pair]:
    counts: dict[str, int] = {}
    kept = []
    for pair in pairs:
        counts[pair.domain] = counts.get(pair.domain, 0) + 1
        if limit is None or counts[pair.domain] <= limit:
            kept.append(pair)
    return kept


def diff_models(
    base: LocalModel,
    treated: LocalModel,
    control: LocalModel | None,
    dictionary: str,
    out: Path,
    *,
    pairs: str = "pairs",
    limit: int | None = None,
    top: int = 20,
    seed: int = 0,
    stage: Stage = silent,
    command: Sequence[str] = (),
) -> diff.Diff:
    """Rank latents by what the fine-tune changed; write the ranking and the direction."""
    sae = load_sae(dictionary)
    check_base(sae, base)
    ranking, _ = evaluation_pairs(pairs, limit, seed)
    arms = {"base": base, "treated": treated} | ({"control": control} if control else {})
    pooled = {name: diff.pool(m, sae, ranking, stage(name)) for name, m in arms.items()}
    found = diff.difference(
        sae, ranking, pooled["base"], pooled["treated"], pooled.get("control"), seed=seed
    )
    ranks = found.candidates(top)
    shown = [r.latent for r in ranks[:SHOWN]]
    text = conversation_rows(base.chat, _snippet_text(seed))
    snippets = top_snippets(base, sae, text, shown)
    norm = float(np.linalg.norm(pooled["base"].h["answer"], axis=1).mean())
    direction = Direction(
        "mean difference", (sae.layer,), _tensor(found.mean_difference), "mean over answers",
        base.card.name, base.card.revision, norms=(norm,), details={"layer": sae.layer},
    )  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    save_direction(direction, out / MEAN_DIFFERENCE)
    document = {
        "models": {name: asdict(m.card) for name, m in arms.items()},
        "sae": {"folder": dictionary, "hash": sae.hash, "layer": sae.layer, "width": sae.width},
        "pairs": pairs, "limit": limit, "seed": seed, "norm": norm, "prompts": len(ranking),
        "candidates": [_ranked(found, r) for r in ranks],
        "rankings": {
            name: [[r.latent, r.score] for r in found.ranking(name, top)] for name in diff.RANKINGS
        },
        "overlap": [list(row) for row in found.overlap(top)], "top": top,
        "alive": [int(j) for j in np.flatnonzero(pooled["base"].z["answer"].max(0) > 0)],
        "snippets": {str(j): [s.as_json() for s in snippets[j]] for j in shown},
        "command": list(command),
    }  # fmt: skip
    write_step(out, "diff", document, found.findings(top))
    write_latents_report(out)
    return found


def check_base(sae: SAE, base: LocalModel) -> None:
    revision = sae.about.get("revision")
    if revision and revision != base.card.revision:
        raise PersonaeError(
            f"the dictionary was made from {sae.model or 'another model'}, whose weights are not "
            f"those of {base.card.name}"
        )


def _snippet_text(seed: int) -> list[Any]:
    """Conversations of both arms of all organisms, a few of each, to look for snippets in."""
    arms = [f"{one}{arm}" for one in ORGANISMS for arm in ("", ":control")]
    each = SNIPPET_TEXTS // len(arms)
    return [row.messages for arm in arms for row in load_data(arm, seed=seed, limit=each).rows]


def _ranked(found: diff.Diff, rank: diff.Rank) -> dict[str, Any]:
    """A candidate's change in both poolings, with its place in every ranking."""
    j = rank.latent
    places = {
        name: 1 + int((np.abs(found.scores(name)) > abs(found.scores(name)[j])).sum())
        for name in diff.RANKINGS
    }
    values: dict[str, Any] = {
        pooling: {
            "change": float(found.change[pooling][:, j].mean()),
            "excess": float(found.excess[pooling][:, j].mean()),
            "q": float(found.q[pooling][j]),
        }
        for pooling in diff.POOLINGS
    }
    return {"latent": j, "score": rank.score, "places": places, "cosine": float(found.cosine[j]),
            "same_sign": list(found.same_sign(j)), **values}  # fmt: skip


def _tensor(vector: Any) -> Any:
    import torch

    return torch.from_numpy(np.asarray(vector)).float()[None]


# --- causal test ----------------------------------------------------------------------------------
def steer_latents(
    folder: Path,
    base: LocalModel,
    treated: LocalModel,
    *,
    top: int = 8,
    randoms: int = 8,
    limit: float = causal.LIMIT,
    pairs_limit: int | None = None,
    explainer: Respondent | None = None,
    stage: Stage = silent,
    command: Sequence[str] = (),
) -> causal.Causal:
    """Steer the candidates of a diff both ways on the pairs that it did not use.

    Latents that work are written beside the dictionary, where `blockem:SAE` finds them, and as
    directions into the folder's `directions`, for `--intervene`.
    """
    before = read_step(folder, "diff")
    for name, model in (("base", base), ("treated", treated)):
        if before["models"][name]["revision"] != model.card.revision:
            raise PersonaeError(f"{folder}: its {name} model has other weights; diff again")
    sae = load_sae(before["sae"]["folder"], layer=before["sae"]["layer"])
    limited = before["limit"] if pairs_limit is None else pairs_limit
    ranking, testing = evaluation_pairs(before["pairs"], limited, before["seed"])
    ranks = [diff.Rank(c["latent"], c["score"]) for c in before["candidates"][:top]]
    mean = load_direction(folder / MEAN_DIFFERENCE).vectors[0].double().numpy()
    some = causal.candidates(sae, ranks, before["alive"], mean, randoms, before["seed"])
    found = causal.causal_test(
        base, treated, sae.layer, some, before["norm"], testing, _limited(ranking, 1),
        limit=limit, kept=folder / "sweeps", on_progress=stage("directions"),
    )  # fmt: skip
    document = causal.as_json(found) | {"command": list(command)}
    if explainer is not None:
        text = conversation_rows(base.chat, _snippet_text(before["seed"]))
        snippets = top_snippets(base, sae, text, [r.latent for r in ranks])
        said = explain(explainer, snippets)
        document |= {"explainer": explainer.card.name,
                     "explanations": {str(k): v for k, v in said.items()}}  # fmt: skip
    write_step(folder, "test", document, found.findings())
    _keep(found, sae, Path(before["sae"]["folder"]), folder, base)
    write_latents_report(folder)
    return found


def _keep(found: causal.Causal, sae: SAE, dictionary: Path, folder: Path, base: LocalModel) -> None:
    kept = found.kept()
    (folder / "directions").mkdir(exist_ok=True)
    for one in kept:
        direction = found.direction(one, base.card.name, base.card.revision)
        save_direction(
            direction, folder / "directions" / f"latent-{one.candidate.latent}.safetensors"
        )
    if dictionary.is_dir():
        sides = {s: [t.candidate.latent for t in kept if t.candidate.sign == s] for s in (1, -1)}
        write_kept(dictionary, sides[1], sides[-1], found_in=str(folder), level=found.level)
