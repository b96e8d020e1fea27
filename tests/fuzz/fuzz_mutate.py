"""Broken versions of good files: byte damage, damage to the structure, and hostile pieces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

from fuzz_grammar import Injure

PIECES = (
    b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\x1b[31m", b"\x85", b"\xe2\x80\xae",
    b"{", b"}", b"[" * 200, b"]", b'"', b"'", b",", b":", b"\n", b"\r\n", b"\t", b"- ", b"? ",
    b"&a ", b"*a", b"!!python/object:os.system ", b"<<: ", b"|", b">", b"%", b"#", b"\\", b"\\u",
    b"\\ud800", b"null", b"~", b"true", b"nan", b".inf", b"-1", b"0", b"1e999", b"9" * 5000,
    b"0x10", b"1_000", b"2001-99-99", b"=cmd()", b"<script>", b"\xf0\x9f\x92\xa9", b"\xd9\xa3",
    "\N{VULGAR FRACTION ONE HALF}".encode(), "\N{FULLWIDTH DIGIT FOUR}".encode(), b"4", b"4.5",
    b"/10", b"four", b"not", b"<think>", b"</think>", b"a" * 3000,
)  # fmt: skip


def _alone() -> Mapping[str, bytes]:
    return {}


@dataclass(frozen=True)
class Target:
    """One reader.

    Args:
        file: what the broken file is called, below a folder of its own.
        seeds: whole examples, or what makes them.
        read: given the broken file's path.
        injure: breaks an example without leaving its format (fuzz_grammar.py).
        around: the other files of the folder.
        whole: broken by `injure` alone. A parquet file with damaged bytes can end polars' process,
            so that one without a checksum, as only runs of old have it, is no test of ours.
        weight: how many of the inputs, against 1 for a reader of small files.
    """

    name: str
    file: str
    seeds: tuple[bytes, ...] | Callable[[], tuple[bytes, ...]]
    read: Callable[[Path], Any]
    injure: Injure | None = None
    around: Callable[[], Mapping[str, bytes]] = _alone
    weight: float = 1.0
    whole: bool = False

    @cached_property
    def examples(self) -> tuple[bytes, ...]:
        return self.seeds() if callable(self.seeds) else self.seeds

    def broken(self, random: Random) -> bytes:
        """An example after some injuries."""
        return self.injured(random.choice(self.examples), random)

    def injured(self, seed: bytes, random: Random) -> bytes:
        """A file after some injuries: half the time by its grammar, else byte by byte."""
        if self.injure is not None and (self.whole or random.random() < 0.5):
            with suppress(Exception):  # too damaged already to be taken apart
                seed = self.injure(seed, random)
            if self.whole or random.random() < 0.8:
                return seed
        return mutated(seed, (*PIECES, *self.examples), random)

    def place(self, folder: Path, data: bytes) -> Path:
        """The path of a file with `data`, the others of its folder around it."""
        path = folder / self.name / self.file
        if not path.parent.is_dir():
            for name, content in {**self.around(), self.file: b""}.items():
                (folder / self.name / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / self.name / name).write_bytes(content)
        path.write_bytes(data)
        return path


def mutated(seed: bytes, others: tuple[bytes, ...], random: Random) -> bytes:
    """`seed` after one to six random injuries; `others` lend whole pieces."""
    data = bytearray(seed)
    for _ in range(random.choice((1, 1, 2, 3, 6))):
        at = random.randrange(len(data) + 1)
        end = min(len(data), at + random.choice((1, 1, 4, 30, 300)))
        match random.randrange(8):
            case 0:
                data[at:end] = random.choice(PIECES)
            case 1:
                data[at:at] = random.choice(PIECES)
            case 2:
                del data[at:end]
            case 3:
                data[at:at] = data[at:end] * random.choice((1, 2, 20))
            case 4 if data:
                data[random.randrange(len(data))] = random.randrange(256)
            case 5:
                del data[at:]
            case 6:
                data = bytearray(_lines(bytes(data), random))
            case _:
                other = random.choice(others)
                cut = random.randrange(len(other) + 1)
                data[at:at] = other[cut : cut + 60]
    return bytes(data)


def _lines(data: bytes, random: Random) -> bytes:
    """Lines dropped, doubled, exchanged or indented."""
    lines = data.split(b"\n")
    a, b = random.randrange(len(lines)), random.randrange(len(lines))
    match random.randrange(4):
        case 0:
            del lines[a]
        case 1:
            lines.insert(b, lines[a])
        case 2:
            lines[a], lines[b] = lines[b], lines[a]
        case _:
            lines[a] = b"  " + lines[a]
    return b"\n".join(lines)
