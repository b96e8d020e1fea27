"""The batteries by name. A new one is its module and one line here."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from personae.collect.battery_run import Battery
from personae.errors import PersonaeError

BATTERIES: dict[str, str] = {
    "floor": "personae.batteries.floor:Floor",
    "misalignment": "personae.batteries.misalignment:Misalignment",
    "register": "personae.batteries.register:Register",
    "stickiness": "personae.batteries.stickiness:Stickiness",
    "consistency": "personae.batteries.consistency:Consistency",
    "guarding": "personae.batteries.guarding:Guarding",
}

# What an audit of the full suite asks of each battery: the parts that need no judge and no long
# free text. `personae run NAME` asks everything. A limit here is the most that a limited audit
# passes on, for a battery whose size grows with the limit's square.
IN_AUDIT: dict[str, dict[str, Any]] = {
    "misalignment": {"parts": "pair,choice"},
    "floor": {"parts": "choice", "conditions": "panel"},
    "stickiness": {"parts": "score", "recovery": 1, "limit": 3},
    "consistency": {"parts": "study,harm,which"},
    "guarding": {"parts": "choice,score,decide", "variants": "plain"},
    "register": {"max_tokens": 40},
}


def audit_options(name: str, limit: int | None) -> dict[str, Any]:
    """A battery's options within an audit that is limited to `limit` (None: not at all)."""
    options = dict(IN_AUDIT[name])
    most = options.pop("limit", limit)
    return options | {"limit": limit if limit is None else min(limit, most)}


def get_battery(name: str) -> Battery:
    """A battery by name. Raises PersonaeError for an unknown one."""
    if name == "moral":
        raise PersonaeError("the moral battery is what 'personae audit' asks; run that")
    if name not in BATTERIES:
        raise PersonaeError(f"no battery {name!r}; there are: {', '.join(BATTERIES)}")
    module, _, attribute = BATTERIES[name].partition(":")
    battery: Battery = getattr(import_module(module), attribute)()
    return battery
