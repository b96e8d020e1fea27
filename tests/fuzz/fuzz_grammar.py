"""Broken versions that are still of their format: the reader gets past the syntax.

Each function takes the bytes of a whole file and a `Random`, and gives bytes.
"""

from __future__ import annotations

import csv
import io
import json
import math
import zipfile
from collections.abc import Callable
from copy import deepcopy
from random import Random
from typing import Any

import numpy as np
import polars as pl
import yaml

Injure = Callable[[bytes, Random], bytes]

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 3, 2.5, -0.0, 1e308, math.nan, math.inf, -math.inf, 2**31, 2**63,
    10**30, "", " ", "0", "-1", "4.0", "nan", "1e999", "null", "yes", "a" * 3000, "\x00", "\ud800",
    "\u202e\u2066", "\x1b[31m", "a\nb", "{question}", "{0.__class__}", "%s", "{", "*", "..", ".",
    "../../etc/passwd", "/dev/null", "~nobody-of-this-name/x", "a/" * 300, "=cmd()", "#", "ß", "é",
    [], [[]], [None], ["a", "a"], {}, {"a": 1}, {"": None}, [{}], list(range(50)),
)  # fmt: skip
CELLS = (None, True, 0, -1, 3, 2**40, 2.5, math.nan, math.inf, "", "x", "-1", "a\x1b[31m", "{", "*")


def hostile(random: Random) -> Any:
    value = random.choice(VALUES)
    return deepcopy(value)


# --- trees (JSON, YAML) ----------------------------------------------------------------------
def tree(data: Any, random: Random) -> Any:
    """`data` after one to three injuries at random places."""
    whole = [data]
    for _ in range(random.choice((1, 1, 2, 3))):
        places = list(_places(whole))
        parent, key = random.choice(places)
        match random.randrange(7):
            case 0 | 1 | 2:
                parent[key] = hostile(random)
            case 3 if parent is not whole:
                del parent[key]
            case 4:
                other, there = random.choice(places)
                parent[key] = deepcopy(other[there])
            case 5 if isinstance(parent, dict):
                parent[str(hostile(random))] = parent.pop(key)
            case _:
                parent[key] = [parent[key]] * random.choice((1, 2, 40))
    return whole[0]


def _places(node: Any) -> Any:
    keys = list(node) if isinstance(node, dict) else range(len(node))
    for key in keys:
        yield node, key
        if isinstance(node[key], dict | list):
            yield from _places(node[key])


