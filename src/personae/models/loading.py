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
from importlib import metadata
from logging import ERROR, getLogger
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personae.errors import PersonaeError
from personae.models.protocol import ModelCard
from personae.models.source import (
    Source,
    declared_base,
    first_line,
    is_downloaded,
    resolve,
    safe_weights,
    unreachable,
)
from personae.models.weights import sha256_of

if TYPE_CHECKING:
    from personae.models.local import LocalModel


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
        raise PersonaeError(f"cannot use device {device!r}: {first_line(why)}") from None


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


def _load(spec: str, source: Source, dtype: Any, **where: Any) -> tuple[Any, Any]:
    """Model and tokenizer of a source; every failure as one line."""
    known = (OSError, ValueError, KeyError, RuntimeError, ImportError)
    if Path(source.base).is_dir():
        try:
            return _from_pretrained(source, dtype, local_files_only=True, **where)
        except known as why:
            raise PersonaeError(f"cannot load {spec}: {first_line(why)}") from None
    try:
        if is_downloaded(source.base):
            return _from_pretrained(source, dtype, local_files_only=True, **where)
        return _from_pretrained(source, dtype, **where)
    except known as why:
        raise unreachable(source.base, why) from None


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
        detail = "shapes differ" if "size mismatch" in str(why) else first_line(why)
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
