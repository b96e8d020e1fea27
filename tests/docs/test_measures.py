"""Every number that a finding can carry has an entry, and every entry its five parts.

Names that are put together at run time are seen by `metrics_have_an_entry` in tests/conftest.py.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from metric_index import DOCS, documented, index, rows
from personae.compare.comparing import CORE, DISTANCES, FITTED, PLAIN
from personae.compare.inside import RATIOS, RELATIONS, UNITS
from personae.findings import read_findings
from personae.measures.metrics import METRICS
from personae.study.contrasts import INSIDE, RATING_METRICS
from personae.study.outcomes import UNITS as STUDY_UNITS

SOURCE = DOCS.parent / "src" / "personae"
PARTS = ("Formula", "Source", "Assumptions", "How to read it", "Known criticism")
BATTERIES = ("moral", "misalignment", "floor", "stickiness", "consistency", "guarding", "register")
STORED = DOCS.parent / "tests" / "data" / "run-schema-1" / "findings.parquet"
Names = dict[str, int]
"""Function -> position of the argument `metric`."""


def headings(page: Path) -> list[str]:
    return re.findall(r"^## (.*)$", page.read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("page", sorted((DOCS / "measures").glob("*.md")), ids=lambda p: p.stem)
def test_an_entry_has_five_parts_and_a_row_in_the_index(page: Path) -> None:
    assert tuple(headings(page)) == PARTS
    assert f"(measures/{page.name})" in (DOCS / "statistics.md").read_text("utf-8")


@pytest.mark.parametrize("name", BATTERIES)
def test_a_battery_page_has_the_same_parts(name: str) -> None:
    found = headings(DOCS / f"{name}.md")
    wanted = ["What it asks", *PARTS, "Commands"]
    assert [h for h in found if h in wanted] == wanted


def test_the_index_leads_to_pages_that_say_the_name() -> None:
    assert len(rows()) > 50
    for (first, *_), page in rows():
        assert f"`{first}`" in page.read_text("utf-8"), (first, page.name)


def test_metrics_of_the_registry_and_of_comparisons_are_in_the_index() -> None:
    inside = [
        f"{m}_{kind}"
        for m in UNITS
        for kind in ("relation" if m in RELATIONS else "change" if m in RATIOS else "shift",
                     "excess")
    ]  # fmt: skip
    compared = [*CORE, *PLAIN, *FITTED, *DISTANCES, "dispersion_at_5", *inside, "axis:calm_shift"]
    studied = [*RATING_METRICS, *STUDY_UNITS, *(m for m, _, _ in INSIDE)]
    names = [*METRICS, *compared, *studied]
    assert [n for n in names if not documented(n)] == []
    assert not documented("no_such_metric")


def test_metrics_of_a_stored_run_are_in_the_index() -> None:
    assert {f.metric for f in read_findings(STORED) if not documented(f.metric)} == set()


def test_metrics_that_the_code_writes_out_are_in_the_index() -> None:
    sources = {p: p.read_text("utf-8") for p in sorted(SOURCE.rglob("*.py"))}
    makers = {p: text for p, text in sources.items() if re.search(r"\b(Finding|Row)\b", text)}
    trees = {p: ast.parse(text) for p, text in makers.items()}
    shared = {"Finding": 1} | _takers(trees[SOURCE / "batteries" / "two_way.py"])
    named = [
        (name, path.relative_to(SOURCE).as_posix())
        for path, tree in trees.items()
        for name in _written(tree, shared | _takers(tree))
    ]
    assert len(named) > 100  # the scan finds them
    missing = [
        found for found in named
        if not documented(found[0]) and not any(re.fullmatch(found[0], k) for k in index())
    ]  # fmt: skip
    assert missing == []


def _takers(tree: ast.Module) -> Names:
    """Functions of a module that take a metric's name."""
    found: Names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            names = [a.arg for a in node.args.args if a.arg != "self"]
            if "metric" in names:
                found[node.name] = names.index("metric")
    return found


def _written(tree: ast.Module, takers: Names) -> Iterator[str]:
    """Names in calls of `takers`; what is not written out becomes `.+`."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        place = takers.get(node.func.id)
        if place is not None and len(node.args) > place:
            yield from (n for n in _texts(node.args[place]) if re.search(r"[a-z]{2}", n))


def _texts(node: ast.expr) -> list[str]:
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.IfExp():
            return [*_texts(node.body), *_texts(node.orelse)]
        case ast.BinOp(op=ast.Add()):
            return [a + b for a in _texts(node.left) for b in _texts(node.right)]
        case ast.JoinedStr():
            parts = (p.value if isinstance(p, ast.Constant) else ".*" for p in node.values)
            return ["".join(map(str, parts))]
        case _:
            return [".*"]
