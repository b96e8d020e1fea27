"""Defences: ways to train on a task without the rest of the model's character going with it.

A defence is a frozen value. It may act in four places, and most act in one:

    rows            the conversations, before they are encoded
    terms           further terms of the loss
    interventions   changes to the residual stream in the task's own passes, gone afterwards
    mend            changes to the weights after an optimiser step

Each has one spelling, the same on the command line, in YAML and in Python:

    NAME[:VALUE][,OPTION=VALUE]...    kl:0.3   kl:0.3,on=mine.jsonl   prevent:v.safetensors@0.1
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Self

from personae.errors import PersonaeError
from personae.files import number_range

# The command line reads the names below for its help, so nothing heavy is imported here.
if TYPE_CHECKING:
    from personae.internals.interventions import Intervention
    from personae.models.chat import Chat
    from personae.training.recipes import Recipe
    from personae.training.rows import Rows
    from personae.training.terms import Term

# Where each lives; the modules are imported when one is asked for.
DEFENCES: dict[str, str] = {
    "kl": "personae.training.defences_terms:KL",
    "narrow": "personae.training.defences_terms:Narrow",
    "features": "personae.training.defences_terms:Features",
    "interleave": "personae.training.defences_rows:Interleave",
    "inoculation": "personae.training.defences_rows:Inoculation",
    "prevent": "personae.training.defences_directions:Prevent",
    "project": "personae.training.defences_directions:Project",
    "placebo": "personae.training.defences_directions:Placebo",
    "blockem": "personae.training.blockem:BlockEM",
}


@dataclass(frozen=True)
class Run:
    """The run that a defence is part of.

    Args:
        model: the PEFT model that is trained; without its adapter it is the base.
        rows: the task's own conversations.
        seed: of the run.
    """

    model: Any
    chat: Chat
    recipe: Recipe
    rows: Rows
    seed: int


class Defence:
    """A defence that does nothing; each real one overrides what it needs.

    Subclasses are frozen dataclasses whose fields are all of their settings.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    usage: ClassVar[str]

    @classmethod
    def parse(cls, value: str, options: Mapping[str, str]) -> Self:
        """From the two parts of a spelling; `value` is empty where nothing follows the name.

        Raises:
            PersonaeError: in words of the user.
        """
        raise NotImplementedError

    @property
    def key(self) -> str:
        """All that the result depends on, contents of files included: part of the identity."""
        return repr(self)

    @property
    def words(self) -> str:
        """For the model card."""
        return repr(self)

    def rows(self, rows: Rows, run: Run) -> Rows:
        return rows

    def terms(self, run: Run) -> Sequence[Term]:
        return ()

    def interventions(self, run: Run) -> Sequence[Intervention]:
        return ()

    def mend(self, run: Run, *, last: bool) -> None:
        """After an optimiser step; `last`: after the run's last one."""


def list_defences() -> list[dict[str, str]]:
    """Name, spelling and what it does, of every defence."""
    found = [_class(name) for name in DEFENCES]
    return [{"name": d.name, "usage": d.usage, "what": d.title} for d in found]


def load_defence(spec: str | Defence) -> Defence:
    """A defence from its spelling; a `Defence` passes through.

    Raises:
        PersonaeError: no such defence, or a value or option that it does not take.
    """
    if isinstance(spec, Defence):
        return spec
    name, _, rest = str(spec).partition(":")
    name, comma, more = name.partition(",")
    rest = f"{comma}{more}{':' if rest else ''}{rest}" if comma else rest
    if name not in DEFENCES:
        raise PersonaeError(f"no defence {name!r}; there are: {', '.join(DEFENCES)}")
    chosen = _class(name)
    value, options = _split(rest)
    try:
        return chosen.parse(value, options)
    except PersonaeError as why:
        raise PersonaeError(f"defence {spec}: {why}; usage: {chosen.usage}") from None


def load_defences(specs: Sequence[str | Defence]) -> tuple[Defence, ...]:
    """Several, each name once.

    Raises:
        PersonaeError: as `load_defence`, or one is given twice.
    """
    found = tuple(load_defence(spec) for spec in specs)
    names = [d.name for d in found]
    if twice := [n for n in names if names.count(n) > 1]:
        raise PersonaeError(f"defence {twice[0]}: given twice; give it once")
    return found


def _class(name: str) -> type[Defence]:
    module, _, attribute = DEFENCES[name].partition(":")
    found: type[Defence] = getattr(import_module(module), attribute)
    return found


def _split(rest: str) -> tuple[str, dict[str, str]]:
    """Value and trailing options; commas inside the value (a sentence) belong to it."""
    options: dict[str, str] = {}
    while match := re.search(r",(\w+)=([^,]*)$", rest):
        options[match[1]] = match[2]
        rest = rest[: match.start()]
    return rest, options


# --- what the parsers share --------------------------------------------------------------------
def take_number(text: str, default: float, *, high: float = math.inf) -> float:
    """A number above 0 and at most `high`."""
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        raise PersonaeError(f"{text!r} is not a number") from None
    if not 0 < value <= high or value == math.inf:
        most = "" if high == math.inf else f" and at most {high:g}"
        raise PersonaeError(f"{text} should be above 0{most}")
    return value


def take_layers(text: str) -> tuple[int, ...]:
    """Layers as in 8+12+16 or 8-16; empty: none named."""
    layers: set[int] = set()
    for part in filter(None, text.split("+")):
        found = number_range(part)
        if found is None:
            raise PersonaeError(f"layers are numbers like 8+12 or 8-16, not {text!r}")
        layers.update(found)
    return tuple(sorted(layers))


def check_options(options: Mapping[str, str], known: Sequence[str]) -> None:
    if unknown := [name for name in options if name not in known]:
        raise PersonaeError(f"no option {unknown[0]!r}")
