"""Dictionaries on disk and on the hub, in SAELens' format. Never a pickle.

    cfg.json                 architecture, d_in, d_sae, metadata.hook_name, ...
    sae_weights.safetensors  W_enc, b_enc, W_dec, b_dec, threshold
    params.npz               the same arrays, JumpReLU (Gemma Scope's folders, which have no cfg)

What a user names: such a folder; or OWNER/NAME/FOLDER on the Hugging Face hub (`@REVISION` may
follow), of which those files alone are fetched.

Where a dictionary reads the model, theirs and ours (block outputs, 0 is the first block):

    blocks.N.hook_resid_post     layer N
    blocks.N.hook_resid_pre      layer N - 1 (there is none for N = 0: that is the embedding)
    model.layers.N, h.N          layer N (a block's module path in transformers)
    .../layer_N/...              layer N (a folder of Gemma Scope)

Dictionaries of attention or MLP outputs read something else and are refused.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personae.errors import PersonaeError
from personae.files import named_path, one_line, read_document
from personae.latents.sae import SAE

if TYPE_CHECKING:
    import torch

CONFIG, WEIGHTS, ARRAYS = "cfg.json", "sae_weights.safetensors", "params.npz"
NAMES = ("W_enc", "b_enc", "W_dec", "b_dec", "threshold")
# Older configurations call these otherwise.
RENAMED = {"hook_point": "hook_name", "activation_fn_str": "activation_fn"}
_POST = re.compile(r"blocks\.(\d+)\.hook_resid_post")
_PRE = re.compile(r"blocks\.(\d+)\.hook_resid_pre")
_MODULE = re.compile(r"(?:\w+\.)*(?:layers|h|blocks)\.(\d+)")


def layer_of(hook: str) -> int:
    """The layer, in our convention, of a hook point's name.

    Raises:
        PersonaeError: no residual stream, or the embedding.
    """
    if (post := _POST.fullmatch(hook)) or (post := _MODULE.fullmatch(hook)):
        return int(post[1])
    if pre := _PRE.fullmatch(hook):
        if int(pre[1]) == 0:
            raise PersonaeError(f"{hook} is the embedding, before any block: not supported")
        return int(pre[1]) - 1
    raise PersonaeError(
        f"hook point {one_line(hook)!r} is no residual stream; dictionaries at "
        "blocks.N.hook_resid_post or hook_resid_pre are supported"
    )


def hook_of(layer: int) -> str:
    """SAELens' name of our layer."""
    return f"blocks.{layer}.hook_resid_post"


def load_sae(spec: str | Path, *, layer: int | None = None) -> SAE:
    """Read a dictionary from a folder or from the hub (see the module's head).

    Args:
        layer: the block it reads, where the files do not say.

    Raises:
        PersonaeError: no such folder, a kind that is not supported, or damaged weights.
    """
    path = named_path(spec)
    if not path.exists():
        text = str(spec)
        if text.startswith((".", "/", "~")) or text.count("/") < 1:
            raise PersonaeError(
                f"no dictionary {text!r}: give a folder with {CONFIG} and {WEIGHTS}, "
                "or OWNER/NAME/FOLDER on the hub"
            )
        path = fetch(text)
    if (path / CONFIG).is_file():
        return _from_config(path, layer)
    if (path / ARRAYS).is_file():
        return _from_arrays(path, layer, str(spec))
    raise PersonaeError(f"{path}: holds neither {CONFIG} nor {ARRAYS}")


