"""Every kind of report as a reader meets it: on a phone and wide, light and dark, on paper."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from every_report import EVERY
from page_checks import chart_trouble, sideways

pytestmark = pytest.mark.browser
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The page of a kind, made once."""
    made: dict[str, Path] = {}

    def page_of(kind: str) -> Path:
        if kind not in made:
            made[kind] = EVERY[kind](tmp_path_factory.mktemp(kind.replace(" ", "-")))
        return made[kind]

    return page_of


@pytest.fixture
def shown(browser: Any, pages: Callable[[str], Path]) -> Iterator[Open]:
    """`shown(kind)`: a page open on a phone; `problems` holds what its console says."""
    contexts: list[Any] = []

    def show(kind: str, width: int = 390, link: str = "") -> Any:
        contexts.append(browser.new_context(
            viewport={"width": width, "height": 800}, offline=True, reduced_motion="reduce"
        ))  # fmt: skip
        page = contexts[-1].new_page()
        page.problems = []
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("console", lambda m: page.problems.append(m.text) if m.type == "error" else None)
        page.goto(pages(kind).as_uri() + link)
        return page

    yield show
    for context in contexts:
        context.close()


def data_of(page: Any) -> dict[str, dict[str, Any]]:
    """Columns and rows behind each figure."""
    found: dict[str, dict[str, Any]] = page.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll('figure')].map(
          f => [f.id, JSON.parse(f.querySelector('script.data').textContent)]))"""
    )
    return found


@pytest.mark.parametrize("kind", EVERY)
def test_it_fits_phone_and_screen_in_both_colours_and_every_figure_has_its_data(
    kind: str, shown: Open
) -> None:
    page = shown(kind)
    data = data_of(page)
    assert data
    for name, behind in data.items():
        assert behind["rows"], name
        assert all(len(row) == len(behind["columns"]) for row in behind["rows"]), name
    copies = page.locator("figure [data-do=copy]")
    assert copies.count() == len(data)
    assert all(button.is_visible() for button in copies.all())
    assert sideways(page) == 0
    drawn = "getComputedStyle(document.querySelector('svg .t')).fill"
    ground = "getComputedStyle(document.body).backgroundColor"
    light = [page.evaluate(drawn), page.evaluate(ground)]
    page.emulate_media(color_scheme="dark")
    assert all(a != b for a, b in zip(light, map(page.evaluate, (drawn, ground)), strict=True))
    assert chart_trouble(page) == []
    page.set_viewport_size({"width": 1280, "height": 800})
    assert sideways(page) == 0
    assert chart_trouble(page) == []
    assert page.problems == []


def copied(page: Any) -> str:
    """What a reader would paste."""
    page.evaluate("document.body.append(document.createElement('textarea'))")
    box = page.locator("body > textarea")
    box.focus()
    page.keyboard.press("Control+V")
    text: str = box.input_value()
    box.evaluate("node => node.remove()")
    return text


def said(page: Any, button: str) -> None:
    """Wait until a button says that it copied."""
    page.locator(button, has_text="Copied").wait_for()


def test_copy_puts_the_figures_data_on_the_clipboard_and_says_so(shown: Open) -> None:
    page = shown("vectors")
    button = page.locator("#fig-predicted [data-do=copy]")
    button.click()
    said(page, "#fig-predicted [data-do=copy]")
    header, *rows = csv.reader(io.StringIO(copied(page)))
    behind = data_of(page)["fig-predicted"]
    assert header == behind["columns"]
    assert [row[0] for row in rows] == [row[0] for row in behind["rows"]]
    assert [float(row[1]) for row in rows] == [row[1] for row in behind["rows"]]
    page.locator("#rerun [data-do=command]").click()
    said(page, "#rerun [data-do=command]")
    assert copied(page) == "personae vectors"


def top_of(page: Any, ident: str) -> float:
    return float(page.evaluate(f"document.getElementById('{ident}').getBoundingClientRect().top"))


@pytest.mark.parametrize("target", ["latent-rerouting", "fig-steer-down"])
def test_a_deep_link_opens_at_its_section_or_figure(target: str, shown: Open) -> None:
    page = shown("latents", link=f"#{target}")
    assert top_of(page, target) == pytest.approx(24, abs=40)
    assert page.evaluate("scrollY") > 800


def test_the_contents_and_a_figures_own_link_lead_there(shown: Open) -> None:
    page = shown("latents", width=1280)
    page.click("nav a[href='#latent-prediction']")
    assert page.url.endswith("#latent-prediction")
    assert top_of(page, "latent-prediction") == pytest.approx(24, abs=40)
    page.wait_for_selector("nav a[href='#latent-prediction'][aria-current]")
    page.click("#fig-warning-money .tools a")
    assert page.url.endswith("#fig-warning-money")


PAPER = 673  # pixels between the margins of A4


@pytest.mark.parametrize("kind", ["audit", "study", "vectors", "compare"])
def test_print_is_light_whole_and_without_what_only_a_screen_can_do(kind: str, shown: Open) -> None:
    page = shown(kind, width=PAPER)
    page.emulate_media(media="print", color_scheme="dark")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(255, 255, 255)"
    for hidden in (
        "nav",
        ".theme",
        ".tools",
        ".controls",
        "details",
        ".command button",
        "#findings",
    ):
        assert not any(node.is_visible() for node in page.locator(hidden).all()), hidden
    assert all(svg.is_visible() for svg in page.locator("svg.chart").all())
    beyond = page.evaluate(
        f"""() => [...document.querySelectorAll('main *')].filter(
          n => n.checkVisibility() && n.getBoundingClientRect().right > {PAPER} + 1)
          .map(n => [n.tagName, n.textContent.slice(0, 40)])"""
    )
    assert beyond == []
    sections = page.locator("main > section:visible")
    assert all(
        section.locator(":scope > :not(h2, .lead)").locator("visible=true").count()
        for section in sections.all()
    )
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_json_and_copy_say_the_same(shown: Open) -> None:
    page = shown("study")
    ident = next(iter(data_of(page)))
    with page.expect_download() as waiting:
        page.click(f"#{ident} [data-do=json]")
    records = json.loads(Path(waiting.value.path()).read_text("utf-8"))
    page.click(f"#{ident} [data-do=copy]")
    said(page, f"#{ident} [data-do=copy]")
    rows = list(csv.DictReader(io.StringIO(copied(page))))
    assert [row["Arm"] for row in rows] == [record["Arm"] for record in records]
    assert [float(row["Value"]) for row in rows] == [record["Value"] for record in records]
