"""personae measures, explains, steers and repairs the characters inside a language model.

The names below load on first use, so that `import personae` stays light. `compare` and `report` are
packages: the functions are `personae.compare.compare` and `personae.api.report`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_LAZY = {
    "audit": "personae.api",
    "run": "personae.api",
    "judge": "personae.api",
    "load_run": "personae.api",
    "import_ratings": "personae.api",
    "export": "personae.api",
    "site": "personae.api",
    "Run": "personae.collect.store",
    "Ratings": "personae.ratings",
    "Finding": "personae.findings",
    "Cast": "personae.cast",
    "Persona": "personae.cast",
    "Instrument": "personae.instruments",
    "load_cast": "personae.cast",
    "load_instrument": "personae.instruments",
    "load_model": "personae.models.loading",
    "PersonaeError": "personae.errors",
}
_MODULES = ("compare", "measures", "report")

if TYPE_CHECKING:
    from personae import compare, measures, report
    from personae.api import audit, export, import_ratings, judge, load_run, run, site
    from personae.cast import Cast, Persona, load_cast
    from personae.collect.store import Run
    from personae.errors import PersonaeError
    from personae.findings import Finding
    from personae.instruments import Instrument, load_instrument
    from personae.models.loading import load_model
    from personae.ratings import Ratings

__all__ = [
    "Cast", "Finding", "Instrument", "Persona", "PersonaeError", "Ratings", "Run", "__version__",
    "audit", "compare", "export", "import_ratings", "judge", "load_cast", "load_instrument",
    "load_model", "load_run", "measures", "report", "run", "site",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"personae.{name}")
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'personae' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
