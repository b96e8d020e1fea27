"""`load_model`: from what a user types to a `LocalModel`.

    smollm2            the embedded model
    smollm2-actor      the same, taught to play personas (see models/embedded.py)
    OWNER/NAME         a Hugging Face id (safetensors)
    FOLDER             a folder with config.json, tokenizer and safetensors,
                       or one with a PEFT adapter (its adapter_config.json names the base)
    FILE.gguf          a GGUF file, dequantised
    BASE+ADAPTER       any of the above with an adapter's folder or id

Weights come as safetensors or GGUF; pickled ones are refused, and so is code in a repository.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import metadata
from logging import ERROR, getLogger
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personae.errors import PersonaeError
from personae.models.protocol import ModelCard
from personae.models.weights import sha256_of

if TYPE_CHECKING:
    from personae.models.local import LocalModel

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


@dataclass(frozen=True)
class Source:
    """Where a model's parts are.

    Args:
        base: folder or Hugging Face id, as transformers wants it.
        gguf: name of the GGUF file inside `base`, if it is one.
        adapter: folder of a PEFT adapter, if there is one.
        revision: hash of the base's weights; empty for an id (the hub's commit is the revision).
    """

    base: str
    gguf: str = ""
    adapter: Path | None = None
    revision: str = ""


def load_model(
    spec: str,
    *,
    dtype: str = "auto",
    device: str | None = None,
    threads: int | None = None,
    memory_budget_mb: int | None = None,
) -> LocalModel:
    """Load a respondent model from local or downloaded weights.

    Args:
        spec: see the head of this module.
        dtype: "float32", "bfloat16", "float16", or "auto": fp32 on a CPU, the checkpoint's own
            on an accelerator.
        device: "cpu", "cuda", ...; default: CUDA where there is one. "auto" spreads the layers
            over all devices, then memory, as accelerate plans it: for models larger than one.
        threads: CPU threads; default: as many cores as are idle now, at least one. Two threads
            on a busy machine are several times slower than one.
        memory_budget_mb: room for activations, weights not counted; sets the packing.

    Raises:
        PersonaeError: anything the user can mend, in one line.
    """
    _require_local_extra()
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    getLogger("huggingface_hub").setLevel(ERROR)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(threads or idle_cores(torch.get_num_threads()))
    source = resolve(spec)
    spread = device == "auto"
    if spread:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    where = {"device_map": "auto"} if spread else {}
    model, tokenizer = _load(spec, source, _dtype(dtype, device), **where)
    if source.adapter is not None:
        model = apply_adapter(model, source.adapter)
    model = (model if spread else _on_device(model, device)).eval()
    return _respondent(spec, source, model, tokenizer, memory_budget_mb)


def _on_device(model: Any, device: str) -> Any:
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as why:  # the second: torch without CUDA
        raise PersonaeError(f"cannot use device {device!r}: {_first_line(why)}") from None


def idle_cores(most: int) -> int:
    """Cores that are free now, between 1 and `most`.

    What others use is watched for a moment where the system tells it: the load average of the
    last minute would still count the installation that has just ended.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    busy = busy_cores()
    if busy is None:
        busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return max(1, min(most, int((cores or 1) - busy + 0.5)))


