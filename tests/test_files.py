"""Reading hostile small files: every refusal is one line that says why."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from personae.errors import PersonaeError
from personae.files import (
    MAX_BYTES,
    csv_cell,
    from_csv_cell,
    one_line,
    parse_json,
    parse_yaml,
    read_document,
    read_text,
    validated,
)

BOMB = "a: &a [x, x]\n" + "".join(
    f"{new}: &{new} [*{old}, *{old}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGE_BOMB = "a: &a {k: 1}\nb: &b {<<: [*a, *a]}\nc: {<<: [*b, *b]}\n"

UNREADABLE = {
    "empty.yaml": (b"", "is empty"),
    "nul.yaml": (b"name: a\0b\n", "NUL"),
    "utf16.yaml": ("name: x\n".encode("utf-16"), "UTF-16"),
    "latin1.yaml": ("a: 1\nb: café\n".encode("latin-1"), "line 2 is not UTF-8"),
    "bomb.yaml": (BOMB.encode(), "aliases"),
    "merge.yaml": (MERGE_BOMB.encode(), "aliases"),
    "recursive.yaml": (b"&a [*a]\n", "aliases"),
    "deep.yaml": (b"[" * 5000 + b"]" * 5000, "nested deeper"),
    "deep.json": (b"[" * 200_000 + b"]" * 200_000, "nested deeper"),
    "flat-deep.json": (b"[" * 40 + b"]" * 40, "nested deeper"),
    "twice.yaml": (b"name: a\nname: b\n", "'name' is given twice"),
    "twice.json": (b'{"name": 1, "name": 2}', "'name' is given twice"),
    "tag.yaml": (b"!!python/object/apply:os.getcwd []\n", "not YAML"),
    "list-key.yaml": (b"? [a, b]\n: 1\n", "key must be plain text"),
    "date.yaml": (b"when: 2024-13-45\n", "not YAML"),
    "documents.yaml": (b"a: 1\n---\nb: 2\n", "not YAML"),
    "tab.yaml": (b"a:\n\t- b\n", "line 2"),
    "cut.json": (b'{"name": ', "not JSON"),
    "digits.json": (b"9" * 10_000, "not JSON"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_an_unreadable_document_is_one_clear_line(name: str, tmp_path: Path) -> None:
    content, words = UNREADABLE[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(PersonaeError) as caught:
        read_document(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_over_the_limit_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "big.txt"
    with path.open("wb") as file:
        file.truncate(100 * MAX_BYTES)  # sparse: takes no room on the disk
    with pytest.raises(PersonaeError, match="larger than 8 MB"):
        read_text(path)


def test_a_document_with_too_many_values_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PersonaeError, match="more than"):
        parse_json("[" + "0," * 400_001 + "0]", "many")


@pytest.mark.parametrize("path", ["missing.yaml", ".", "a\0b.yaml", "x" * 5000])
def test_a_path_that_is_no_file_is_one_clear_line(path: str) -> None:
    with pytest.raises(PersonaeError) as caught:
        read_text(Path(path))
    assert "\n" not in str(caught.value)


def test_byte_order_mark_and_line_ends_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "windows.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\rthree")
    assert read_text(path) == "one\ntwo\nthree"


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


@given(PLAIN)
@settings(max_examples=60, deadline=None)
def test_plain_data_survives_yaml_and_json(data: Any) -> None:
    class NoAliases(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    assert parse_json(json.dumps(data), "x") == data
    assert parse_yaml(yaml.dump(data, Dumper=NoAliases), "x") == data


@given(st.text(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_text_is_data_or_one_clear_line(text: str) -> None:
    for parse in (parse_yaml, parse_json):
        complaint = ""
        try:
            parse(text, "f")
        except PersonaeError as error:
            complaint = str(error)
        assert "\n" not in complaint


@given(st.text())
def test_one_line_is_one_short_line(text: str) -> None:
    shown = one_line(text, 30)
    assert len(shown) <= 30
    assert len(shown.splitlines()) <= 1


class Part(BaseModel):
    id: str
    size: int


class Whole(BaseModel):
    items: list[Part]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"items": [{"id": "7", "size": "x"}]}, "f: item 7: field 'size': input should be"),
        ({"items": [{"id": "7"}]}, "f: item 7: field 'size': is missing"),
        ({"items": [{"size": 1}]}, "f: item number 1: field 'id': is missing"),
        ({"items": ["x"]}, "f: item number 1: input should be"),
        ({"items": 3}, "f: field 'items': input should be"),
        ({}, "f: field 'items': is missing"),
        ([], "f: should be a mapping of fields, not a list"),
    ],
)
def test_a_misfit_names_file_member_and_field(data: Any, message: str) -> None:
    with pytest.raises(PersonaeError) as caught:
        validated(Whole, data, "f")
    assert str(caught.value).startswith(message)


def test_further_misfits_are_counted() -> None:
    with pytest.raises(PersonaeError, match=r"\(and 2 more\)"):
        validated(Whole, {"items": [{}, {"id": "b"}]}, "f")


@given(st.text(max_size=30))
def test_a_csv_cell_is_no_formula_and_comes_back(text: str) -> None:
    cell = csv_cell(text)
    assert isinstance(cell, str)
    assert not re.match(r"[=+@\t\r]|-.*[^\d.]", cell, re.DOTALL)
    obeyed = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"
    assert from_csv_cell(cell) == re.sub(obeyed, "\N{REPLACEMENT CHARACTER}", text)


def test_negative_numbers_stay_numbers_in_a_csv_cell() -> None:
    assert [csv_cell(v) for v in (-1, "-1", "-0.5", "=1", "-1+1")] == [
        -1, "-1", "-0.5", "'=1", "'-1+1",
    ]  # fmt: skip
