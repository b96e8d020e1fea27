"""What a run will take, before it is asked: calls, tokens, dollars, seconds."""

from __future__ import annotations

from dataclasses import dataclass

from personae.collect.plan import Plan
from personae.models.prices import Prices, token_range

# Tokens of one sampled answer: a bare number, or up to the limit of `HostedSettings`.
ANSWER_TOKENS = (1, 32)
SECONDS_A_CALL = 1.0  # what a dry run takes a call to last


@dataclass(frozen=True)
class Estimate:
    """What a plan takes with one model.

    Args:
        calls: requests, when none fails.
        input_tokens, output_tokens: (fewest, most), by the length of the text (2 to 5 bytes a
            token); hidden reasoning is in the upper end only, where it was said to happen.
        usd_low, usd_high: at list price; None where the price table has no such model.
        seconds: at the given rate; None without one.
        priced: date and source of the price.
    """

    calls: int
    input_tokens: tuple[int, int]
    output_tokens: tuple[int, int]
    usd_low: float | None
    usd_high: float | None
    seconds: float | None
    priced: str


def estimate(
    plan: Plan,
    model: str,
    prices: Prices,
    *,
    rate: float | None = None,
    reasoning_tokens: int = 0,
) -> Estimate:
    """Estimate a run without making a call.

    Args:
        model: an Inspect model id.
        rate: calls per second (connections / seconds a call).
        reasoning_tokens: most hidden tokens a call, for models that think.
    """
    calls = low = high = 0
    for cell in plan.cells:
        messages = plan.request(cell).prompt.messages
        few, many = token_range("".join(text for _, text in messages), len(messages))
        calls, low, high = calls + 1, low + few, high + many
    exact = plan.repeats is None
    fewest, most = (1, 1) if exact else (ANSWER_TOKENS[0], ANSWER_TOKENS[1] + reasoning_tokens)
    price = prices.price(model)
    return Estimate(
        calls=calls,
        input_tokens=(low, high),
        output_tokens=(calls * fewest, calls * most),
        usd_low=price.of(low, calls * fewest) if price else None,
        usd_high=price.of(high, calls * most) if price else None,
        seconds=calls / rate if rate else None,
        priced=f"{prices.date}: {prices.source}" if price else "",
    )
