"""Control instruments from other people's question sets: items of the MMLU or the GSM8K kind.

A row has a `question` (or `text`) and an `answer`, and for multiple choice its `choices` (a list,
or columns A, B, C, ...). Multiple choice: the choices are numbered from 0 in the item's text and
the answer is a position (0, 1, ...) or a letter (A, B, ...). Otherwise the answer is a whole
number, or a worked solution that ends in `#### number`; rows whose number is not 0-5 are left
out, since the rating scale cannot express it.

By name (`mmlu`, `gsm8k`) the test split is fetched through huggingface_hub at a pinned revision.
"""

from __future__ import annotations

import csv
import io
import json
import random
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from personae.errors import PersonaeError
from personae.files import one_line, parse_json, read_bytes, read_document, read_text, validated
from personae.instruments.controls import LABELS, SCALE
from personae.instruments.model import Block, Instrument

SUFFIXES = (".csv", ".json", ".jsonl", ".parquet", ".yaml", ".yml")
MAX_FILE = 64 * 2**20
# name: (data set, file, commit, licence)
HUB = {
    "mmlu": (
        "cais/mmlu",
        "all/test-00000-of-00001.parquet",
        "c30699e8356da336a370243923dbaf21066bb9fe",
        "MIT",
    ),
    "gsm8k": (
        "openai/gsm8k",
        "main/test-00000-of-00001.parquet",
        "cc7b047b6e5bb11b4f1af84efc572db110a51b3c",
        "MIT",
    ),
}
BLOCKS = (
    Block(
        id="choice",
        stem="Which of the numbered choices answers the following question correctly?",
        labels={n: f"choice {n}" for n in SCALE.points},
        alternatives=(
            "Pick the number of the right answer to the question below.",
            "Give the number in front of the correct choice.",
        ),
    ),
    Block(
        id="number",
        stem="Which number answers the following question correctly?",
        labels=LABELS,
        alternatives=(
            "Work out the answer to the question below; it is a small whole number.",
            "Solve the following problem and give its result.",
        ),
    ),
)


def load_control(spec: str | Path, n: int = 40, seed: int = 0) -> Instrument:
    """A control instrument of at most `n` items, drawn with `seed` from a larger set.

    Args:
        spec: "mmlu", "gsm8k", or a .csv, .json, .jsonl, .yaml or .parquet file of questions.
        n: the largest number of items.

    Raises:
        PersonaeError: unreadable file, a row without question or answer, no usable row, or (by
            name) huggingface_hub missing or the data set not reachable.
    """
    if n < 1:
        raise PersonaeError("a control instrument needs at least one item")
    source, licence = str(spec), ""
    if isinstance(spec, str) and spec in HUB:
        repository, _, commit, licence = HUB[spec]
        path, name, source = _download(spec), spec, f"{repository} at {commit[:7]}, test split"
    else:
        path = Path(spec)
        name = path.stem
    rows = list(_rows(path))
    numbered = ((k, _question(row, f"{path.name}: row {k}")) for k, row in enumerate(rows, 1))
    usable = [(k, *found) for k, found in numbered if found is not None]
    if not usable:
        raise PersonaeError(f"{path}: no question whose answer is a whole number from 0 to 5")
    chosen = usable
    if len(usable) > n:
        positions = random.Random(seed).sample(range(len(usable)), n)
        chosen = [usable[k] for k in sorted(positions)]
    kinds = {block for _, block, _, _ in chosen}
    count = f"{len(chosen)} of {len(usable)} usable questions, {len(rows)} rows"
    data = {
        "name": name,
        "title": f"Control - {name}: {count}",
        "source": source,
        "licence": licence,
        "version": f"seed {seed}",
        "scale": SCALE,
        "subscales": [name],
        "blocks": [block for block in BLOCKS if block.id in kinds],
        "items": [
            {"id": str(k), "block": block, "subscale": name, "text": text, "answer": answer}
            for k, block, text, answer in chosen
        ],
    }
    return validated(Instrument, data, str(path))


def _question(row: Any, where: str) -> tuple[str, str, int] | None:
    """(block, text, answer) of one row; None where the answer is off the scale."""
    if not isinstance(row, Mapping):
        raise PersonaeError(f"{where}: should have a question and an answer")
    row = {str(key).strip().lower(): value for key, value in row.items()}
    question = str(row.get("question") or row.get("text") or "").strip()
    answer = row.get("answer")
    if not question or answer is None or isinstance(answer, bool):
        field = "answer" if question else "question"
        raise PersonaeError(f"{where}: field {field!r} is missing")
    choices = _choices(row)
    if not choices:
        number = _number(str(answer), where)
        return ("number", question, number) if number in SCALE.points else None
    if not 2 <= len(choices) <= len(SCALE.points):
        raise PersonaeError(f"{where}: {len(choices)} choices; the scale 0-5 fits 2 to 6")
    text = "\n".join([question, *(f"{n}: {choice}" for n, choice in enumerate(choices))])
    return "choice", text, _position(str(answer).strip(), len(choices), where)


