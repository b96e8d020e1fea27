"""The sections of a comparison report; values come from `data.extra["comparison"]`."""

from __future__ import annotations

import math
from collections import Counter

from markupsafe import Markup

from personae.compare.model import Arm, Comparison, Kind, ProfileComparison, Row
from personae.report.blocks import (
    Block,
    Figures,
    Note,
    Prose,
    Section,
    Table,
    Tile,
    Tiles,
    Verdicts,
)
from personae.report.data import ReportData
from personae.report.environment import environment
from personae.report.sections.compare_figures import (
    collapse_map,
    foundation_figures,
    profile_figure,
    shift_figure,
    trajectory_figures,
)
from personae.report.sections.inside import inside_of_comparison
from personae.report.sections.rerun import rerun
from personae.report.text import minus, number

METRICS = {
    "susceptibility": "Susceptibility S",
    "susceptibility_corrected": "S, corrected for repeat noise",
    "susceptibility_latent": "S, latent scale",
    "robustness": "Robustness R",
    "robustness_latent": "R, latent scale",
    "dispersion": "Dispersion U = 1/R",
    "gini": "Gini dispersion",
    "entropy": "Entropy",
    "endpoint_mass": "Endpoint mass",
}
MEANINGS = {
    "intact": "Personas pull the answers apart as far as in the base, and keep them as well: both "
    "intervals lie inside the margins.",
    "generic fine-tuning cost": "A persona keeps its answers less well than in the base, but no "
    "less than in the control, and personas do not pull the answers further apart.",
    "dysregulated": "Personas pull the answers further apart than in the base and keep them less "
    "well: the signature of persona-model collapse.",
    "degenerate": "The ratings use so little of the scale that susceptibility cannot be read.",
    "inconclusive": "The intervals do not separate the cases. This is not a finding of no change; "
    "more personas or items may decide.",
}
MOST_ARMS = 4  # arms drawn in full; the tables and the JSON hold all


def comparison(data: ReportData) -> Comparison:
    found = data.extra["comparison"]
    assert isinstance(found, Comparison)
    return found


def signed(share: float) -> str:
    """A fraction of base as a signed percentage: +12%, −3.4%."""
    if not math.isfinite(share):
        return number(share)
    size = abs(100 * share)
    digits = 0 if size >= 9.95 else 1
    text = f"{100 * share:+.{digits}f}%".replace("-", "−")
    return "0%" if size < 0.05 else text


def between(row: Row | None) -> str:
    """The interval of a change, in percent."""
    if row is None or math.isnan(row.low) or math.isnan(row.high):
        return ""
    return f"[{signed(row.low)},\u00a0{signed(row.high)}]"


# --- sections --------------------------------------------------------------------------------
def summary(data: ReportData) -> Section:
    found = comparison(data)
    blocks: list[Block] = [Note(text, "warning") for text in found.warnings]
    if len(found.treated) > 1:
        blocks.append(_regimes(found))
        return Section("summary", "Regimes", _lead(found), blocks)
    arm, verdict = found.treated[0], found.verdicts[0]
    blocks.append(Tiles(_tiles(found, arm)))
    blocks.append(Verdicts([f"{reason}." for reason in verdict.reasons]))
    return Section("summary", f"Regime: {verdict.regime}", MEANINGS[verdict.regime], blocks)


def the_map(data: ReportData) -> Section | None:
    found = comparison(data)
    figure = collapse_map(found)
    if figure is None:
        return None
    lead = (
        "Change of susceptibility against change of robustness, with 95% regions from the paired "
        "replicates. The lower right corner is persona-model collapse: personas pull the answers "
        "further apart, and keep them less well."
    )
    rows = [[s.arm, signed(s.ds), signed(s.dr), number(s.correlation)] for s in found.spreads]
    table = Table(("Arm", "dS", "dR", "Correlation"), rows)
    return Section("map", "Collapse map", lead, [Figures([figure], table)])


def trajectory(data: ReportData) -> Section | None:
    found = comparison(data)
    figures = trajectory_figures(found) if found.ordered else []
    if not figures:
        return None
    lead = "The same quantities along the training, from the base at the left; bands are 95%."
    return Section("trajectory", "Trajectory", lead, [Figures(figures)])


def changes(data: ReportData) -> Section:
    """Every metric of base, control and treated beside each other: the matched pair."""
    found = comparison(data)
    blocks: list[Block] = []
    for arm in found.treated:
        blocks.append(_pair_table(found, arm))
    lead = "Change is treated / base − 1"
    lead += (
        "; excess is (treated − control) / base, what the control does not show as well."
        if found.control
        else ". Without a matched control, the cost of any fine-tuning is part of it."
    )
    return Section("changes", "Matched pairs" if found.control else "Changes", lead, blocks)


def foundations(data: ReportData) -> Section | None:
    found = comparison(data)
    if not found.subscales:
        return None
    shown = found.treated[:MOST_ARMS]
    blocks: list[Block] = [
        Figures(foundation_figures(found, k, arm)) for k, arm in enumerate(shown)
    ]
    if len(found.treated) > MOST_ARMS:
        blocks.append(Note(f"The first {MOST_ARMS} arms are drawn; --json holds all."))
    lead = "Where the change sits: each foundation on its own items."
    return Section("foundations", "Foundations", lead, blocks)


