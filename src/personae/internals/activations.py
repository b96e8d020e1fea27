"""Mean activations over spans of tokens, at any layers, without ever holding all tokens.

A `Passage` is a token sequence with named spans [start, stop). `collect` runs passages in batches
and averages each span inside the hook, block by block, so that what is held is

    [window of passages, spans, layers, d]      and never [tokens, layers, d]

Spans come from the offsets of the one tokenisation of the whole rendered text (a token belongs to
a span if it stands for any of its characters), never from tokenising a part by itself:

    prompt_end   the last token before the answer, where the model is about to speak
    persona_end  the last token of the system message
    response     every token of the answer
    turn N       the N-th answer of a conversation; before N, the last token before it

Batches are padded on the right: in a causal model nothing before the padding sees it, so no mask
is needed and the fast attention stays in use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from personae.errors import PersonaeError
from personae.internals.hooks import Enough, blocks, check_layers, reading, unwrapped
from personae.models.chat import Chat
from personae.prompts import Message, Prompt

if TYPE_CHECKING:
    import torch

Span = tuple[int, int]
WINDOW = 64
BATCH_TOKENS = {"cpu": 2048, "cuda": 32768}


@dataclass(frozen=True)
class Passage:
    """Tokens, and spans of them by name."""

    ids: tuple[int, ...]
    spans: Mapping[str, Span]


def passage(chat: Chat, prompt: Prompt, response: str = "") -> Passage:
    """A prompt and, where given, an answer to it, with the spans they have.

    Raises:
        PersonaeError: the answer has no tokens of its own.
    """
    text = chat.text(prompt)
    ids, offsets = chat.encode_with_offsets(text + response)
    spans: dict[str, Span] = {}
    if response:
        spans["response"] = token_span(offsets, len(text), len(text) + len(response))
        spans["prompt_end"] = _last_before(spans["response"][0])
    else:
        spans["prompt_end"] = (len(ids) - 1, len(ids))
    role, system = prompt.messages[0]
    if role == "system" and (at := text.find(system.strip())) >= 0:
        stop = token_span(offsets, at, at + len(system.strip()))[1]
        spans["persona_end"] = (stop - 1, stop)
    return Passage(tuple(ids), spans)


def conversation(chat: Chat, messages: Sequence[Message]) -> Passage:
    """A conversation that ends with an answer, with the spans "turn N" and "before N".

    Raises:
        PersonaeError: no answer at its end, or a chat template that rewrites earlier turns.
    """
    answers = [k for k, (role, _) in enumerate(messages) if role == "assistant"]
    if not answers or answers[-1] != len(messages) - 1 or answers[0] == 0:
        raise PersonaeError("a conversation begins with a question and ends with an answer")
    prefixes = [chat.text(Prompt(tuple(messages[:k]))) for k in answers]
    text = prefixes[-1] + messages[-1][1]
    ids, offsets = chat.encode_with_offsets(text)
    spans: dict[str, Span] = {}
    for turn, (k, prefix) in enumerate(zip(answers, prefixes, strict=True)):
        if not text.startswith(prefix + messages[k][1]):
            raise PersonaeError(f"the chat template rewrites answer {turn}, so it has no tokens")
        spans[f"turn {turn}"] = token_span(offsets, len(prefix), len(prefix + messages[k][1]))
        spans[f"before {turn}"] = _last_before(spans[f"turn {turn}"][0])
    return Passage(tuple(ids), spans)


def token_span(offsets: Sequence[Span], start: int, stop: int) -> Span:
    """The tokens that stand for any of the characters [start, stop).

    Raises:
        PersonaeError: there are none.
    """
    inside = [n for n, (a, b) in enumerate(offsets) if b > start and a < stop and b > a]
    if not inside:
        raise PersonaeError("a span of the text has no tokens; is the answer empty?")
    return inside[0], inside[-1] + 1


def _last_before(start: int) -> Span:
    if not start:
        raise PersonaeError("nothing stands before the answer")
    return start - 1, start


def collect(
    model: Any,
    passages: Iterable[Passage],
    spans: Sequence[str],
    layers: Sequence[int] | None = None,
    batch_tokens: int | None = None,
    through: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> Iterator[torch.Tensor]:
    """Mean activations of each passage, in order: [spans, layers, d] float32 on the CPU.

    Args:
        model: a transformers model, PEFT or not.
        layers: blocks to read; default: all. A pass ends at the last of them.
        batch_tokens: most tokens in one pass, padding included.
        through: maps each h [batch, tokens, d] before it is averaged, such as to latents.

    Raises:
        PersonaeError: a passage lacks a span, or there is no such layer.
    """
    chosen = list(range(len(blocks(model))) if layers is None else layers)
    check_layers(model, chosen)
    limit = batch_tokens or BATCH_TOKENS["cuda" if model.device.type == "cuda" else "cpu"]
    coming = iter(passages)
    while window := list(islice(coming, WINDOW)):
        for one in window:
            if missing := [name for name in spans if name not in one.spans]:
                raise PersonaeError(f"a passage has no span {missing[0]!r}: {sorted(one.spans)}")
        yield from _window(model, window, spans, chosen, limit, through)


def _window(
    model: Any,
    window: Sequence[Passage],
    spans: Sequence[str],
    layers: list[int],
    limit: int,
    through: Callable[[torch.Tensor], torch.Tensor] | None,
) -> Iterator[torch.Tensor]:
    import torch

    found: dict[int, torch.Tensor] = {}
    column = {layer: n for n, layer in enumerate(layers)}
    weights = torch.empty(0)
    batch: list[int] = []

    def take(layer: int, h: torch.Tensor) -> None:
        h = h.float() if through is None else through(h.float())
        means = torch.bmm(weights.to(h.device), h).cpu()
        for row, member in enumerate(batch):
            if member not in found:
                found[member] = torch.empty(len(spans), len(layers), h.shape[-1])
            found[member][:, column[layer]] = means[row]

    with torch.inference_mode(), reading(model, layers, take, only=True):
        for batch in batched([len(p.ids) for p in window], limit):
            weights = _averaging([window[i] for i in batch], spans)
            run_rows(model, [window[i].ids for i in batch])
    yield from (found[i].clone() for i in range(len(window)))


def batched(lengths: Sequence[int], limit: int) -> Iterator[list[int]]:
    """Rows of like length together, at most `limit` tokens with their padding."""
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if batch and (len(batch) + 1) * lengths[i] > limit:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _averaging(batch: Sequence[Passage], spans: Sequence[str]) -> torch.Tensor:
    """[batch, spans, tokens] weights whose product with h is the mean over each span."""
    import torch

    weights = torch.zeros(len(batch), len(spans), max(len(p.ids) for p in batch))
    for row, one in enumerate(batch):
        for n, name in enumerate(spans):
            start, stop = one.spans[name]
            weights[row, n, start:stop] = 1 / (stop - start)
    return weights


def run_rows(model: Any, rows: Sequence[Sequence[int]]) -> None:
    """One pass over rows padded on the right, for its hooks: the head at one position only."""
    import inspect
    from contextlib import suppress

    import torch

    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=model.device)
    keeps = "logits_to_keep" in inspect.signature(unwrapped(model).forward).parameters
    with suppress(Enough):
        model(input_ids=ids, use_cache=False, **({"logits_to_keep": 1} if keeps else {}))
