from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personae.errors import PersonaeError
from personae.models.prices import Budget, Price, Purse, load_prices, token_range


def test_a_dated_variant_has_its_familys_price() -> None:
    prices = load_prices()
    mini = prices.price("openai/gpt-4o-mini")
    assert mini is not None
    assert prices.price("openai/gpt-4o-mini-2024-07-18") == mini
    assert prices.price("openai/gpt-4o") != mini
    assert prices.price("openai/gpt-4o-audio") is None
    assert prices.price("vllm/my-model") is None


def test_a_users_file_wins_entry_by_entry(tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text("date: 2026-01-01\nmodels:\n  openai/gpt-4o: {input: 1, output: 2}\n")
    prices = load_prices(file)
    assert prices.price("openai/gpt-4o") == Price(input=1, output=2)
    assert prices.price("openai/gpt-4o-mini") == load_prices().price("openai/gpt-4o-mini")
    assert prices.date == "2026-01-01"


@pytest.mark.parametrize(
    "text", ["", "[]", "models: {a: 3}", "models: {a: {input: -1, output: 1}}", "{"]
)
def test_a_broken_price_file_is_one_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text(text)
    with pytest.raises(PersonaeError, match=r"prices\.yaml: ") as caught:
        load_prices(file)
    assert "\n" not in str(caught.value)
    with pytest.raises(PersonaeError, match="no such file"):
        load_prices(tmp_path / "none.yaml")


@given(st.text())
def test_token_range_is_a_range(text: str) -> None:
    low, high = token_range(text, 2)
    assert 0 < low < high


CALLS = st.tuples(st.text(max_size=80), st.integers(1, 60), st.booleans(), st.booleans())


@given(st.lists(CALLS, max_size=60))
def test_a_budget_is_never_passed(calls: list[tuple[str, int, bool, bool]]) -> None:
    """Calls that cost no more than what was reserved for them, some under way at once; two models
    of different price draw on one purse."""
    purse = Purse(0.005)
    pair = (Budget(purse, Price(input=5, output=20)), Budget(purse, Price(input=1, output=90)))
    open_calls: list[tuple[Budget, float, str, int]] = []
    for text, tokens, wait, other in calls:
        budget = pair[other]
        held = budget.reserve(text, 1, tokens)
        if held is not None:
            open_calls.append((budget, held, text, tokens))
        if not wait:
            for budget, held, text, tokens in open_calls:
                budget.settle(held, text, (token_range(text)[0], tokens))
            open_calls = []
        assert purse.spent + purse.reserved <= purse.usd + 1e-12
    for budget, held, text, _ in open_calls:
        budget.settle(held, text, None)
    assert pair[0].idle
    assert pair[1].spent == purse.spent <= purse.usd + 1e-12
