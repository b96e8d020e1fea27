from __future__ import annotations

import json
import math

import pytest
from markupsafe import escape

from personae.report.environment import environment
from personae.report.text import (
    clean,
    clip,
    interval,
    minus,
    number,
    percent,
    script_json,
    sentence,
    short_names,
)

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</script><script>alert(1)</script>",
    "a\x00b\x1b[31m",
    "\ud800 alone",
    "\u202egnp.exe",
    "\u2028\u2029",
    "<!--",
    "]]>",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_script_json_cannot_leave_its_script_and_keeps_the_words(text: str) -> None:
    written = script_json({"text": text, text: 1})
    assert not set(written) & set("<>&\u2028\u2029")
    assert written.isascii()
    assert json.loads(written)["text"] == clean(text)


@pytest.mark.parametrize("text", HOSTILE)
def test_cleaned_text_is_utf8_without_controls_or_overrides(text: str) -> None:
    shown = clean(text)
    shown.encode("utf-8")
    assert "\x00" not in shown
    assert "\u202e" not in shown


def test_clean_keeps_what_writing_needs() -> None:
    text = "zwölf\tשלום 👩\u200d🔬\nnew line"
    assert clean(text) == text
    assert clean("a\r\nb") == "a\nb"
    assert clean("\u202eabc") == "[U+202E]abc"


def test_json_numbers_are_valid_json() -> None:
    written = script_json([math.nan, math.inf, -math.inf, 0.25])
    assert json.loads(written) == [None, "inf", "-inf", 0.25]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (math.nan, "–"), (None, "–"), (math.inf, "∞"), (-math.inf, "−∞"), (0.0, "0"),
        (0.0423, "0.042"), (0.66, "0.66"), (-3.214, "−3.21"), (38.77, "38.8"), (1240.2, "1,240"),
        (0.0003, "0.0003"), (0.0006, "0.0006"), (0.00097, "0.001"), (0.00003, "3e−5"),
        (1e-12, "1e−12"),
    ],
)  # fmt: skip
def test_number(value: float | None, shown: str) -> None:
    assert number(value) == shown


def test_interval_needs_both_ends() -> None:
    assert interval(math.nan, 1.0) == ""
    assert interval(0.5, math.inf) == "[0.50,\u00a0∞]"


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0.0, "0%"), (0.31, "31%"), (0.005, "0.5%"), (0.0001, "<0.1%"), (0.99999, ">99.9%"),
     (0.996, "99.6%"), (1.0, "100%"), (math.nan, "–")],
)  # fmt: skip
def test_percent_never_rounds_something_to_nothing_or_all(share: float, shown: str) -> None:
    assert percent(share) == shown


def test_clip() -> None:
    assert clip("abcdef", 6) == "abcdef"
    assert clip("abcdefg", 4) == "abc…"


def test_every_template_escapes_and_breakable_text_is_escaped_first() -> None:
    made = environment().from_string("{{ a }} {{ a | breakable }} {{ a | cell }}")
    text = "<b>x/y</b>\x00"
    shown = made.render(a=text)
    assert "<b>" not in shown
    assert str(escape("<b>")) in shown
    assert "\x00" not in shown


def test_models_are_named_by_what_tells_them_apart() -> None:
    assert short_names(["plain", "base+runs/a/one", "base+runs/a/two"]) == ["plain", "one", "two"]
    assert short_names(["base+a/one", "base+b/one"]) == ["base+a/one", "base+b/one"]
    assert short_names(["base+a/one", "base+a/one", "base+a/two/"]) == ["one", "one", "two"]


def test_minus_signs_begin_numbers_and_leave_names_alone() -> None:
    assert minus("-0.1 [-0.2, +0.3]; mfq-30, layers=12-18, A - B") == (
        "−0.1 [−0.2, +0.3]; mfq-30, layers=12-18, A - B"
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("pair bootstrap 2000, 95%", "Pair bootstrap 2000, 95%."),
        ("t over samples.", "t over samples."),
        ("gpt-4o against base.", "gpt-4o against base."),
        ("icc: against the run", "icc: against the run."),
        ("", ""),
    ],
)
def test_a_caption_is_a_sentence(text: str, shown: str) -> None:
    assert sentence(text) == shown
