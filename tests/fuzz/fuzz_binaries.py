"""Readers of tensors, dictionaries, interventions, adapters and Inspect logs."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_grammar import document, npz, safetensors, zipped
from fuzz_mutate import Target

from personae.collect.eval_log import imported, read_log
from personae.internals.axis_folder import AxisFolder
from personae.internals.direction_files import describe, load_direction
from personae.internals.intervention_files import load_interventions
from personae.internals.persona_states import load_states
from personae.latents.documents import all_findings
from personae.latents.files import load_sae
from personae.models.source import resolve
from personae.report.from_latents import latents_report_data
from personae.training.blockem import read_kept


def written(name: str, write: Callable[[Path], Any]) -> bytes:
    """The file that `write` makes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write(path)
        return path.read_bytes()


# --- directions ------------------------------------------------------------------------------
@cache
def own_direction() -> bytes:
    import torch

    from personae.internals.direction import Direction
    from personae.internals.direction_files import save_direction

    made = Direction(
        "kind", (1, 2), torch.ones(2, 4), "mean", "tiny", "r", "h", (1.0, 2.0), (0.5, 0.5),
        details={"layer": 1},
    )  # fmt: skip
    return written("v.safetensors", lambda path: save_direction(made, path))


def bare_directions() -> tuple[bytes, ...]:
    from safetensors.numpy import save

    return own_direction(), save({"v": np.ones((3, 4), np.float32)})


def npy() -> tuple[bytes, ...]:
    made = io.BytesIO()
    np.save(made, np.ones((3, 4)))
    return (made.getvalue(),)


def gguf() -> tuple[bytes, ...]:
    from personae.internals.direction_files import export_gguf

    def write(path: Path) -> None:
        source = path.with_suffix(".safetensors")
        source.write_bytes(own_direction())
        export_gguf(load_direction(source), path)

    return (written("v.gguf", write),)


def _direction(path: Path) -> None:
    found = load_direction(path)
    json.dumps(describe(found)).encode("utf-8")


def _interventions(path: Path) -> None:
    for one in load_interventions(path.parent / "i.json"):
        list(one.edits())
        one.parameters()


STEER = json.dumps(
    {
        "interventions": [
            {"kind": "ablate", "direction": "v.safetensors", "layers": [1]},
            {"kind": "cap", "bound": "floor", "direction": "v.safetensors", "tau": {"1": 2.0}},
            {"kind": "steer", "direction": "v.safetensors", "dose": 0.1, "per": "norm"},
        ]
    }
).encode()


def _states() -> tuple[bytes, ...]:
    from personae.internals.persona_states import PersonaStates, save_states

    ones = np.ones((2, 2, 3), np.float32)
    about = {"schema": 1, "layers": [0, 1], "model": "m"}
    made = PersonaStates(("a", "b"), ("A", "B"), (0, 1), ones, ones[:, None].repeat(2, 1), about)
    return (written("states.safetensors", lambda path: save_states(made, path)),)


def _read_states(path: Path) -> None:
    found = load_states(path)
    for layer in found.layers:
        found.cloud("persona end", layer)
        found.cloud("answer", layer)
        found.folds(layer)
    found.of(found.personas[:1])


# --- dictionaries ----------------------------------------------------------------------------
@cache
def dictionary() -> dict[str, bytes]:
    import torch

    from personae.latents.files import save_sae
    from personae.latents.sae import SAE

    weights = {"W_enc": torch.ones(3, 5), "b_enc": torch.zeros(5), "b_dec": torch.zeros(3)}
    made = SAE("topk", W_dec=torch.ones(5, 3), layer=1, k=2, **weights)
    with tempfile.TemporaryDirectory() as folder:
        save_sae(made, folder)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def _configs() -> tuple[bytes, ...]:
    config = json.loads(dictionary()["cfg.json"])
    old = {"architecture": "standard", "hook_point": "blocks.1.hook_resid_pre", "d_in": 3,
           "d_sae": 5, "activation_fn_str": "relu", "normalize_activations": "none",
           "apply_b_dec_to_input": False, "activation_fn_kwargs": {"k": 2},
           "finetuning_scaling_factor": False, "rescale_acts_by_decoder_norm": True}  # fmt: skip
    return json.dumps(config).encode(), json.dumps(old).encode()


def _arrays() -> tuple[bytes, ...]:
    made = io.BytesIO()
    np.savez(
        made, W_enc=np.ones((3, 5)), b_enc=np.zeros(5), W_dec=np.ones((5, 3)), b_dec=np.zeros(3),
        threshold=np.ones(5),
    )  # fmt: skip
    return (made.getvalue(),)


