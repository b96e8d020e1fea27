"""Judge the stored answers of a misalignment run again, by any number of judges.

    RUN/responses/                     the answers, and the judgements of the run's own judge
    RUN/judgements/JUDGE-HASH/         what another judge (or another rubric) said; never replaced

An answer that this judge has scored is not asked about again; a call that brought no reply is.
The first judge's rates keep their scopes ("overall", a question); those of every further judge and
of every further protocol carry it in brackets: "overall [openai/gpt-4o, below-50]".
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from personae.batteries.misalignment import JUDGED, Misalignment, judge_asks, judged_table
from personae.collect.answering import SHARD, Respondents, rate, stream_asks
from personae.collect.asks import (
    KEY,
    NEEDED,
    Ask,
    answer_frame,
    answer_schema,
    final,
    in_order,
    rows_of,
)
from personae.collect.battery_run import BatteryRun
from personae.collect.export import write_csv
from personae.collect.folder import RunFolder, write_atomic
from personae.collect.manifest import now, versions
from personae.collect.schemas import stored
from personae.collect.streaming import Parts
from personae.errors import PersonaeError
from personae.files import FORMULA, one_line, read_text
from personae.findings import Finding
from personae.judging.aggregate import aggregate
from personae.judging.agreement import alpha_interval, krippendorff_alpha
from personae.judging.labels import read_labels
from personae.judging.protocols import DEFAULT_PROTOCOL, get_protocol
from personae.judging.rubrics import load_rubric
from personae.judging.trust import trust
from personae.models.protocol import ModelCard, Respondent, StreamingModel

if TYPE_CHECKING:
    import polars as pl

FOLDER = "judgements"
Progress = Callable[[int, int], None]
Table = dict[str, list[Any]]


@dataclass(frozen=True)
class Judgements:
    """One judge's scores of a run's answers.

    Args:
        judge: its name. protocols: under which its rates are findings.
        rows: its replies (columns: `answer_schema`).
    """

    judge: str
    protocols: tuple[str, ...]
    rows: pl.DataFrame


@dataclass(frozen=True)
class _Record:
    """The manifest of one judge's folder."""

    judge: ModelCard
    protocols: tuple[str, ...]
    created: str


# --- asking ----------------------------------------------------------------------------------
def rejudge(
    run: BatteryRun,
    judge: Respondent,
    *,
    protocol: str | None = None,
    on_progress: Progress | None = None,
) -> None:
    """Ask a judge about every stored answer it has not scored yet; rewrite the run's findings.

    Args:
        protocol: name of the thresholds, or custom ones; default: the run's own.

    Raises:
        PersonaeError: not a misalignment run, unfinished, without free answers, or already judged
            by this judge while it was made.
    """
    answers = _answers(run)
    name = get_protocol(protocol or _option(run, "protocol")).name
    own = run.manifest.judge
    if own is not None and (own.name, own.revision) == (judge.card.name, judge.card.revision):
        raise PersonaeError(
            f"{run.path}: {own.name} judged these answers when they were given; leave --judge out "
            "to read its scores under another --protocol"
        )
    folder = _open_or_create(run, judge)
    with folder.writing():
        folder.set_damaged_aside()
        _ask(folder, judge_asks(answers, run.manifest.options), judge, run.manifest.seed,
             on_progress or (lambda done, total: None))  # fmt: skip
        _add_protocol(folder, name)
    refresh(run)


def _option(run: BatteryRun, name: str) -> str:
    try:
        return str(run.manifest.options[name])
    except KeyError:
        raise PersonaeError(f"{run.path}: damaged manifest (no option {name})") from None


def _answers(run: BatteryRun) -> pl.DataFrame:
    """The run's answers; an error where there is nothing to judge."""
    if run.manifest.battery != Misalignment.name:
        raise PersonaeError(
            f"{run.path}: a run of {run.manifest.battery}; only misalignment runs are judged"
        )
    run.findings()  # raises where the run is unfinished
    answers = run.answers
    if not final(answers, "answer").height:
        raise PersonaeError(
            f"{run.path}: holds no free answers to judge; ask some with --set parts=answer"
        )
    return answers


def _open_or_create(run: BatteryRun, judge: Respondent) -> RunFolder:
    """The folder of this judge with these rubrics."""
    rubrics = {name: load_rubric(_option(run, f"{name}_rubric")).hash for name in JUDGED}
    identity = [judge.card.name, judge.card.revision, rubrics]
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    slug = re.sub(r"[^A-Za-z0-9.+_-]+", "-", judge.card.name).strip("-.")[:80]
    folder = RunFolder(run.path / FOLDER / f"{slug}-{digest}")
    if not (folder.path / "manifest.json").exists():
        folder.write_manifest(
            {
                "kind": "judgements",
                "schema": 1,
                "judge": asdict(judge.card),
                "rubrics": rubrics,
                "protocols": [],
                "created": now(),
                "versions": versions(),
            }
        )
    return folder


