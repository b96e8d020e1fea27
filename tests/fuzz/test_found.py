"""Inputs that once ended in a traceback, each with the line that they get now."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from fuzz_mutate import Target
from fuzz_targets import TARGETS

from personae.collect.assemble import Tally
from personae.errors import PersonaeError
from personae.instruments.model import Block, Instrument, Item, Scale

BY_NAME = {target.name: target for target in TARGETS}


def whole(name: str) -> bytes:
    return BY_NAME[name].examples[0]


def edited(name: str, change: Callable[[Any], Any]) -> bytes:
    """An example that is JSON, after a change."""
    document = json.loads(whole(name))
    change(document)
    return json.dumps(document).encode()


def table(name: str, **columns: Any) -> bytes:
    """An example that is parquet, with other columns."""
    made = io.BytesIO()
    pl.read_parquet(whole(name)).with_columns(**columns).write_parquet(made)
    return made.getvalue()


def direction(**changes: Any) -> bytes:
    from safetensors.numpy import load, save

    data = whole("direction.safetensors")
    length = int.from_bytes(data[:8], "little")
    ((key, text),) = json.loads(data[8 : 8 + length])["__metadata__"].items()
    made: bytes = save(load(data), {key: json.dumps(json.loads(text) | changes)})
    return made


def states(**shapes: tuple[int, ...]) -> bytes:
    """Persona states whose arrays have other shapes."""
    from safetensors.numpy import load, save

    data = whole("states.safetensors")
    length = int.from_bytes(data[:8], "little")
    about = json.loads(data[8 : 8 + length])["__metadata__"]
    changed = {name: np.ones(shape, np.float16) for name, shape in shapes.items()}
    made: bytes = save(load(data) | changed, about)
    return made


def flat_weights() -> bytes:
    from safetensors.numpy import load, save

    tensors = load(whole("sae.weights"))
    made: bytes = save(tensors | {"W_dec": tensors["W_dec"].reshape(-1)})
    return made


def log(**metadata: Any) -> bytes:
    """A log whose samples have other metadata."""
    import zipfile

    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole("log.eval"))) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            member = json.loads(old.read(name))
            if name.startswith("samples/"):
                member["metadata"] = metadata
            new.writestr(name, json.dumps(member))
    return made.getvalue()


def organisms(share: Any) -> bytes:
    return json.dumps({"organisms": [{"model": "m", "domain": "d", "share": share}]}).encode()


# target: [(its file, words of the line)]
FOUND: dict[str, list[tuple[Callable[[], bytes], str]]] = {
    "sae.arrays": [(lambda: b"PK\x03\x04" + bytes(60), "not arrays of numbers")],
    "sae.weights": [(flat_weights, r"W_dec is \(15,\), not \[m, d\]")],
    "sae.config": [
        (lambda: edited("sae.config", lambda d: d.update({"metadata": "x"})), "metadata should be"),
        (lambda: edited("sae.config", lambda d: d.update({"k": "x"})), "k should be a whole"),
        (lambda: edited("sae.config", lambda d: d.update({"k": True})), "k should be a whole"),
    ],
    "sae.kept": [(lambda: b'{"up": [Infinity], "down": []}', "should hold lists")],
    "organisms.yaml": [(lambda: organisms([1]), "share should be a percentage")],
    "latents.document": [
        (lambda: edited("latents.document", lambda d: d.pop("findings")), "damaged"),
        (lambda: edited("latents.document", lambda d: d.update({"command": [[1]]})), "damaged"),
        (lambda: edited("latents.document", lambda d: d["findings"][0].update(x=1)), "damaged"),
    ],
    "name.model": [
        (lambda: b"~nobody-has-this-name/x", "no such file"),
        (lambda: b"a" * 3000, "no such file"),
    ],
    "name.data": [
        (lambda: b"a" * 3000, "no such file"),
        (lambda: b"mine\n.jsonl", "mine .jsonl: no such file"),
    ],
    "name.layers": [
        (lambda: "\N{SUPERSCRIPT TWO}".encode(), "layers are numbers"),
        (lambda: b"1-999999999", "layers are numbers"),
        (lambda: b"9" * 5000, "layers are numbers"),
    ],
    "name.latents": [(lambda: "\N{SUPERSCRIPT TWO}".encode(), "latents are numbers")],
    "name.samples": [(lambda: "1,\N{SUPERSCRIPT TWO}".encode(), "should be like")],
    "adapter.config": [
        (lambda: b'{"base_model_name_or_path": "%s"}' % (b"a" * 3000), "no such file"),
        (lambda: b'{"base_model_name_or_path": ["a"]}', "no configuration of a PEFT adapter"),
    ],
    "direction.safetensors": [
        (lambda: direction(details="x"), "damaged direction"),
        (lambda: direction(details={"layer": "x"}), "damaged direction"),
        (lambda: direction(norms=["x", "y"]), "damaged direction"),
    ],
    "questions.parquet": [  # polars panics
        (lambda: whole("questions.parquet")[:88] + b"\x00" + whole("questions.parquet")[89:],
         "not parquet, or damaged")
    ],
    "study.yaml": [
        (lambda: whole("study.yaml").replace(b"measures:", b"measure\t:"), "not a known field")
    ],
    "states.safetensors": [
        (lambda: states(persona_end=(2, 3)), "damaged"),
        (lambda: states(answer=(1, 2, 2, 3)), "damaged"),
    ],
    "rows.jsonl": [(lambda: whole("rows.jsonl").replace(b"hi", rb"\ud800"), "lone surrogate")],
    "samples.jsonl": [(lambda: whole("rows.jsonl").replace(b"ho", rb"\udfff"), "lone surrogate")],
    "log.eval": [(lambda: log(persona="x"), "damaged persona ratings in this log")],
    "axis.manifest": [
        (lambda: edited("axis.manifest", lambda d: d.pop("created")), "damaged manifest"),
        (lambda: edited("axis.manifest", lambda d: d["identity"].pop("verb")), "damaged manifest"),
    ],
    "audit.manifest": [
        (lambda: edited("audit.manifest", lambda d: d.update({"layouts": True})), "damaged"),
        (lambda: edited("audit.manifest", lambda d: d.update({"temperature": np.inf})), "damaged"),
    ],
    "audit.findings": [
        (lambda: table("audit.findings", scope=None), "damaged"),
        (lambda: table("audit.findings", value=pl.lit("x")), "damaged"),
    ],
    "audit.responses-cast": [
        (lambda: table("audit.responses-cast", repeat=pl.lit(None, pl.Int32)), "empty cells"),
        (lambda: table("audit.responses-cast", rating=pl.lit("x")), "a file is damaged"),
    ],
    "battery.manifest": [
        (lambda: edited("battery.manifest", lambda d: d["model"].update(details=3)), "details"),
        (lambda: edited("battery.manifest", lambda d: d["options"].pop("protocol")), "protocol"),
    ],
    "battery.responses-stage-00-00000": [
        (lambda: table("battery.responses-stage-00-00000", facets=None), "facets has empty cells"),
        (lambda: table("battery.responses-stage-00-00000", facets=pl.lit("[")), "column facets"),
    ],
    "battery.judgements-second-manifest": [
        (lambda: edited("battery.judgements-second-manifest", lambda d: d.pop("judge")), "judge"),
    ],
}  # fmt: skip
CASES = [(name, *case) for name, cases in FOUND.items() for case in cases]


@pytest.mark.parametrize(("name", "made", "words"), CASES, ids=[name for name, *_ in CASES])
def test_what_once_broke_is_one_line(
    name: str, made: Callable[[], bytes], words: str, tmp_path: Path
) -> None:
    target: Target = BY_NAME[name]
    path = target.place(tmp_path, made())
    with pytest.raises(PersonaeError, match=words) as caught:
        target.read(path)
    assert str(caught.value).isprintable()


def test_a_report_of_findings_with_other_methods_is_written(tmp_path: Path) -> None:
    target = BY_NAME["report.battery.findings"]
    target.read(target.place(tmp_path, table(target.name, method=pl.lit("by hand"))))


def test_a_report_of_findings_without_a_count_is_written(tmp_path: Path) -> None:
    target = BY_NAME["report.battery.findings"]
    few = pl.read_parquet(whole(target.name)).filter(pl.col("metric") != "answers")
    made = io.BytesIO()
    few.with_columns(value=pl.lit(3.0)).write_parquet(made)
    target.read(target.place(tmp_path, made.getvalue()))


def test_a_finding_without_a_number_is_not_a_number(tmp_path: Path) -> None:
    target = BY_NAME["report.audit.findings"]
    empty = pl.lit(None, pl.Float64)
    target.read(target.place(tmp_path, table(target.name, value=empty, low=empty, high=empty)))


def test_a_line_of_the_log_beside_an_adapter_may_be_anything(tmp_path: Path) -> None:
    from personae.api.latents_use import _loss

    for text in ("", "step,loss\n", "step\n1\n", "step,loss\n1,x\n", "loss\n\x00\n"):
        (tmp_path / "log.csv").write_text(text)
        assert np.isnan(_loss(str(tmp_path)))


def test_repeats_may_be_numbered_as_one_likes() -> None:
    """A table over repeats 0 to the largest would take 24 GB here."""
    items = tuple(Item(id=str(k), block="b", subscale="A", text="t") for k in range(3))
    block = Block(id="b", stem="s", labels={0: "no", 5: "yes"})
    asked = Instrument(name="i", scale=Scale(min=0, max=5), subscales=("A",), blocks=(block,),
                       items=items)  # fmt: skip
    repeats = [0, 1, -7, 999_999_999, 2_000_000_000, 999_999_999]
    rows = pl.DataFrame(
        {
            "panel": "cast", "persona_id": "p", "item_id": "0", "repeat": repeats, "attempt": 0,
            "status": "ok", "rating": [1, 2, 3, 4, 5, 0], "mass": None,
        },
        schema_overrides={"repeat": pl.Int32, "mass": pl.List(pl.Float64)},
    )  # fmt: skip
    tally = Tally(asked, ("p",))
    tally.add(rows)
    tally.add(rows)
    assert tally.answered == 5  # the last row is an attempt that is there already
    ratings = tally.ratings()
    assert ratings.cells[0, 0].tolist() == [0, 1, 1, 1, 1, 1]


def test_a_message_is_one_line_whatever_it_quotes() -> None:
    error = PersonaeError("a\nb\x1b[31m\u202e\ud800 " + "c" * 5000)
    assert str(error).isprintable()
    assert len(str(error)) == 1000
