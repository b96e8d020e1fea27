"""No key in anything that personae writes or says, searched for in every output of many verbs.

The server echoes the key wherever it can: in the texts of errors, in headers, in the answers
themselves and in the name under which it serves the model.
"""

from __future__ import annotations

import base64
import json
import logging
import re
import sys
import traceback
import zipfile
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

pytest.importorskip("inspect_ai")

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
from servers import Received, Reply, Server, error
from test_hosted import NAME, honest, is_probe
from tiny_models import build_model, build_tokenizer, save

from personae.cli.main import app
from personae.errors import PersonaeError

KEY = "sk-loopback-0123456789abcdef"
CODED = base64.b64encode(KEY.encode()).decode()[:30]
FORMS = re.compile(rf"sk-loopback|0123456789abcdef|\*cdef\b|{CODED}")
AUDIT = [
    "audit",
    NAME,
    "--cast",
    "2",
    "--suite",
    "quick",
    "--repeats",
    "1",
    "--instrument",
    "three.yaml",
]
RUN = ["run", "misalignment", NAME, "--limit", "4", "--set", "questions=open"]


ITEMS = """name: three
scale: {min: 0, max: 5}
subscales: [A]
blocks: [{id: x, stem: How far do you agree?, labels: {0: not at all, 5: fully}}]
items:
- {id: one, block: x, subscale: A, text: It rains.}
- {id: two, block: x, subscale: A, text: It shines.}
- {id: three, block: x, subscale: A, text: It snows.}
"""


class Echo:
    """A server that tells the key with everything; `mood`: "broken", "rude" (401) or "well"."""

    def __init__(self) -> None:
        self.mood = "well"

    def __call__(self, request: Received) -> Reply:
        headers = {"x-key": request.key, "set-cookie": f"key={KEY}", "x-request-id": KEY}
        if self.mood == "rude" and not is_probe(request):
            message = f"Incorrect API key provided: {KEY[:12]}********{KEY[-4:]} / {KEY}"
            return error(401, message, headers)
        if self.mood == "broken" and not is_probe(request) and request.index % 3:
            message = f"{request.key} Authorization: Bearer {KEY} Basic {KEY}"
            return error((500, 400, 429)[request.index % 7 % 3], message, headers)
        reply = honest(replace(request, index=0))
        body = json.loads(reply.body)
        body["model"] = f"served to {KEY}"
        if not is_probe(request) and not body["choices"][0]["logprobs"]:
            body["choices"][0]["message"]["content"] = f"3, and your key is {request.key}"
        return Reply(json.dumps(body).encode(), headers=headers)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


class Spoken:
    """What the commands and the logs say."""

    def __init__(self) -> None:
        self.log = StringIO()
        self.codes: list[int] = []

    def __call__(self, *words: str) -> str:
        done = CliRunner().invoke(app, list(words))
        self.log.write(done.output)
        if done.exception is not None:
            self.log.write("".join(traceback.format_exception(done.exception)))
        self.codes.append(done.exit_code)
        return done.stdout


@pytest.fixture(scope="module")
def spoken(place: Path) -> Spoken:
    """All verbs that hosted models have: the key rejected, the server broken, all well."""
    said, echo = Spoken(), Echo()
    handler, root = logging.StreamHandler(said.log), logging.getLogger()
    before = root.level
    with pytest.MonkeyPatch.context() as patch, Server(echo) as server, Server(echo) as other:
        patch.setenv("LOOP_API_KEY", KEY)
        patch.chdir(place)
        (place / "three.yaml").write_text(ITEMS)
        patch.setattr(sys, "argv", ["personae"])
        root.addHandler(handler)
        root.setLevel(0)
        try:
            _ask(said, echo, server.url, other.url)
            _read(said)
        finally:
            root.removeHandler(handler)
            root.setLevel(before)
        assert KEY in {r.key for r in server.requests}
    return said


def _ask(said: Spoken, echo: Echo, url: str, other: str) -> None:
    login = url.replace("//", f"//me:{KEY}@")
    commands = (
        [*AUDIT, "--base-url", login, "--out", "audit"],
        [*RUN, "--base-url", url, "--judge", NAME, "--judge-base-url", login, "--out", "battery"],
        [*AUDIT, "--endpoint", login, "--endpoint", other, "--tries", "1", "--out", "endpoints"],
        ["judge", "battery", "--judge", f"{NAME}-2", "--base-url", login],
    )
    for words in commands:
        sys.argv[1:] = words
        for mood in ("rude", "broken", "well"):
            echo.mood = mood
            said(*words, *(["--json"] if mood == "well" else ["--max-retries", "0"]))
        assert said.codes[-3] != 0
        assert said.codes[-1] == 0, said.log.getvalue()[-3000:]