def _add_protocol(folder: RunFolder, name: str) -> None:
    manifest = RunFolder.read_manifest(folder.path)
    if name not in manifest["protocols"]:
        manifest["protocols"].append(name)
        text = json.dumps(manifest, indent=1, ensure_ascii=True)
        write_atomic(folder.path / "manifest.json", text.encode())


def _ask(
    folder: RunFolder, asks: Sequence[Ask], judge: Respondent, seed: int, report: Progress
) -> None:
    """Store a reply to every ask that has none; what came in before a stop is kept."""
    seeded = list(enumerate(ask.seeded(seed) for ask in asks))
    if isinstance(judge, StreamingModel):
        tick = partial(_tell, report, len(asks))
        stream_asks(folder, "judge-part", 0, seeded, Respondents(judge, judge), tick)
        return
    have = final(folder.read_shards(answer_schema()))
    replied = have.filter(have["status"] != "transport_error")
    keys = set(replied.select(KEY).rows())
    wanted = [(place, ask) for place, ask in seeded if ask.key not in keys]
    done = len(asks) - len(wanted)
    report(done, len(asks))
    with Parts(
        folder, "judge", lambda name, rows: folder.write_shard(name, answer_frame(rows))
    ) as parts:
        for start in range(0, len(wanted), SHARD):
            shard = wanted[start : start + SHARD]
            requests: list[Any] = [ask.request for _, ask in shard]
            replies = rate(judge, requests, temperature=0.0)
            for (place, ask), answer in zip(shard, replies, strict=True):
                parts.add(rows_of(ask, answer, (0, place)))
                done += 1
                report(done, len(asks))


def _tell(report: Progress, wanted: int, done: int) -> None:
    report(done, wanted)


# --- reading ---------------------------------------------------------------------------------
def judgements(run: BatteryRun) -> list[Judgements]:
    """All that judged a run: its own judge first, then the others by age."""
    found: list[Judgements] = []
    answers = run.answers
    if run.manifest.judge is not None and final(answers, "judge:alignment").height:
        rows = answers.filter(answers["part"].str.starts_with("judge:"))
        protocol = _option(run, "protocol")
        found.append(Judgements(run.manifest.judge.name, (protocol,), rows))
    later = []
    for path in sorted((run.path / FOLDER).glob("*/manifest.json")):
        record = stored(_Record, RunFolder.read_manifest(path.parent), path)
        rows = in_order(RunFolder(path.parent).read_shards(answer_schema(), NEEDED))
        if rows.height:
            one = Judgements(record.judge.name, record.protocols, rows)
            later.append((record.created, one))
    return found + [one for _, one in sorted(later, key=lambda pair: pair[0])]


def judged(run: BatteryRun, one: Judgements) -> Table:
    """The answers with one judge's scores (columns of `judged_table`)."""
    import polars as pl

    answers = run.answers
    texts = answers.filter(answers["part"] == "answer")
    return judged_table(pl.concat([texts, one.rows], how="diagonal"))


def judged_tables(run: BatteryRun) -> dict[str, Any]:
    """For a report: (judge, its table) pairs as "judged", and the bare answers as "unjudged"."""
    answers = run.answers
    bare = judged_table(answers.filter(answers["part"] == "answer"))
    tables = [(label, judged(run, one)) for label, one in _labelled(judgements(run))]
    return {"judged": tables, "unjudged": bare if bare["response"] else None}


def refresh(run: BatteryRun) -> None:
    """Rewrite the findings with the rates of every judge."""
    answers = run.answers
    given = answers.filter(~answers["part"].str.starts_with("judge:"))
    base = Misalignment().findings(given, run.manifest.options)
    with run.writing():
        run.write_findings([*base, *judged_findings(run)])


def judged_findings(run: BatteryRun) -> list[Finding]:
    """Rates of every judge under every protocol, and how far each two judges agree."""
    found: list[Finding] = []
    judges = judgements(run)
    tables = {label: judged(run, one) for label, one in _labelled(judges)}
    for n, (label, one) in enumerate(_labelled(judges)):
        for k, name in enumerate(one.protocols):
            words = [] if n == 0 else [label]
            words += [] if k == 0 else [name]
            for finding in aggregate(tables[label], get_protocol(name)):
                scope = f"{finding.scope} [{', '.join(words)}]" if words else finding.scope
                found.append(
                    replace(finding, scope=scope, method=f"judge {label}; {finding.method}")
                )
    return found + list(_agreement(tables))


def _labelled(judges: Sequence[Judgements]) -> Iterator[tuple[str, Judgements]]:
    """Each judge with a name of its own: one that judged twice (another revision or rubric)
    is numbered."""
    seen: dict[str, int] = {}
    for one in judges:
        seen[one.judge] = seen.get(one.judge, 0) + 1
        yield one.judge + (f" #{seen[one.judge]}" if seen[one.judge] > 1 else ""), one


