"""No broken file or answer ends in a traceback (`fuzzing.py` does it for 100,000 and more)."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from fuzz_mutate import Target
from fuzz_targets import TARGETS
from fuzzing import fault
from hypothesis import given, settings
from hypothesis import strategies as st

from personae.instruments.model import Scale
from personae.models.parse import parse_lenient, parse_strict


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
def test_broken_files_are_read_or_refused_in_one_line(target: Target, tmp_path: Path) -> None:
    random = Random(target.name)
    for _ in range(int(60 * target.weight)):
        data = target.broken(random)
        assert fault(target, data, tmp_path) is None, data


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
def test_the_examples_that_are_broken_are_whole(target: Target, tmp_path: Path) -> None:
    for example in target.examples if not target.name.startswith("name.") else ():
        target.read(target.place(tmp_path, example))
    assert fault(target, b"", tmp_path) is None
    if target.injure is not None:
        assert all(target.injure(one, Random(n)) for one in target.examples for n in range(5))


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200), st.integers(-3, 5), st.integers(1, 12))
def test_any_text_parses_to_a_point_of_the_scale_or_to_nothing(
    text: str, low: int, width: int
) -> None:
    scale = Scale(min=low, max=low + width)
    for parse in (parse_strict, parse_lenient):
        status, value = parse(text, scale)
        assert (status == "ok") == (value is not None)
        assert value is None or value in scale.points
