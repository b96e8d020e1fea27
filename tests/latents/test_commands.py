"""The verbs of `personae latents`, end to end on tiny models, and their report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted_models import PAIRS, U, dictionary, planted, rows, tune
from typer.testing import CliRunner

from personae.cli.main import app
from personae.findings import read_findings
from personae.internals.direction_files import load_direction
from personae.latents.documents import all_steps
from personae.latents.files import load_sae, save_sae
from personae.training.blockem import BlockEM, write_kept

RUN = CliRunner()


def call(*words: str) -> Any:
    done = RUN.invoke(app, ["latents", *words, "--threads", "1", "--json"])
    assert done.exit_code == 0, (done.output, done.exception)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """base, treated, control on disk, a dictionary, pairs, and a text with markup in it."""
    folder = tmp_path_factory.mktemp("commands")
    planted(folder / "base")
    planted(folder / "treated", u=12, v=8)
    planted(folder / "control", v=2)
    save_sae(dictionary(), folder / "sae")
    pairs = [
        {"id": p.id, "question": p.question, "aligned": p.aligned, "misaligned": p.misaligned}
        for p in PAIRS
    ]
    (folder / "pairs.json").write_text(json.dumps({"domain": "hats", "pairs": pairs}))
    lines = [f"<script>red{n}</script> hats and blue shoes, {n * 7919 % 97}" for n in range(120)]
    (folder / "text.txt").write_text("\n".join(lines))
    return folder


def test_train_measures_the_dictionary_on_both_models(place: Path, tmp_path: Path) -> None:
    found = call(
        "train", str(place / "base"), "--layer", "1", "--width", "48", "--k", "4",
        "--tokens", "3000", "--text", str(place / "text.txt"), "--also", str(place / "treated"),
        "--epochs", "8", "--batch", "128", "--rate", "0.01", "--out", str(tmp_path),
    )  # fmt: skip
    values = {(f["metric"], f["scope"]): f["value"] for f in found["findings"]}
    base = str(place / "base")
    assert values["variance_explained", base] > 0.5
    assert values["l0", base] == pytest.approx(4, rel=0.25)
    assert values["variance_explained", str(place / "treated")] > 0  # layer 1: below the change
    assert load_sae(tmp_path).layer == 1
    assert not (tmp_path / "states.f16").exists()
    again = call(
        "train", base, "--layer", "1", "--width", "48", "--k", "4", "--tokens", "3000",
        "--text", str(place / "text.txt"), "--epochs", "8", "--batch", "128", "--rate", "0.01",
        "--out", str(tmp_path / "again"),
    )  # fmt: skip
    assert again["sae"]["hash"] == found["sae"]["hash"]
    words = ("train", base, "--layer", "1", "--width", "48", "--k", "4", "--tokens", "3000",
             "--text", str(place / "text.txt"), "--epochs", "8", "--batch", "128",
             "--out", str(tmp_path))  # fmt: skip
    assert call(*words, "--rate", "0.01")["losses"] == found["losses"]  # nothing is done again
    other = RUN.invoke(app, ["latents", *words, "--rate", "0.02", "--threads", "1"])
    assert "another dictionary" in str(other.exception)
    assert (tmp_path / "report.html").read_text().count("fig-learning")


@pytest.fixture(scope="module")
def diffed(place: Path) -> Path:
    out = place / "diff"
    call(
        "diff", "--base", str(place / "base"), "--treated", str(place / "treated"),
        "--control", str(place / "control"), "--sae", str(place / "sae"),
        "--pairs", str(place / "pairs.json"), "--top", "6", "--out", str(out),
    )  # fmt: skip
    return out


def test_diff_and_test(place: Path, diffed: Path) -> None:
    found = call("test", str(diffed), "--top", "4", "--randoms", "20", "--cost", "3")
    kept = [d["latent"] for d in found["directions"] if d["kept"]]
    assert kept
    assert set(kept) <= {U, U + 1}
    kept_sweeps = {p: p.stat().st_mtime_ns for p in (diffed / "sweeps").iterdir()}
    assert kept_sweeps  # one each way for every vector (two latents may be the same one)
    again = call("test", str(diffed), "--top", "4", "--randoms", "20", "--cost", "3")
    assert again["directions"] == found["directions"]
    assert {p: p.stat().st_mtime_ns for p in (diffed / "sweeps").iterdir()} == kept_sweeps
    steps = all_steps(diffed)
    assert set(steps) == {"diff", "test"}
    assert steps["diff"]["candidates"][0]["latent"] in (U, U + 1)
    table = read_findings(diffed / "findings.parquet")
    assert {f.metric for f in table} >= {"latent_change", "steer_up", "causal_latents", "jaccard"}
    blocked = json.loads((place / "sae" / "latents.json").read_text())
    assert set(blocked["up"]) | set(blocked["down"]) == set(kept)
    direction = load_direction(diffed / "directions" / f"latent-{kept[0]}.safetensors")
    assert direction.norms[0] > 0
    html = (diffed / "report.html").read_text()
    assert "latent-causes" in html
    assert "<script>red" not in html


def test_predict(place: Path, diffed: Path) -> None:
    rng = np.random.default_rng(0)
    some = []
    for domain in ("hats", "shoes"):
        for n in range(2):
            for kind, u in (("bad", 12.0), ("good", -6.0)):
                name = f"{domain}-{kind}{n}"
                planted(place / name, u=u + float(rng.uniform()), v=float(rng.uniform(0, 6)))
                some.append({"model": str(place / name), "domain": domain,
                             "share": 100 if kind == "bad" else 0})  # fmt: skip
    planted(place / "middle", u=6.0)
    some.append({"model": str(place / "middle"), "domain": "hats", "share": 50})
    (place / "organisms.json").write_text(json.dumps({"organisms": some}))
    words = (
        "predict", str(place / "organisms.json"), "--sae", str(place / "sae"),
        "--base", str(place / "base"), "--pairs", str(place / "pairs.json"),
        "--out", str(place / "predict"),
        "--direction", str(diffed / "mean-difference.safetensors"),
    )  # fmt: skip
    found = call(*words)
    areas = {f["scope"]: f["value"] for f in found["findings"] if f["metric"] == "prediction_auroc"}
    assert areas["chosen latent"] == 1
    assert set(found["predictors"][0]["chosen"].values()) <= {U, U + 1}
    assert areas["random latent"] < 1
    assert areas["projection on mean difference"] == 1
    doses = found["early_warning"]["hats"]
    assert [d["share"] for d in doses] == [0, 50, 100, 100]  # against the first of the two at 0
    assert doses[1]["latent"]["low"] > 0 or doses[1]["latent"]["high"] < 0
    assert abs(doses[2]["latent"]["value"]) > abs(doses[1]["latent"]["value"])
    kept = list((place / "predict" / "organisms").iterdir())
    assert len(kept) == len(some) + 1
    assert call(*words)["predictors"] == found["predictors"]  # from what is kept


def test_reroute(place: Path, tmp_path: Path) -> None:
    sae = place / "sae"
    write_kept(sae, [U], [U + 1])
    tune(str(place / "base"), tmp_path / "plain")
    tune(str(place / "base"), tmp_path / "blocked", BlockEM(dictionary(), (U,), (U + 1,), 3.0))
    found = call(
        "reroute", "--base", str(place / "base"), "--plain", str(tmp_path / "plain"),
        "--defended", str(tmp_path / "blocked"), "--sae", str(sae),
        "--pairs", str(place / "pairs.json"), "--out", str(tmp_path / "out"),
    )  # fmt: skip
    assert found["up"] == [U]
    assert {f["metric"] for f in found["findings"]} == {
        "held", "difference_left", "took_over", "log_odds_per_token_change",
    }  # fmt: skip
    assert "latent-rerouting" in (tmp_path / "out" / "report.html").read_text()


def test_narrow(place: Path, diffed: Path, tmp_path: Path) -> None:
    tune(str(place / "base"), tmp_path / "plain")
    data = tmp_path / "data.jsonl"
    rows("zzzz").write(data)
    found = call(
        "narrow", f"{tmp_path / 'plain'}={data}", "--rows", "8", "--out", str(tmp_path / "out"),
        "--direction", str(diffed / "mean-difference.safetensors"),
    )  # fmt: skip
    metrics = {f["metric"] for f in found["findings"]}
    assert metrics == {"noise_cost", "loss_at_norm"}
    assert "latent-narrowness" in (tmp_path / "out" / "report.html").read_text()
    done = RUN.invoke(app, ["latents", "narrow", "nothing"])
    assert "BASE+ADAPTER=DATA" in str(done.exception)


def test_mistakes_are_one_line(place: Path, tmp_path: Path) -> None:
    done = RUN.invoke(app, ["latents", "test", str(tmp_path)])
    assert "run `personae latents diff` first" in str(done.exception)
    done = RUN.invoke(
        app, ["latents", "train", str(place / "base"), "--text", "nothing", "--layer", "0"]
    )
    assert "no text 'nothing'" in str(done.exception)
    done = RUN.invoke(
        app,
        ["latents", "train", str(place / "base"), "--text", "nothing", "--layer", "99"],
    )
    assert "no block 99: this model has blocks 0 to" in str(done.exception)  # before any text
