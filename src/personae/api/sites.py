"""Many runs as one folder of pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from personae.api.runs import load_run, report
from personae.collect.folder import write_atomic
from personae.errors import PersonaeError
from personae.files import one_line


@dataclass(frozen=True)
class Site:
    """What was written: the index page, and a line for each run that could not be shown."""

    index: Path
    problems: tuple[str, ...]


def site(
    runs: Sequence[str | Path],
    folder: str | Path,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Site:
    """Write an index over `runs` into `folder`, with each run's report and all findings.

    A run that is unfinished or damaged is listed with the reason, and the others are shown.

    Raises:
        PersonaeError: no runs given, or the folder cannot be written.
    """
    from personae.report.site import SiteRun, slugs, write_site

    if not runs:
        raise PersonaeError("give at least one run folder to make a site of")
    folder, shown = Path(folder), []
    names = slugs([Path(run).resolve().name for run in runs])
    for done, (path, name) in enumerate(zip(runs, names, strict=True), start=1):
        try:
            run = load_run(path)
            found, page = run.findings(), report(run)
        except PersonaeError as error:
            shown.append(SiteRun(name, problem=one_line(error, 300)))
            continue
        write_atomic(folder / "runs" / name / "report.html", page.read_bytes())
        summary = run.manifest.summary()
        shown.append(
            SiteRun(
                name=name,
                page=f"runs/{name}/report.html",
                model=str(summary["model"]),
                battery=str(summary["battery"]),
                created=str(summary["created"]),
                findings=tuple(found),
            )
        )
        progress(done, len(runs))
    problems = tuple(f"{r.name}: {r.problem}" for r in shown if r.problem)
    return Site(write_site(shown, folder), problems)


def figures(reports: Sequence[str | Path], folder: str | Path) -> list[Path]:
    """Write every figure of reports (HTML files) as an SVG file; returns their paths.

    One report's figures go into `folder`; several reports have a folder each, named like theirs.

    Raises:
        PersonaeError: a file that holds no figures, or a folder that cannot be written.
    """
    from personae.report.extract import write_figures
    from personae.report.site import slugs

    pages, folder = [Path(one) for one in reports], Path(folder)
    names = slugs([page.resolve().parent.name for page in pages])
    places = [folder / name for name in names] if len(pages) > 1 else [folder]
    return [
        path
        for page, place in zip(pages, places, strict=True)
        for path in write_figures(page, place)
    ]
