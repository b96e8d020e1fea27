"""Where a model that a user named is: folders, GGUF files, Hugging Face ids and adapters.

`resolve` finds the parts and loads nothing; the forms of a name stand at the head of
`personae.models.loading`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from personae.errors import PersonaeError
from personae.files import named_path, read_document
from personae.models.weights import sha256_of

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


def resolve(spec: str) -> Source:
    """Find the parts of a model that a user named.

    Raises:
        PersonaeError: no such file, pickled weights, or an adapter without its base.
    """
    if "+" in spec and not named_path(spec).exists():
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
    path = named_path(spec)
    if (path / "adapter_config.json").is_file():
        return _with_declared_base(path)
    return _resolve_base(spec)


def _resolve_base(spec: str) -> Source:
    from personae.models import embedded

    if spec == embedded.ACTOR:
        return replace(_resolve_base(embedded.NAME), adapter=embedded.ACTOR_FOLDER)
    if spec == embedded.NAME:
        folder, digest = embedded.folder()
        return Source(str(folder), revision=digest)
    path = named_path(spec)
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
    path = named_path(name)
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
        raise unreachable(name, why, "adapter") from None


def declared_base(adapter: Path) -> str:
    """The base that an adapter's configuration names; empty where it names none."""
    file = adapter / "adapter_config.json"
    config = read_document(file)
    base = config.get("base_model_name_or_path") if isinstance(config, dict) else None
    if not isinstance(base, str | None) or not isinstance(config, dict):
        raise PersonaeError(f"{file}: is no configuration of a PEFT adapter")
    return base or ""


def _with_declared_base(adapter: Path) -> Source:
    base = declared_base(adapter)
    mend = f"name it: BASE+{adapter}"
    if not base:
        raise PersonaeError(f"{adapter}: the adapter does not say what its base is; {mend}")
    if base.startswith((".", "/", "~")) and not named_path(base).exists():
        raise PersonaeError(f"{adapter}: its base {base!r} is not on this machine; {mend}")
    return replace(_resolve_base(base), adapter=adapter_folder(str(adapter)))


def _check_base_name(base: str, adapter: Path) -> None:
    """Two different Hugging Face ids are two different models, whatever their shapes."""
    declared = declared_base(adapter)
    ids = [n for n in (base, declared) if n.count("/") == 1 and not Path(n).exists()]
    if len(ids) == 2 and ids[0].lower() != ids[1].lower():
        raise PersonaeError(f"{adapter}: an adapter for {declared}, not for {base}")


def is_downloaded(name: str) -> bool:
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
        raise unreachable(name, why) from None
    return False


def first_line(why: Exception) -> str:
    return (str(why).strip().splitlines() or [type(why).__name__])[0][:200]


def unreachable(name: str, why: Exception, what: str = "model") -> PersonaeError:
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
    return PersonaeError(f"cannot load {name!r}: {first_line(why)}")


def _weights_only(name: str) -> str:
    """The end of the line for an id that a hosted model has, too ("google/gemma-3-1b-it")."""
    from personae.models.opening import is_hosted

    return "; local weights are needed here, a hosted model does not do" if is_hosted(name) else ""