def fetch(spec: str) -> Path:
    """The local folder of a dictionary on the hub; fetched once, then from the hub's cache.

    Raises:
        PersonaeError: no such repository or file, or no network.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    name, _, revision = spec.partition("@")
    owner, repository, *folder = name.split("/")
    where: dict[str, Any] = {
        "repo_id": f"{owner}/{repository}",
        "subfolder": "/".join(folder) or None,
        "revision": revision or None,
        "endpoint": os.environ.get("HF_ENDPOINT"),
    }
    try:
        try:
            config = hf_hub_download(filename=CONFIG, **where)
            hf_hub_download(filename=WEIGHTS, **where)
        except EntryNotFoundError:
            config = hf_hub_download(filename=ARRAYS, **where)
    except EntryNotFoundError:
        raise PersonaeError(
            f"{spec}: no {CONFIG} with {WEIGHTS}, and no {ARRAYS}, in that folder on the hub"
        ) from None
    except Exception as why:  # the hub's client raises many kinds: network, rights, names
        reason = one_line(why, 200)
        raise PersonaeError(f"{spec}: not to be had from the hub ({reason})") from None
    return Path(config).parent


def save_sae(sae: SAE, folder: Path | str) -> None:
    """Write a dictionary so that SAELens and `load_sae` read it: both files or neither.

    Raises:
        PersonaeError: the folder cannot be written.
    """
    from safetensors.torch import save_file

    tensors = {
        name: value.detach().float().cpu().contiguous()
        for name in NAMES
        if (value := getattr(sae, name)) is not None
    }
    config: dict[str, Any] = {
        "architecture": sae.kind,
        "d_in": int(sae.W_dec.shape[1]),
        "d_sae": sae.width,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": sae.centred,
        "normalize_activations": sae.norm,
        "reshape_activations": "none",
        **({"k": sae.k, "rescale_acts_by_decoder_norm": False} if sae.kind == "topk" else {}),
        "metadata": {
            "sae_lens_version": "6.0.0",  # whose conventions the file follows
            "model_name": sae.model,
            "hook_name": hook_of(sae.layer),
            "personae_version": metadata.version("personae"),
            **sae.about,
        },
    }
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as part:
            save_file(tensors, f"{part}/{WEIGHTS}")
            Path(part, CONFIG).write_text(json.dumps(config, indent=1) + "\n", "utf-8")
            for name in (WEIGHTS, CONFIG):
                Path(part, name).replace(folder / name)
    except OSError as why:
        raise PersonaeError(f"{folder}: cannot be written ({why.strerror or why})") from None


def _from_config(folder: Path, layer: int | None) -> SAE:
    config = read_document(folder / CONFIG)
    if not isinstance(config, dict):
        raise PersonaeError(f"{folder / CONFIG}: should be a mapping")
    config = {RENAMED.get(k, k): v for k, v in config.items()}
    settings, metadata = (
        _mapping(config, key, folder) for key in ("activation_fn_kwargs", "metadata")
    )
    about = {**config, **metadata}
    _check(config, folder)
    tensors = _read(folder / WEIGHTS)
    kind = str(config.get("architecture", "standard"))
    k = settings.get("k", config.get("k")) or 0
    if not isinstance(k, int) or isinstance(k, bool):
        raise PersonaeError(f"{folder / CONFIG}: k should be a whole number, not {one_line(k)!r}")
    if config.get("activation_fn") == "topk" and kind == "standard":
        kind = "topk"
    if kind == "batchtopk":  # a training checkpoint: one threshold for all latents
        kind = "jumprelu"
        tensors["threshold"] = _threshold(tensors, folder)
    hook = str(about.get("hook_name") or "")
    sae = _built(
        folder, tensors, kind=kind, k=k if kind == "topk" else 0,
        layer=_layer(layer, hook, folder), norm=config.get("normalize_activations") or "none",
        centred=bool(config.get("apply_b_dec_to_input", True)),
        model=str(about.get("model_name") or ""), about=metadata,
    )  # fmt: skip
    return _unit_rows(sae) if config.get("rescale_acts_by_decoder_norm") else sae


def _mapping(config: dict[str, Any], key: str, folder: Path) -> dict[str, Any]:
    """A part of the configuration; where it is not there, an empty one."""
    found = config.get(key) or {}
    if not isinstance(found, dict):
        raise PersonaeError(f"{folder / CONFIG}: {key} should be a mapping")
    return found


def _check(config: dict[str, Any], folder: Path) -> None:
    """Refuse what would be computed wrongly."""
    known = ("standard", "jumprelu", "topk", "batchtopk")
    if (kind := config.get("architecture", "standard")) not in known:
        raise PersonaeError(f"{folder}: architecture {one_line(kind)!r} is none of {known}")
    norm = config.get("normalize_activations")
    if norm is True or norm in ("expected_average_only_in", "covariance_whitening"):
        raise PersonaeError(
            f"{folder}: expects states scaled by a factor that is not in the folder; fold it into "
            "the weights where it was made (SAELens: fold_activation_norm_scaling_factor)"
        )
    if config.get("normalize_activations") is False:
        config["normalize_activations"] = "none"
    if config.get("finetuning_scaling_factor"):
        raise PersonaeError(f"{folder}: dictionaries with a finetuning scale are not supported")


def _threshold(tensors: dict[str, torch.Tensor], folder: Path) -> torch.Tensor:
    if "topk_threshold" not in tensors:
        raise PersonaeError(f"{folder}: a BatchTopK dictionary without its threshold")
    import torch

    return torch.full_like(tensors["b_enc"], float(tensors.pop("topk_threshold")))


def _unit_rows(sae: SAE) -> SAE:
    """The same dictionary with decoder rows of length 1, as its selection takes them to be."""
    lengths = sae.W_dec.norm(dim=-1).clamp(min=1e-8)
    return replace(
        sae,
        W_enc=sae.W_enc * lengths,
        b_enc=sae.b_enc * lengths,
        W_dec=sae.W_dec / lengths[:, None],
    )


def _from_arrays(folder: Path, layer: int | None, spec: str) -> SAE:
    import numpy as np
    import torch

    try:
        with np.load(folder / ARRAYS, allow_pickle=False) as stored:
            tensors = {
                name: torch.from_numpy(stored[name].astype(np.float32))
                for name in NAMES
                if name in stored
            }
    except Exception as why:  # numpy, zipfile and zlib raise many kinds
        raise PersonaeError(f"{folder / ARRAYS}: not arrays of numbers ({one_line(why)})") from None
    if layer is None:
        found = re.search(r"layer_(\d+)(?:/|$)", spec) or re.search(r"layer_(\d+)/", str(folder))
        layer = int(found[1]) if found else None
    return _built(
        folder, tensors, kind="jumprelu", k=0, layer=_layer(layer, "", folder), norm="none",
        centred=False, model="", about={},
    )  # fmt: skip


def _layer(layer: int | None, hook: str, folder: Path) -> int:
    if layer is not None:
        return layer
    if not hook:
        raise PersonaeError(f"{folder}: does not say which layer it reads; name it (--layer)")
    return layer_of(hook)


def _built(folder: Path, tensors: dict[str, torch.Tensor], **rest: Any) -> SAE:
    unused = "threshold" if rest["kind"] != "jumprelu" else ""
    try:
        parts: dict[str, Any] = {
            name: tensors[name] for name in NAMES if name in tensors and name != unused
        }
        return SAE(**parts, **rest)
    except TypeError:
        missing = [name for name in NAMES[:4] if name not in tensors]
        raise PersonaeError(f"{folder}: the weights lack {', '.join(missing)}") from None


def _read(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise PersonaeError(f"{path}: no such file")
    try:
        return {name: value.float() for name, value in load_file(str(path)).items()}
    except (SafetensorError, OSError) as why:
        raise PersonaeError(f"{path}: not a safetensors file ({one_line(why)})") from None
