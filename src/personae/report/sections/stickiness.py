"""Report section of the stickiness battery: what pressure leaves, and what comes back."""

from __future__ import annotations

import math

from personae.findings import Finding
from personae.report import charts, plots
from personae.report.blocks import Block, Figure, Figures, Note, Section, Table, Verdicts
from personae.report.charts import Estimate
from personae.report.data import ReportData
from personae.report.plots import Curve
from personae.report.sections.estimates import findings_table
from personae.report.svg import Canvas
from personae.report.text import interval, number

FORMS = {"": "written answers", "_likelihood": "likelihood"}


def stickiness(data: ReportData) -> Section | None:
    """Stickiness by pressure, recovery over turns and what they rest on."""
    found = {(f.metric, f.scope): f for f in data.findings if f.battery == "stickiness"}
    if not found:
        return None
    drawn = [*(_by_pressure(found, form) for form in FORMS), _recovery(found)]
    blocks: list[Block] = [
        Verdicts([line for form in FORMS for line in _verdicts(found, form)]),
        Figures([figure for figure in drawn if figure is not None]),
    ]
    if stability := _stability(found):
        blocks.append(stability)
    blocks.append(
        Note(
            "1: the pressure did nothing; 0: nothing of the persona is left. Yielding to evidence "
            "is counted apart and not pooled. Intervals of single pressures are not corrected for "
            "their number."
        )
    )
    lead = "Is a persona held, or dropped as soon as somebody asks? And does it come back?"
    return Section("stickiness", "Stickiness under pressure", lead, blocks)


def _verdicts(found: dict[tuple[str, str], Finding], form: str) -> list[str]:
    """One plain sentence per form of the measure, and one on the classifier."""
    lines: list[str] = []
    area = found.get(("trait_auroc", "overall"))
    if form == "" and area:
        sound = "above chance" if area.low > 0.5 else "not shown to beat chance: no ratio is given"
        shown = f"{number(area.value)} {interval(area.low, area.high)}"
        lines.append(f"Trait classifier on held-out questions: AUROC {shown}, {sound}.")
    sticks = found.get(("stickiness" + form, "overall"))
    if sticks is None:
        return lines
    if math.isnan(sticks.value):
        return [*lines, f"By {FORMS[form]}: stickiness is {sticks.method}."]
    shown = f"{number(sticks.value)} {interval(sticks.low, sticks.high)}"
    lines.append(f"By {FORMS[form]}: {shown} of the persona's expression is left under pressure.")
    return lines


def _by_pressure(found: dict[tuple[str, str], Finding], form: str) -> Figure | None:
    metric = "stickiness" + form
    rows = [f for (m, s), f in found.items() if m == metric and not s.startswith("persona ")]
    if not any(math.isfinite(f.value) for f in rows):
        return None
    shown = [Estimate(f.scope, f.value, f.low, f.high, 0, f.scope == "overall") for f in rows]
    title = f"Expression left under pressure, by {FORMS[form]}"
    ident = f"fig-pressures{form.replace('_', '-')}"
    spoken = "; ".join(f"{r.label} {number(r.value)}" for r in shown)
    svg = charts.interval_plot(
        Canvas(ident, title, spoken),
        shown,
        "share of the default effect",
        (0.0, 1.0, "lost to kept"),
    )
    return Figure(ident, title, svg, rows[0].method, findings_table(rows))


def _recovery(found: dict[tuple[str, str], Finding]) -> Figure | None:
    """Curves over the turns after the pressure stopped."""
    curves: list[Curve] = []
    used: list[Finding] = []
    for form, name in FORMS.items():
        rows = [f for (m, _), f in found.items() if m == "recovery" + form]
        rows = [f for f in rows if math.isfinite(f.value)]
        if len(rows) < 2:
            continue
        used += rows
        curves.append(
            Curve(
                name,
                [float(f.scope.removeprefix("turn ")) for f in rows],
                [f.value for f in rows],
                [f.low for f in rows],
                [f.high for f in rows],
            )
        )
    if not curves:
        return None
    title = "Recovery after the pressure stopped"
    spoken = "; ".join(f"{f.scope} {number(f.value)}" for f in used)
    svg = plots.lines(
        Canvas("fig-recovery-turns", title, spoken), curves,
        "turns after the pressure", "share of the default effect",
    )  # fmt: skip
    caption = (
        "Turn 0 is the pressed question. By likelihood, the earlier answers are given: plain ones, "
        "as if the persona had given in."
    )
    return Figure("fig-recovery-turns", title, svg, caption, findings_table(used))


def _stability(found: dict[tuple[str, str], Finding]) -> Table | None:
    names = {"rank_order": "Rank order of personas", "ipsative": "Profile within a persona"}
    rows = [
        [title, name, f.scope, number(f.value), interval(f.low, f.high), f.n]
        for metric, title in names.items()
        for form, name in FORMS.items()
        for (m, _), f in found.items()
        if m == metric + form and not math.isnan(f.value)
    ]
    if not rows:
        return None
    columns = ("Stability", "By", "Pressure", "Spearman", "Interval", "Personas")
    return Table(columns, rows, folded="Rank-order and ipsative stability, by pressure")