def busy_cores(seconds: float = 0.5) -> float | None:
    """Cores in use over the next moment, from /proc/stat; None where there is none."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None

    def ticks() -> tuple[int, int]:
        # user nice system idle iowait irq softirq steal ...
        values = [int(v) for v in stat.read_text().split("\n", 1)[0].split()[1:9]]
        return sum(values), values[3] + values[4]

    total, idle = ticks()
    time.sleep(seconds)
    later, idle_later = ticks()
    if later <= total:
        return None
    return (os.cpu_count() or 1) * (1 - (idle_later - idle) / (later - total))


def _require_local_extra() -> None:
    for module in ("torch", "transformers", "safetensors", "gguf", "peft"):
        try:
            metadata.version(module)
        except metadata.PackageNotFoundError:
            raise PersonaeError(
                f"local models need {module}; run: pip install 'personae[local]'"
            ) from None


def _dtype(name: str, device: str) -> Any:
    import torch

    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    short = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
    if name == "auto":
        return torch.float32 if device == "cpu" else "auto"
    try:
        return known[short.get(name, name)]
    except KeyError:
        raise PersonaeError(f"no dtype {name!r}; there are: auto, {', '.join(known)}") from None


def resolve(spec: str) -> Source:
    """Find the parts of a model that a user named.

    Raises:
        PersonaeError: no such file, pickled weights, or an adapter without its base.
    """
    if "+" in spec and not Path(spec).expanduser().exists():
        base, _, adapter = spec.partition("+")
        folder = adapter_folder(adapter)
        _check_base_name(base, folder)
        source = _resolve_base(base)
        if source.adapter is not None:
            raise PersonaeError(
                f"{base} is an adapter itself; train it further (personae train --base {base}), "
                "the adapter that comes out holds both"
            )
        return replace(source, adapter=folder)
    path = Path(spec).expanduser()
    if (path / "adapter_config.json").is_file():
        return _withdeclared_base(path)
    return _resolve_base(spec)


def _resolve_base(spec: str) -> Source:
    from personae.models import embedded

    if spec == embedded.ACTOR:
        return replace(_resolve_base(embedded.NAME), adapter=embedded.ACTOR_FOLDER)
    if spec == embedded.NAME:
        folder, digest = embedded.folder()
        return Source(str(folder), revision=digest)
    path = Path(spec).expanduser()
    if path.is_file():
        if path.suffix != ".gguf":
            raise PersonaeError(f"{path}: a model file must be GGUF; otherwise name its folder")
        return Source(str(path.parent), gguf=path.name, revision=sha256_of([path]))
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise PersonaeError(f"{path}: no config.json, so this is not a model's folder")
        return Source(str(path), revision=sha256_of(safe_weights(path)))
    if spec.startswith((".", "/", "~")) or spec.count("/") > 1 or not spec.strip():
        raise PersonaeError(f"no model file or folder {spec!r}")
    return Source(spec)


def safe_weights(folder: Path) -> list[Path]:
    """The safetensors files of a folder.

    Raises:
        PersonaeError: there are none; if there are pickles instead, the line says so.
    """
    if found := sorted(folder.glob("*.safetensors")):
        return found
    for pattern in PICKLES:
        if pickled := sorted(folder.glob(pattern)):
            raise PersonaeError(
                f"{pickled[0]}: pickled weights can run code and are never loaded; "
                "save the model as safetensors (save_pretrained does)"
            )
    raise PersonaeError(f"{folder}: no *.safetensors file with weights")


def adapter_folder(name: str) -> Path:
    """The folder of an adapter given as folder or Hugging Face id."""
    path = Path(name).expanduser()
    if not path.is_dir():
        if name.count("/") != 1 or name.startswith((".", "~", "/")):  # no Hugging Face id
            raise PersonaeError(f"no adapter folder {name!r}")
        path = _download_adapter(name)
    if not (path / "adapter_config.json").is_file():
        raise PersonaeError(f"{name}: no adapter_config.json, so this is not a PEFT adapter")
    safe_weights(path)
    return path


def _download_adapter(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        files = ["adapter_config.json", "adapter_model.safetensors"]
        return Path(snapshot_download(name, allow_patterns=files))
    except Exception as why:
        raise _unreachable(name, why, "adapter") from None


def declared_base(adapter: Path) -> str:
    import json

    try:
        config = json.loads((adapter / "adapter_config.json").read_text("utf-8"))
        return str(config.get("base_model_name_or_path") or "")
    except (ValueError, AttributeError):
        raise PersonaeError(f"{adapter}/adapter_config.json is not valid JSON") from None


def _withdeclared_base(adapter: Path) -> Source:
    base = declared_base(adapter)
    mend = f"name it: BASE+{adapter}"
    if not base:
        raise PersonaeError(f"{adapter}: the adapter does not say what its base is; {mend}")
    if base.startswith((".", "/", "~")) and not Path(base).expanduser().exists():
        raise PersonaeError(f"{adapter}: its base {base!r} is not on this machine; {mend}")
    return replace(_resolve_base(base), adapter=adapter_folder(str(adapter)))


def _check_base_name(base: str, adapter: Path) -> None:
    """Two different Hugging Face ids are two different models, whatever their shapes."""
    declared = declared_base(adapter)
    ids = [n for n in (base, declared) if n.count("/") == 1 and not Path(n).exists()]
    if len(ids) == 2 and ids[0].lower() != ids[1].lower():
        raise PersonaeError(f"{adapter}: an adapter for {declared}, not for {base}")


def _load(spec: str, source: Source, dtype: Any, **where: Any) -> tuple[Any, Any]:
    """Model and tokenizer of a source; every failure as one line."""
    known = (OSError, ValueError, KeyError, RuntimeError, ImportError)
    if Path(source.base).is_dir():
        try:
            return _from_pretrained(source, dtype, local_files_only=True, **where)
        except known as why:
            raise PersonaeError(f"cannot load {spec}: {_first_line(why)}") from None
    try:
        if _is_downloaded(source.base):
            return _from_pretrained(source, dtype, local_files_only=True, **where)
        return _from_pretrained(source, dtype, **where)
    except known as why:
        raise _unreachable(source.base, why) from None


def _from_pretrained(source: Source, dtype: Any, **where: Any) -> tuple[Any, Any]:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    placed = {"device_map": where.pop("device_map")} if "device_map" in where else {}
    if source.gguf:
        where["gguf_file"] = source.gguf
    config = AutoConfig.from_pretrained(source.base, **where)
    tokenizer = AutoTokenizer.from_pretrained(source.base, **where)
    if getattr(config.get_text_config(), "attn_logit_softcapping", None):
        where["attn_implementation"] = "eager"  # the others leave the soft cap out
    if not source.gguf:
        where["use_safetensors"] = True
    model = AutoModelForCausalLM.from_pretrained(source.base, dtype=dtype, **where, **placed)
    return model, tokenizer


def _is_downloaded(name: str) -> bool:
    """Whether an id is in the local hub cache, whole; if not, ask the hub for it once.

    A first, single question gives a quick answer to a wrong name or a missing network, where
    the download itself would try again and again.
    """
    from huggingface_hub import HfApi, snapshot_download

    try:
        files = ["*.json", "*.safetensors", "*.jinja", "tokenizer*"]
        found = Path(snapshot_download(name, allow_patterns=files, local_files_only=True))
    except OSError:
        pass
    else:
        if (found / "config.json").exists() and any(found.glob("*.safetensors")):
            return True
    try:
        HfApi().model_info(name, timeout=10)
    except Exception as why:
        raise _unreachable(name, why) from None
    return False


def _first_line(why: Exception) -> str:
    return (str(why).strip().splitlines() or [type(why).__name__])[0][:200]


def _unreachable(name: str, why: Exception, what: str = "model") -> PersonaeError:
    """One line for an id that could not be loaded: no such model, pickles only, or no network."""
    chain: list[BaseException] = [why]
    while following := (chain[-1].__cause__ or chain[-1].__context__):
        chain.append(following)
    kinds = {type(link).__name__ for link in chain}
    if kinds & {"RepositoryNotFoundError", "GatedRepoError", "HFValidationError"}:
        return PersonaeError(
            f"no {what} {name!r}: not a file or folder here, nor an open Hugging Face id "
            f"(gated or private ones need a login){_weights_only(name)}"
        )
    if "safetensors" in str(why):
        return PersonaeError(f"{name}: has no safetensors weights; pickled ones are never loaded")
    offline = ("ConnectionError", "ConnectError", "OfflineModeIsEnabled", "LocalEntryNotFoundError")
    if kinds & set(offline) or "connect" in str(why).lower():
        give = "a folder or GGUF file, or 'smollm2' for the embedded model"
        return PersonaeError(
            f"no {what} {name!r} here, and the Hugging Face hub cannot be reached; "
            f"give {give if what == 'model' else 'a folder'}{_weights_only(name)}"
        )
    return PersonaeError(f"cannot load {name!r}: {_first_line(why)}")


def _weights_only(name: str) -> str:
    """The end of the line for an id that a hosted model has, too ("google/gemma-3-1b-it")."""
    from personae.models.opening import is_hosted

    return "; local weights are needed here, a hosted model does not do" if is_hosted(name) else ""


def apply_adapter(model: Any, adapter: Path) -> Any:
    """Merge an adapter into its base model.

    Raises:
        PersonaeError: the adapter was made for a model of other shape, or cannot be merged.
    """
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import safe_open

    misfit = f"{adapter}: an adapter for another base"
    try:
        with _quiet():
            adapted = PeftModel.from_pretrained(model, str(adapter))
    except (RuntimeError, ValueError, KeyError, TypeError) as why:
        detail = "shapes differ" if "size mismatch" in str(why) else _first_line(why)
        raise PersonaeError(f"{misfit} ({detail})") from None
    (file,) = safe_weights(adapter)
    with safe_open(str(file), "pt") as stored, _quiet():
        names = set(stored.keys())
        # "auto" would ask the hub for the base's vocabulary, also where the base is a local name.
        embeddings = any(n.endswith(("embed_tokens.weight", "lm_head.weight")) for n in names)
        held = get_peft_model_state_dict(adapted, save_embedding_layers=embeddings)
        missing = names ^ set(held)
    if missing:
        raise PersonaeError(f"{misfit} ({len(missing)} weights have no counterpart)")
    if not hasattr(adapted, "merge_and_unload"):
        raise PersonaeError(f"{adapter}: this kind of adapter cannot be merged; use LoRA")
    _make_room_for_biases(adapted)
    return adapted.merge_and_unload()


@contextmanager
def _quiet() -> Iterator[None]:
    """PEFT reads what transformers renames, and takes an adapter's bias for a cut matrix."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.filterwarnings("ignore", message=".*lora_bias=True.*")
        warnings.filterwarnings("ignore", message=".*have invalid shape.*")
        yield


