"""The figures of a comparison report: collapse map, trajectory, foundations, profiles.

Changes are drawn in percent of base; the data behind a figure keep fractions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields

from personae.compare.model import OVERALL, Arm, Comparison, ProfileComparison, Row, Spread
from personae.report import charts, plots
from personae.report.blocks import Figure, Table
from personae.report.charts import Estimate, Series
from personae.report.plots import Curve, Ellipse, Point
from personae.report.svg import Canvas
from personae.report.text import number

ROW_COLUMNS = tuple(f.name for f in fields(Row))
PERCENT = "percent of base"


def row_table(rows: Sequence[Row]) -> Table:
    """Rows in full, as they are exported under a figure."""
    return Table(ROW_COLUMNS, [[getattr(r, c) for c in ROW_COLUMNS] for r in rows])


def collapse_map(found: Comparison) -> Figure | None:
    """dS against dR with the 95% region of each arm; None where no point is finite."""
    drawn = [s for s in found.spreads if math.isfinite(s.ds) and math.isfinite(s.dr)]
    if not drawn:
        return None
    control = found.control.name if found.control else None
    order = {a.name: k for k, a in enumerate(found.treated)}
    points = [
        Point(
            100 * s.ds, 100 * s.dr, s.arm,
            series=1 if s.arm == control else (0, 2, 3)[order[s.arm] % 3],
            ellipse=_ellipse(s), labelled=True,
            tip=f"{s.arm}: S {_signed(s.ds)}, R {_signed(s.dr)}",
        )
        for s in drawn
    ]  # fmt: skip
    groups = ["fine-tune", "control"] if control and len(order) == 1 else []
    spoken = "; ".join(f"{s.arm}: S {_signed(s.ds)}, R {_signed(s.dr)}" for s in drawn)
    canvas = Canvas("fig-map", "Change of S against change of R", spoken)
    svg = plots.scatter(
        canvas, points, groups, f"change of S, {PERCENT}", f"change of R, {PERCENT}", zero=True
    )
    columns = tuple(f.name for f in fields(Spread))
    table = Table(columns, [[getattr(s, c) for c in columns] for s in found.spreads])
    caption = "The base is at the crossing of the dashed lines; shaded: 95% regions."
    return Figure(canvas.id, canvas.title, svg, caption, table)


def _ellipse(s: Spread) -> Ellipse | None:
    if not all(math.isfinite(v) for v in (s.se_s, s.se_r, s.correlation)):
        return None
    return Ellipse(100 * s.se_s, 100 * s.se_r, s.correlation)


def trajectory_figures(found: Comparison) -> list[Figure]:
    """Changes of S and R over steps; the base stands at 0."""
    figures = []
    for metric, title in (("susceptibility", "S"), ("robustness", "R")):
        rows = [r for a in found.treated if (r := found.row(a.name, metric)) is not None]
        steps = [a.step for a in found.treated]
        if len(rows) != len(steps) or not any(math.isfinite(r.value) for r in rows):
            continue
        curve = Curve(
            title,
            [0.0, *(float(s or 0) for s in steps)],
            [0.0, *(100 * r.value for r in rows)],
            [0.0, *(100 * r.low for r in rows)],
            [0.0, *(100 * r.high for r in rows)],
        )
        spoken = "; ".join(f"{r.arm}: {_signed(r.value)}" for r in rows)
        canvas = Canvas(f"fig-trajectory-{metric}", f"Change of {title}", spoken)
        svg = plots.lines(canvas, [curve], "step", f"change, {PERCENT}")
        figures.append(Figure(canvas.id, canvas.title, svg, "Against the base.", row_table(rows)))
    return figures


def foundation_figures(found: Comparison, k: int, arm: Arm) -> list[Figure]:
    """dS and dR of one arm, and their excess over a control, overall and per subscale."""
    made = (
        _forest(found, k, arm.name, "susceptibility", "change", "Change of S", PERCENT, 100.0, 0),
        _forest(found, k, arm.name, "robustness", "change", "Change of R", PERCENT, 100.0, 1),
        _forest(found, k, arm.name, "susceptibility", "excess", "Excess of S", PERCENT, 100.0, 0),
        _forest(found, k, arm.name, "robustness", "excess", "Excess of R", PERCENT, 100.0, 1),
    )
    return [figure for figure in made if figure is not None]


def shift_figure(found: Comparison, k: int, arm: str) -> Figure | None:
    """How far the cast's mean rating moved, per subscale."""
    return _forest(found, k, arm, "profile", "shift", "Shift of the mean rating", "points", 1.0, 2)


def _forest(
    found: Comparison, k: int, arm: str, metric: str, kind: str, title: str, unit: str,
    factor: float, series: int,
) -> Figure | None:  # fmt: skip
    rows = [
        r
        for scope in (OVERALL, *found.subscales)
        for r in found.rows
        if (r.arm, r.metric, r.scope, r.kind) == (arm, metric, scope, kind)
    ]
    if not rows:
        return None
    estimates = [
        Estimate(
            "Overall" if r.scope == OVERALL else r.scope,
            factor * r.value, factor * r.low, factor * r.high, series, r.scope == OVERALL,
        )
        for r in rows
    ]  # fmt: skip
    spoken = "; ".join(f"{e.label} {number(e.value)}" for e in estimates)
    title += f", {arm}" if len(found.treated) > 1 else ""
    canvas = Canvas(f"fig-{kind}-{metric}-{k}", title, spoken)
    caption = f"Beyond the control: {arm}." if kind == "excess" else f"Against base: {arm}."
    svg = charts.interval_plot(canvas, estimates, unit)
    return Figure(canvas.id, title, svg, caption, row_table(rows))


def profile_figure(k: int, p: ProfileComparison, limits: tuple[float, float]) -> Figure:
    """Profiles of base, the arm and toxic personas over one set of axes."""
    names = list(p.profiles["base"])
    series = [Series(who, [of.get(s, math.nan) for s in names]) for who, of in p.profiles.items()]
    spoken = "; ".join(
        f"{s}: " + ", ".join(f"{one.name} {number(one.values[j])}" for one in series)
        for j, s in enumerate(names)
    )
    canvas = Canvas(f"fig-profiles-{k}", f"Profile of {p.arm}", spoken)
    rows = [[s, *(one.values[j] for one in series)] for j, s in enumerate(names)]
    table = Table(("foundation", *(one.name for one in series)), rows)
    svg = plots.radar(canvas, names, series, limits)
    return Figure(canvas.id, canvas.title, svg, "Mean ratings, in points.", table)


def _signed(share: float) -> str:
    return f"{100 * share:+.0f}%".replace("-", "−")
