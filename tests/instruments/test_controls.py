"""Controls have right answers, in the rating format; question files become controls."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from personae.errors import PersonaeError
from personae.instruments import Instrument, load_control, load_instrument
from personae.instruments.controls import CODE_WORDS, arithmetic, lookup
from personae.instruments.question_files import HUB
from personae.prompts import render

CONTROLS = ("lookup", "arithmetic", "knowledge")


def _error(spec: str | Path, **options: int) -> str:
    with pytest.raises(PersonaeError) as caught:
        load_control(spec, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", CONTROLS)
def test_every_item_has_an_answer_and_answers_use_the_scale_evenly(name: str) -> None:
    control = load_instrument(name)
    answers = Counter(item.answer for item in control.items)
    assert control.scale.points == (0, 1, 2, 3, 4, 5)
    assert set(answers) == set(control.scale.points)
    assert max(answers.values()) <= 2 * min(answers.values())
    assert len(control) >= 30


def test_the_questionnaires_have_no_answers() -> None:
    for name in ("mfi30", "bigfive50"):
        assert {item.answer for item in load_instrument(name).items} == {None}


@pytest.mark.parametrize("seed", range(6))
def test_the_table_in_the_prompt_gives_the_answer(seed: int) -> None:
    control = lookup(seed)
    assert {item.text for item in control.items} == set(CODE_WORDS)
    for item in control.items:
        shown = render("scale-first", None, control, item).messages[0][1]
        assert re.findall(rf"^{item.text}: (\d)$", shown, re.M) == [str(item.answer)]
    for stem in control.blocks[0].alternatives:
        assert all(f"\n{word}: " in stem for word in CODE_WORDS)


@pytest.mark.parametrize("seed", range(20))
def test_the_sums_come_to_their_answers(seed: int) -> None:
    control = arithmetic(seed)
    assert len({item.text for item in control.items}) == 30
    assert set(Counter(item.subscale for item in control.items).values()) == {6}
    for item in control.items:
        assert re.fullmatch(r"\d+ [-+x/] \d+( - \d+)?", item.text)
        assert _value(item.text) == item.answer


def _value(expression: str) -> float:
    """Left to right, which is what these expressions mean."""
    words = expression.split()
    value = float(words[0])
    for operation, number in zip(words[1::2], map(float, words[2::2]), strict=True):
        match operation:
            case "+":
                value += number
            case "-":
                value -= number
            case "x":
                value *= number
            case "/":
                value /= number
    return value


def test_a_seed_fixes_a_control_and_another_seed_changes_it() -> None:
    for make in (lookup, arithmetic):
        assert make(3) == make(3)
        assert make(3).hash != make(4).hash


# --- question files ------------------------------------------------------------------------

MMLU: list[dict[str, Any]] = [
    {"question": "Which is a colour?", "choices": ["red", "run", "rye", "row"], "answer": 0},
    {"question": "Which is a fruit?", "choices": ["pen", "fig", "hat", "sea"], "answer": 1},
    {"question": "Which barks?", "choices": ["cat", "cow", "owl", "dog"], "answer": 3},
]
GSM8K = [
    {"question": "Ann has 2 figs and eats 1. How many are left?", "answer": "2 - 1 = 1\n#### 1"},
    {"question": "Ten times 120 is what?", "answer": "#### 1,200"},
    {"question": "Half of 8 is what?", "answer": "8 / 2 = 4\n#### 4"},
]


def _write(path: Path, rows: list[dict[str, Any]]) -> Path:
    match path.suffix:
        case ".json":
            path.write_text(json.dumps(rows), "utf-8")
        case ".jsonl":
            path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
        case ".parquet":
            pl.DataFrame(rows).write_parquet(path)
    return path


def _answers(control: Instrument) -> list[int | None]:
    return [item.answer for item in control.items]


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".parquet"])
def test_multiple_choice_becomes_numbered_choices(suffix: str, tmp_path: Path) -> None:
    control = load_control(_write(tmp_path / f"mine{suffix}", MMLU))
    assert _answers(control) == [0, 1, 3]
    assert control.items[1].text == "Which is a fruit?\n0: pen\n1: fig\n2: hat\n3: sea"
    assert [block.id for block in control.blocks] == ["choice"]


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".parquet"])
def test_worked_solutions_keep_the_answers_on_the_scale(suffix: str, tmp_path: Path) -> None:
    control = load_control(_write(tmp_path / f"mine{suffix}", GSM8K))
    assert _answers(control) == [1, 4]
    assert [item.id for item in control.items] == ["1", "3"]
    assert "3 rows" in control.title


@pytest.mark.parametrize(
    "text",
    [
        "question,A,B,C,D,answer\nWhich barks?,cat,cow,owl,dog,D\n",
        "Which barks?,cat,cow,owl,dog,D\n",
        "Question,A,B,C,D,Answer\nWhich barks?,cat,cow,owl,dog,3\n",
    ],
)
def test_multiple_choice_in_csv(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(text, "utf-8")
    control = load_control(path)
    assert _answers(control) == [3]
    assert control.items[0].text.endswith("3: dog")


def test_a_draw_is_fixed_by_its_seed(tmp_path: Path) -> None:
    rows = [{"question": f"What is {k} - {k - k % 6}?", "answer": k % 6} for k in range(200)]
    path = _write(tmp_path / "many.json", rows)
    assert len(load_control(path)) == 40
    assert load_control(path, n=10, seed=1) == load_control(path, n=10, seed=1)
    assert load_control(path, n=10, seed=1).hash != load_control(path, n=10, seed=2).hash
    assert len(load_control(path, n=500)) == 200


HOSTILE: dict[str, tuple[Any, str]] = {
    "no-question": ([{"answer": 1}], "row 1: field 'question' is missing"),
    "no-answer": ([{"question": "q"}], "row 1: field 'answer' is missing"),
    "text": ([{"question": "q", "answer": "many"}], "'many' is not a number"),
    "bool": ([{"question": "q", "answer": True}], "field 'answer' is missing"),
    "none": ([{"question": "q", "answer": 77}], "no question whose answer"),
    "half": ([{"question": "q", "answer": "2.5"}], "no question whose answer"),
    "one": ([{"question": "q", "choices": ["a"], "answer": 0}], "1 choices"),
    "seven": ([{"question": "q", "choices": list("abcdefg"), "answer": 0}], "7 choices"),
    "outside": ([{"question": "q", "choices": ["a", "b"], "answer": "C"}], "none of the choices"),
    "negative": ([{"question": "q", "choices": ["a", "b"], "answer": -1}], "none of the choices"),
    "surrogate": ([{"question": "\ud800", "answer": 1}], "a lone surrogate"),
    "scalar": ([3], "row 1: should have a question"),
    "mapping": ({"a": 1}, "should hold a list"),
    "empty": ([], "no question"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_holds_no_questions_is_one_clear_line(name: str, tmp_path: Path) -> None:
    data, words = HOSTILE[name]
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(data), "utf-8")
    message = _error(path)
    assert words in message
    assert "mine.json" in message


def test_other_files_are_no_questions(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 this is not parquet PAR1")
    assert "not parquet" in _error(tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_text("a,b\n1,2\n", "utf-8")
    assert "no column 'answer'" in _error(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("", "utf-8")
    assert "is empty" in _error(tmp_path / "b.csv")
    (tmp_path / "a.txt").write_text("x", "utf-8")
    assert "ends in .csv" in _error(tmp_path / "a.txt")
    assert "at least one item" in _error("mmlu", n=0)


# --- by name -------------------------------------------------------------------------------

BY_NAME = """
from personae.errors import PersonaeError
from personae.instruments import load_instrument
try:
    control = load_instrument("gsm8k")
    print(f"{control.source}: {[item.answer for item in control.items]}")
