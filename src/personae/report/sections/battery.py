"""Report sections that any battery gets for nothing: its answers' make-up and every metric."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from personae.findings import Finding
from personae.report import charts
from personae.report.blocks import Block, Figure, Figures, Note, Section, Table
from personae.report.charts import Estimate
from personae.report.data import ReportData
from personae.report.sections.estimates import findings_table
from personae.report.svg import Canvas
from personae.report.text import number

MOST_ROWS = 40
WRITTEN = {"auroc": "AUROC", "icc": "ICC", "mmd2": "MMD²"}


def overview(data: ReportData) -> Section:
    """What was asked and answered."""
    blocks: list[Block] = [Note(text, "warning") for text in data.warnings]
    counts = data.extra.get("answer_counts", [])
    if counts:
        columns = ("Part", "Condition", "Kind", "Asked", "Answered")
        blocks.append(Table(columns, counts))
    lead = str(data.extra.get("battery_title", "A battery of questions."))
    return Section("summary", "What was asked", lead, blocks)


def metrics(data: ReportData) -> Section | None:
    """Every metric over its scopes as an interval plot, the overall value set apart.

    What has one value, or none that is defined, stands in a table.
    """
    by_metric: dict[str, list[Finding]] = {}
    for finding in data.findings:
        by_metric.setdefault(finding.metric, []).append(finding)
    drawn = {
        name: found
        for name, found in by_metric.items()
        if len(found) > 1 and not all(math.isnan(f.value) for f in found)
    }
    figures = [_figure(name, found) for name, found in drawn.items()]
    listed = [f for name, found in by_metric.items() if name not in drawn for f in found]
    blocks: list[Block] = [findings_table(listed)] if listed else []
    blocks += [Figures(figures)] if figures else []
    if not blocks:
        return None
    return Section("metrics", "Metrics", "Each with its 95% interval where one is defined.", blocks)


def _figure(name: str, found: Sequence[Finding]) -> Figure:
    title = name.replace("_", " ").capitalize()
    for plain, written in WRITTEN.items():
        title = re.sub(rf"\b{plain}\b", written, title, flags=re.IGNORECASE)
    rows = [
        Estimate(f.scope, f.value, f.low, f.high, 0, f.scope == "overall")
        for f in found[:MOST_ROWS]
    ]
    spoken = "; ".join(f"{r.label} {number(r.value)}" for r in rows)
    ident = "fig-" + re.sub(r"[^a-z0-9]+", "-", name.lower())
    svg = charts.interval_plot(Canvas(ident, title, spoken), rows, found[0].unit.replace("^2", "²"))
    more = len(found) - MOST_ROWS
    caption = found[0].method + (f" ({more} more rows in the data)" if more > 0 else "")
    return Figure(ident, title, svg, caption, findings_table(found))