def _make_room_for_biases(adapted: Any) -> None:
    """Give layers without a bias one of zeros, where the adapter has a bias to merge into it."""
    import torch

    for module in adapted.modules():
        if not any(getattr(module, "lora_bias", {}).values()):
            continue
        base = module.get_base_layer()
        if base.bias is None:
            base.bias = torch.nn.Parameter(base.weight.new_zeros(base.out_features))


def _respondent(
    spec: str, source: Source, model: Any, tokenizer: Any, memory_budget_mb: int | None
) -> LocalModel:
    import torch

    from personae.models import embedded
    from personae.models.chat import Chat
    from personae.models.engine import choose_engine
    from personae.models.local import LocalModel

    chat = Chat(tokenizer)
    engine = choose_engine(model, memory_budget_mb)
    revision = source.revision or str(getattr(model.config, "_commit_hash", "") or "")
    details: dict[str, Any] = {
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": model.device.type,
        "threads": torch.get_num_threads(),
        "attention": engine.path,
        "system_role": chat.system_role,
        "torch": metadata.version("torch"),
        "transformers": metadata.version("transformers"),
    }
    if spread := getattr(model, "hf_device_map", None):
        details["spread over"] = sorted({str(d) for d in spread.values()})
    if source.adapter is not None:
        digest = sha256_of(safe_weights(source.adapter))
        details["adapter"] = digest
        details["adapter_base"] = declared_base(source.adapter)
        revision = f"{revision}+{digest}"
    if source.adapter == embedded.ACTOR_FOLDER:
        details["taught"] = embedded.ACTOR_TAUGHT
    card = ModelCard(
        name=spec,
        kind="local",
        revision=revision,
        chat_template_hash=chat.template_hash,
        details=details,
    )
    return LocalModel(model, chat, engine, card)
