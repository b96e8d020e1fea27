"""Batteries behind a real HTTP server: nothing that was paid for is lost or asked twice."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

pytest.importorskip("inspect_ai")

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
from servers import Received, Reply, Server, error
from test_hosted import NAME, after_probe, asked, honest, is_probe, model

from personae import api
from personae.batteries.registry import BATTERIES, get_battery
from personae.cli.main import app
from personae.collect.asks import final
from personae.collect.battery_run import BatteryRun, run_battery
from personae.collect.rehearsal import HOSTED, LOCAL, rehearse
from personae.errors import PersonaeError
from personae.models.prices import Budget, Price, Purse

OPTIONS = {"questions": "open", "limit": 4}


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LOOP_API_KEY", "sk-loopback-0123456789abcdef")
    monkeypatch.chdir(tmp_path)


def steady(request: Received) -> Reply:
    """The same answer to the same question, after a wait that is never the same."""
    reply = honest(replace(request, index=0))  # the index is the seed where none was sent
    return Reply(reply.body, wait=0.0 if is_probe(request) else 0.002 * (request.index * 7 % 11))


def run(path: Path, server: Server, *, judge: Any = None, options: Any = None, **more: Any) -> Any:
    who = more.pop("who", None) or model(server)
    battery = get_battery("misalignment")
    return run_battery(path, battery, who, judge=judge, options=options or OPTIONS, **more)


@pytest.fixture
def undisturbed(tmp_path: Path) -> BatteryRun:
    with Server(steady) as server:
        return run(tmp_path / "undisturbed", server)  # type: ignore[no-any-return]


def assert_equal(run: BatteryRun, other: BatteryRun) -> None:
    """The same answers in the same order, each once, and the same findings."""
    rows, same = final(run.answers), final(other.answers)
    assert rows.drop("attempt").equals(same.drop("attempt"))
    assert rows["status"].eq("ok").any()
    found, wanted = (sorted(f.as_json().items() for f in r.findings()) for r in (run, other))
    assert str(found) == str(wanted)


def test_the_order_of_arrival_leaves_no_trace(tmp_path: Path, undisturbed: BatteryRun) -> None:
    with Server(steady) as server:
        one_by_one = run(tmp_path / "b", server, who=model(server, max_connections=1))
    assert_equal(one_by_one, undisturbed)
    assert undisturbed.answers["place"].to_list() == list(range(undisturbed.answers.height))


def test_a_call_that_brought_no_answer_is_asked_again_on_resume(
    tmp_path: Path, undisturbed: BatteryRun
) -> None:
    broken = [True]
    bad = [n for n in range(60) if n % 3 == 0]

    def answer(request: Received) -> Reply:
        return error(500) if broken[0] and request.index in bad else steady(request)

    with Server(after_probe(answer)) as server:
        who = model(server, max_retries=0)
        first = run(tmp_path / "run", server, who=who)
        failed = first.answers.filter(pl.col("status") == "transport_error").height
        assert 3 < failed < first.answers.height
        broken[0] = False
        before = asked(server)
        second = run(tmp_path / "run", server, who=who)
        assert asked(server) - before == failed
        assert second.answers.height == before + failed
        third = run(tmp_path / "run", server, who=who)
        assert asked(server) - before == failed
    assert_equal(second, undisturbed)
    assert_equal(third, undisturbed)


def test_ctrl_c_keeps_what_is_under_way(tmp_path: Path, undisturbed: BatteryRun) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 7:
            raise KeyboardInterrupt

    with Server(after_probe(lambda r: Reply(steady(r).body, wait=0.03))) as server:
        who = model(server, max_connections=5)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "run", server, who=who, on_progress=interrupt)
        kept = BatteryRun.open(tmp_path / "run").answers
        assert 7 <= kept.height == asked(server) < undisturbed.answers.height
        done = run(tmp_path / "run", server, who=who)
        assert asked(server) == undisturbed.answers.height
    assert_equal(done, undisturbed)


def test_model_and_judge_share_a_budget_that_loses_nothing(tmp_path: Path) -> None:
    price = Price(input=10.0, output=30.0)
    options = OPTIONS | {"parts": "answer"}
    with Server(steady) as server:
        pair = model(server), model(server)
        whole = run(tmp_path / "whole", server, who=pair[0], judge=pair[1], options=options)
        wanted = whole.answers.height
    cost = price.of(100, 1)
    with Server(steady) as server:
        # Calls are reserved at up to 150 answer tokens: room for those, and for most of the calls.
        purse = Purse(cost * wanted * 0.8)
        pair = tuple(model(server, budget=Budget(purse, price)) for _ in range(2))
        with pytest.raises(PersonaeError, match=r"budget of \$"):
            run(tmp_path / "run", server, who=pair[0], judge=pair[1], options=options)
        assert 0 < purse.spent <= purse.usd
        assert len(server.requests) * cost == pytest.approx(purse.spent)
        kept = BatteryRun.open(tmp_path / "run").answers
        assert kept.height == asked(server)
        pair = model(server), model(server)
        done = run(tmp_path / "run", server, who=pair[0], judge=pair[1], options=options)
        assert asked(server) == wanted
    assert_equal(done, whole)


def test_a_judge_that_comes_later_pays_once(tmp_path: Path, undisturbed: BatteryRun) -> None:
    broken = [True]

    def answer(request: Received) -> Reply:
        return error(503) if broken[0] and request.index % 2 else steady(request)

    texts = final(undisturbed.answers, "answer").height
    with Server(after_probe(answer)) as server:
        for n in range(2):
            judge = model(server, max_retries=0)
            judge.card = type(judge.card)("openai-api/loop/judge", "hosted", "1")
            api.judge(undisturbed.path, judge=judge)
            if not n:
                first = asked(server)
                assert first == 2 * texts
                broken[0] = False
        assert first < asked(server) < 2 * first


def test_a_dry_run_counts_what_a_run_asks(tmp_path: Path) -> None:
    command = ["run", "misalignment", NAME, "--limit", "4", "--set", "questions=open"]
    dry = CliRunner().invoke(app, [*command, "--judge", NAME, "--dry-run", "--json"])
    assert dry.exit_code == 0, dry.output
    document = json.loads(dry.stdout)
    with Server(steady) as server:
        asked_of = [*command, "--judge", NAME, "--base-url", server.url, "--out", "run"]
        real = CliRunner().invoke(app, [*asked_of, "--judge-base-url", server.url])
        assert real.exit_code == 0, real.output
        found = document["estimates"]
        assert asked(server) == found["model"]["calls"] + found["judge"]["calls"]
        sent = [sum(len(str(m["content"]).encode()) for m in r.body["messages"])
                for r in server.requests if not is_probe(r)]  # fmt: skip
    low, high = (sum(f["input_tokens"][k] for f in found.values()) for k in (0, 1))
    assert low < sum(sent) / 4 < high
    assert found["model"]["usd_low"] is None


@pytest.mark.parametrize("name", list(BATTERIES))
def test_every_battery_can_be_rehearsed(name: str) -> None:
    battery = get_battery(name)
    counts = {}
    for can in (HOSTED, LOCAL, HOSTED | {"judge"}):
        long, short = (rehearse(battery, {}, can=can, wordy=wordy) for wordy in (True, False))
        assert len({ask.key for ask in long}) == len(long) > 0
        assert [ask.key for ask in short] == [ask.key for ask in long]
        assert {ask.kind for ask in long} <= can
        assert any(ask.to == "judge" for ask in long) <= ("judge" in can)
        counts[can] = len(long)
    assert counts[LOCAL] >= counts[HOSTED]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["smollm2", "--budget-usd", "1"], "--budget-usd is for hosted models"),
        (["smollm2", "--base-url", "http://127.0.0.1:9/v1"], "--base-url is for hosted models"),
        ([NAME, "--judge-base-url", "http://127.0.0.1:9/v1"], "--judge-base-url is for hosted"),
        ([NAME, "--budget-usd", "1"], "no price in the table"),
        (["smollm2", "--judge", NAME, "--budget-usd", "1"], "no price in the table"),
    ],
)
def test_options_that_would_do_nothing_are_refused(options: list[str], line: str) -> None:
    done = CliRunner().invoke(app, ["run", "misalignment", *options])
    assert done.exit_code != 0
    assert line in str(done.exception or done.output)
