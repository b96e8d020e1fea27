"""Roles, questions, conversations and persona prompts of the assistant axis, in our own words.

A role is a name and some instructions that put the model into it. In the bundled files each role
has three hand-written parts, who it is, how it speaks, what it cares about, and four instructions
are made of them. Role, question and default instruction meet in *slots*:

    slot k:  question k mod Q,  instruction (k mod Q + k div Q) mod I

in the same order for every role, so that any number of slots asks all roles, and the default, the
same questions. The first I x Q slots are all pairs; later ones are new samples of them.
Slots are dealt into `BLOCKS` blocks by k mod BLOCKS; even and odd blocks are the two halves.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from personae.errors import PersonaeError
from personae.files import (
    is_file,
    named_path,
    parse_json,
    parse_yaml,
    read_document,
    read_text,
    validated,
)
from personae.prompts import Prompt

BLOCKS = 6
TEMPLATES = (
    "You are {who}. {voice}",
    "Take the part of {who} and stay in it. What matters to you is {cares}.",
    "{voice} You are {who}, and your thoughts are never far from {cares}.",
    "Answer as {who} would answer, in that voice alone. {voice}",
)
Text = Annotated[str, Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _RoleText(_Strict):
    name: Text
    who: str = ""
    voice: str = ""
    cares: str = ""
    instructions: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _has_one_kind(self) -> _RoleText:
        parts = (self.who, self.voice, self.cares)
        if bool(self.instructions) == all(parts) or (self.instructions and any(parts)):
            raise ValueError(f"role {self.name}: give who, voice and cares, or instructions")
        return self


class _RoleFile(_Strict):
    kind: Text
    roles: tuple[_RoleText, ...] = Field(min_length=1)


class _Questions(_Strict):
    questions: tuple[Text, ...] = Field(min_length=1)


class _Defaults(_Strict):
    instructions: tuple[str, ...] = Field(min_length=1)


class Conversation(_Strict):
    """The user's turns of a conversation, and the answers where they are there already."""

    id: Text
    kind: Text
    turns: tuple[Text, ...] = Field(min_length=1)
    answers: tuple[Text, ...] = ()
    system: str = ""

    @model_validator(mode="after")
    def _fits(self) -> Conversation:
        if self.answers and len(self.answers) != len(self.turns):
            raise ValueError(f"{len(self.answers)} answers to {len(self.turns)} turns")
        return self


class _Conversations(_Strict):
    conversations: tuple[Conversation, ...] = Field(min_length=1)


class Pair(_Strict):
    """A question, a reply that goes along with the persona, and one that stays the assistant."""

    ask: Text
    persona: Text
    assistant: Text


class Jailbreak(_Strict):
    """A persona prompt that works against the assistant's character, with a benign goal."""

    id: Text
    prompt: Text
    pairs: tuple[Pair, ...] = Field(min_length=1)


