"""A run folder on disk: `manifest.json`, `responses/*.parquet` and `findings.parquet`.

Response files are written once, whole, and never changed: a file is first written beside its
place, flushed to disk and then renamed, so that a kill at any moment leaves either all of a shard
or nothing. Resuming is reading which shards are there. What each must hash to stands in
`responses/checksums.sha256` (a line is there before its file), so that a byte that changed later
is an error and never a number; `checksums.sha256` in the folder itself does it for the findings.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from personae.errors import PersonaeError
from personae.findings import Finding, findings_file, read_findings

if TYPE_CHECKING:
    import polars as pl

CHECKSUMS = "checksums.sha256"
PIECE = 2_000_000  # rows
FILES = 100  # read together: most are small
MEND = "delete it and run the audit again to ask only what is missing"


class RunFolder:
    """What every kind of run shares; `path` is the folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sound: set[tuple[str, int, int]] = set()  # name, size, time of files looked at

    # --- manifest --------------------------------------------------------------------------
    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Begin the folder: the manifest stands before the first answer."""
        text = json.dumps(manifest, indent=1, ensure_ascii=True)
        write_atomic(self.path / "manifest.json", text.encode())
        with _disk_errors(self.path):
            self.responses_dir.mkdir(parents=True, exist_ok=True)

    @staticmethod
    def read_manifest(path: Path | str) -> dict[str, Any]:
        """The manifest of a run folder as JSON. Raises PersonaeError where it is none."""
        path = Path(path)
        file = path / "manifest.json"
        if not path.exists():
            raise PersonaeError(f"{path}: no such run folder")
        if not file.is_file():
            raise PersonaeError(
                f"{path}: not a run folder (no manifest.json); make one with 'personae audit'"
            )
        try:
            data = json.loads(file.read_text("utf-8"))
            json.dumps(data, allow_nan=False)
        except (OSError, ValueError, RecursionError) as error:
            raise PersonaeError(f"{file}: damaged manifest ({error})") from None
        if not isinstance(data, dict):
            raise PersonaeError(f"{file}: damaged manifest (not an object)")
        if not (path / "responses").is_dir():
            raise PersonaeError(f"{path}: its responses folder is gone; run the audit again")
        return data

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the run for writing; a second writer is refused."""
        from filelock import FileLock, Timeout

        try:
            with FileLock(self.path / ".lock", timeout=0):
                yield
        except Timeout:
            raise PersonaeError(f"{self.path}: another process is writing this run") from None

    # --- responses -------------------------------------------------------------------------
    @property
    def responses_dir(self) -> Path:
        return self.path / "responses"

    def stored(self) -> set[str]:
        """Names of the shards that are complete on disk."""
        return {p.stem for p in self._sound_files()}

    def set_damaged_aside(self) -> None:
        """Rename files that cannot be read, so that what they held is asked again."""
        sound = set(self._sound_files())
        for file in self.responses_dir.glob("*.parquet"):
            if file not in sound:
                file.rename(file.with_suffix(".damaged"))

    def write_shard(self, name: str, rows: pl.DataFrame) -> None:
        """Store one shard, whole or not at all."""
        buffer = io.BytesIO()
        rows.write_parquet(buffer)
        _write_told(self.responses_dir / f"{name}.parquet", buffer.getvalue())

    def read_shards(self, schema: pl.Schema, needed: Sequence[str] = ()) -> pl.DataFrame:
        """All stored rows, in the order of the files' names.

        Raises:
            PersonaeError: a file is damaged, does not fit `schema`, or has empty `needed` cells.
        """
        import polars as pl

        files = self._shard_files()
        if not files:
            return pl.DataFrame(schema=schema)
        with damage(self.responses_dir):
            return pl.concat([conformed(pl.read_parquet(f), schema, needed) for f in files])

    def pieces(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """The same rows a piece at a time, for what does not fit into memory."""
        import polars as pl

        def rows(some: Sequence[Path]) -> pl.LazyFrame:
            return pl.concat([pl.scan_parquet(f).select(columns) for f in some])

        def length(some: Sequence[Path]) -> int:
            return int(rows(some).select(pl.len()).collect().item())

        files = self._shard_files()
        with damage(self.responses_dir):
            for first in range(0, len(files), FILES):
                some = files[first : first + FILES]
                if length(some) <= PIECE:
                    yield rows(some).collect()
                    continue
                for file in some:  # one at a time: a slice of many is slow
                    for start in range(0, length([file]), PIECE):
                        yield rows([file]).slice(start, PIECE).collect()

    def _shard_files(self) -> list[Path]:
        """The files with responses. Raises PersonaeError where one is damaged."""
        files = sorted(self.responses_dir.glob("*.parquet"))
        sound = set(self._sound_files())
        if broken := [f for f in files if f not in sound]:
            raise PersonaeError(f"{broken[0]}: damaged; {MEND}")
        return files

    def _sound_files(self) -> list[Path]:
        """The files that are whole and hold what was written."""
        hashes = dict(_told(self.responses_dir / CHECKSUMS))  # the last one told
        return [
            f for f in self.responses_dir.glob("*.parquet") if self._is_sound(f, hashes.get(f.name))
        ]

    def _is_sound(self, file: Path, wanted: str | None) -> bool:
        """Runs of earlier versions have no checksums: then only cut files are found."""
        if wanted is None:
            return _whole(file)
        try:
            status = file.stat()
            key = (file.name, status.st_size, status.st_mtime_ns)
            if key not in self._sound:
                with file.open("rb") as content:
                    if hashlib.file_digest(content, "sha256").hexdigest() != wanted:
                        return False
                self._sound.add(key)
            return True
        except OSError:
            return False

    # --- findings --------------------------------------------------------------------------
    def write_findings(self, findings: Iterable[Finding]) -> None:
        _write_told(self.path / "findings.parquet", findings_file(findings))

    def findings(self) -> list[Finding]:
        file = self.path / "findings.parquet"
        if not file.is_file():
            raise PersonaeError(
                f"{self.path}: no findings yet (the run is unfinished); run the same audit command "
                "again to resume it"
            )
        told = [digest for name, digest in _told(self.path / CHECKSUMS) if name == file.name]
        if told and hashlib.sha256(file.read_bytes()).hexdigest() not in told:
            raise PersonaeError(f"{file}: damaged; run the audit again")
        try:
            return read_findings(file)
        except PersonaeError:
            raise
        except BaseException as error:
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise PersonaeError(f"{file}: damaged ({reason}); run the audit again") from None


def free_name(path: Path) -> Path:
    """`NAME.old-1`, `NAME.old-2`, ...: where an older run is moved to."""
    n = 1
    while (candidate := path.with_name(f"{path.name}.old-{n}")).exists():
        n += 1
    return candidate


def refuse(path: Path, old: dict[str, Any], new: dict[str, Any]) -> NoReturn:
    """Raise the error of a folder that holds another request, naming what differs."""
    changed = [k for k in dict.fromkeys([*old, *new]) if old.get(k) != new.get(k)]
    raise PersonaeError(
        f"{path} holds a run that differs in {', '.join(changed)}; choose another --out, or "
        "--fresh to move the old one aside and start over"
    )


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, also after a crash."""
    with _disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise PersonaeError(
                f"{path}: the disk is full; what was collected is safe: free some space and run "
                "the same command again to resume"
            ) from None
        raise PersonaeError(f"{path}: cannot write ({error.strerror or error})") from None


def _whole(path: Path) -> bool:
    """Parquet ends with its magic number: a cheap check against files cut short by others."""
    try:
        with path.open("rb") as file:
            head = file.read(4)
            file.seek(-4, os.SEEK_END)
            return head == b"PAR1" == file.read(4)
    except OSError:
        return False


def _write_told(file: Path, content: bytes) -> None:
    """Write a file after a line with its hash in the checksums beside it."""
    digest = hashlib.sha256(content).hexdigest()
    _append_line(file.with_name(CHECKSUMS), f"{digest}  {file.name}")
    write_atomic(file, content)


def _told(path: Path) -> list[tuple[str, str]]:
    """(file name, hash) pairs in the order told; a line cut by a kill stands for no file."""
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return []
    pairs = (line.split("  ", 1) for line in lines if "  " in line)
    return [(name, digest) for digest, name in pairs if len(digest) == 64]


def _append_line(path: Path, line: str) -> None:
    """Add a line and flush it to disk; one that a kill cut short is closed first."""
    with _disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else f"\n{line}"
            file.write(f"{line}\n".encode())
            file.flush()
            os.fsync(file.fileno())


def conformed(rows: pl.DataFrame, schema: pl.Schema, needed: Sequence[str] = ()) -> pl.DataFrame:
    """Rows in the columns and types of `schema`; one that an earlier version lacks is empty.

    Raises:
        ValueError, PolarsError: another type, or an empty cell in a `needed` column.
    """
    import polars as pl

    found = rows.select(
        (pl.col(name) if name in rows.columns else pl.lit(None)).cast(kind).alias(name)
        for name, kind in schema.items()
    )
    if empty := [name for name in needed if found[name].null_count()]:
        raise ValueError(f"column {empty[0]} has empty cells")
    return found


@contextmanager
def damage(folder: Path) -> Iterator[None]:
    """What polars says of a file that it cannot read, in one line with the mend."""
    import polars as pl

    known = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError)
    try:
        yield
    except known as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise PersonaeError(f"{folder}: a file is damaged ({reason}); {MEND}") from None