def _agreement(tables: dict[str, Table]) -> Iterator[Finding]:
    """Krippendorff's alpha (ordinal) of the scores of each two judges."""
    for (first, one), (second, two) in combinations(tables.items(), 2):
        for metric, column in (("alignment", "aligned"), ("coherence", "coherent")):
            pair = np.round(np.array([one[column], two[column]], dtype=float))
            both = int((~np.isnan(pair)).all(axis=0).sum())
            low, high = alpha_interval(pair)
            yield Finding(
                Misalignment.name, f"judge_agreement_{metric}", f"{first} / {second}",
                krippendorff_alpha(pair), low, high, n=both, unit="alpha",
                method="Krippendorff alpha, ordinal, whole points; bootstrap of answers 1000, 95%",
            )  # fmt: skip


def read_again(run: BatteryRun, protocol: str) -> list[Finding]:
    """The rates of all judges so far under another protocol; nothing is asked or written."""
    _answers(run)
    judges = judgements(run)
    if not judges:
        raise PersonaeError(f"{run.path}: nobody has judged it yet; name a judge with --judge")
    chosen = get_protocol(protocol)
    found = []
    for label, one in _labelled(judges):
        for finding in aggregate(judged(run, one), chosen):
            scope = f"{finding.scope} [{label}]" if len(judges) > 1 else finding.scope
            found.append(replace(finding, scope=scope, method=f"judge {label}; {finding.method}"))
    return found


def open_run(path: str | Path) -> BatteryRun:
    """A misalignment run with free answers, ready to be judged."""
    if RunFolder.read_manifest(path).get("kind") != "battery":
        raise PersonaeError(f"{path}: no battery run; only misalignment runs are judged")
    run = BatteryRun.open(path)
    _answers(run)
    return run


# --- the verb --------------------------------------------------------------------------------
def judge_answers(
    run: BatteryRun | None = None,
    *,
    judge: Respondent | None = None,
    protocol: str | None = None,
    labels: Path | None = None,
    table: Path | None = None,
    on_progress: Progress | None = None,
) -> list[Finding]:
    """What `personae judge` prints; see the module's head and `personae.judging.trust`.

    Args:
        run, table: whose answers: a run's, or those of a CSV file that holds their scores.
        labels: people's labels; with them the findings are about the judges.
    """
    if run is not None and judge is not None:
        rejudge(run, judge, protocol=protocol, on_progress=on_progress)
    if run is not None:
        protocol = protocol or _option(run, "protocol")
    chosen = get_protocol(protocol or DEFAULT_PROTOCOL)
    scored = None if table is None else read_table(table)
    if labels is None:
        if run is not None and judge is not None:
            return judged_findings(run)
        return read_again(run, chosen.name) if run is not None else aggregate(scored, chosen)
    people = read_labels(labels)
    if run is None:
        return trust(people, chosen, scored)
    found: list[Finding] = []
    useless: list[tuple[str, PersonaeError]] = []
    for label, one in _labelled(judgements(run)):
        try:
            about = trust(people, chosen, judged(run, one), judge=label)
        except PersonaeError as why:  # a judge that scored nothing tells nothing of the others
            useless.append((label, why))
            continue
        found += [replace(finding, scope=f"{finding.scope} [{label}]") for finding in about]
    if useless and not found:
        raise useless[0][1]
    return found + [
        Finding(Misalignment.name, "misaligned_rate_corrected", f"overall [{label}]", math.nan,
                n=0, method=f"judge {label}; undefined: {why}", unit="share")
        for label, why in useless
    ]  # fmt: skip


def read_table(path: Path) -> pl.DataFrame:
    """A CSV of judged answers, all columns as text (`aggregate` says which are needed)."""
    import polars as pl

    text = read_text(path)
    try:
        table = pl.read_csv(text.encode(), infer_schema=False)
        return table.with_columns(pl.all().str.replace(rf"^'({FORMULA})", "${1}"))
    except (pl.exceptions.PolarsError, ValueError) as error:
        raise PersonaeError(f"{path}: not a CSV table ({one_line(error)})") from None


def write_answers(run: BatteryRun, path: Path) -> list[Path]:
    """The free answers as a CSV to read, to label, or to hand to `personae judge --table`.

    Columns: answer_id, response, question, question_id, kind, format, repeat, and the scores of
    each judge: `aligned`, `coherent` of the first, `aligned [NAME]`, `coherent [NAME]` of others.
    """
    answers = _answers(run)
    columns = judged_table(answers.filter(answers["part"] == "answer"))
    for n, (label, one) in enumerate(_labelled(judgements(run))):
        table = judged(run, one)
        for name in ("aligned", "coherent"):
            columns[name if n == 0 else f"{name} [{label}]"] = table[name]
    write_csv(path, list(columns), zip(*columns.values(), strict=True))
    return [path]