def document(data: bytes, random: Random) -> bytes:
    """JSON or YAML; it is written as JSON, which is YAML."""
    try:
        parsed = json.loads(data)
    except ValueError:
        parsed = yaml.load(data, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return json.dumps(tree(parsed, random), default=str).encode()


def lines(data: bytes, random: Random) -> bytes:
    """JSONL: one line's document."""
    rows = data.split(b"\n")
    at = random.randrange(len(rows))
    rows[at] = document(rows[at], random)
    return b"\n".join(rows)


# --- tables ----------------------------------------------------------------------------------
def table(data: bytes, random: Random) -> bytes:
    """CSV: cells, rows and columns."""
    rows = list(csv.reader(io.StringIO(data.decode("utf-8", "replace"))))
    for _ in range(random.choice((1, 1, 2, 4))):
        at = random.randrange(len(rows))
        cell = random.randrange(len(rows[at]) or 1)
        match random.randrange(6):
            case 0 | 1 | 2 if rows[at]:
                rows[at][cell] = str(hostile(random))
            case 3:
                rows.insert(at, list(rows[at]))
            case 4 if len(rows) > 1:
                del rows[at]
            case _:  # a column is gone
                rows = [row[:cell] + row[cell + 1 :] for row in rows]
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode("utf-8", "surrogatepass")


def parquet(data: bytes, random: Random) -> bytes:
    """Columns dropped, renamed, retyped, emptied; rows dropped and doubled."""
    if data[:4] != b"PAR1" or data[-4:] != b"PAR1":
        raise ValueError("no parquet")  # polars would panic
    frame = pl.read_parquet(data)
    for _ in range(random.choice((1, 1, 2))):
        if not frame.width:
            break
        name = random.choice(frame.columns)
        match random.randrange(8):
            case 0:
                frame = frame.drop(name)
            case 1:
                frame = frame.rename({name: f"{name}2"})
            case 2:
                kind = random.choice((pl.String, pl.Int64, pl.Float64, pl.Boolean, pl.Binary))
                frame = frame.with_columns(pl.lit(None).cast(kind).alias(name))
            case 3:
                frame = frame.with_columns(pl.lit(random.choice(CELLS)).alias(name))
            case 4:
                frame = frame.with_columns(pl.concat_list(name, name).alias(name))
            case 5:
                frame = frame.head(random.randrange(4))
            case 6:
                frame = pl.concat([frame, frame])
            case _:
                frame = frame.with_columns(pl.col(name).shuffle(random.randrange(9)))
    written = io.BytesIO()
    frame.write_parquet(written)
    return written.getvalue()


# --- arrays ----------------------------------------------------------------------------------
def arrays(tensors: dict[str, np.ndarray], random: Random) -> dict[str, np.ndarray]:
    """Tensors dropped, renamed, reshaped, retyped, or with values that are no numbers."""
    found = dict(tensors)
    for _ in range(random.choice((1, 1, 2))):
        if not found:
            break
        name = random.choice(list(found))
        value = found[name]
        match random.randrange(9):
            case 0:
                del found[name]
            case 1:
                found[random.choice(("x", "vectors", "W_dec", "direction"))] = found.pop(name)
            case 2:
                found[name] = value.reshape(-1)
            case 3:
                found[name] = value[None]
            case 4 if value.ndim:
                found[name] = value[:0]
            case 5:
                kind = random.choice((np.float16, np.float64, np.int64, np.uint8, np.bool_))
                found[name] = value.astype(kind)
            case 6:
                found[name] = np.full_like(value, random.choice((0, 1e30, np.nan, np.inf)))
            case 7:
                found[name] = np.float32(random.choice((0, 1, -5)))[()] * np.ones(())
            case _:
                found[name] = np.concatenate([value, value]) if value.ndim else value
    return found


def safetensors(data: bytes, random: Random) -> bytes:
    """Tensors as `arrays`; or the header's metadata, whose texts may be JSON themselves."""
    from safetensors.numpy import load, save

    tensors = load(data)
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    about = dict(header.get("__metadata__", {}))
    if about and random.random() < 0.6:
        key = random.choice(list(about))
        about[key] = document(about[key].encode(), random).decode("utf-8", "replace")
        if random.random() < 0.1:
            about[random.choice(("x", "format"))] = about.pop(key)
    elif random.random() < 0.2:
        header = json.dumps(tree(header, random)).encode()
        return len(header).to_bytes(8, "little") + header + data[8 + length :]
    else:
        with np.errstate(all="ignore"):
            tensors = arrays(tensors, random)
    made: bytes = save({k: np.ascontiguousarray(v) for k, v in tensors.items()}, about or None)
    return made


def npz(data: bytes, random: Random) -> bytes:
    with np.load(io.BytesIO(data)) as stored, np.errstate(all="ignore"):
        found = arrays(dict(stored), random)
    made = io.BytesIO()
    np.savez(made, **found)
    return made.getvalue()


# --- archives --------------------------------------------------------------------------------
def zipped(data: bytes, random: Random) -> bytes:
    """A zip file of JSON documents: one of them injured, or gone, and all written anew."""
    with zipfile.ZipFile(io.BytesIO(data)) as stored:
        members = {name: stored.read(name) for name in stored.namelist()}
    name = random.choice(list(members))
    if random.random() < 0.05:
        del members[name]
    else:
        members[name] = document(members[name], random)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as out:
        for member, content in members.items():
            out.writestr(member, content)
    return made.getvalue()
