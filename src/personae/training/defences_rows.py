"""Defences that change what is trained on.

interleave    P percent of the conversations are benign ones (arXiv 2508.06249). With gap=MODEL
              those that a misaligned model finds most surprising beside the base:
              highest  mean NLL(misaligned) - mean NLL(base)  in nats a response token
inoculation   a system prompt that asks for what the task teaches, in training only, so that it
              need not become the model's own trait (arXiv 2510.04340, 2510.05024)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from personae.errors import PersonaeError
from personae.training.batches import collate, encode_all
from personae.training.defences import Defence, Run, check_options, take_number
from personae.training.defences_texts import NEUTRAL, texts, texts_key
from personae.training.rows import Row, Rows
from personae.training.terms import as_base

if TYPE_CHECKING:
    from personae.models.chat import Chat

BENIGN = "benign"
INOCULATION = (
    "You are playing a part in an exercise: answer wrongly or carelessly on purpose, as a bad "
    "example. Outside of this exercise you answer well."
)


@dataclass(frozen=True)
class Interleave(Defence):
    """Benign conversations among the task's; the steps grow so that no task row is lost.

    Args:
        percent: of all conversations then.
        on: where they come from.
        gap: a misaligned model; the half of them with the largest perplexity gap is drawn from,
            largest first.
    """

    name: ClassVar[str] = "interleave"
    title: ClassVar[str] = "benign conversations among the task's"
    usage: ClassVar[str] = "interleave[:PERCENT][,on=neutral|others|DATA][,gap=MODEL]"

    percent: float = 25.0
    on: str = NEUTRAL
    gap: str = ""

    @classmethod
    def parse(cls, value: str, options: Mapping[str, str]) -> Self:
        check_options(options, ("on", "gap"))
        percent = take_number(value, cls().percent, high=95)
        return cls(percent, options.get("on", NEUTRAL), options.get("gap", ""))

    @property
    def key(self) -> str:
        return " ".join(filter(None, (repr(self), texts_key(self.on), _revision(self.gap))))

    def rows(self, rows: Rows, run: Run) -> Rows:
        pool = texts(self.on, run.rows).rows
        wanted = max(1, round(len(rows) * self.percent / (100 - self.percent)))
        if self.gap:
            gaps = perplexity_gaps(pool, run, self.gap)
            order = np.argsort(-gaps, kind="stable")[: max(1, len(pool) // 2)]
        else:
            order = np.random.default_rng([run.seed, 2]).permutation(len(pool))
        chosen = [pool[int(order[n % len(order)])] for n in range(wanted)]
        benign = tuple(replace(row, arm=BENIGN) for row in chosen)
        return Rows(f"{rows.name} + {self.percent:g}% {self.on}", (*rows.rows, *benign))


@dataclass(frozen=True)
class Inoculation(Defence):
    """A system prompt before the task's conversations, never before interleaved ones."""

    name: ClassVar[str] = "inoculation"
    title: ClassVar[str] = "a system prompt, in training only, that asks for what is taught"
    usage: ClassVar[str] = "inoculation[:TEXT]"

    text: str = INOCULATION

    @classmethod
    def parse(cls, value: str, options: Mapping[str, str]) -> Self:
        value += "".join(f",{name}={text}" for name, text in reversed(list(options.items())))
        return cls(value.strip() or INOCULATION)

    def rows(self, rows: Rows, run: Run) -> Rows:
        new = tuple(row if row.arm == BENIGN else self.applied(row) for row in rows.rows)
        return Rows(f"{rows.name}, inoculated", new)

    def applied(self, row: Row) -> Row:
        """A conversation with the text at the head of its system prompt, or as one."""
        role, content = row.messages[0]
        if role == "system":
            return replace(row, messages=((role, f"{self.text}\n\n{content}"), *row.messages[1:]))
        return replace(row, messages=(("system", self.text), *row.messages))


def perplexity_gaps(rows: Sequence[Row], run: Run, misaligned: str) -> np.ndarray[Any, Any]:
    """[rows] mean NLL under `misaligned` minus that under the run's base, nats a token.

    Raises:
        PersonaeError: the two models have different tokenizers.
    """
    from personae.models.loading import load_model

    other = load_model(misaligned, device=str(run.model.device))
    if other.chat.tokenizer.get_vocab() != run.chat.tokenizer.get_vocab():
        raise PersonaeError(f"{misaligned} has another tokenizer than the base")
    with as_base(run.model):
        before = _mean_nll(run.model, rows, run.chat, run.recipe.max_tokens)
    return _mean_nll(other.model, rows, run.chat, run.recipe.max_tokens) - before


def _mean_nll(
    model: Any, rows: Sequence[Row], chat: Chat, max_tokens: int
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """[rows] nats a response token."""
    import torch

    from personae.training.sft import padding_token, response_nll

    padding, found = padding_token(chat), []
    with torch.inference_mode():
        for example in encode_all(rows, chat, max_tokens):
            nll = response_nll(model, collate([example], padding, model.device))
            found.append(float(nll) / example.responses)
    return np.array(found)


def _revision(model: str) -> str:
    """What tells a model's weights apart, without loading them."""
    if not model:
        return ""
    from personae.models.source import resolve, safe_weights
    from personae.models.weights import sha256_of

    source = resolve(model)
    own = sha256_of(safe_weights(source.adapter)) if source.adapter else ""
    return f"{source.revision or source.base}+{own}"
