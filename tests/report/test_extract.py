"""Figures taken out of a finished report."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from personae import api
from personae.cli.main import app
from personae.errors import PersonaeError
from personae.report.data import ReportData
from personae.report.extract import figures_of, write_figures
from personae.report.page import render_report
from personae.report.sections import SECTIONS

SVG = "{http://www.w3.org/2000/svg}"


def test_every_figure_of_a_report_is_a_file_that_stands_alone(data: ReportData) -> None:
    sections = SECTIONS
    page = render_report(data, sections)
    drawn = [f for s in sections if (made := s(data)) is not None for f in made.figures]
    found = figures_of(page)
    assert list(found) == [f.id for f in drawn]
    assert len(found) >= 4
    for figure in drawn:
        root = ElementTree.fromstring(found[figure.id])  # well-formed XML
        assert root.tag == f"{SVG}svg"
        assert root.find(f"{SVG}title") is not None
        # A drawing's labels come through whole, and no style is left behind in the page.
        words = "".join(root.itertext())
        assert all(text in words for text in ElementTree.fromstring(str(figure.svg)).itertext())
        assert "prefers-color-scheme: dark" in words
        # A cell of a heat map has its colour: without a rule it would be black.
        ramp = set(re.findall(r'class="(s\d+)"', found[figure.id]))
        assert all(f".{one}{{fill:" in words for one in ramp)
        assert "<script" not in found[figure.id]


def test_hostile_names_stay_text_in_a_figure(tmp_path: Path) -> None:
    page = (
        '<figure id="fig-a"><svg viewBox="0 0 10 20" class="chart">'
        "<title>&lt;script&gt; &amp; &lt;/svg&gt;</title><text>&lt;/svg&gt;</text></svg></figure>"
    )
    root = ElementTree.fromstring(figures_of(page)["fig-a"])
    assert root.findtext(f"{SVG}title") == "<script> & </svg>"
    assert root.findtext(f".//{SVG}text") == "</svg>"


def test_what_is_no_report_is_said_in_one_line(tmp_path: Path) -> None:
    plain = tmp_path / "plain.html"
    plain.write_text("<p>nothing</p>", "utf-8")
    with pytest.raises(PersonaeError, match=r"no figures in it; give the report.html"):
        write_figures(plain, tmp_path / "out")
    with pytest.raises(PersonaeError, match=r"missing.html: cannot be read"):
        write_figures(tmp_path / "missing.html", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_reports_of_several_runs_have_a_folder_each(data: ReportData, tmp_path: Path) -> None:
    pages = []
    for name in ("one", "two"):
        page = tmp_path / name / "report.html"
        page.parent.mkdir()
        page.write_text(render_report(data, SECTIONS), "utf-8")
        pages.append(page)
    written = api.figures(pages, tmp_path / "figures")
    assert {p.parent.name for p in written} == {"one", "two"}
    result = CliRunner().invoke(
        app, ["report", str(pages[0]), "--figures", str(tmp_path / "alone"), "--json"]
    )
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in (tmp_path / "alone").iterdir()) == sorted(
        p.name for p in written if p.parent.name == "one"
    )