class _Jailbreaks(_Strict):
    jailbreaks: tuple[Jailbreak, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Role:
    """A role and the system messages that ask for it; an empty one is no system message."""

    name: str
    kind: str
    instructions: tuple[str, ...]


def load_roles(source: str | Path | None = None) -> tuple[Role, ...]:
    """The bundled roles, or those of a YAML file or of all YAML files of a folder.

    Raises:
        PersonaeError: no such file, a role that lacks something, or one name twice.
    """
    if source is None:
        parts = sorted(_folder().joinpath("roles").glob("*.yaml"))
    else:
        given = named_path(source)
        parts = sorted(given.glob("*.yaml")) if given.is_dir() else [given]
        if not parts or not all(is_file(p) for p in parts):
            raise PersonaeError(f"{given}: no YAML file of roles")
    files = [validated(_RoleFile, read_document(p), p.name) for p in parts]
    roles = tuple(Role(r.name, f.kind, _instructions(r)) for f in files for r in f.roles)
    names = [r.name for r in roles]
    if twice := [n for n in names if names.count(n) > 1]:
        raise PersonaeError(f"the role {twice[0]!r} is there twice; roles need names of their own")
    if len(roles) < 3:
        raise PersonaeError(f"{source}: an axis needs three or more roles, better a hundred")
    return roles


def _instructions(role: _RoleText) -> tuple[str, ...]:
    parts = {"who": role.who, "voice": role.voice, "cares": role.cares}
    return role.instructions or tuple(t.format(**parts) for t in TEMPLATES)


def default_roles() -> tuple[Role, ...]:
    """The default assistant: one role for each of its instructions."""
    found = validated(_Defaults, _bundled("defaults"), "defaults.yaml").instructions
    return tuple(Role(f"default {n}", "default", (text,)) for n, text in enumerate(found))


def load_questions() -> tuple[str, ...]:
    """The questions that every role is asked."""
    return validated(_Questions, _bundled("questions"), "questions.yaml").questions


def load_conversations(source: Path | None = None) -> tuple[Conversation, ...]:
    """The bundled conversations, or those of a .jsonl file.

    A line is {"id": ..., "kind": ..., "turns": [...]}, or {"messages": [{"role", "content"}, ...]}
    where id and kind may be left out. Answers in messages are taken as they are, one to each
    turn of the user; where there are none, the model gives them.

    Raises:
        PersonaeError: no such file, or a line that is neither.
    """
    if source is None:
        found = validated(_Conversations, _bundled("conversations"), "conversations.yaml")
        return found.conversations
    lines = [(n, t) for n, t in enumerate(read_text(source).split("\n"), 1) if t.strip()]
    read = tuple(_conversation(parse_json(t, f"{source}: line {n}"), source, n) for n, t in lines)
    if not read:
        raise PersonaeError(f"{source}: holds no conversations")
    if len({c.id for c in read}) < len(read):
        raise PersonaeError(f"{source}: two conversations have the same id")
    return read


def _conversation(row: Any, source: Path, n: int) -> Conversation:
    where = f"{source}: line {n}"
    if isinstance(row, dict) and "messages" in row:
        about = {k: v for k, v in row.items() if k in ("id", "kind")}
        row = {"id": f"line {n}", "kind": "own", **about, **_parts(row["messages"], where)}
    return validated(Conversation, row, where)


def _parts(messages: Any, where: str) -> dict[str, Any]:
    """System message, turns and answers of chat messages in their usual order."""
    try:
        said = [(m["role"], m["content"]) for m in messages]
    except (TypeError, KeyError):
        raise PersonaeError(f"{where}: messages should hold role and content") from None
    system = said[0][1] if said and said[0][0] == "system" else ""
    rest = said[1:] if system else said
    answered = any(role == "assistant" for role, _ in rest)
    usual = ["user", "assistant"] if answered else ["user"]
    if [role for role, _ in rest] != usual * (len(rest) // len(usual)):
        raise PersonaeError(f"{where}: turns and answers should take turns, or no answer be there")
    by_role = {role: [text for r, text in rest if r == role] for role in usual}
    return {"system": system, "turns": by_role["user"], "answers": by_role.get("assistant", [])}


def load_jailbreaks() -> tuple[Jailbreak, ...]:
    """The bundled persona prompts."""
    return validated(_Jailbreaks, _bundled("jailbreaks"), "jailbreaks.yaml").jailbreaks


def in_character_rubric() -> Path:
    """The rubric by which a judge says how far an answer is in character."""
    return _folder() / "in_character.md"


def slots(instructions: int, questions: int, count: int) -> list[tuple[int, int]]:
    """The first `count` (instruction, question) pairs; see the module's head.

    Raises:
        PersonaeError: fewer than one a block.
    """
    if not count >= BLOCKS:
        raise PersonaeError(f"{count} answers a role are too few: {BLOCKS} or more (--pairs)")
    return [((k % questions + k // questions) % instructions, k % questions) for k in range(count)]


def asked(role: Role, instruction: int, question: str) -> Prompt:
    """A question to a role."""
    system = role.instructions[instruction]
    turns = (("user", question),)
    return Prompt((("system", system), *turns) if system else turns)


def data_hash(roles: Sequence[Role], questions: Sequence[str]) -> str:
    """sha256 of all texts that make an axis."""
    whole = [[asdict(r) for r in roles], list(questions)]
    return hashlib.sha256(json.dumps(whole).encode()).hexdigest()


def _bundled(name: str) -> Any:
    return parse_yaml((_folder() / f"{name}.yaml").read_text("utf-8"), f"{name}.yaml")


def _folder() -> Path:
    return Path(str(resources.files("personae.internals") / "data" / "axis"))
