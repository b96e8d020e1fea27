"""Many runs as one folder of pages: an index, each run's report, and all findings as CSV.

    DIR/index.html            every run with its headline numbers; filter, sort, deep links
    DIR/runs/NAME/report.html the run's own report
    DIR/findings.csv          all findings of all runs, a row each
    DIR/runs.json             what the index shows, for machines

Pages link to each other by relative paths, so the folder works from disk and on any static host.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from markupsafe import Markup

from personae.collect.folder import write_atomic
from personae.files import csv_cell
from personae.findings import Finding
from personae.report.blocks import Figure, Note, Prose, Section, Table
from personae.report.charts import Estimate, interval_plot
from personae.report.data import ReportData
from personae.report.page import write_report
from personae.report.svg import Canvas
from personae.report.text import clean_all

MOST_DRAWN = 60
FILES = Markup(
    '<p>All findings of all runs: <a href="findings.csv">findings.csv</a>. This table: '
    '<a href="runs.json">runs.json</a>.</p>'
)
DRAWN = (("susceptibility", "S, how far personas move the mean rating"),
         ("robustness", "R, how steadily a persona's ratings are held"))  # fmt: skip


@dataclass(frozen=True)
class SiteRun:
    """One run of the site: where its report lies (relative to the site) and what it found.

    `problem` says, in one line, why a run could not be shown; it is listed all the same.
    """

    name: str
    page: str = ""
    model: str = ""
    battery: str = ""
    created: str = ""
    findings: Sequence[Finding] = ()
    problem: str = ""

    def headline(self, metric: str) -> Finding | None:
        """The finding over everything, of the run's own battery."""
        of_all = (f for f in self.findings if f.scope == "overall" and f.metric == metric)
        return next((f for f in of_all if f.battery == self.battery), None)


def slugs(names: Sequence[str]) -> list[str]:
    """A distinct folder name for each run, of letters, digits, dots and dashes."""
    found: list[str] = []
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-.")[:80] or "run"
        slug, k = plain, 2
        while slug.lower() in (s.lower() for s in found):
            slug, k = f"{plain}-{k}", k + 1
        found.append(slug)
    return found


def write_site(runs: Sequence[SiteRun], folder: Path) -> Path:
    """Write index, findings and the list of runs; the reports lie there already.

    Raises:
        PersonaeError: the folder cannot be written.
    """
    data = ReportData(
        title=f"{len(runs)} runs",
        manifest={"model": {"name": _models(runs)}},
        extra={"runs": tuple(runs)},
    )
    write_report(folder / "index.html", data, (index, *(_drawn(*metric) for metric in DRAWN)))
    write_atomic(folder / "findings.csv", _findings_csv(runs).encode())
    listed = [{**asdict(r), "findings": len(r.findings)} for r in runs]
    document = {"schema": 1, "runs": clean_all(listed)}
    write_atomic(folder / "runs.json", json.dumps(document, indent=1).encode())
    return folder / "index.html"


def index(data: ReportData) -> Section:
    """The table of runs."""
    runs: Sequence[SiteRun] = data.extra["runs"]
    shown = [r for r in runs if not r.problem]
    lost = [Note(f"{r.name}: {r.problem}", "warning") for r in runs if r.problem]
    table = Table(
        columns=("run", "model", "battery", "S", "R", "findings", "created"),
        rows=[_row(r) for r in shown],
        caption="S and R of the moral battery, over all items; intervals are in each report.",
        links=[r.page for r in shown],
        sections={"S": "estimates", "R": "estimates", "findings": "findings"},
        searchable=True,
    )
    lead = "Open a run for its report, or a number for its place in it."
    return Section("runs", "Runs", lead, [*lost, *([table] if shown else []), Prose(FILES)])


def _row(run: SiteRun) -> tuple[Any, ...]:
    s, r = run.headline("susceptibility"), run.headline("robustness")
    values = [None if f is None else f.value for f in (s, r)]
    created = run.created[:16].replace("T", " ")
    return (run.name, run.model, run.battery, *values, len(run.findings), created)


def _drawn(metric: str, title: str) -> Any:
    def section(data: ReportData) -> Section | None:
        runs: Sequence[SiteRun] = data.extra["runs"]
        pairs = [(r, f) for r in runs if (f := r.headline(metric)) is not None]
        if len(pairs) < 2:
            return None
        kept = pairs[:MOST_DRAWN]
        rows = [Estimate(r.name, f.value, f.low, f.high) for r, f in kept]
        unit = kept[0][1].unit
        canvas = Canvas(f"site-{metric}", title, f"{metric} of {len(kept)} runs with intervals")
        table = Table(
            ("run", metric, "low", "high", "n", "method"),
            [(r.name, f.value, f.low, f.high, f.n, f.method) for r, f in pairs],
        )
        cut = f" The first {MOST_DRAWN} of {len(pairs)} runs are drawn." if pairs != kept else ""
        caption = f"With each run's own interval; runs are comparable only where set-ups are.{cut}"
        figure = Figure(
            canvas.id, title, interval_plot(canvas, rows, unit), caption, table, wide=True
        )
        return Section(metric, metric.capitalize(), "", [figure])

    return section


def _models(runs: Sequence[SiteRun]) -> str:
    names = list(dict.fromkeys(r.model for r in runs if r.model))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _findings_csv(runs: Sequence[SiteRun]) -> str:
    made = io.StringIO(newline="")
    writer = csv.writer(made, lineterminator="\n")
    names = [f.name for f in fields(Finding)]
    writer.writerow(["run", "model", *names])
    for run in runs:
        for finding in run.findings:
            values = [run.name, run.model, *(getattr(finding, name) for name in names)]
            writer.writerow([csv_cell(clean_all(value)) for value in values])
    return made.getvalue()
