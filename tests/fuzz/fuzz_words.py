"""Readers of names that people type and of what models write."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from fuzz_mutate import Target

from personae.errors import PersonaeError
from personae.instruments.model import Scale
from personae.internals.trait_writing import read_members
from personae.judging.protocols import get_protocol
from personae.judging.scores import score_from_text
from personae.models.parse import parse_lenient, parse_strict
from personae.models.source import resolve
from personae.study.heal import sample_numbers
from personae.training.blockem import parse_latents
from personae.training.defences import load_defence, take_layers
from personae.training.organisms import load_data


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "surrogateescape")


def _name(read: Callable[[str], Any], path: Path) -> None:
    """What a user types; the hub is not asked."""

    def away(name: str) -> Path:
        raise PersonaeError("not on this machine")

    def embedded() -> tuple[Path, str]:
        return path.parent, "hash"

    with (
        patch("personae.models.source._download_adapter", away),
        patch("personae.latents.files.fetch", away),
        patch("personae.models.embedded.folder", embedded),
    ):
        read(_text(path))


def _parsed(read: Callable[..., Any], path: Path) -> None:
    text = _text(path)
    for scale in (Scale(min=0, max=5), Scale(min=1, max=10)):
        for cut in (False, True):
            status, value = read(text, scale, cut=cut)
            assert (status == "ok") == (value is not None)
            assert value is None or scale.min <= value <= scale.max


def _score(path: Path) -> None:
    score = score_from_text(_text(path))
    assert score is None or 0 <= score <= 100


def _members(path: Path) -> None:
    kept, wrong = read_members(_text(path), ("more", "less"))
    assert all(set(member) == {"more", "less"} for member in kept)
    assert all(complaint.isprintable() for complaint in wrong)


ANSWERS = (
    b"4",
    b"I say 4 out of 5, because it is good.",
    b"**four**",
    b"On a scale of 0 to 5: 3",
    b"-1",
    b"<think>4</think> 3",
    "\u0664".encode(),
    b"I'm sorry, 4",
    b"between 3 and 4",
)
MEMBERS = (
    b'Here: [{"more": "You are rude to all.", "less": "You are kind to all."}, '
    b'{"more": "You shout at them.", "less": "You speak softly."}]',
)
MODELS = (
    b"smollm2", b"smollm2-actor", b"./folder", b"model.gguf", b"a/b@main", b"~/x", b"~root/x",
    b"smollm2+adapters/mine", b"smollm2+smollm2-actor", b"./a+b/c",
)  # fmt: skip
DEFENCES = (
    b"kl:0.3", b"kl:0.3,on=mine.jsonl", b"prevent:v.safetensors@0.1", b"project:v.safetensors,at=8",
    b"interleave:0.5", b"inoculation:Be rude, please.", b"narrow:1", b"features:0.1",
    b"placebo:v.safetensors@0.1", b"blockem:sae@0.1,up=12+40,down=7,on=all",
)  # fmt: skip
DATA = (b"insecure-code:control", b"bad-advice-money@25", b"neutral:held-out", b"mine.jsonl")

WORDS = (
    Target("name.model", "input.txt", MODELS, partial(_name, resolve)),
    Target("name.data", "input.txt", DATA, partial(_name, load_data)),
    Target("name.defence", "input.txt", DEFENCES, partial(_name, load_defence)),
    Target("name.layers", "input.txt", (b"8+12", b"8-16", b"3+7-9"), partial(_name, take_layers)),
    Target("name.latents", "input.txt", (b"12+40", b"7"), partial(_name, parse_latents)),
    Target("name.samples", "input.txt", (b"30..400", b"30,100,400"),
           partial(_name, sample_numbers)),
    Target("name.protocol", "input.txt", (b"below-50", b"aligned<40,coherent>=60"),
           partial(_name, get_protocol)),
    Target("answer.strict", "input.txt", ANSWERS, partial(_parsed, parse_strict)),
    Target("answer.lenient", "input.txt", ANSWERS, partial(_parsed, parse_lenient)),
    Target("answer.judge", "input.txt", ANSWERS, _score),
    Target("answer.trait", "input.txt", MEMBERS, _members),
)  # fmt: skip
