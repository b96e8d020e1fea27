"""Every command of the documentation is one: verbs, options, scripts, targets and extras exist.

The commands of personae are run, too: in test_pages_1.py, test_pages_2.py and test_tutorials.py.
"""

from __future__ import annotations

import argparse
import inspect
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from itertools import pairwise
from typing import Any

import pytest
import typer

pytest.importorskip("inspect_ai")

from doc_pages import PROGRAMS, ROOT, blocks, commands, inline, pages, read, stray
from doc_running import words_of
from doc_tables import ADDED, ELSEWHERE, READ, REHEARSED, SHORTER, STANDS_FOR

from personae import _registry
from personae.cli.main import app
from personae.models.embedded import PACKAGE

VERBS: Any = typer.main.get_command(app)
COMMANDS = commands()
TEXTS = [(page, text) for page in pages() for text in inline(page)]


def of(program: str) -> list[str]:
    """All commands that begin with a program, in blocks and in the text."""
    return sorted({c for _, c in [*COMMANDS, *TEXTS] if c.startswith(f"{program} ")})


def test_commands_stand_where_they_are_found() -> None:
    """In fences that say sh or console: one in an indented or unlabelled block is run by nobody."""
    assert {page: lines for page in pages() if (lines := stray(page))} == {}
    assert len(COMMANDS) > 150


def test_every_command_is_of_a_known_kind() -> None:
    known = (*(f"{p} " for p in PROGRAMS), *ELSEWHERE, "test -f")
    unknown = [(where, c) for where, c in COMMANDS if not c.startswith(known)]
    assert unknown == [], "say in doc_tables.py how they are checked"


@pytest.mark.parametrize("page", pages())
def test_commands_of_personae_are_read(page: str) -> None:
    """Verb, options, values; a command in the text may leave out what is needed."""
    found = [(c, True) for block in blocks(page) for c in block.commands()]
    found += [(text, False) for text in inline(page)]
    for command, whole in found:
        if command.startswith("personae "):
            _read(words_of(command)[0], whole)


def _read(words: list[str], whole: bool) -> None:
    command = VERBS
    left = list(words)
    while left and hasattr(command, "commands"):
        verb = left.pop(0)
        assert verb in command.commands, f"no verb {verb!r} in: {shlex.join(words)}"
        command = command.commands[verb]
    try:
        if left or whole:
            command.make_context(words[0], left)
    except Exception as error:  # typer's, or click's in older ones
        missing = any(kind.__name__ == "MissingParameter" for kind in type(error).__mro__)
        if whole or not missing:
            pytest.fail(f"{shlex.join(words)}: {error}")


def test_options_named_in_the_text_exist() -> None:
    known = _options(VERBS) | {"--help"}
    for file in [*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "tests").rglob("*.py")]:
        text = file.read_text("utf-8")
        if "add_argument(" in text:  # some give names without dashes to a loop of it
            known |= {f"--{name}" for name in re.findall(r"\"(?:--)?([a-z][\w-]*)\"", text)}
    other = tuple(ELSEWHERE)
    named = {
        (page, option)
        for page, text in TEXTS
        if not text.startswith(other)
        for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", text)
    }
    assert sorted(pair for pair in named if pair[1] not in known) == []


def _options(command: Any) -> set[str]:
    found = {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
    return found.union(*map(_options, getattr(command, "commands", {}).values()))


class ReadError(Exception):
    """A script has read its options, and goes no further."""


@pytest.mark.parametrize("command", [c for c in of("python") if not c.startswith("python -m")])
def test_scripts_take_their_options(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = argparse.ArgumentParser.parse_args

    def parse(parser: Any, *given: Any) -> None:
        real(parser, *given)
        raise ReadError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    first, *others = command.replace(" N", " 2").split(" | ")
    script, *options = shlex.split(first)[1:]
    monkeypatch.syspath_prepend(str((ROOT / script).parent))
    for given in [options, *([other] for other in others)]:
        monkeypatch.setattr(sys, "argv", [script, *given])
        try:
            runpy.run_path(str(ROOT / script), run_name="__main__")
        except ReadError:
            continue
        except SystemExit:
            pytest.fail(f"{command}: {capsys.readouterr().err}")
        pytest.fail(f"{command}: reads no options")


@pytest.mark.parametrize("command", of("make"))
def test_make_has_the_target(command: str) -> None:
    targets = re.findall(r"^(\w+):", read("Makefile"), re.MULTILINE)
    assert set(command.split()[1:]) <= set(targets)


@pytest.mark.parametrize("command", [c for c in of("pip") if not c.startswith(tuple(ELSEWHERE))])
def test_what_is_installed_exists(command: str) -> None:
    known = tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"]
    verb, *words = shlex.split(command)[1:]
    assert verb == "install"
    for before, word in pairwise(["", *words]):
        if before == "-c":
            assert (ROOT / word).is_file()
        elif extra := re.fullmatch(r"(?:\.|personae)\[(.+)\]", word):
            assert set(extra[1].split(",")) <= set(known)
        else:
            assert word in ("-c", "-e", "--no-deps", "torch", PACKAGE)


@pytest.mark.parametrize("command", of("pytest"))
def test_what_is_tested_exists(command: str) -> None:
    assert all((ROOT / word).exists() for word in command.split()[1:])


@pytest.mark.parametrize("command", of("sh"))
def test_shell_scripts_are_ones_and_their_commands_are_read(command: str) -> None:
    script = ROOT / command.split()[1]
    subprocess.run(["sh", "-n", str(script)], check=True)
    text = re.sub(r"^ *#.*|\\\n", "", script.read_text("utf-8"), flags=re.MULTILINE)
    text = re.sub(r"\$\{[^}]*\}|\$SIDES", "", text.replace("$ONE", "--threads 1"))
    found = re.findall(r"\bpersonae [^\n;|]*", text)
    assert found
    for one in found:
        _read(shlex.split(one)[1:], whole=True)


@pytest.mark.parametrize("command", [c for c in of("inspect") if "personae/" in c])
def test_inspect_finds_the_task_and_its_parameters(command: str) -> None:
    """They are run in tests/test_inspect_*.py and tests/internals/test_inspect_provider.py."""
    verb, task, *words = shlex.split(command)[1:]
    assert verb == "eval"
    if task != "TASK":
        given = [after for word, after in pairwise(words) if word == "-T"]
        known = inspect.signature(getattr(_registry, task.removeprefix("personae/"))).parameters
        assert {one.partition("=")[0] for one in given} <= set(known)


def test_no_exception_is_left_over() -> None:
    """Each stands for something that is still in the documentation, and they stay few."""
    found = [c for _, c in [*COMMANDS, *TEXTS]]
    begins = [*REHEARSED, *READ, *ELSEWHERE, *(f"personae {begin}" for begin, _ in ADDED)]
    assert [one for one in begins if not any(c.startswith(one) for c in found)] == []
    assert [p for p, _ in STANDS_FOR if not any(re.search(p, c) for c in found)] == []
    python = "".join(b.text for page in pages() for b in blocks(page) if b.kind == "python")
    assert [long for long, _ in SHORTER if long not in python] == []
    not_run = {c for c in found if c.startswith((*REHEARSED, *READ))}
    print(f"{len(not_run)} commands of personae are not run:", *sorted(not_run), sep="\n  ")
    assert len(not_run) <= 8
