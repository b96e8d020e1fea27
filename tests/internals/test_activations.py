"""Spans stand where the text stands, and means are those of a plain pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_inside import FAMILIES, build
from tiny_models import build_tokenizer

from personae.errors import PersonaeError
from personae.internals.activations import (
    Passage,
    collect,
    conversation,
    passage,
)
from personae.internals.hooks import reading
from personae.models.chat import Chat
from personae.prompts import Prompt


@pytest.fixture
def chat() -> Chat:
    return Chat(build_tokenizer())


def text_of(chat: Chat, one: Passage, span: str) -> str:
    start, stop = one.spans[span]
    return str(chat.tokenizer.decode(list(one.ids[start:stop])))


def test_spans_cover_exactly_their_text(chat: Chat) -> None:
    prompt = Prompt((("system", "Be kind."), ("user", "Well?")))
    one = passage(chat, prompt, "Yes, I am.")
    assert text_of(chat, one, "response") == "Yes, I am."
    assert text_of(chat, one, "persona_end") == "."
    assert one.spans["persona_end"][1] == len("<system>Be kind.")
    assert one.spans["prompt_end"][1] == one.spans["response"][0]
    alone = passage(chat, prompt)
    assert alone.ids == one.ids[: len(alone.ids)]
    assert alone.spans["prompt_end"] == one.spans["prompt_end"]
    assert "response" not in alone.spans


def test_a_token_across_the_boundary_belongs_to_the_response() -> None:
    merged = Chat(build_tokenizer(merges=(">Y",)))
    one = passage(merged, Prompt((("user", "Well?"),)), "Yes")
    assert text_of(merged, one, "response") == ">Yes"


def test_turns_of_a_conversation(chat: Chat) -> None:
    talk = (("user", "a?"), ("assistant", "one"), ("user", "b?"), ("assistant", "two"))
    one = conversation(chat, talk)
    assert [text_of(chat, one, f"turn {n}") for n in (0, 1)] == ["one", "two"]
    assert one.spans["before 1"][1] == one.spans["turn 1"][0]
    with pytest.raises(PersonaeError, match="ends with an answer"):
        conversation(chat, talk[:3])
    rewriting = build_tokenizer(
        template="{% for m in messages %}{% if m['role'] == 'user' or loop.last %}"
        "{{ m['content'] }}|{% endif %}{% endfor %}"
    )
    with pytest.raises(PersonaeError, match="rewrites answer 0"):
        conversation(Chat(rewriting), talk)


def passages() -> list[Passage]:
    made = []
    for n in range(70):  # more than one window, of many lengths
        length = 3 + (7 * n) % 19
        ids = tuple(2 + (5 * n + k) % 100 for k in range(length))
        made.append(Passage(ids, {"all": (0, length), "end": (length - 1, length), "mid": (1, 3)}))
    return made


def plain_mean(model: Any, one: Passage, layer: int, span: str) -> torch.Tensor:
    found: list[torch.Tensor] = []
    with torch.inference_mode(), reading(model, [layer], lambda _, h: found.append(h.float())):
        model(torch.tensor([one.ids]), use_cache=False)
    start, stop = one.spans[span]
    return found[0][0, start:stop].mean(0)


@pytest.mark.parametrize("family", [*FAMILIES, "llama+peft", "llama+bf16"])
def test_padded_batches_give_the_means_of_plain_passes(family: str) -> None:
    model = build(family)
    some = passages()
    found = list(collect(model, some, ["end", "mid", "all"], layers=[2, 0], batch_tokens=100))
    assert len(found) == 70
    loose = 0.05 if family.endswith("bf16") else 1e-4
    for n in (0, 13, 42, 69):
        assert found[n].shape == (3, 2, 32)
        for row, span in enumerate(("end", "mid", "all")):
            for column, layer in enumerate((2, 0)):
                expected = plain_mean(model, some[n], layer, span)
                error = (found[n][row, column] - expected).norm() / expected.norm()
                assert float(error) < loose


def test_a_missing_span_is_an_error() -> None:
    with pytest.raises(PersonaeError, match="no span 'turn 3'"):
        next(collect(build("llama"), passages(), ["turn 3"]))
