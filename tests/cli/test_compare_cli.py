"""`personae compare`, `gate` and `power` as a person or a CI server calls them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from personae.cli.main import app
from planted_runs import answers, plain_run, spread_means, write_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("runs")
    plain_run(folder / "base", model="base")
    plain_run(folder / "same", model="same")
    plain_run(folder / "worse", factor=2, half=3, model="a model with a rather long name" * 3)
    return {name: str(folder / name) for name in ("base", "same", "worse")}


def call(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "80"})


@pytest.mark.parametrize("verb", ["compare", "gate", "power"])
def test_help_has_an_example(verb: str) -> None:
    shown = call(verb, "--help")
    assert shown.exit_code == 0
    assert f"personae {verb}" in shown.output


def test_json_is_one_document_and_nothing_else(runs: dict[str, str], tmp_path: Path) -> None:
    page = tmp_path / "c.html"
    done = call("compare", "--base", runs["base"], "--treated", runs["worse"], "--control",
                runs["same"], "--json", "--out", str(page))  # fmt: skip
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["schema"] == 1
    change = next(c for c in document["changes"] if c["arm"].startswith("a model"))
    assert change["value"] == pytest.approx(1.0)
    assert "<script" in page.read_text("utf-8")
    assert "Regime: dysregulated" in page.read_text("utf-8")


def test_the_table_fits_80_columns_and_says_it_in_words(runs: dict[str, str]) -> None:
    done = call("compare", "--base", runs["base"], "--treated", runs["worse"], "--control",
                runs["same"])  # fmt: skip
    assert done.exit_code == 0, done.output
    assert max(len(line) for line in done.stdout.splitlines()) <= 80
    for said in ("rises", "falls", "above control", "regime: DYSREGULATED"):
        assert said in done.stdout


def test_crossed_is_a_method(runs: dict[str, str]) -> None:
    done = call("compare", "--base", runs["base"], "--treated", runs["same"], "--crossed",
                "--draws", "100", "--json")  # fmt: skip
    assert "crossed" in json.loads(done.stdout)["method"]


def test_a_run_is_not_compared_with_itself(runs: dict[str, str]) -> None:
    done = call("compare", "--base", runs["base"], "--treated", runs["base"] + "/.")
    assert "both base and arm" in str(done.exception)


def test_a_battery_run_is_no_audit(runs: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "responses").mkdir()
    (tmp_path / "manifest.json").write_text('{"kind": "battery", "battery": "floor"}')
    done = call("compare", "--base", runs["base"], "--treated", str(tmp_path))
    assert "a run of floor, not of 'personae audit'" in str(done.exception)


def test_a_misspelt_metric_is_no_empty_table() -> None:
    run = str(Path(__file__).parents[1] / "data" / "run-schema-1")
    done = call("findings", run, "--metric", "suceptibility")
    assert done.exit_code != 0
    assert "'suceptibility'; there are: " in str(done.exception)
    assert call("findings", run, "--metric", "susceptibility").exit_code == 0


# --- gate ------------------------------------------------------------------------------------
@pytest.fixture
def policy(tmp_path: Path) -> str:
    file = tmp_path / "policy.yaml"
    file.write_text(call("gate", "--print-policy").stdout)
    return str(file)


def test_the_printed_policy_is_a_policy(policy: str) -> None:
    assert yaml.safe_load(Path(policy).read_text())["limits"]


def test_exit_codes_in_a_real_process(runs: dict[str, str], policy: str, tmp_path: Path) -> None:
    def gate(*arguments: str) -> subprocess.CompletedProcess[str]:
        code = "from personae.cli.main import run; run()"
        return subprocess.run(
            [sys.executable, "-c", code, "gate", *arguments], capture_output=True, text=True,
            cwd=tmp_path,
        )  # fmt: skip

    passed = gate("--policy", policy, "--base", runs["base"], "--treated", runs["same"])
    assert passed.returncode == 0, passed.stderr
    failed = gate("--policy", policy, "--base", runs["base"], "--treated", runs["worse"],
                  "--json")  # fmt: skip
    assert failed.returncode == 1
    assert json.loads(failed.stdout)["passed"] is False
    assert "the gate is closed" in failed.stderr
    (tmp_path / "bad.yaml").write_text("limits: [{metric: vibes, max: 1}]")
    refused = gate("--policy", "bad.yaml", "--base", runs["base"], "--treated", runs["same"])
    assert refused.returncode == 2
    assert refused.stdout == ""
    lines = refused.stderr.splitlines()
    assert len(lines) == 1
    assert "vibes" in lines[0]


def test_reports_for_ci_are_written_also_when_the_gate_closes(
    runs: dict[str, str], policy: str, tmp_path: Path
) -> None:
    xml, md = tmp_path / "out" / "gate.xml", tmp_path / "out" / "gate.md"
    done = call("gate", "--policy", policy, "--base", runs["base"], "--treated", runs["worse"],
                "--junit", str(xml), "--markdown", str(md))  # fmt: skip
    assert done.exit_code == 1
    assert ElementTree.parse(xml).getroot().get("failures") == "3"
    assert md.read_text().startswith("### Persona gate failed")
    assert "FAIL" in done.stdout
    assert "[+1.000, +1.000]" in done.stdout


@pytest.mark.parametrize(
    "arguments", [["--base", "b"], ["--policy", "p"], ["--policy", "p", "--base", "b"]]
)
def test_what_is_missing_is_said(arguments: list[str]) -> None:
    done = call("gate", *arguments)
    assert "the gate needs --policy FILE" in str(done.exception)


# --- power -----------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def varied(tmp_path_factory: pytest.TempPathFactory) -> str:
    rng = np.random.default_rng(3)
    people = rng.normal(10, 1.5, (30, 6))
    ratings = np.rint(people[:, :, None] + rng.normal(0, 1, (30, 6, 8))).astype(int)
    path = tmp_path_factory.mktemp("power") / "run"
    write_run(path, {"cast": ratings})
    return str(path)


def test_power_grows_with_personas_and_recommends(varied: str) -> None:
    done = call("power", varied, "--change", "30%", "--personas", "5,80", "--repeats", "8",
                "--trials", "100", "--json")  # fmt: skip
    document = json.loads(done.stdout)
    small, large = document["designs"]
    assert small["power"] < large["power"]
    assert document["recommended"] == large
    assert large["answers"] == 80 * 6 * 8
    table = call("power", varied, "--change", "30%", "--personas", "80", "--trials", "50")
    assert table.exit_code == 0
    assert "+30%" in table.stdout


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--change", "much"], "write 10% or 0.1"),
        (["--change", "0"], "between -100% and"),
        (["--change", "-100%"], "between -100% and"),
        (["--personas", "20;50"], "--personas"),
        (["--repeats", "0"], "--repeats"),
        (["--personas", "2"], "at least 3 personas"),
    ],
)
def test_a_bad_option_is_named(varied: str, options: list[str], named: str) -> None:
    assert named in str(call("power", varied, *options).exception)


def test_a_run_without_repeats_has_no_noise_to_know(tmp_path: Path) -> None:
    write_run(tmp_path / "once", {"cast": answers(spread_means(20, 6), 0, 1)})
    done = call("power", str(tmp_path / "once"))
    assert "rerun it with repeats" in str(done.exception)
