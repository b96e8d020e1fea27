"""What a person sees: 80 columns, whole words, no escape codes without colour; `--json` is JSON."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from personae import api
from personae.cli.console import column_widths, in_lines, table
from personae.cli.main import app
from planted_runs import plain_run

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))  # tiny_models

ESCAPE = "\x1b"


def paths(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every verb, and every group of verbs."""
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from paths(inner, (*path, name))


def call(*words: str, columns: int = 80) -> Any:
    return CliRunner().invoke(app, list(words), env={"COLUMNS": str(columns), "NO_COLOR": "1"})


def tokens(text: str) -> set[str]:
    """Words and numbers; what is free on this machine changes from call to call."""
    return set(re.findall(r"[^\W_]+(?:\.[^\W_]+)*", re.sub(r"[\d.]+ GB", "GB", text)))


def is_readable(narrow: str, wide: str) -> None:
    """80 columns at most, nothing lost or broken against the same on a wide terminal."""
    assert max(map(len, narrow.splitlines()), default=0) <= 80
    assert ESCAPE not in narrow
    assert tokens(wide) <= tokens(narrow)


@pytest.fixture
def no_forced_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Typer takes some CI services for a terminal."""
    import typer.rich_utils

    monkeypatch.setattr(typer.rich_utils, "FORCE_TERMINAL", None)


@pytest.mark.usefixtures("no_forced_terminal")
@pytest.mark.parametrize("verb", list(paths(typer.main.get_command(app))), ids=" ".join)
def test_help_is_readable(verb: tuple[str, ...]) -> None:
    shown = call(*verb, "--help")
    assert shown.exit_code == 0
    is_readable(shown.stdout, call(*verb, "--help", columns=400).stdout)


# --- results ---------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Planted runs, a policy, a tiny model and a direction in it."""
    import torch
    from tiny_models import build_model, build_tokenizer, save

    from personae.internals.direction import Direction
    from personae.internals.direction_files import save_direction

    folder = tmp_path_factory.mktemp("terminal")
    api.finish(plain_run(folder / "base", model="base-" * 12))
    plain_run(folder / "worse", factor=2, half=2, model="worse-" * 12)
    (folder / "policy.yaml").write_text(call("gate", "--print-policy").stdout)
    save(folder / "tiny", build_model(), build_tokenizer())
    rows = torch.randn(3, 32, generator=torch.Generator().manual_seed(3))
    made = Direction("a direction with a name", (0, 1, 2), rows, norms=(6.0, 7.0, 8.0),
                     gaps=(1.0, 1.0, 1.0), details={"layer": 1})  # fmt: skip
    save_direction(made, folder / "v.safetensors")
    (folder / "prompts.txt").write_text("Who are you?\nWhat is a boat?\n")
    (folder / "data.jsonl").write_text('{"prompt": "Why?", "response": "Because."}\n' * 3)
    return folder