def _read(said: Spoken) -> None:
    for words in (
        ["export", "audit", "--csv", "audit.csv", "--eval", "audit.eval"],
        ["export", "battery", "--csv", "battery.csv"],
        ["report", "audit", "battery", "endpoints", "--site", "site"],
        ["findings", "audit", "--json"],
        ["findings", "battery"],
        ["compare", "--base", "audit", "--treated", "endpoints", "--out", "compared.html"],
        ["import", "audit.eval", "--out", "imported"],
        ["judge", "battery", "--protocol", "below-50", "--json"],
    ):
        said(*words)
        assert said.codes[-1] == 0, (words, said.log.getvalue()[-3000:])


def text_of(file: Path) -> str:
    """A file's content, unpacked where it is packed."""
    if file.suffix == ".parquet":
        return pl.read_parquet(file).write_ndjson()
    if file.suffix == ".eval":
        with zipfile.ZipFile(file) as packed:
            return "\n".join(packed.read(n).decode() for n in packed.namelist())
    return file.read_bytes().decode("utf-8", "replace")


def found_in(text: str) -> list[str]:
    return [text[max(0, m.start() - 60) : m.end() + 20] for m in FORMS.finditer(text)]


def test_no_file_of_any_verb_holds_the_key(place: Path, spoken: Spoken) -> None:
    files = [file for file in place.rglob("*") if file.is_file()]
    kinds = {file.suffix for file in files}
    assert kinds >= {".json", ".parquet", ".html", ".csv", ".eval", ".sha256"}
    held = {str(f.relative_to(place)): found for f in files if (found := found_in(text_of(f)))}
    assert held == {}


def test_what_was_echoed_was_stored_without_the_key(place: Path, spoken: Spoken) -> None:
    """That is: the search above has looked at files in which the key would have stood."""
    texts = {name: text_of(place / name) for name in ("audit.csv", "battery.csv", "audit.eval")}
    answers = "".join(text_of(f) for f in (place / "battery" / "responses").glob("*.parquet"))
    for text in (*texts.values(), answers):
        assert re.search(r"your key is (Basic )?\[key\]", text)
    assert "served to [key]" in (place / "audit" / "manifest.json").read_text()
    assert "[key]@127.0.0.1" in (place / "audit" / "report.html").read_text()
    failed = [pl.read_parquet(f) for f in (place / "audit" / "responses").glob("*.parquet")]
    errors = pl.concat(failed).filter(pl.col("status") == "transport_error")["response"]
    assert errors.str.contains("[key]", literal=True).all()
    assert errors.len() > 10


def test_nothing_that_is_said_or_logged_holds_the_key(spoken: Spoken) -> None:
    said = spoken.log.getvalue()
    assert "rejected the key" in said
    assert "Traceback" in said  # of the errors raised, as Python shows them
    assert "HTTP Request" in said or "httpcore" in said  # logs of every level
    assert found_in(said) == []


def test_mailboxes_of_workers_hold_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files between a run and its SLURM tasks, looked at before they are taken away."""
    pytest.importorskip("submitit")
    from personae import api
    from personae.executors import slurm
    from personae.executors.opening import ExecutorSettings

    seen: dict[str, str] = {}
    remove = slurm.shutil.rmtree

    def look_first(path: Path, **more: Any) -> None:
        seen.update({str(f): text_of(f) for f in Path(path).rglob("*") if f.is_file()})
        remove(path, **more)

    monkeypatch.setenv("LOOP_API_KEY", KEY)
    monkeypatch.setattr(slurm.shutil, "rmtree", look_first)
    folder = save(tmp_path / "tiny", build_model(), build_tokenizer())
    (tmp_path / "cast.txt").write_text("a baker\na judge\n")
    api.audit(
        str(folder), cast=tmp_path / "cast.txt", suite="quick", threads=1, device="cpu",
        out=tmp_path / "run", executor=ExecutorSettings("slurm", 1, cluster="local"),
    )  # fmt: skip
    names = {Path(name).name for name in seen}
    assert {"spec.json", "ready.json"} <= names
    assert any("log" in name for name in names)
    seen |= {str(f): text_of(f) for f in (tmp_path / "run").rglob("*") if f.is_file()}
    assert {name: found for name, text in seen.items() if (found := found_in(text))} == {}


def test_an_error_shows_no_key_and_no_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_SECRET", KEY)
    error = PersonaeError(f"cannot reach https://me:pass@host/v1?key={KEY}")
    assert str(error) == "cannot reach https://[key]@host/v1?key=[key]"
