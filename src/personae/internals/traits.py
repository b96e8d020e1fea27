"""Trait files: what more and less of a trait look like, in our own words.

A trait has contrastive system prompts and questions, each question with an answer that is typical
of more and one that is typical of less of the trait. Both lists are split once and for all, by
position, so that nothing is chosen, made and tested on the same text:

    prompts      the first three fifths make the vector, the last two fifths test it
    questions    the first half make the vector, the next fifth choose the layer, the rest test it
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from personae.errors import PersonaeError
from personae.files import is_file, named_path, read_document, validated
from personae.models.protocol import Respondent, TextRequest
from personae.prompts import Prompt

Text = Annotated[str, Field(min_length=1)]
Part = Literal["extraction", "selection", "test"]


class Contrast(BaseModel):
    """Two system prompts, alike but for the trait."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    more: Text
    less: Text


class Question(BaseModel):
    """A question and two answers to it, typical of more and of less of the trait."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    ask: Text
    more: Text
    less: Text


class Trait(BaseModel):
    """One trait; see the module's head."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: Text
    description: Text
    prompts: tuple[Contrast, ...] = Field(min_length=5)
    questions: tuple[Question, ...] = Field(min_length=20)
    rubric: Text

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    def prompts_of(self, part: Part) -> tuple[Contrast, ...]:
        cut = len(self.prompts) - len(self.prompts) * 2 // 5
        return self.prompts[cut:] if part == "test" else self.prompts[:cut]

    def questions_of(self, part: Part) -> tuple[Question, ...]:
        half, end = len(self.questions) // 2, len(self.questions) * 7 // 10
        cuts = {"extraction": (0, half), "selection": (half, end), "test": (end, None)}
        start, stop = cuts[part]
        return self.questions[start:stop]


@dataclass(frozen=True)
class Pole:
    """One question under one system prompt of a contrast.

    Args:
        contrast: number of the pair of system prompts within its part.
        more: whether it is the pole with more of the trait.
    """

    contrast: int
    question: Question
    prompt: Prompt
    more: bool


def poles(trait: Trait, part: Part, prompts: Part | None = None) -> list[Pole]:
    """Both poles of every contrast x question of a part, the one with more first.

    `prompts`: the part to take the system prompts of, where it is another one.
    """
    return [
        Pole(n, question, asked(question.ask, contrast.more if more else contrast.less), more)
        for n, contrast in enumerate(trait.prompts_of(prompts or part))
        for question in trait.questions_of(part)
        for more in (True, False)
    ]


def asked(question: str, system: str | None = None) -> Prompt:
    """A question to a model, with a system message or without."""
    turns = (("user", question),)
    return Prompt(turns if system is None else (("system", system), *turns))


def typical_answers(some: Sequence[Pole]) -> list[str]:
    """The trait file's own answers: nothing is generated, so even a tiny model can be read."""
    return [p.question.more if p.more else p.question.less for p in some]


def own_answers(
    model: Respondent,
    some: Sequence[Pole],
    max_tokens: int = 64,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """What the model itself says under each system prompt, sampled at temperature 1."""
    requests = [TextRequest(p.prompt, max_tokens, 1.0, seed + n) for n, p in enumerate(some)]
    said: list[str] = []
    for answer in model.write(requests):
        said.append(answer.response)
        if on_progress is not None:
            on_progress(len(said), len(requests))
    return said


def everyday_prompts() -> list[Prompt]:
    """The test questions of all bundled traits, without a system prompt."""
    return [
        asked(q.ask) for name in bundled_traits() for q in load_trait(name).questions_of("test")
    ]


def load_trait(source: str | Path) -> Trait:
    """A bundled trait by name, or a YAML or JSON file.

    Raises:
        PersonaeError: neither, or a file that lacks something.
    """
    path = named_path(source)
    if is_file(path):
        return validated(Trait, read_document(path), str(path))
    bundled = _folder() / f"{source}.yaml"
    if str(source) not in bundled_traits():
        raise PersonaeError(f"no trait {str(source)!r}; there are: {', '.join(bundled_traits())}")
    return validated(Trait, read_document(bundled), bundled.name)


def bundled_traits() -> list[str]:
    """Names of the traits that come with personae."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def _folder() -> Path:
    return Path(str(resources.files("personae.internals") / "data" / "traits"))
