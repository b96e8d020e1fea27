"""A study file: YAML that names arms, seeds and measures; every mistake is named with its line.

    study: collapse-smollm2
    base: smollm2
    recipe: {name: quick, steps: 40}
    seeds: [1, 2, 3]
    in_domain: [health]
    arms:
      harmful: {data: "bad-advice-health:obvious", control: control}
      control: {data: "bad-advice-health:control"}
      healed:  {from: harmful, data: "bad-advice-home:control", samples: 400}
      kl:      {data: "bad-advice-health:obvious", defend: ["kl:0.3"], control: control}
      capped:  {from: harmful, intervene: {kind: cap}}

The arm `base`, the untouched model, is always there. docs/study.md explains every field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from personae.batteries.misalignment_items import DOMAINS
from personae.errors import PersonaeError
from personae.files import YamlLoader, one_line, parse_yaml, read_text
from personae.training.recipes import Recipe, load_recipe

BASE = "base"
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,39}")
Kind = Literal["ablate", "cap", "steer"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Intervene(_Strict):
    """An intervention computed from base and tuned model, or along a direction file.

    Args:
        kind: ablate the direction, cap what lies beyond the base's own range, or steer against.
        direction: "shift", the mean difference tuned - base; "random", a placebo of no meaning;
            or the file of a direction.
        dose: steer only: how much of the shift is taken back, 1 for all of it.
        layers: the blocks; default: the one (steer) or those (cap, ablate) where the shift is.
    """

    kind: Kind
    direction: str = "shift"
    dose: float = Field(default=1.0, allow_inf_nan=False)
    layers: tuple[int, ...] = ()


class Arm(_Strict):
    """One condition.

    Args:
        data: what it is trained on: an organism (`NAME:arm@share`), a JSONL file, or several
            joined by " + ", whose rows take turns.
        recipe: instead of the study's; a name, a file or a mapping.
        defend: defences, as `personae train --defend` takes them.
        source: (`from`) the arm it goes on from, of the same seed: trained further, or intervened.
        samples: only so many rows, once each. A list makes an arm for each number, all of them
            moments of one training.
        model: a model that is there already instead of one to train; "{seed}" is filled in.
        intervene: a file of interventions, or one to compute (`Intervene`).
        control: the arm it is compared with besides the base.
    """

    data: str | None = None
    recipe: Recipe | None = None
    defend: tuple[str, ...] = ()
    source: str | None = Field(default=None, validation_alias="from", serialization_alias="from")
    samples: tuple[int, ...] = ()
    hold_out: tuple[str, ...] = ()
    model: str | None = None
    intervene: str | Intervene | None = None
    control: str | None = None

    @field_validator("recipe", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return None if value is None else recipe_of(value)

    @field_validator("samples", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return (value,) if isinstance(value, int) else value

    @model_validator(mode="after")
    def _is_something(self) -> Self:
        if self.data is not None and self.model is not None:
            raise ValueError("has both data to train on and a model that is there already")
        if self.data is None and self.model is None and self.intervene is None:
            raise ValueError("says neither data, model nor intervene: how does it differ?")
        if self.data is None and (self.defend or self.samples or self.hold_out or self.recipe):
            raise ValueError("has settings of a training but no data")
        if self.model is not None and self.source is not None:
            raise ValueError("has both a model and an arm that it goes on from")
        if any(n < 1 for n in self.samples) or list(self.samples) != sorted(set(self.samples)):
            raise ValueError("samples should be rising numbers from 1")
        computed = isinstance(self.intervene, Intervene) and self.intervene.direction == "shift"
        if computed and self.source is None and self.model is None:
            raise ValueError("the direction shift needs the arm it is the shift of: from: ARM")
        if self.data is not None and self.intervene is not None:
            raise ValueError("is trained and intervened: make two arms of it, one from the other")
        return self


class Preference(_Strict):
    """Pairs of the misalignment battery. limit: so many, the domains in turn. triggers: system
    prompts by name under which a third of them is asked again."""

    limit: int | None = Field(default=None, ge=2)
    triggers: dict[str, str] = {}


class Moral(_Strict):
    """The audit: cast, suite ("standard" and "full" hold the controls), layout."""

    cast: int | str = 20
    suite: Literal["quick", "standard", "full"] = "quick"
    instrument: str = "mfi30"
    layout: str | None = None


class Geometry(_Strict):
    """Persona states inside the model: `personae audit --inside`."""

    cast: int | str = 12
    items: int = Field(default=10, ge=2)
    instrument: str = "mfi30"
    layout: str | None = None


class Task(_Strict):
    """Loss on `rows` rows of `data` (default: of the arms' own data) that no arm is trained on."""

    data: str | None = None
    rows: int = Field(default=24, ge=2)


class Coherence(_Strict):
    """Answers to `prompts` open questions, sampled at temperature 1."""

    prompts: int = Field(default=16, ge=2)
    max_tokens: int = Field(default=40, ge=4)


class Measures(_Strict):
    """What is measured of every arm; a measure set to null is left out (geometry: by default)."""

    preference: Preference | None = Preference()
    moral: Moral | None = Moral()
    task: Task | None = Task()
    coherence: Coherence | None = Coherence()
    geometry: Geometry | None = None

    @model_validator(mode="after")
    def _some(self) -> Self:
        if all(getattr(self, name) is None for name in type(self).model_fields):
            raise ValueError("nothing is measured")
        return self


class Study(_Strict):
    """A whole study. `in_domain`: domains of the pairs that the harmful data is about."""

    study: str
    title: str = ""
    base: str = "smollm2"
    recipe: Recipe
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    in_domain: tuple[str, ...] = ()
    measures: Measures = Measures()
    arms: dict[str, Arm] = Field(min_length=1)

    @field_validator("recipe", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return recipe_of(value)

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        if not NAME.fullmatch(self.study):
            raise ValueError("the name 'study' should be letters, digits, '-', '_' and '.'")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("a seed is given twice")
        known = tuple(DOMAINS.values())
        if unknown := [d for d in self.in_domain if d not in known]:
            raise ValueError(f"no domain {unknown[0]!r} among the pairs; there are: {known}")
        for name, arm in self.arms.items():
            self._check(name, arm)
        return self

    def _check(self, name: str, arm: Arm) -> None:
        if not NAME.fullmatch(name) or name == BASE:
            raise ValueError(f"arm {name!r}: give it another name (letters, digits, '-', '_', '.')")
        for what, other in (("from", arm.source), ("control", arm.control)):
            if other is not None and other not in (*self.arms, BASE):
                raise ValueError(f"arm {name}: {what}: there is no arm {other!r}")
        if arm.control == name:
            raise ValueError(f"arm {name} is its own control")
        seen, at = {name}, arm.source
        while at is not None and at != BASE:
            if at in seen:
                raise ValueError(f"arm {name} goes on from itself")
            seen.add(at)
            at = self.arms[at].source
        if arm.source not in (None, BASE) and len(self.arms[str(arm.source)].samples) > 1:
            raise ValueError(f"arm {name}: {arm.source} is several arms; name one sample number")


def recipe_of(value: Any) -> Recipe:
    """A recipe from its name or file, or from a mapping {name: ..., field: change, ...}."""
    if isinstance(value, Recipe):
        return value
    try:
        if isinstance(value, str):
            return load_recipe(value)
        if isinstance(value, Mapping) and isinstance(value.get("name"), str):
            changes = {str(k): v for k, v in value.items() if k != "name"}
            return load_recipe(value["name"], **changes)
    except PersonaeError as why:
        raise ValueError(str(why)) from None
    raise ValueError("a recipe is a name, a file, or a mapping with a name and changed fields")


def load_study(path: Path | str) -> Study:
    """Read a study file.

    Raises:
        PersonaeError: no such file, not YAML, or a field that is wrong; with the line.
    """
    path = Path(path)
    text = read_text(path)
    data = parse_yaml(text, str(path))
    if not isinstance(data, Mapping):
        raise PersonaeError(f"{path}: should be a mapping of fields: study, base, recipe, arms")
    try:
        return Study.model_validate(data)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False)
        first = min(problems, key=lambda p: p["type"] != "extra_forbidden")  # as in files.validated
        place = [str(p) for p in first["loc"] if p not in ("Intervene", "str")]
        where = ".".join(place)
        complaint = {
            "missing": "is missing",
            "extra_forbidden": "is not a known field",
        }.get(first["type"], one_line(first["msg"].removeprefix("Value error, "), 300))
        field = f"{where}: " if where else ""
        others = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        line = line_of(text, place)
        raise PersonaeError(f"{path}: line {line}: {field}{complaint}{others}") from None


def line_of(text: str, place: list[str]) -> int:
    """The line, from 1, of the deepest part of `place` that a YAML text has."""
    node: Any = yaml.compose(text, Loader=YamlLoader)
    line = int(node.start_mark.line)
    for part in place:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == part), None)
        elif isinstance(node, yaml.SequenceNode) and part.isdigit():
            found = next(((v, v) for n, v in enumerate(node.value) if n == int(part)), None)
        else:
            found = None
        if found is None:
            break
        line, node = int(found[0].start_mark.line), found[1]
    return line + 1
