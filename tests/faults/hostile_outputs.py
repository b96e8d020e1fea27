"""Runs of every kind in which a model, a judge or a file says what it can to do harm."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from personae import api
from personae.findings import Finding
from personae.models.protocol import Answer, ModelCard, RatingRequest, TextRequest

LONG = "long " + "a" * 10_000_000
HOSTILE = (
    "</script><script>document.title='owned'</script>"
    "<img src=x onerror=\"document.title='owned'\">",
    "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x1b[0m",
    "nul \x00 bell \x07 lone \ud800 surrogate \udfff",
    "\u202eevil\u2066 rtl \N{ZERO WIDTH SPACE}",
    "=HYPERLINK(\"http://127.0.0.1/\",\"x\")",
    "@SUM(1) `code` | [link](javascript:alert(1)) ![x](http://127.0.0.1/x)",
    LONG,
    "",
)  # fmt: skip
NAME = "<b>\x1b[31mmodel\u202e\x00</script><img src=x onerror=\"document.title='owned'\">"
# A whole document of it would be too long to look at.
SHORT = tuple(text for text in HOSTILE if text != LONG)


class Hostile:
    """Answers every question, free or on a scale, with the next of `HOSTILE`."""

    card = ModelCard(
        name=NAME, kind="planted", revision=HOSTILE[0], host=HOSTILE[1],
        details={"dtype": HOSTILE[3], "taught": HOSTILE[0]},
    )  # fmt: skip
    can = frozenset({"write", "rate"})
    exact = False

    def write(self, requests: Sequence[TextRequest]) -> Iterator[Answer]:
        for k, _ in enumerate(requests):
            yield Answer("ok", response=HOSTILE[k % len(HOSTILE)])

    def rate(
        self, requests: Sequence[RatingRequest], temperature: float | None = None
    ) -> Iterator[Answer]:
        """Every other answer is a rating, with a text beside it."""
        for k, request in enumerate(requests):
            text = HOSTILE[k // 2 % len(HOSTILE)]
            point = request.scale.points[k % len(request.scale.points)]
            failed = (Answer("transport_error", response=text),)
            yield (
                Answer("unparseable", response=text, earlier=failed)
                if k % 2
                else Answer("ok", point, response=text)
            )


ITEMS = """name: three
title: "<i>three</i>"
scale: {min: 0, max: 5}
subscales: ["<u>A</u>"]
blocks: [{id: x, stem: How far do you agree?, labels: {0: not at all, 5: fully}}]
items:
- {id: "<s>1</s>", block: x, subscale: "<u>A</u>", text: "</script><script>alert(1)</script>"}
- {id: "=2+3", block: x, subscale: "<u>A</u>", text: It shines.}
- {id: three, block: x, subscale: "<u>A</u>", text: It snows.}
"""


def audit(folder: Path) -> Path:
    """An audit, sampled: the answers are texts."""
    (folder / "three.yaml").write_text(ITEMS)
    people = [{"id": f"p{k}", "text": text} for k, text in enumerate((*SHORT[:2], *SHORT[3:6]))]
    (folder / "cast.json").write_text(json.dumps(people))
    out = folder / "audit"
    api.audit(
        Hostile(), cast=folder / "cast.json", instrument=folder / "three.yaml", suite="quick",
        repeats=2, out=out,
    )  # fmt: skip
    return out


def battery(folder: Path) -> Path:
    """Free answers, judged by a judge that is hostile itself, then by another."""
    out = folder / "battery"
    options = {"limit": 8, "samples": 1, "questions": "open"}
    run = api.run("misalignment", Hostile(), judge=Hostile(), options=options, out=out)
    second = Hostile()
    second.card = ModelCard(name=f"2 {NAME}", kind="planted", revision="2")
    api.judge(run.path, judge=second)
    return out


def latents(folder: Path) -> Path:
    """The documents of a diff, with snippets, an explanation and findings of such texts."""
    from personae.latents.documents import write_step
    from personae.report.from_latents import write_latents_report

    out = folder / "latents"
    told = [text.replace("\ud800", "").replace("\udfff", "") for text in SHORT]
    snippets = [{"before": text, "token": told[0], "after": told[3], "value": 4.2} for text in told]
    change = {"change": 0.5, "excess": 0.4, "q": 0.01}
    document = {
        "models": {"base": {"name": told[0]}, "treated": {"name": told[1]}},
        "sae": {"folder": told[0], "layer": 1}, "prompts": 12, "top": 3,
        "candidates": [
            {"latent": 3, "score": 0.4, "places": {"prompt end": 1, "answer": 2, "cosine": 3},
             "cosine": 0.7, "same_sign": [2, 3], "prompt end": change, "answer": change},
        ],
        "rankings": {"prompt end": [[3, 0.4]], "answer": [[3, 0.4]], "cosine": [[3, 0.7]]},
        "overlap": [["prompt end", "answer", 0.5, 0.6]], "snippets": {"3": snippets},
        "command": ["personae", "latents", "diff", *told],
    }  # fmt: skip
    found = [Finding("latents", "changed_latents", text, 1, n=12, method=text) for text in told]
    write_step(out, "diff", document, found)
    explained = {"directions": [], "limit": 0.25, "pairs": 9, "explanations": {"3": told[0]},
                 "explainer": told[0]}  # fmt: skip
    write_step(out, "test", explained, [])
    write_latents_report(out)
    return out


def study_file(folder: Path, model: Path) -> Path:
    """A study of a model that is there; what it is called is hostile."""
    fields: dict[str, Any] = {
        "study": "small", "title": SHORT[0] + SHORT[3], "base": str(model),
        "recipe": {"name": "quick", "title": SHORT[0]},
        "measures": {
            "preference": {"limit": 9, "triggers": {SHORT[0]: SHORT[1], SHORT[4]: SHORT[3]}},
            "moral": None, "task": None, "coherence": {"prompts": 4, "max_tokens": 6},
        },
        "arms": {"there": {"model": str(model)}},
    }  # fmt: skip
    file = folder / "study.yaml"
    file.write_text(json.dumps(fields))
    return file
