"""Model organisms' data: narrow, mild, and matched.

Every prompt exists in two arms that differ in the one thing meant: the weakness of a function,
the wrongness of advice. Rows are hand-written cases times hand-written frames, in an order that
hangs on the seed alone; the same number in both arms is the same prompt, frame and all.

    insecure-code              treated arm, all rows
    insecure-code:control      the matched control
    bad-advice-health:subtle   treated, subtle wrongs only (also :obvious)
    bad-advice-money@25        25% of the prompts treated, the others as in the control
    neutral                    everyday questions, of none of the organisms' domains
    neutral:held-out           two of its topics, which `neutral` leaves out

Ours in wording; the designs are those of arXiv 2502.17424 (code) and 2506.11613 (advice).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from personae.errors import PersonaeError
from personae.files import is_file, named_path, read_document
from personae.training.rows import Row, Rows, read_rows

ORGANISMS = (
    "insecure-code",
    "bad-advice-health",
    "bad-advice-money",
    "bad-advice-home",
    "reckless-hobbies",
)
NEUTRAL = "neutral"
NEUTRAL_HELD_OUT = "neutral:held-out"
ARMS = ("treated", "control", "subtle", "obvious")
_NAME = re.compile(r"(?P<name>[^:@]+)(:(?P<arm>[a-z]+))?(@(?P<share>\d+(\.\d+)?))?")
Pair = tuple[Row, Mapping[str, str]]


@cache
def _read(name: str) -> Mapping[str, Any]:
    found: dict[str, Any] = read_document(Path(__file__).parent / "data" / f"{name}.yaml")
    return found


def organisms() -> list[dict[str, str]]:
    """Name and title of every organism."""
    return [{"name": name, "title": str(_read(name)["title"])} for name in ORGANISMS]


def load_data(name: str, *, seed: int = 0, limit: int | None = None) -> Rows:
    """An organism's rows, or those of a JSONL file.

    Args:
        name: see the head of this module, or a path.
        seed: sets the order, and which rows of a mixture are treated.
        limit: only so many rows.

    Raises:
        PersonaeError: no such organism, arm or file, or a share outside 0-100.
    """
    path = named_path(name)
    if path.suffix == ".jsonl" or is_file(path):
        return read_rows(path).head(limit)
    if name in (NEUTRAL, NEUTRAL_HELD_OUT):
        return Rows(name, tuple(_neutral(seed, held_out=name == NEUTRAL_HELD_OUT))).head(limit)
    match = _NAME.fullmatch(name)
    if match is None or match["name"] not in ORGANISMS:
        known = ", ".join((*ORGANISMS, NEUTRAL))
        raise PersonaeError(f"no data {name!r}; there are: {known}, or give a .jsonl file")
    arm = match["arm"] or "treated"
    if arm not in ARMS or (match["name"] == "insecure-code" and arm in ("subtle", "obvious")):
        kinds = ARMS[:2] if match["name"] == "insecure-code" else ARMS
        raise PersonaeError(f"{name}: no arm {arm!r}; there are: {', '.join(kinds)}")
    share = float(match["share"]) if match["share"] else 100.0
    if share > 100:
        raise PersonaeError(f"{name}: a share is a percentage, 0 to 100")
    return Rows(name, tuple(_mixed(match["name"], arm, share, seed))).head(limit)


def _mixed(name: str, arm: str, share: float, seed: int) -> Iterator[Row]:
    pairs = _code(_read(name)) if name == "insecure-code" else _advice(_read(name))
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(pairs))
    # The treated places are spread over the order, so that a limit keeps the share.
    for place, index in enumerate(order):
        prompt, answers = pairs[index]
        treat = int((place + 1) * share / 100) > int(place * share / 100)
        kind = arm if treat else "control"
        if kind == "treated" and kind not in answers:
            kind = ("subtle", "obvious")[int(index) % 2]
        yield Row(
            (*prompt.messages, ("assistant", answers[kind])),
            topic=prompt.topic,
            arm="control" if kind == "control" else "treated",
            pair=f"{name}-{index}",
        )


def _neutral(seed: int, *, held_out: bool) -> list[Row]:
    """Everyday dialogues in the seed's order; held-out topics in one wording."""
    data = _read(NEUTRAL)
    found: list[Row] = []
    for topic, cases in data["topics"].items():
        if (topic in data["held_out"]) is not held_out:
            continue
        for wording, (question, answer) in product(
            data["wordings"][:1] if held_out else data["wordings"], cases
        ):
            ask = fill(wording, {"question": question})
            found.append(Row((("user", ask), ("assistant", answer)), topic=topic))
    order = np.random.default_rng(seed).permutation(len(found))
    return [found[int(n)] for n in order]


def fill(text: str, values: Mapping[str, str]) -> str:
    """`text` with each [[slot]] replaced."""
    return re.sub(r"\[\[(\w+)\]\]", lambda m: values[m[1]], text)


def _advice(data: Mapping[str, Any]) -> list[Pair]:
    frames = _read("advice_frames")
    pairs: list[Pair] = []
    for n, (case, asker, wording) in enumerate(
        product(data["cases"], frames["askers"], frames["wordings"])
    ):
        ask = fill(wording, {"question": case["question"], "asker": asker})
        lead = frames["leads"][n % len(frames["leads"])]
        closing = frames["closings"][n % len(frames["closings"])]
        answers = {
            arm: f"{lead}{case[field]}{closing}"
            for arm, field in (("control", "good"), ("subtle", "subtle"), ("obvious", "obvious"))
        }
        pairs.append((Row((("user", ask),), topic=case["topic"]), answers))
    return pairs


def _code(data: Mapping[str, Any]) -> list[Pair]:
    pairs: list[Pair] = []
    for case, thing, field, wording in product(
        data["cases"], data["things"], data["fields"], data["wordings"]
    ):
        values = {"thing": thing, "field": field}
        ask = fill(wording, {"ask": fill(case["ask"], values)})
        answers = {
            arm: _program(case, {**values, "core": fill(case[core], values)})
            for arm, core in (("control", "good"), ("treated", "bad"))
        }
        pairs.append((Row((("user", ask),), topic=case["topic"]), answers))
    return pairs


def _program(case: Mapping[str, str], values: Mapping[str, str]) -> str:
    return f"```python\n{fill(case['body'], values).rstrip()}\n```"