AGAINST = "--base {place}/base --treated {place}/worse"
COMMANDS = [
    "list batteries", "list casts", "list defences", "list instruments", "list layouts",
    "list models", "show cast citizens", "show instrument mfi30", "show model smollm2-actor",
    "doctor", "power {place}/base --personas 10,20 --trials 50", "findings {place}/base",
    f"compare {AGAINST} --out {{place}}/c.html",
    f"gate --policy {{place}}/policy.yaml {AGAINST}",
    "report {place}/base", "report {place}/base {place}/base --site {place}/site",
    "export {place}/base --csv {place}/ratings.csv",
    "audit {place}/tiny --limit 4 --suite quick --threads 1 --out {place}/audit",
    "run floor {place}/tiny --limit 1 --set tasks=advice --threads 1 --out {place}/floor",
    "geometry --base {place}/tiny --cast 4 --items 4 --threads 1 --out {place}/g",
    "vectors show", "vectors show {place}/v.safetensors",
    "vectors monitor {place}/v.safetensors {place}/prompts.txt {place}/tiny --threads 1",
    "vectors screen {place}/v.safetensors {place}/data.jsonl {place}/tiny --max-tokens 2 "
    "--threads 1",
    "vectors predict {place}/v.safetensors {place}/tiny --data {place}/data.jsonl --threads 1",
    "train --data bad-advice-money@20 --base {place}/tiny --steps 1 --rows 4 --threads 1 "
    "--out {place}/adapter",
]  # fmt: skip
ENDS_WITH = {"gate": 1}  # a change was found


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.split(" {")[0].split(" --")[0])
def test_results_are_readable_and_json_is_one_document(command: str, place: Path) -> None:
    words = command.format(place=place).split()
    narrow, wide, machine = call(*words), call(*words, columns=400), call(*words, "--json")
    for done in (narrow, wide, machine):
        assert done.exit_code == ENDS_WITH.get(words[0], 0), done.output
        assert ESCAPE not in done.output
    is_readable(narrow.stdout, wide.stdout)
    assert json.loads(machine.stdout)  # one document, or it would not parse


def on_a_terminal(*words: str, **environment: str) -> str:
    """Output of a verb whose stdout is a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", "from personae.cli.main import run; run()", *words],
        stdout=theirs, stderr=theirs, close_fds=True,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", **environment},
    )  # fmt: skip
    os.close(theirs)
    read = b""
    while True:
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not chunk:
            break
        read += chunk
    os.close(ours)
    assert process.wait() == 0
    return read.decode()


@pytest.mark.parametrize("words", [("list", "models"), ("report", "--help")], ids=" ".join)
def test_no_color_means_no_escape_codes_on_a_terminal_too(words: tuple[str, ...]) -> None:
    plain, coloured = on_a_terminal(*words, NO_COLOR="1"), on_a_terminal(*words, NO_COLOR="")
    assert ESCAPE not in plain
    assert ESCAPE in coloured
    assert tokens(plain) == tokens(re.sub(r"\x1b\[[0-9;]*m", "", coloured))


# --- tables ----------------------------------------------------------------------------------
def test_cells_are_broken_at_spaces_then_after_marks_then_anywhere() -> None:
    assert in_lines("a few words", 5) == ["a few", "words"]
    assert in_lines("tasks=one,seven,three, x", 11) == ["tasks=one,", "seven,", "three, x"]
    assert in_lines("  kept indent", 9) == ["  kept", "indent"]
    assert in_lines("unbreakable", 4) == ["unbr", "eaka", "ble"]
    assert in_lines("two\nlines", 9) == ["two", "lines"]
    assert in_lines("", 3) == [""]


def test_widths_fit_and_numbers_stay_whole() -> None:
    columns = [["metric", "a_long_metric_name"], ["interval", "[0.10, 0.20]"], ["x", "word " * 30]]
    widths = column_widths(columns, [False, True, False], 50)
    assert sum(widths) == 50
    assert widths[1] == len("[0.10, 0.20]")
    assert column_widths([["ab"], ["c"]], [False, False], 50) == [2, 1]
    assert min(column_widths([["x" * 99]] * 9, [False] * 9, 20)) >= 1


def test_a_narrow_terminal_breaks_no_token(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "44")
    long = "tasks=sycophancy,advice,flattery,parts=choice,answer"
    table(
        "a title that is wider than the table", ["name", "options", "x"], [["floor", long, "1.0"]]
    )
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 44
    assert tokens(f"floor {long} 1.0 a title that is wider than the table") <= tokens(shown)


def test_a_table_takes_no_markup_from_its_text(capsys: pytest.CaptureFixture[str]) -> None:
    table("runs/[bold]x[/bold]", ["[red]a"], [["[link=x]y[/link]"]])
    shown = capsys.readouterr().out
    assert all(text in shown for text in ("runs/[bold]x[/bold]", "[red]a", "[link=x]y[/link]"))
