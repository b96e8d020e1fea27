"""personae from Python: the verbs of the command line as functions.

    import personae

    run = personae.audit("smollm2", cast=20)
    run.findings()                 # list of Finding
    ratings = run.ratings("cast")  # P x I x K array
    personae.measures.moral.susceptibility(ratings)

The same call on the same folder goes on where it was stopped.
"""

from __future__ import annotations

import sys

from personae.api.audits import audit, default_out, estimate_audit
from personae.api.axis import cap_axis, fit_axis, monitor_axis
from personae.api.batteries import battery_options, estimate_battery, judge, run
from personae.api.runs import (
    battery_runs,
    export,
    findings_document,
    finish,
    import_ratings,
    load_run,
    open_findings,
    report,
)
from personae.api.sites import figures, site
from personae.errors import without_keys


def command_line() -> tuple[str, ...]:
    """The command that is running, as typed, but for keys."""
    return ("personae", *map(without_keys, sys.argv[1:]))


__all__ = [
    "audit",
    "battery_options",
    "battery_runs",
    "cap_axis",
    "command_line",
    "default_out",
    "estimate_audit",
    "estimate_battery",
    "export",
    "figures",
    "findings_document",
    "finish",
    "fit_axis",
    "import_ratings",
    "judge",
    "load_run",
    "monitor_axis",
    "open_findings",
    "report",
    "run",
    "site",
]
