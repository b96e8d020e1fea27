"""`run_study`: what `personae study` does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from personae.files import is_number
from personae.study.execute import Watch, execute
from personae.study.plan import Plan, make_plan
from personae.study.results import MoreSections, Result, summarise
from personae.study.spec import Study, load_study


def run_study(
    study: Study | str | Path,
    *,
    out: str | Path | None = None,
    limit: int | None = None,
    only: Sequence[str] = (),
    threads: int | None = None,
    watch: Watch | None = None,
    command: Sequence[str] = (),
) -> Result:
    """Train and measure whatever a study lacks, then compare and report; resumes.

    Args:
        study: a study, or its YAML file.
        out: the study's folder; default `runs/study-NAME`.
        limit: measure at most so many pairs, personas, rows and prompts: a taste.
        only: arms to do; the others are left as they are.
        threads: CPU threads, of a study that is begun now; default: as many as are idle.

    Raises:
        PersonaeError: a mistake in the file, or the folder is in use. An arm that fails raises
            nothing: it is told in `Result.failures`, and the rest goes on.
    """
    plan = plan_study(study, out=out, limit=limit, only=only)
    return run_plan(plan, threads=threads, watch=watch, command=command)


def run_plan(
    plan: Plan,
    *,
    threads: int | None = None,
    watch: Watch | None = None,
    command: Sequence[str] = (),
    more: Sequence[MoreSections] = (),
) -> Result:
    """Do what a plan lacks, then compare and report.

    Args:
        more: makers of further sections of the report.
    """
    failures = execute(plan, watch or Watch(), threads=threads)
    return summarise(plan, failures, command, more)


def plan_study(
    study: Study | str | Path,
    *,
    out: str | Path | None = None,
    limit: int | None = None,
    only: Sequence[str] = (),
) -> Plan:
    """What `run_study` would do."""
    read = study if isinstance(study, Study) else load_study(study)
    read = read if limit is None else limited(read, limit)
    folder = Path(out) if out is not None else Path("runs") / f"study-{read.study}"
    return make_plan(read, folder, only=tuple(only))


def limited(study: Study, limit: int) -> Study:
    """The study with each measure cut to `limit` units (pairs: each domain's turn)."""
    found = study.measures
    size = max(limit, 2)
    preference = found.preference and found.preference.model_copy(
        update={"limit": min(size, found.preference.limit or size)}
    )
    moral = found.moral and found.moral.model_copy(
        update={"cast": min(size, int(found.moral.cast) if _is_number(found.moral.cast) else size)}
    )
    task = found.task and found.task.model_copy(update={"rows": min(size, found.task.rows)})
    coherence = found.coherence and found.coherence.model_copy(
        update={"prompts": min(size, found.coherence.prompts)}
    )
    measures = found.model_copy(
        update={"preference": preference, "moral": moral, "task": task, "coherence": coherence}
    )
    return study.model_copy(update={"measures": measures})


def _is_number(cast: int | str) -> bool:
    return is_number(str(cast))