def _sae(path: Path) -> None:
    import torch

    found = load_sae(path.parent)
    json.dumps(dict(found.about)).encode("utf-8")
    assert found.hash
    state = torch.ones(1, found.W_dec.shape[1])
    found.reconstruct(state)


def _latents_document() -> tuple[bytes, ...]:
    from personae.findings import Finding

    finding = asdict(Finding("latents", "loss", "held out", 0.5, n=3)) | {"low": None}
    document = {
        "sae": {"folder": "d", "hash": "h", "layer": 1}, "findings": [finding],
        "models": {"base": {"name": "b", "revision": "r"}}, "command": ["personae", "latents"],
        "seed": 0, "limit": None,
    }  # fmt: skip
    return (json.dumps(document).encode(),)


def _latents(path: Path) -> None:
    all_findings(path.parent)
    latents_report_data(path.parent)


# --- axis folders, adapters ------------------------------------------------------------------
def _axis_around() -> dict[str, bytes]:
    manifest = {"kind": "axis", "identity": {"verb": "fit", "model": "m", "model revision": "r"},
                "created": "2026-01-01", "versions": {}, "command": []}  # fmt: skip
    return {"manifest.json": json.dumps(manifest).encode(), "responses/x.txt": b""}


def _tensors() -> tuple[bytes, ...]:
    from safetensors.numpy import save

    return (save({"states": np.ones((2, 3), np.float32)}, {"role": "cat"}),)


def _axis_tensors(path: Path) -> None:
    AxisFolder.open(path.parents[1]).read_tensors("cat")


# --- Inspect logs ----------------------------------------------------------------------------
@cache
def logs() -> tuple[bytes, ...]:
    """An exported run; and the same without the run's manifest, as the task writes it."""
    import sys

    sys.path.insert(0, str(Path(__file__).parents[1]))
    from personae import api
    from personae.collect.eval_log import MANIFEST_KEY, write_log
    from planted_runs import answers, spread_means, write_run

    def write(path: Path) -> None:
        ratings = answers(spread_means(2, 3), 1, 1)
        run = write_run(path.parent / "run", {"cast": ratings, "self": ratings[:1]})
        run.write_findings([])
        write_log(api.load_run(run.path), path)  # type: ignore[arg-type]

    import zipfile

    whole = written("log.eval", write)
    bare = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(bare, "w") as new:
        for name in old.namelist():
            member = json.loads(old.read(name))
            if isinstance(member, dict) and isinstance(member.get("eval"), dict):
                member["eval"]["metadata"].pop(MANIFEST_KEY)
            new.writestr(name, json.dumps(member))
    return whole, bare.getvalue()


def _log(path: Path) -> None:
    found = read_log(path)
    imported(found, path, None)


def _sae_beside(name: str) -> Callable[[], dict[str, bytes]]:
    return lambda: {k: v for k, v in dictionary().items() if k != name}


BINARIES = (
    Target("direction.safetensors", "v.safetensors", bare_directions, _direction, safetensors),
    Target("direction.npy", "v.npy", npy, _direction),
    Target("direction.gguf", "v.gguf", gguf, _direction, weight=0.5),
    Target("interventions.json", "i.json", (STEER,), _interventions, document,
           lambda: {"v.safetensors": own_direction()}),
    Target("interventions.direction", "v.safetensors", lambda: (own_direction(),),
           _interventions, safetensors,
           lambda: {"i.json": STEER}),
    Target("states.safetensors", "states.safetensors", _states, _read_states, safetensors),
    Target("axis.tensors", "activations/cat.safetensors", _tensors, _axis_tensors, safetensors,
           _axis_around),
    Target("sae.config", "cfg.json", _configs, _sae, document, _sae_beside("cfg.json")),
    Target("sae.weights", "sae_weights.safetensors",
           lambda: (dictionary()["sae_weights.safetensors"],), _sae, safetensors,
           _sae_beside("sae_weights.safetensors")),
    Target("sae.arrays", "layer_1/params.npz", _arrays, _sae, npz),
    Target("sae.kept", "latents.json", (b'{"up": [1, 2], "down": [3], "level": 0.1}',),
           lambda path: read_kept(path.parent), document),
    Target("latents.document", "diff.json", _latents_document, _latents, document),
    Target("adapter.config", "adapter_config.json",
           (b'{"base_model_name_or_path": "org/name", "peft_type": "LORA", "r": 8}',),
           lambda path: resolve(str(path.parent)), document,
           lambda: {"adapter_model.safetensors": b"weights"}),
    Target("log.eval", "log.eval", logs, _log, zipped, weight=0.25),
)  # fmt: skip
