from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from personae.cli import main
from personae.cli.main import app


def verbs(command: Any, path: tuple[str, ...] = ()) -> Iterator[list[str]]:
    if not hasattr(command, "commands"):
        yield list(path)
        return
    for name, inner in command.commands.items():
        yield from verbs(inner, (*path, name))


VERBS = sorted(verbs(typer.main.get_command(app)))


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb_has_help_with_an_example(verb: list[str]) -> None:
    result = CliRunner().invoke(app, [*verb, "--help"])
    assert result.exit_code == 0
    assert f"personae {' '.join(verb)}" in result.output


@pytest.mark.parametrize("command", ["import personae", "import personae.cli.main"])
def test_import_and_help_stay_light(command: str) -> None:
    heavy = "{'torch', 'transformers', 'inspect_ai', 'polars', 'scipy', 'pydantic'}"
    code = f"import sys; {command}; print(sorted({heavy} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


@pytest.mark.parametrize("kind", ["casts", "instruments", "models", "layouts"])
def test_lists_print_json_and_nothing_else(kind: str) -> None:
    result = CliRunner().invoke(app, ["list", kind, "--json"])
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["schema"] == 1
    assert document[kind]


def test_show_prints_what_is_there() -> None:
    shown = json.loads(CliRunner().invoke(app, ["show", "instrument", "mfi30", "--json"]).stdout)
    assert len(shown["instrument"]["items"]) == 30
    shown = json.loads(CliRunner().invoke(app, ["show", "cast", "5", "--json"]).stdout)
    assert len(shown["cast"]["personas"]) == 5


def personae(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    code = "from personae.cli.main import run; run()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=cwd
    )


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["findings", "nowhere"], "no such run folder"),
        (["report", "."], "no manifest.json"),
        (["show", "cast", "nobody"], "nobody"),
        (["show", "instrument", "nothing"], "nothing"),
        (["audit", "smollm2", "--layout", "sideways"], "no layout 'sideways'"),
        (["audit", "smollm2", "--preset", "unheard"], "no preset 'unheard'"),
        (["audit", "smollm2", "--temperature", "0.5"], "--repeats"),
        (["audit", "no/such-model"], "no/such-model"),
        (["audit", "smollm2", "--budget-usd", "5"], "--budget-usd is for hosted models"),
        (["reproduce", "unknown2020"], "costa2026"),
        (["import", "missing.csv", "--out", "x", "--instrument", "mfi30"], "missing.csv"),
        (["import", "missing.csv", "--out", "x"], "missing.csv"),
        (["show", "cast", "./"], "this is a folder"),
        (["run", "moral"], "personae audit"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_that_names_the_mend(
    arguments: list[str], named: str, tmp_path: Path
) -> None:
    done = personae(*arguments, cwd=tmp_path)
    lines = [line for line in done.stderr.splitlines() if line.startswith("personae:")]
    assert done.returncode == 2, done.stderr
    assert len(lines) == 1, done.stderr
    assert named in lines[0]
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_doctor_names_the_parts(tmp_path: Path) -> None:
    document = json.loads(personae("doctor", "--json", cwd=tmp_path).stdout)
    names = " ".join(check["name"] for check in document["checks"])
    assert "torch" in names
    assert "embedded model" in names
    told = " ".join(use["use"] for use in document["uses"])
    assert [
        v for v in {verb[0] for verb in VERBS} - {"doctor"} if not re.search(rf"\b{v}\b", told)
    ] == []


def test_doctor_says_which_verbs_lack_what(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    from personae import diagnosis

    there = metadata.version

    def version(name: str) -> str:
        if name == "torch":
            raise metadata.PackageNotFoundError(name)
        return there(name)

    monkeypatch.setattr(metadata, "version", version)
    lacking = {use.name.split(",")[0]: use.missing for use in diagnosis.uses()}
    assert lacking["import"] == ()
    assert lacking["train"] == ("torch",)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "stopped; what was collected is kept"),
        (FileNotFoundError(2, "No such file or directory", "/proc/x"), 2, "/proc/x: cannot be"),
        (
            ModuleNotFoundError("no", name="safetensors.torch"),
            2,
            "needs safetensors.torch; run: pip install 'personae[local]'",
        ),
    ],
    ids=["Ctrl-C", "a folder that cannot be made", "a module of an extra"],
)
def test_what_ends_a_verb_is_said_in_one_line(
    error: BaseException,
    code: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stopping = typer.Typer(pretty_exceptions_enable=False)

    @stopping.command()
    def verb() -> None:
        raise error

    monkeypatch.setattr(main, "app", stopping)
    monkeypatch.setattr(sys, "argv", ["personae"])
    with pytest.raises(SystemExit) as left:
        main.run()
    assert left.value.code == code
    (said,) = capsys.readouterr().err.splitlines()
    assert line in said
