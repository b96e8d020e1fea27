"""Finds every command and every example of the documentation.

A page is a list of fenced blocks. Commands are the lines of `sh` and `console` blocks and the
`run:` steps of a workflow in a `yaml` block; a command may also stand in backquotes in the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
TOP = ("README.md", "SECURITY.md", "CONTRIBUTING.md", "RELEASING.md", "benchmarks/README.md")
PROGRAMS = ("personae", "python", "make", "pip", "sh", "inspect", "pytest")

_FENCE = re.compile(r"^```(\w*)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`([^`]+)`")
_COMMENT = re.compile(r"(^|\s)#.*")
_PROMPT = re.compile(r"^(\w+)?\$ ")


@dataclass(frozen=True)
class Block:
    """A fenced block: the page, the line it begins at, its language, title and text."""

    page: str
    line: int
    kind: str
    title: str
    text: str

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"

    def commands(self) -> list[str]:
        if self.kind in ("sh", "console"):
            return _lines(self.text)
        if self.kind == "yaml" and re.search(r"^jobs:", self.text, re.MULTILINE):
            return [line for step in _steps(yaml.safe_load(self.text)) for line in _lines(step)]
        return []


def pages() -> list[str]:
    """All pages, as paths from the root."""
    found = sorted((ROOT / "docs").rglob("*.md"))
    return [*TOP, *(p.relative_to(ROOT).as_posix() for p in found)]


def read(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def blocks(page: str) -> list[Block]:
    text = read(page)
    return [
        Block(page, text.count("\n", 0, m.start()) + 2, m[1], m[2] or "", m[3])
        for m in _FENCE.finditer(text)
    ]


def commands() -> list[tuple[str, str]]:
    """Every command in a block of any page, with where it stands."""
    return [(b.where, c) for page in pages() for b in blocks(page) for c in b.commands()]


def prose(page: str) -> str:
    """The page without its fenced blocks; line numbers stay."""
    return _FENCE.sub(lambda m: "\n" * m[0].count("\n"), read(page))


def inline(page: str) -> list[str]:
    """What stands in backquotes in the text, line breaks as blanks."""
    return [" ".join(m.split()) for m in _INLINE.findall(prose(page))]


def stray(page: str) -> list[str]:
    """Lines that look like commands but stand where the finder does not look."""
    begins = re.compile(r"(\$ )?(personae \w|pip \w+ |make \w+$|(python|sh) \S+\.(py|sh)\b)")
    other = [b.text for b in blocks(page) if b.kind in ("", "text")]
    indented = re.findall(r"^    +(.*)", prose(page), re.MULTILINE)
    lines = [line for text in other for line in text.splitlines()]
    return [line for line in [*lines, *indented] if begins.match(line.strip())]


def _lines(text: str) -> list[str]:
    """Commands of a shell block: continued lines joined, comments and prompts taken off."""
    joined = (_COMMENT.sub("", line) for line in re.sub(r"\\\n\s*", " ", text).split("\n"))
    return [" ".join(line.split()) for one in joined if (line := _PROMPT.sub("", one.strip()))]


def _steps(workflow: dict[str, Any]) -> list[str]:
    jobs = workflow["jobs"].values()
    return [step["run"] for job in jobs for step in job["steps"] if "run" in step]