def profiles(data: ReportData) -> Section | None:
    found = comparison(data)
    treated = {a.name for a in found.treated[:MOST_ARMS]}
    compared = [p for p in found.profiles if p.arm in treated and len(p.profiles["base"]) > 2]
    if not compared:
        return None
    limits = (float(found.scale[0]), float(found.scale[1]))
    figures = [
        figure
        for k, p in enumerate(compared)
        for figure in (profile_figure(k, p, limits), shift_figure(found, k, p.arm))
        if figure is not None
    ]
    rows = [
        [p.arm, number(p.distance), number(p.toxic_distance), number(p.base_toxic_distance),
         _near_ends(p)]
        for p in compared
    ]  # fmt: skip
    columns = ("Arm", "From base", "From toxic", "Base from toxic", "Near an end of the scale")
    caption = "Distances between profiles: root mean square over foundations, in points."
    blocks: list[Block] = [Figures(figures), Table(columns, rows, caption, remark_last=True)]
    blocks += [
        Note(
            f"The profile of {p.arm} is saturated: at least half of its foundations lie at one end "
            "of the scale, where it can hardly move on and differences do not show."
        )
        for p in compared
        if p.saturated
    ]
    who = "without a persona" if compared[0].panel == "self" else "mean over personas"
    lead = f"Mean rating per foundation, {who}; and how far the cast's mean moved."
    return Section("profiles", "Profiles", lead, blocks)


def how_to_read(data: ReportData) -> Section:
    found = comparison(data)
    limits = found.verdicts[0].thresholds
    html = (
        environment()
        .get_template("compare_reading.html.j2")
        .render(limits=limits, control=found.control is not None, method=found.method)
    )
    return Section("reading", "How to read this report", "", [Prose(Markup(html))])


SECTIONS = (summary, the_map, trajectory, changes, foundations, profiles, inside_of_comparison,
            how_to_read, rerun)  # fmt: skip


# --- parts -----------------------------------------------------------------------------------
def _tiles(found: Comparison, arm: Arm) -> list[Tile]:
    """Four numbers: changes and excesses of S and R; without a control, U and the scale's use."""
    wanted: list[tuple[str, str, Kind]] = [
        ("Change of S", "susceptibility", "change"),
        ("Change of R", "robustness", "change"),
        ("Excess of S", "susceptibility", "excess"),
        ("Excess of R", "robustness", "excess"),
    ]
    if found.control is None:
        wanted[2:] = [("Change of U", "dispersion", "change"), ("Entropy", "entropy", "change")]
    rows = [(label, found.row(arm.name, metric, kind=kind)) for label, metric, kind in wanted]
    return [Tile(label, signed(r.value), between(r), r.words) for label, r in rows if r]


def _near_ends(p: ProfileComparison) -> str:
    return ", ".join([*(f"{s} (top)" for s in p.ceiling), *(f"{s} (bottom)" for s in p.floor)])


def _lead(found: Comparison) -> str:
    counted = Counter(v.regime for v in found.verdicts)
    return "Of the fine-tunes, " + ", ".join(f"{n} {name}" for name, n in counted.items()) + "."


def _regimes(found: Comparison) -> Table:
    rows = []
    for arm in found.treated:
        verdict = found.verdict(arm.name)
        cells = [arm.name, verdict.regime if verdict else "–"]
        for metric in ("susceptibility", "robustness"):
            row = found.row(arm.name, metric)
            cells.append("–" if row is None else f"{signed(row.value)} {between(row)}")
        cells.append(minus("; ".join(verdict.reasons)) if verdict else "")
        rows.append(cells)
    return Table(("Arm", "Regime", "dS", "dR", "Why"), rows, remark_last=True)


def _pair_table(found: Comparison, arm: Arm) -> Table:
    control = found.control
    columns = ["Metric", "Base", *(["Control"] if control else []), "Treated", "Change",
               *(["Excess"] if control else []), "In words"]  # fmt: skip
    names = [found.base.name, *([control.name] if control else []), arm.name]
    rows = []
    for metric, label in _metrics(found):
        row = found.row(arm.name, metric)
        if row is None:
            continue
        excess = found.row(arm.name, metric, kind="excess")
        values = [_value(found.row(name, metric, kind="value")) for name in names]
        cells = [label, *values, f"{signed(row.value)} {between(row)}"]
        if control:
            cells.append(f"{signed(excess.value)} {between(excess)}" if excess else "–")
        cells.append(row.words + (f"; {excess.words}" if excess else ""))
        rows.append(cells)
    method = found.method[:1].upper() + found.method[1:]
    caption = f"Left to right: {', '.join(c.lower() for c in columns[1:])}. {method}."
    return Table(columns, rows, caption, remark_last=True, title=arm.name)


def _metrics(found: Comparison) -> list[tuple[str, str]]:
    named = list(METRICS.items())
    common = sorted({r.metric for r in found.rows if r.metric.startswith("dispersion_at_")})
    return named + [(m, f"U at n = {m.removeprefix('dispersion_at_')}") for m in common]


def _value(row: Row | None) -> str:
    return "–" if row is None else number(row.value)
