"""The Python reference has every public name and every name that the documentation imports."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

import personae

ROOT = Path(__file__).parents[2]
ENTRY = re.compile(r"^::: (personae[\w.]*)\n((?: +.*\n)*)", re.MULTILINE)
PYTHON = re.compile(r"^```python[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def resolved(name: str) -> Any:
    """What a dotted name stands for. A package's own attribute wins over a module in it."""
    found: Any = personae
    path = "personae"
    for part in name.split(".")[1:]:
        path += f".{part}"
        found = getattr(found, part) if hasattr(found, part) else import_module(path)
    return found


def entries() -> dict[str, list[str]]:
    """Name of each entry of the page -> the members it is limited to, empty for all."""
    found = {}
    for name, options in ENTRY.findall((ROOT / "docs" / "api.md").read_text("utf-8")):
        given = yaml.safe_load(options) or {}
        found[name] = given.get("options", {}).get("members", [])
    return found


def on_the_page() -> list[Any]:
    found: list[Any] = []
    for name, members in entries().items():
        whole = resolved(name)
        found.append(whole)
        if isinstance(whole, ModuleType):
            names = members or [n for n in vars(whole) if not n.startswith("_")]
            found += [getattr(whole, n) for n in names]
    return found


def missing(names: Iterator[str]) -> list[str]:
    there = on_the_page()
    return sorted({n for n in names if not any(resolved(n) is one for one in there)})


def named_in_the_documentation() -> Iterator[str]:
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        text = page.read_text("utf-8")
        for block in PYTHON.findall(text):
            yield from _imported(ast.parse(block))
        if page.name != "api.md":
            inline = re.findall(r"`([^`\n]+)`", text)
            yield from (n for code in inline for n in re.findall(r"\bpersonae(?:\.\w+)+", code))


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("personae"):
            yield from (f"{node.module}.{a.name}" for a in node.names)
        elif isinstance(node, ast.Attribute) and re.fullmatch(
            r"personae(\.\w+)+", name := ast.unparse(node)
        ):
            yield name


def test_every_public_name_is_on_the_page() -> None:
    from personae import api

    names = [f"personae.{n}" for n in personae.__all__ if not n.startswith("__")]
    own = set(entries()["personae.api"])
    assert own == set(api.__all__)
    # A package that is public is on the page by what is in it.
    packages = {n for n in names if isinstance(resolved(n), ModuleType)}
    assert all(any(e.startswith(p) for e in entries()) for p in packages)
    assert missing(n for n in names if n not in packages) == []


def test_every_name_that_the_documentation_uses_is_on_the_page() -> None:
    names = [n for n in named_in_the_documentation() if n != "personae.measures"]
    assert len(names) > 40
    assert missing(iter(names)) == []


def test_public_names_load_in_any_order_and_stay_what_they_are() -> None:
    code = (
        "import sys, personae; heavy = {'torch', 'polars', 'numpy', 'pydantic'} & set(sys.modules);"
        "assert not heavy, heavy;"
        "first = {n: getattr(personae, n) for n in personae.__all__};"
        "import personae.compare, personae.report, personae.study.run;"
        "assert first == {n: getattr(personae, n) for n in personae.__all__}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
