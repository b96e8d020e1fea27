"""The figures of the section "Inside": curves over layers, persona maps, links."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from personae.compare.inside import scope_of
from personae.compare.inside_model import Association, Inside, PersonaMap
from personae.compare.model import Kind, Row
from personae.internals.persona_states import ANSWER, POSITIONS
from personae.report import plots
from personae.report.blocks import Figure, Table
from personae.report.plots import Curve, Point
from personae.report.sections.compare_figures import row_table
from personae.report.svg import SERIES, Canvas
from personae.report.text import clip, number, percent

# Metric, kind of its rows, positions drawn; base has no relation with itself.
CURVES: tuple[tuple[str, Kind, tuple[str, ...]], ...] = (
    ("participation_ratio", "value", POSITIONS),
    ("spread", "value", POSITIONS),
    ("clumpiness", "value", POSITIONS),
    ("probe_accuracy", "value", (ANSWER,)),
    ("probe_margin", "value", (ANSWER,)),
    ("movement", "relation", POSITIONS),
    ("common_share", "relation", POSITIONS),
    ("rdm_correlation", "relation", POSITIONS),
)
DRAWN_LINKS = 6


def curve_figures(found: Inside, labels: Mapping[str, str]) -> list[Figure]:
    """One figure a metric and position: the arms over layers, with 95% bands."""
    made = [
        _curves(found, metric, kind, position, f"{labels[metric]}, {position}")
        for metric, kind, positions in CURVES
        for position in positions
    ]
    return [figure for figure in made if figure is not None]


def projection_figures(found: Inside) -> list[Figure]:
    """Shift of the projection on each direction over layers."""
    made = [
        _curves(found, metric, kind, position, f"{metric}, {position}")
        for metric in found.directions
        for position in POSITIONS
        for kind in (("shift",) if len(found.arms) > 1 else ("value",))
    ]
    return [figure for figure in made if figure is not None]


def _curves(found: Inside, metric: str, kind: Kind, position: str, title: str) -> Figure | None:
    series = {arm: _over_layers(found, arm, metric, position, kind) for arm in found.arms}
    series = {arm: rows for arm, rows in series.items() if rows}
    if not series:
        return None
    first = 0 if found.arms[0] in series else 1  # an arm keeps its colour where base has no curve
    drawn = dict(list(series.items())[: SERIES - first])
    curves = [
        Curve(clip(arm, 40), [_layer(r) for r in rows], [r.value for r in rows],
              *(([r.low for r in rows], [r.high for r in rows]) if _banded(rows) else ((), ())))
        for arm, rows in drawn.items()
    ]  # fmt: skip
    spoken = "; ".join(
        f"{arm}: from {number(rows[0].value)} to {number(rows[-1].value)}"
        for arm, rows in drawn.items()
    )
    ident = "fig-inside-" + re.sub(r"[^a-z0-9]+", "-", f"{metric}-{kind}-{position}".lower())
    canvas = Canvas(ident, title, spoken)
    unit = next(iter(drawn.values()))[0].unit
    svg = plots.lines(canvas, curves, "layer (block output)", unit, first=first)
    left = len(series) - len(drawn)
    more = f" {left} more {'arm is' if left == 1 else 'arms are'} in the data." if left else ""
    methods = [r.method for rows in drawn.values() for r in rows if math.isfinite(r.low)]
    caption = f"Bands: {methods[0]}.{more}" if methods else f"No intervals.{more}"
    return Figure(
        ident, title, svg, caption, row_table([r for rows in series.values() for r in rows])
    )


def _over_layers(found: Inside, arm: str, metric: str, position: str, kind: Kind) -> list[Row]:
    rows = [found.row(arm, metric, scope_of(position, n), kind) for n in found.layers]
    return [r for r in rows if r is not None]


def _layer(row: Row) -> float:
    return float(row.scope.rsplit(" ", 1)[1])


def _banded(rows: Sequence[Row]) -> bool:
    return any(math.isfinite(r.low) and math.isfinite(r.high) for r in rows)


def map_figure(k: int, shown: PersonaMap, found: Inside) -> Figure:
    """Personas on base's two first components, every arm in its own colour; names on hover."""
    arms = found.arms[:SERIES]
    points = [
        Point(p.x, p.y, p.persona, series=arms.index(p.arm),
              tip=f"{p.persona}, {clip(p.arm, 40)}: {clip(p.text, 140)}")
        for p in shown.points
        if p.arm in arms
    ]  # fmt: skip
    first, second = map(percent, shown.explained)
    title = f"Persona map, {shown.position}, layer {shown.layer}"
    spoken = f"{len(points)} points; base's components hold {first} and {second} of its variance"
    canvas = Canvas(f"fig-inside-map-{k}", title, spoken)
    svg = plots.scatter(
        canvas, points, [clip(a, 40) for a in arms] if len(arms) > 1 else [],
        f"first component of {found.arms[0]} ({first})", f"second component ({second})",
    )  # fmt: skip
    rows = [[p.arm, p.persona, p.x, p.y, p.text] for p in shown.points]
    table = Table(("arm", "persona", "first", "second", "text"), rows)
    others = "; the other arms are projected on them" if len(found.arms) > 1 else ""
    caption = f"Principal components of {found.arms[0]}{others}. Hover for names."
    return Figure(canvas.id, title, svg, caption, table)


def link_figures(found: Inside, labels: Mapping[str, str]) -> list[Figure]:
    """The links as point maps, those with the largest correlation first."""
    known = [link for link in found.links if math.isfinite(link.pearson.value)]
    order = sorted(known, key=lambda link: -abs(link.pearson.value))
    return [_link(k, link, labels) for k, link in enumerate(order[:DRAWN_LINKS])]


def _link(k: int, link: Association, labels: Mapping[str, str]) -> Figure:
    inner = f"{labels.get(link.inside, link.inside)}, {link.scope}"
    points = [Point(x, y, clip(arm, 24), labelled=True) for arm, x, y in link.points]
    spoken = "; ".join(f"{p.name}: {number(p.x)}, {number(p.y)}" for p in points)
    canvas = Canvas(f"fig-inside-link-{k}", f"{inner} and {link.outside}", spoken)
    svg = plots.scatter(canvas, points, (), f"inside: {inner}", f"outside: {link.outside}")
    table = Table(("arm", "inside", "outside"), [list(p) for p in link.points])
    return Figure(canvas.id, canvas.title, svg, f"{link.words}.", table)
