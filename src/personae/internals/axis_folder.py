"""The work folder of an axis verb: a manifest that says what was asked, and parts stored whole.

A part (one role, one turn, one arm) is written once and never changed, so resuming is reading
which parts are there, and a resumed run gives what an unbroken one would have given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personae.collect.folder import RunFolder, free_name, refuse, write_atomic
from personae.collect.manifest import now, versions
from personae.errors import PersonaeError
from personae.models.protocol import ModelCard

if TYPE_CHECKING:
    import polars as pl
    import torch

KIND = "axis"
SAID = {"verb", "model", "model revision"}  # in every request


@dataclass(frozen=True)
class AxisManifest:
    """What was asked of an axis verb: `data` is the manifest file's content."""

    data: dict[str, Any]

    def summary(self) -> dict[str, Any]:
        """The part that `--json` prints."""
        request = self.data["identity"]
        return {
            "kind": KIND, "verb": request["verb"], "model": request["model"],
            "model_revision": request["model revision"], "created": self.data["created"],
            "versions": self.data["versions"],
        }  # fmt: skip


class AxisFolder(RunFolder):
    """A run folder (see collect/folder.py) whose shards are named by part."""

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        super().__init__(path)
        self.manifest = AxisManifest(manifest)

    @classmethod
    def open(cls, path: Path | str) -> AxisFolder:
        """Raises PersonaeError for a folder that no axis verb made."""
        manifest = cls.read_manifest(path)
        identity = manifest.get("identity")
        if manifest.get("kind") != KIND or not isinstance(identity, dict):
            raise PersonaeError(f"{path}: holds a run of another kind; choose another --out")
        if not {"created", "versions"} <= set(manifest) or not set(identity) >= SAID:
            raise PersonaeError(f"{path}/manifest.json: damaged manifest; choose another --out")
        return cls(Path(path), manifest)

    def has(self, part: str) -> bool:
        return shard_name(part) in self.stored()

    def write_part(self, part: str, rows: pl.DataFrame) -> None:
        """Store the answers of a part, whole or not at all."""
        self.write_shard(shard_name(part), rows)

    def read_part(self, part: str) -> pl.DataFrame:
        """Raises PersonaeError where the part is missing or damaged."""
        import polars as pl

        file = self.responses_dir / f"{shard_name(part)}.parquet"
        try:
            return pl.read_parquet(file)
        except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as why:
            raise PersonaeError(f"{file}: {why}; delete {self.path} and start over") from None

    def write_tensors(
        self, part: str, tensors: Mapping[str, torch.Tensor], about: Mapping[str, str]
    ) -> None:
        """Store tensors beside the answers they belong to, whole or not at all."""
        from safetensors.torch import save

        content = {k: v.contiguous() for k, v in tensors.items()}
        write_atomic(self._tensor_file(part), save(content, dict(about)))

    def read_tensors(self, part: str) -> dict[str, torch.Tensor]:
        """Raises PersonaeError where the file is missing or damaged."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        file = self._tensor_file(part)
        try:
            return load_file(str(file))
        except (OSError, SafetensorError) as why:
            raise PersonaeError(f"{file}: {why}; delete {self.path} and start over") from None

    def _tensor_file(self, part: str) -> Path:
        return self.path / "activations" / f"{shard_name(part)}.safetensors"


def open_folder(
    path: Path,
    verb: str,
    card: ModelCard,
    request: Mapping[str, Any],
    *,
    command: tuple[str, ...] = (),
    fresh: bool = False,
) -> AxisFolder:
    """Begin a folder, or continue one that holds the same request.

    Raises:
        PersonaeError: the folder holds another request, or something else.
    """
    if fresh and path.exists():
        path.rename(free_name(path))
    identity = {"verb": verb, "model": card.name, "model revision": card.revision, **request}
    if (path / "manifest.json").exists():
        folder = AxisFolder.open(path)
        old = folder.manifest.data["identity"]
        if old != identity:
            refuse(path, old, identity)
        return folder
    manifest = {
        "kind": KIND, "identity": identity, "model": asdict(card), "created": now(),
        "versions": versions(), "command": list(command),
    }  # fmt: skip
    folder = AxisFolder(path, manifest)
    folder.write_manifest(manifest)
    return folder


def shard_name(part: str) -> str:
    """A file name for a part; different parts of one run should differ in letters or digits."""
    return re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-")
