"""What a battery will take, before anything is asked: its steps gone through with made-up answers.

Later steps are made from the answers to earlier ones; here every rating and choice is uniform, and
every text one word or as long as it may get: the two ends of what may follow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from personae.collect.asks import Ask, answer_frame, rows_of
from personae.collect.battery_run import Battery, checked_options
from personae.collect.estimate import ANSWER_TOKENS, Estimate
from personae.models.prices import BYTES_PER_TOKEN, Prices, token_range
from personae.models.protocol import (
    Answer,
    ChoiceRequest,
    RatingRequest,
    Request,
    ScoreRequest,
    TextRequest,
)

HOSTED = frozenset({"rate", "choose", "write"})
LOCAL = HOSTED | {"score"}


def rehearse(
    battery: Battery,
    options: Mapping[str, Any] | None = None,
    *,
    can: frozenset[str] = HOSTED,
    wordy: bool = True,
) -> list[Ask]:
    """The asks of all steps, as far as they can be foreseen.

    Args:
        can: kinds of request that the model answers, and "judge" where there is a judge.
        wordy: whether earlier texts were as long as allowed, or one word.
    """
    chosen = checked_options(battery, options or {})
    rows: list[Any] = []
    asks: list[Ask] = []
    for number, stage in enumerate(battery.stages(chosen, can)):
        step = stage(answer_frame(rows))
        asks += step
        for place, ask in enumerate(step):
            rows += rows_of(ask, _made_up(ask.request, wordy), (number, place))
    return asks


def estimate_asks(
    fewest: Sequence[Ask],
    most: Sequence[Ask],
    model: str,
    prices: Prices,
    *,
    rate: float | None = None,
) -> Estimate:
    """What asks take with one model, when no call fails.

    Args:
        fewest, most: the asks after short and after long answers.
        model: an Inspect model id, for its price. rate: calls per second.
    """
    low, high = (sum(_tokens(ask)[k] for ask in asks) for k, asks in enumerate((fewest, most)))
    answers = (len(fewest), sum(_limit(ask.request) for ask in most))
    price = prices.price(model)
    return Estimate(
        calls=len(most),
        input_tokens=(low, high),
        output_tokens=answers,
        usd_low=price.of(low, answers[0]) if price else None,
        usd_high=price.of(high, answers[1]) if price else None,
        seconds=len(most) / rate if rate else None,
        priced=f"{prices.date}: {prices.source}" if price else "",
    )


def _tokens(ask: Ask) -> tuple[int, int]:
    messages = ask.request.prompt.messages
    return token_range("".join(text for _, text in messages), len(messages))


def _limit(request: Request) -> int:
    return request.max_tokens if isinstance(request, TextRequest) else ANSWER_TOKENS[1]


def _made_up(request: Request, wordy: bool) -> Answer:
    if isinstance(request, RatingRequest):
        points = len(request.scale.points)
        return Answer("ok", mass=(1 / points,) * points)
    if isinstance(request, ChoiceRequest):
        return Answer("ok", mass=(1 / len(request.options),) * len(request.options))
    if isinstance(request, ScoreRequest):
        return Answer("ok", loglik=-1.0, tokens=1)
    words = int(request.max_tokens * BYTES_PER_TOKEN[1]) // len("word ") if wordy else 1
    return Answer("ok", response=("word " * max(1, words)).strip())
