"""Directions on disk: our own files, bare arrays, and GGUF control vectors. Never a pickle.

own         .safetensors, tensor "vectors" [layers, d], everything else as JSON in its header
bare        .npy or .safetensors, one array [L+1, d]. Published persona vectors count the embedding
            as row 0; it is dropped, and row l+1 becomes layer l. (`first_row="block"`: [L, d].)
GGUF        control vectors of llama.cpp and repeng: tensors direction.N [d]. N is the block whose
            output the vector is added to, counted from 0, so nothing is shifted. llama.cpp takes
            no direction.0.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from personae.errors import PersonaeError
from personae.files import is_file, one_line, parse_json
from personae.internals.direction import HOOK, Direction

if TYPE_CHECKING:
    import torch

SCHEMA = 1
KEY = "personae.direction"
FirstRow = Literal["embedding", "block"]


class _Fields(BaseModel):
    """What the header of our own files holds."""

    model_config = ConfigDict(extra="forbid")

    name: str
    layers: tuple[int, ...]
    pooling: str = ""
    model: str = ""
    revision: str = ""
    data_hash: str = ""
    norms: tuple[float, ...] = ()
    gaps: tuple[float, ...] = ()
    hook: str = HOOK
    details: dict[str, Any] = {}


def save_direction(direction: Direction, path: Path | str) -> None:
    """Write a direction as one safetensors file.

    Raises:
        PersonaeError: the file cannot be written.
    """
    from safetensors.torch import save_file

    about = {f.name: getattr(direction, f.name) for f in fields(direction) if f.name != "vectors"}
    text = json.dumps({"schema": SCHEMA, **about}, sort_keys=True)
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        save_file({"vectors": direction.vectors.float().contiguous()}, str(path), {KEY: text})
    except OSError as why:
        raise PersonaeError(f"{path}: cannot be written ({why.strerror or why})") from None


def load_direction(path: Path | str, first_row: FirstRow = "embedding") -> Direction:
    """Read a direction of any of the formats above.

    Args:
        first_row: what row 0 of a bare array is.

    Raises:
        PersonaeError: no such file, a pickle, or nothing that is a direction.
    """
    path = Path(path)
    if not is_file(path):
        raise PersonaeError(f"{one_line(path, 200)}: no such file")
    if path.suffix == ".gguf":
        return _from_gguf(path)
    if path.suffix == ".npy":
        return _bare(path, _read_npy(path), first_row)
    if path.suffix == ".safetensors":
        return _from_safetensors(path, first_row)
    raise PersonaeError(
        f"{path}: pickled tensors (.pt) can run code and are never loaded; convert the file where "
        "you trust it: numpy.save('v.npy', torch.load('v.pt', weights_only=True).float().numpy())"
    )


def export_gguf(direction: Direction, path: Path | str) -> None:
    """Write a GGUF control vector.

    Raises:
        PersonaeError: the direction has layer 0, which llama.cpp does not take.
    """
    from gguf import GGUFWriter

    if 0 in direction.layers:
        raise PersonaeError(
            f"direction {direction.name}: GGUF control vectors have no layer 0; "
            "export direction.at(direction.layers[1:])"
        )
    writer = GGUFWriter(str(path), "controlvector")
    writer.add_string("controlvector.model_hint", direction.details.get("model_type", ""))
    writer.add_uint32("controlvector.layer_count", len(direction.layers))
    writer.add_name(direction.name)
    for layer, vector in zip(direction.layers, direction.vectors, strict=True):
        writer.add_tensor(f"direction.{layer}", vector.float().numpy())
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    except OSError as why:
        raise PersonaeError(f"{path}: cannot be written ({why.strerror or why})") from None
    finally:
        writer.close()


def _from_safetensors(path: Path, first_row: FirstRow) -> Direction:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), "pt") as stored:
            header = stored.metadata() or {}
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as why:
        raise PersonaeError(f"{path}: not a safetensors file ({why})") from None
    if KEY in header:
        return _own(path, parse_json(header[KEY], str(path)), tensors)
    if len(tensors) != 1:
        raise PersonaeError(f"{path}: {len(tensors)} tensors; a bare direction is one [L+1, d]")
    return _bare(path, next(iter(tensors.values())), first_row)


def _own(path: Path, about: Any, tensors: dict[str, torch.Tensor]) -> Direction:
    try:
        if about.pop("schema") != SCHEMA:
            raise PersonaeError(f"{path}: written by another version of personae")
        about |= {k: tuple(about[k]) for k in ("layers", "norms", "gaps")}
        fields = _Fields.model_validate(about).model_dump()
        if not isinstance(fields["details"].get("layer", 0), int):
            raise TypeError("its layer is no number")
        return Direction(vectors=tensors["vectors"].float(), **fields)
    except (AttributeError, KeyError, TypeError, ValidationError) as why:
        raise PersonaeError(f"{path}: a damaged direction ({one_line(why)})") from None


def _read_npy(path: Path) -> torch.Tensor:
    import numpy as np
    import torch

    try:
        with np.errstate(over="ignore"):  # infinite values are refused with a line
            return torch.from_numpy(np.load(path, allow_pickle=False).astype(np.float32))
    except Exception as why:  # numpy raises many kinds
        raise PersonaeError(f"{path}: not an array of numbers ({one_line(why)})") from None


def _bare(path: Path, values: torch.Tensor, first_row: FirstRow) -> Direction:
    if values.ndim != 2 or len(values) < 2:
        raise PersonaeError(f"{path}: {tuple(values.shape)} is not [L+1, d]")
    vectors = values.float()[1:] if first_row == "embedding" else values.float()
    return Direction(path.stem, tuple(range(len(vectors))), vectors, details={"file": path.name})


def _from_gguf(path: Path) -> Direction:
    import numpy as np
    import torch
    from gguf import GGUFReader

    try:
        reader = GGUFReader(str(path))
        rows = {
            int(t.name.removeprefix("direction.")): np.array(t.data, dtype=np.float32)
            for t in reader.tensors
            if t.name.startswith("direction.")
        }
        about = {
            key: str(field.contents())
            for key in ("controlvector.model_hint", "general.name")
            if (field := reader.get_field(key))
        }
    except Exception as why:  # the reader trusts its file and raises many kinds
        raise PersonaeError(f"{path}: not a GGUF control vector ({why})") from None
    if not rows or len({row.shape for row in rows.values()}) != 1:
        raise PersonaeError(f"{path}: holds no tensors direction.N of one length")
    hint = about.get("controlvector.model_hint")
    details = {"model_type": hint} if hint else {}
    layers = tuple(sorted(rows))
    vectors = torch.from_numpy(np.stack([rows[layer] for layer in layers]))
    return Direction(about.get("general.name", path.stem), layers, vectors, details=details)


def describe(direction: Direction) -> dict[str, Any]:
    """A direction as JSON, without its values but with their lengths."""
    about = {k: v for k, v in asdict(direction).items() if k != "vectors"}
    return about | {
        "width": direction.vectors.shape[1],
        "lengths": [float(v) for v in direction.vectors.double().norm(dim=1)],
        "hash": direction.hash,
    }
