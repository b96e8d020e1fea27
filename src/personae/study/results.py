"""A study's findings, its table, its verdicts and its report."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from personae.collect.folder import write_atomic
from personae.files import csv_cell
from personae.findings import SCHEMA, findings_file
from personae.study.contrasts import ALL, OUT, PRIMARY, Row, references, rows
from personae.study.execute import Failures
from personae.study.outcomes import Outcome, read_outcome
from personae.study.plan import Plan
from personae.study.spec import BASE

if TYPE_CHECKING:
    from personae.report.blocks import Section
    from personae.report.data import ReportData


@dataclass(frozen=True)
class Result:
    """What a study found.

    Args:
        outcomes: of the cells of which anything was measured. failures: by cell, in words.
    """

    plan: Plan
    outcomes: tuple[Outcome, ...]
    rows: tuple[Row, ...]
    failures: Mapping[str, str]

    @property
    def arms(self) -> tuple[str, ...]:
        """In the study's order; the moments of one training by their samples."""
        order = (BASE, *self.plan.study.arms)
        cells = {o.cell.arm: o.cell for o in self.outcomes}.values()
        place = {c.arm: (order.index(c.arm.partition("@")[0]), c.samples or 0) for c in cells}
        return tuple(sorted(place, key=lambda arm: place[arm]))

    @property
    def main(self) -> str:
        """The domains that a claim about generality is about."""
        return OUT if self.plan.study.in_domain else ALL

    def row(
        self, arm: str, metric: str, against: str = "", where: str = "", over: str = "units"
    ) -> Row | None:
        """One number, or None where it was not measured."""
        for row in self.rows:
            key = (row.arm, row.metric, row.against, row.where, row.over)
            if key == (arm, metric, against, where, over):
                return row
        return None

    def best(self, arm: str, metric: str, against: str = "", where: str = "") -> Row | None:
        """Over seeds where there are three, else over units, else of the one seed."""
        overs = ("seeds", "units") if self._seeds(arm) > 2 else ("units", "seeds")
        found = (self.row(arm, metric, against, where, over) for over in overs)
        return next((r for r in found if r is not None), None)

    def _seeds(self, arm: str) -> int:
        return sum(o.cell.arm == arm for o in self.outcomes)

    def as_json(self) -> dict[str, Any]:
        """The document of `--json`."""
        return {
            "schema": SCHEMA,
            "study": self.plan.study.study,
            "path": str(self.plan.out),
            "verdicts": list(verdicts(self)),
            "failures": dict(self.failures),
            "findings": [row.finding.as_json() for row in self.rows],
        }


MoreSections = Callable[[Result], "Callable[[ReportData], Section | None]"]


def summarise(
    plan: Plan,
    failures: Failures,
    command: Sequence[str] = (),
    more: Sequence[MoreSections] = (),
) -> Result:
    """Read what was measured; write findings.parquet, findings.csv and report.html."""
    from personae.report import write_report
    from personae.study.sections import report_data, sections

    outcomes = [read_outcome(plan, cell) for cell in plan.cells]
    there = tuple(o for o in outcomes if o.units or o.ratings is not None)
    result = Result(plan, there, tuple(rows(plan, there)) if there else (), failures.cells)
    found = findings_file(row.finding for row in result.rows)
    write_atomic(plan.out / "findings.parquet", found)
    write_atomic(plan.out / "findings.csv", _csv(result.rows).encode())
    if there:
        manifest = json.loads((plan.out / "study.json").read_text("utf-8"))
        data = report_data(result, manifest, command)
        write_report(
            plan.out / "report.html", data, sections(result, *(make(result) for make in more))
        )
    return result


def _csv(found: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [f.name for f in fields(Row)]
    writer.writerow(names)
    for row in found:
        cells = [getattr(row, name) for name in names]
        writer.writerow([f"{c:.6g}" if isinstance(c, float) else csv_cell(c) for c in cells])
    return text.getvalue()


# --- in words ------------------------------------------------------------------------------------
def verdicts(result: Result) -> Iterator[str]:
    """What the study says, one sentence an arm."""
    cells = {o.cell.arm: o for o in result.outcomes}
    whole: list[str] = []
    for arm in result.arms:
        source = cells[arm].cell.source
        if arm == BASE:
            continue
        if source is None or source == BASE:
            yield from _raised(result, arm, references(cells[arm]))
        elif (row := result.row(arm, "recovered", source, result.main)) is not None:
            if row.low == row.low:
                seeds = result.row(arm, "recovered", source, result.main, "seeds")
                yield _repair(row, seeds, source, _in(result))
            else:
                whole.append(arm)
    if whole:
        yield (
            f"{', '.join(whole)}: nothing to repair {_in(result)}, since what they go on from is "
            "not told apart from the base."
        )


def _in(result: Result) -> str:
    return result.main if result.main == OUT else f"in {result.main}"


def _raised(result: Result, arm: str, against: Sequence[str]) -> Iterator[str]:
    """Both tests, against each reference."""
    said = []
    for other in against:
        found = [result.row(arm, PRIMARY, other, result.main, o) for o in ("units", "seeds")]
        there = [r for r in found if r is not None and r.low == r.low]
        if there:
            said.append(f"{_direction(there)} {other} ({'; '.join(map(_shown, there))})")
    if said:
        yield f"{arm}: misaligned preference {_in(result)} is {' and '.join(said)}."


def _direction(found: Sequence[Row]) -> str:
    if all(r.low > 0 for r in found):
        return "above"
    if all(r.high < 0 for r in found):
        return "below"
    return "not told apart from"


def _shown(row: Row) -> str:
    return f"{row.value:+.3f} [{row.low:+.3f}, {row.high:+.3f}] over {row.unit_words}"


def _repair(row: Row, seeds: Row | None, source: str, where: str) -> str:
    """Gone or not, by both intervals; with fewer than three seeds by that over pairs."""
    shown, told = f"{_share(row)} over pairs", [row]
    if seeds is not None and seeds.n > 2:
        told.append(seeds)
        unsure = f"over {seeds.n} seeds the damage is not told from 0"
        shown += f"; {_share(seeds)} over seeds" if seeds.low == seeds.low else f"; {unsure}"
    gained = f"of what {source} gained {where}"
    if all(r.low > 0 for r in told):
        return f"{row.arm}: a part {gained} is gone ({shown})."
    if all(r.high < 0 for r in told):
        return f"{row.arm}: none {gained} is gone, it has grown ({shown})."
    return f"{row.arm}: not told whether any {gained} is gone ({shown})."


def _share(row: Row) -> str:
    return f"{row.value:.0%} [{row.low:.0%}, {row.high:.0%}]"