def _choices(row: Mapping[str, Any]) -> list[str]:
    listed = row.get("choices")
    if isinstance(listed, list | tuple):
        return [str(choice).strip() for choice in listed]
    letters = (row.get(letter.lower()) for letter in ascii_uppercase[:6])
    return [str(choice).strip() for choice in letters if choice not in (None, "")]


def _position(answer: str, count: int, where: str) -> int:
    position = -1
    if len(answer) == 1 and answer.upper() in ascii_uppercase:
        position = ascii_uppercase.index(answer.upper())
    elif answer.isascii() and answer.isdecimal():
        position = int(answer[:9])
    if not 0 <= position < count:
        raise PersonaeError(f"{where}: field 'answer': {one_line(answer)!r} is none of the choices")
    return position


def _number(answer: str, where: str) -> int:
    """The whole number that an answer is, or that stands after its last `####`."""
    last = answer.rsplit("####", maxsplit=1)[-1].strip().replace(",", "").removeprefix("$")
    if not re.fullmatch(r"[+-]?[0-9]{1,18}(\.[0-9]*)?", last):
        raise PersonaeError(f"{where}: field 'answer': {one_line(last)!r} is not a number")
    whole, _, fraction = last.partition(".")
    return int(whole) if not fraction.strip("0") else SCALE.max + 1


# --- reading -------------------------------------------------------------------------------


def _rows(path: Path) -> Iterable[Any]:
    match path.suffix.lower():
        case ".parquet":
            return _parquet(path)
        case ".csv":
            return _csv(read_text(path, MAX_FILE), path)
        case ".jsonl":
            lines = enumerate(read_text(path, MAX_FILE).split("\n"), start=1)
            return [parse_json(line, f"{path}: line {n}") for n, line in lines if line.strip()]
        case ".json" | ".yaml" | ".yml":
            rows = read_document(path, MAX_FILE)
            if not isinstance(rows, list):
                raise PersonaeError(f"{path}: should hold a list of questions")
            return rows
    raise PersonaeError(f"{path}: a question file ends in {', '.join(SUFFIXES)}")


def _csv(text: str, path: Path) -> list[dict[str, Any]]:
    """Rows of a CSV file; without a header it is the MMLU form question, A, B, C, D, answer."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        rows = [row for row in reader if row]
    except csv.Error as error:
        raise PersonaeError(f"{path}: line {reader.line_num}: not CSV ({error})") from None
    if not rows:
        raise PersonaeError(f"{path}: is empty")
    header = [cell.strip().lower() for cell in rows[0]]
    if "answer" in header:
        rows = rows[1:]
    elif len(header) == 6 and header[-1] in ("a", "b", "c", "d"):
        header = ["question", "a", "b", "c", "d", "answer"]
    else:
        raise PersonaeError(f"{path}: no column 'answer' in the header")
    return [dict(zip(header, row, strict=False)) for row in rows]


def _parquet(path: Path) -> list[dict[str, Any]]:
    """Rows of a parquet file, read by a process of its own: a broken one may end it."""
    raw = read_bytes(path, MAX_FILE)
    done = subprocess.run(
        [sys.executable, "-c", _TO_JSON], input=raw, capture_output=True, check=False
    )
    if done.returncode:
        raise PersonaeError(f"{path}: not parquet, or damaged")
    lines = done.stdout.decode("utf-8").split("\n")
    return [json.loads(line) for line in lines if line]


_TO_JSON = """
import io, sys, polars
rows = polars.read_parquet(io.BytesIO(sys.stdin.buffer.read()))
sys.stdout.buffer.write(rows.write_ndjson().encode())
"""


def _download(name: str) -> Path:
    repository, filename, commit, _ = HUB[name]
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise PersonaeError(
            f"{name}: fetching by name needs huggingface_hub (pip install 'personae[local]'); "
            "or give the questions as a file"
        ) from None
    try:
        found = hf_hub_download(
            repository, filename, repo_type="dataset", revision=commit, token=False
        )
    except Exception as error:  # the client's errors have no base class of their own
        raise PersonaeError(
            f"{name}: not in the cache, and {repository} cannot be fetched "
            f"({type(error).__name__}); give the questions as a file"
        ) from None
    return Path(found)
