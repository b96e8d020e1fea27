"""One plan, the same store and findings to the bit, whoever computes (tiny random weights)."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_models import build_model, build_tokenizer, save

from personae import api
from personae.cast.model import Cast
from personae.collect.store import Run
from personae.errors import PersonaeError
from personae.executors.opening import ExecutorSettings, open_executor
from personae.executors.wire import ModelSpec


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("model") / "tiny", build_model(), build_tokenizer())


@pytest.fixture(scope="module")
def cast(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cast") / "cast.txt"
    path.write_text("\n".join(f"a person of kind {k}" for k in range(9)))
    return path


def audit(folder: Path, cast: Path, out: Path, executor: ExecutorSettings | None) -> Run:
    return api.audit(
        str(folder), cast=cast, suite="quick", threads=1, out=out, executor=executor, device="cpu"
    )


@pytest.fixture(scope="module")
def alone(folder: Path, cast: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return audit(folder, cast, tmp_path_factory.mktemp("alone") / "run", None)


def assert_same(run: Run, alone: Run) -> None:
    names = sorted(f.name for f in alone.responses_dir.glob("*.parquet"))
    assert names == sorted(f.name for f in run.responses_dir.glob("*.parquet"))
    for name in (*(f"responses/{n}" for n in names), "findings.parquet"):
        assert (run.path / name).read_bytes() == (alone.path / name).read_bytes()
    assert run.manifest.identity_hash == alone.manifest.identity_hash
    assert run.manifest.model == alone.manifest.model


def test_local_processes_give_the_same_to_the_bit(
    folder: Path, cast: Path, alone: Run, tmp_path: Path
) -> None:
    assert_same(audit(folder, cast, tmp_path / "run", ExecutorSettings("local", 2)), alone)


def test_a_model_that_is_not_there_is_one_line(tmp_path: Path, cast: Path) -> None:
    settings = ExecutorSettings("local", 1)
    with pytest.raises(PersonaeError, match=r"no model file or folder './nothing'"):
        api.audit("./nothing", cast=cast, out=tmp_path / "run", executor=settings)
    assert not (tmp_path / "run").exists()


def test_what_does_not_go_together_is_refused(tmp_path: Path, small_cast: Cast) -> None:
    with pytest.raises(PersonaeError, match="no executor 'cloud'; there are: local, ray"):
        ExecutorSettings("cloud")
    with pytest.raises(PersonaeError, match="--endpoint URL"):
        ExecutorSettings("endpoints")
    spec = ModelSpec("openai/gpt-4o")
    with pytest.raises(PersonaeError, match="is behind an API"):
        open_executor(ExecutorSettings("local"), spec, tmp_path)
    settings = ExecutorSettings("endpoints", endpoints=("http://a/v1",))
    with pytest.raises(PersonaeError, match="by its Inspect id"):
        open_executor(settings, ModelSpec("smollm2"), tmp_path)
