"""Bundled casts hold what they promise; files become casts or one clear line."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personae.cast import Cast, list_casts, load_cast
from personae.cast import loading as casts
from personae.errors import PersonaeError

FOUNDATIONS = ("care", "fairness", "loyalty", "authority", "purity")
TAGS = ("age", "region", "work", "politics", "faith", "temperament", "outlook")
OUTLOOKS = {
    "carer", "leveller", "loyalist", "traditionalist", "purist", "individualist", "pragmatist",
    "universalist", "sceptic", "opportunist",
}  # fmt: skip
AGES = {"teens", "twenties", "thirties", "forties", "fifties", "sixties", "seventies-plus"}


def _error(spec: str | int | Path) -> str:
    with pytest.raises(PersonaeError) as caught:
        load_cast(spec)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- content -------------------------------------------------------------------------------


def test_there_are_a_hundred_distinct_citizens() -> None:
    citizens = load_cast("all")
    assert [p.id for p in citizens.personas] == [f"p{n:03d}" for n in range(1, 101)]
    assert len({p.text.casefold() for p in citizens.personas}) == 100
    assert all(60 < len(p.text) < 320 for p in citizens.personas)


def test_no_two_personas_open_alike() -> None:
    openings = Counter(" ".join(p.text.split()[:4]) for p in load_cast("all").personas)
    assert max(openings.values()) == 1


def test_citizens_carry_every_tag_from_a_closed_vocabulary() -> None:
    for persona in load_cast("all").personas:
        assert set(persona.tags) == {*TAGS, *FOUNDATIONS}
        assert persona.tags["outlook"] in OUTLOOKS
        assert persona.tags["age"] in AGES
        assert {persona.tags[f] for f in FOUNDATIONS} <= {"low", "middle", "high"}


def test_every_outlook_is_there_more_than_once() -> None:
    outlooks = Counter(p.tags["outlook"] for p in load_cast("all").personas)
    assert set(outlooks) == OUTLOOKS
    assert min(outlooks.values()) >= 3


@pytest.mark.parametrize("foundation", FOUNDATIONS)
def test_each_foundation_is_both_valued_and_not(foundation: str) -> None:
    levels = Counter(p.tags[foundation] for p in load_cast("all").personas)
    assert min(levels["low"], levels["high"]) >= 15


@pytest.mark.parametrize(("n", "regions", "outlooks"), [(5, 5, 5), (10, 8, 7), (20, 12, 9)])
def test_a_small_cast_is_spread_out(n: int, regions: int, outlooks: int) -> None:
    personas = load_cast(n).personas
    assert len({p.tags["region"] for p in personas}) >= regions
    assert len({p.tags["outlook"] for p in personas}) >= outlooks
    for foundation in FOUNDATIONS if n >= 10 else ():
        assert {p.tags[foundation] for p in personas} == {"low", "middle", "high"}


@pytest.mark.parametrize("name", ["toxic", "null"])
def test_the_panels_have_eight_members(name: str) -> None:
    panel = load_cast(name)
    assert len(panel) == len({p.text for p in panel.personas}) == 8


def test_the_null_panel_says_nothing_but_a_name() -> None:
    for persona in load_cast("null").personas:
        assert re.fullmatch(r"[A-Z][a-z]+ [A-Z][a-z]+", persona.text)
        assert persona.tags == {}


# --- names and numbers ---------------------------------------------------------------------


def test_a_number_is_the_first_citizens() -> None:
    citizens = load_cast("all")
    assert load_cast(7).personas == load_cast("7").personas == citizens.personas[:7]
    assert load_cast(100).hash == load_cast("citizens").hash == citizens.hash
    assert load_cast(99).hash != citizens.hash


def test_every_listed_bundled_cast_loads_with_the_listed_size() -> None:
    entries = list_casts()
    assert {e.name for e in entries} == {"citizens", "stated", "toxic", "null", "personahub100"}
    for entry in entries:
        assert entry.title
        assert entry.licence
        if entry.bundled:
            assert len(load_cast(entry.name)) == entry.size


@pytest.mark.parametrize("spec", [0, -1, "0", 101, "99999999999999999999"])
def test_an_impossible_number_names_the_range(spec: int | str) -> None:
    assert "from 1 to 100" in _error(spec)


@pytest.mark.parametrize("spec", ["nope", "", "-3", "x" * 5000, "a\0b", "two\nlines"])
def test_an_unknown_name_lists_the_names(spec: str) -> None:
    assert "citizens, stated, toxic, null, personahub100" in _error(spec)


def test_personahub_is_the_first_hundred_of_the_published_file(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = json.loads((shared / "data" / "personahub100.json").read_text("utf-8"))
    file = tmp_path / "personas.json"
    file.write_text(json.dumps([*published, "one more", "and another"]), "utf-8")
    monkeypatch.setattr(casts, "fetch", lambda repository, path: file)
    cast = load_cast("personahub100")
    assert [p.text for p in cast.personas] == [text.strip() for text in published]
    assert [p.id for p in cast.personas] == [str(n) for n in range(100)]


# --- files ---------------------------------------------------------------------------------

SAME = {
    "list.txt": "a cook\n\n  a pilot  \n",
    "list.csv": "Text\na cook\na pilot\n",
    "persona.csv": 'id,persona\np001,a cook\np002,"a pilot"\n',
    "list.json": '["a cook", {"text": "a pilot"}]',
    "list.jsonl": '{"persona": "a cook"}\n"a pilot"\n',
    "list.yaml": "- a cook\n- text: a pilot\n",
    "cast.yml": "personas:\n  - {id: p001, text: a cook}\n  - {id: p002, text: a pilot}\n",
    "cast.json": '{"name": "x", "personas": [{"id": "p001", "text": "a cook"},'
    ' {"id": "p002", "text": "a pilot"}]}',
}


@pytest.mark.parametrize("name", SAME)
def test_every_kind_of_file_gives_the_same_cast(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(SAME[name], "utf-8")
    cast = load_cast(path)
    assert [(p.id, p.text) for p in cast.personas] == [("p001", "a cook"), ("p002", "a pilot")]
    assert cast.hash == load_cast(str(path)).hash


def test_further_csv_columns_are_tags(tmp_path: Path) -> None:
    path = tmp_path / "tagged.csv"
    path.write_text("id,text,age,empty\n7,a cook,41,\n", "utf-8")
    persona = load_cast(path).personas[0]
    assert (persona.id, persona.tags) == ("7", {"age": "41"})


HOSTILE = {
    "empty.txt": ("", "empty"),
    "blank.txt": (" \n\t\n", "empty"),
    "empty.csv": ("", "no column 'text' or 'persona'"),
    "header.csv": ("id,text\n", "empty"),
    "other.csv": ("id,words\n1,a\n", "no column 'text' or 'persona'"),
    "double.csv": ("text,text\na,b\n", "given twice"),
    "wide.csv": ("id,text\n1,a,b\n", "line 2 has more cells"),
    "hole.csv": ("id,text\n1,\n", "line 2: the text is empty"),
    "short.csv": ("id,text\n1\n", "line 2: the text is empty"),
    "quote.csv": ('text\n"a\n', "not CSV"),
    "field.csv": ("text\n" + "a" * 200_000 + "\n", "not CSV"),
    "twice.csv": ("id,text\n1,a\n1,b\n", "duplicate persona id '1'"),
    "empty.json": ("[]", "empty"),
    "empty.yaml": ("personas: []\n", "empty"),
    "number.json": ("[3]", "persona number 1 is a int"),
    "null.json": ("[null]", "persona number 1 is a NoneType"),
    "scalar.json": ("3", "should hold a list"),
    "blank.json": ('["  "]', "persona p001: field 'text': is empty"),
    "wrong.json": ('[{"text": ["a"]}]', "persona p001: field 'text'"),
    "missing.json": ('[{"id": "q"}]', "persona q: field 'text': is missing"),
    "extra.json": ('[{"text": "a", "texts": "b"}]', "field 'texts': is not a known field"),
    "surrogate.json": ('["\\ud800"]', "a lone surrogate, which is no character"),
    "tags.yaml": ("- {text: a, tags: [b]}\n", "persona p001: field 'tags'"),
    "twice.yaml": ("- {id: 1, text: a}\n- {id: '1', text: b}\n", "duplicate persona id '1'"),
    "mixed.jsonl": ('"a"\n{\n', "line 2"),
    "cast.toml": ("a = 1", "a cast file ends in"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_is_no_cast_is_one_clear_line(name: str, tmp_path: Path) -> None:
    content, words = HOSTILE[name]
    path = tmp_path / name
    path.write_text(content, "utf-8")
    message = _error(path)
    assert words in message
    assert name in message


def test_binary_and_folders_are_no_casts(tmp_path: Path) -> None:
    (tmp_path / "model.txt").write_bytes(bytes(range(256)))
    assert "NUL" in _error(tmp_path / "model.txt")
    (tmp_path / "folder.yaml").mkdir()
    assert "not a file" in _error(tmp_path / "folder.yaml")
    assert "no such file" in _error(tmp_path / "missing.txt")


TEXTS = st.lists(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40).filter(
        str.strip
    ),
    min_size=1,
    max_size=8,
)


@given(texts=TEXTS)
@settings(max_examples=40, deadline=None)
def test_any_texts_survive_a_json_file(
    texts: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("cast") / "any.json"
    path.write_text(json.dumps(texts), "utf-8")
    cast = load_cast(path)
    assert [p.text for p in cast.personas] == [text.strip() for text in texts]


@given(content=st.binary(max_size=300), suffix=st.sampled_from(casts.SUFFIXES))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_a_cast_or_one_clear_line(
    content: bytes, suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("cast") / f"any{suffix}"
    path.write_bytes(content)
    try:
        outcome: Cast | str = load_cast(path)
    except PersonaeError as error:
        outcome = str(error)
    assert len(outcome) > 0
    assert not isinstance(outcome, str) or "\n" not in outcome