except PersonaeError as error:
    print(error)
"""


def _by_name(before: str, **environment: str) -> str:
    """What asking for gsm8k says in a fresh interpreter (the client reads its settings once)."""
    run = subprocess.run(
        [sys.executable, "-c", before + BY_NAME],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return run.stdout.strip()


def test_by_name_without_the_client_names_the_extra() -> None:
    said = _by_name("import sys; sys.modules['huggingface_hub'] = None\n")
    assert "personae[local]" in said


def test_by_name_without_a_network_names_the_file_option(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    said = _by_name("", HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1")
    assert "give the questions as a file" in said
    assert len(said.splitlines()) == 1


class Hub(BaseHTTPRequestHandler):
    """Serves one parquet file the way the hub does, at the pinned commit and nowhere else."""

    parquet = b""

    def do_HEAD(self) -> None:
        repository, filename, commit, _ = HUB["gsm8k"]
        known = self.path == f"/datasets/{repository}/resolve/{commit}/{filename}"
        self.send_response(200 if known else 404)
        self.send_header("X-Repo-Commit", commit)
        self.send_header("ETag", f'"{hashlib.sha256(self.parquet).hexdigest()}"')
        self.send_header("Content-Length", str(len(self.parquet) if known else 0))
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(self.parquet)

    def log_message(self, *args: object) -> None:
        pass


def test_by_name_fetches_the_pinned_test_split(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    Hub.parquet = _write(tmp_path / "test.parquet", GSM8K).read_bytes()
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        said = _by_name("", HF_HOME=str(tmp_path), HF_ENDPOINT=endpoint, NO_PROXY="*")
        server.shutdown()
    assert said == "openai/gsm8k at cc7b047, test split: [1, 4]"
