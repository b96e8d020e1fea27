"""Hosted models against a real server on loopback that gives known distributions."""

from __future__ import annotations

import hashlib
import json
import re
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

pytest.importorskip("inspect_ai")

from servers import Answer, Reply, Server, completion, error, tempered
from servers import Received as Request

from personae.cast.model import Cast
from personae.collect.execute import collect, open_or_create, unfinished
from personae.collect.manifest import Manifest
from personae.collect.plan import Panel, Plan
from personae.collect.store import Run
from personae.errors import PersonaeError
from personae.instruments.model import Instrument, Scale
from personae.models.caller import HostedSettings
from personae.models.connection import Reply as Received
from personae.models.hosted import HostedModel
from personae.models.prices import Budget, Price
from personae.models.probe import temperature_place
from personae.models.protocol import ChoiceRequest, RatingRequest, ScoreRequest, TextRequest
from personae.models.replies import read_exact, scale_labels
from personae.prompts import Prompt

KEY = "sk-loopback-0123456789abcdef"
NAME = "openai-api/loop/test-model"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LOOP_API_KEY", KEY)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def plan(small_cast: Cast, small_instrument: Instrument) -> Plan:
    return Plan(small_instrument, (Panel("cast", small_cast.head(2)), Panel("self", None)), LAYOUT)


LAYOUT = "scale-first"


def planted(text: str) -> dict[str, float]:
    """A first-token distribution that depends on the prompt alone."""
    seed = hashlib.sha256(text.encode()).digest()[:8]
    raw = np.random.default_rng(int.from_bytes(seed, "big")).gamma(0.7, size=10)
    tokens = ["0", "1", "2", "3", "4", "5", " 3", "I", "The", "\n"]
    return dict(zip(tokens, np.maximum(raw / raw.sum(), 1e-9).tolist(), strict=True))


def honest(request: Request) -> Reply:
    """Log-probabilities where asked for; the sampled answer is drawn with the request's seed."""
    body = request.body
    top = tempered(planted(request.text), body.get("temperature", 1.0))
    rng = np.random.default_rng(body.get("seed", request.index))
    text = str(rng.choice([t for t, _ in top], p=np.array([p for _, p in top])))
    return completion(text, top[: body["top_logprobs"]] if body.get("logprobs") else None)


def is_probe(request: Request) -> bool:
    return "Name a whole number" in request.text


def after_probe(answer: Answer) -> Answer:
    """Behave while probed, then as told."""
    return lambda request: honest(request) if is_probe(request) else answer(request)


def model(server: Server, **settings: object) -> HostedModel:
    defaults: dict[str, object] = {"base_url": server.url, "timeout": 1.0, "backoff": 0.02}
    return HostedModel(NAME, HostedSettings(**(defaults | settings)))  # type: ignore[arg-type]


def run_plan(path: Path, plan: Plan, respondent: HostedModel) -> Run:
    run = open_or_create(path, Manifest.of_plan(plan, respondent.card))
    return collect(run, plan, respondent)


def asked(server: Server) -> int:
    return sum(not is_probe(r) for r in server.requests)


def assert_each_cell_once(run: Run, plan: Plan) -> None:
    """No cell lost, none counted twice."""
    final = run.responses.filter(pl.col("status") != "transport_error")
    keys = {tuple(row) for row in final.select("panel", "persona_id", "item_id", "repeat").rows()}
    assert keys == {c.key for c in plan.cells}
    assert len(final) == plan.total


# --- exact ----------------------------------------------------------------------------------


def test_exact_ratings_are_the_servers_first_token_distribution(tmp_path: Path, plan: Plan) -> None:
    with Server(honest) as server:
        respondent = model(server)
        run = run_plan(tmp_path / "run", plan, respondent)
        ratings = run.ratings("cast")
        assert asked(server) == plan.total == 90
        assert len(server.requests) == 90 + respondent.probe.calls
    assert ratings is not None
    assert ratings.kind == "probs"
    for n, cell in enumerate(list(plan.cells)[:60]):
        expected = planted("\n".join(text for _, text in plan.request(cell).prompt.messages))
        raw = np.array([expected[str(k)] for k in range(6)])
        raw[3] += expected[" 3"]
        p, i = divmod(n, 30)
        np.testing.assert_allclose(ratings.cells[p, i], raw / raw.sum(), rtol=1e-9)
        np.testing.assert_allclose(ratings.scale_mass[p, i], raw.sum(), rtol=1e-9)
    bound = run.responses["unseen"]
    assert bound.is_not_null().all()
    assert (bound >= 0).all()
    assert_each_cell_once(run, plan)


def test_mass_that_is_not_returned_is_bounded() -> None:
    full = {"3": 0.4, "I": 0.2, "4": 0.15, " ": 0.05, "5": 0.1, "0": 0.06, "x": 0.04}
    labels = scale_labels(Scale(min=0, max=5))
    top = sorted(full.items(), key=lambda pair: -pair[1])
    for k in range(1, len(top) + 1):
        logs = tuple((t, float(np.log(p))) for t, p in top[:k])
        answer = read_exact(Received("3", False, False, logs, 1, 1, False, ""), labels)
        assert answer.mass is not None
        assert answer.unseen is not None
        missed = sum(p for t, p in top[k:] if t.strip().isdigit())
        blank = 0.05
        assert sum(answer.mass) + missed + blank <= 1
        assert missed <= answer.unseen + 1e-12
        assert answer.unseen <= 1 - sum(p for _, p in top[:k]) + blank + 1e-12
        assert answer.status == "ok"
    nothing = read_exact(Received("I", False, False, (("I", -0.1),), 1, 1, False, ""), labels)
    assert (nothing.status, sum(nothing.mass or ())) == ("unparseable", 0)


def test_a_scale_of_more_than_one_digit_cannot_be_exact(tmp_path: Path, plan: Plan) -> None:
    with Server(honest) as server:
        request = RatingRequest(Prompt((("user", "rate"),)), Scale(min=0, max=10))
        with pytest.raises(PersonaeError, match=r"0 to 9.*--repeats"):
            list(model(server).rate([request]))


# --- probe ----------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["before", "after"])
def test_probe_tells_log_probabilities_before_and_after_temperature(place: str) -> None:
    def answer(request: Request) -> Reply:
        t = 1.0 if place == "before" else request.body["temperature"]
        return completion("3", tempered(planted(request.text), t))

    with Server(answer) as server:
        found = model(server)
        assert (found.probe.top, found.probe.temperature, found.exact) == (10, place, True)
        assert found.card.details["probe"]["temperature"] == place
        assert found.card.revision == "test"
        assert found.card.host == "127.0.0.1"


def test_probe_compares_nothing_where_there_is_nothing_to_compare() -> None:
    assert temperature_place((("3", -0.1),), (("3", -0.1),)) == "unclear"
    assert temperature_place((("3", -1.0), ("4", -1.0)), (("3", -1.0), ("4", -1.0))) == "unclear"


def test_silently_ignored_log_probabilities_mean_sampling(plan: Plan) -> None:
    with Server(lambda r: completion("3")) as server:
        respondent = model(server)
        assert (respondent.probe.top, respondent.exact) == (0, False)
        with pytest.raises(PersonaeError, match=r"no log-probabilities.*--repeats 10"):
            respondent.stream([])


def test_probe_asks_for_less_where_the_server_calls_it_bad() -> None:
    def five_at_most(request: Request) -> Reply:
        body = request.body
        if (body.get("top_logprobs") or 0) > 5 or "seed" in body or body["max_tokens"] < 16:
            return error(400, "top_logprobs must be at most 5")
        return honest(request)

    with Server(five_at_most) as server:
        found = model(server).probe
        assert (found.top, found.first_tokens, found.seed) == (5, 16, False)


@pytest.mark.parametrize("text", ["", "<think>"])
def test_hidden_reasoning_means_sampling_with_room_to_think(plan: Plan, text: str) -> None:
    def thinker(request: Request) -> Reply:
        if request.body["max_tokens"] < 100:
            return completion(text, [(text or " ", 0.9), ("3", 0.1)], finish="length")
        return completion("<think>2? 3?</think>\n4")

    with Server(thinker) as server:
        respondent = model(server, reasoning_tokens=500)
        assert respondent.probe.reasoning
        with pytest.raises(PersonaeError, match="thinks before it answers"):
            respondent.stream([])
        request = plan.request(next(plan.cells))
        (answer,) = respondent.rate([request], 1.0)
        assert (answer.status, answer.rating) == ("ok", 4)
        assert server.requests[-1].body["max_tokens"] == 532


# --- sampled --------------------------------------------------------------------------------


def test_repeats_are_calls_of_their_own_with_seeds_of_their_own(
    tmp_path: Path, small_cast: Cast, small_instrument: Instrument
) -> None:
    plan = Plan(small_instrument, (Panel("cast", small_cast.head(1)),), LAYOUT, repeats=8)
    with Server(honest) as server:
        run = run_plan(tmp_path / "run", plan, model(server))
        bodies = [r.body for r in server.requests if not is_probe(r)]
    assert len(bodies) == 240
    assert len({b["seed"] for b in bodies}) == 240
    assert all(b["temperature"] == 1.0 and not b.get("logprobs") for b in bodies)
    assert_each_cell_once(run, plan)
    ratings = run.ratings("cast")
    assert ratings is not None
    assert ratings.kind == "counts"
    assert (ratings.cells.max(axis=2) < ratings.n).any()


def test_answers_come_in_request_order_however_slow_each_is(plan: Plan) -> None:
    def uneven(request: Request) -> Reply:
        answer = honest(request)
        return Reply(answer.body, wait=0.2 if request.index % 7 == 0 else 0.02)

    requests = [plan.request(c) for c in plan.cells]
    with Server(after_probe(uneven)) as server:
        ordered = list(model(server, max_connections=10).rate(requests))
        assert 1 < server.most_open <= 10
    for request, answer in zip(requests, ordered, strict=True):
        expected = planted("\n".join(text for _, text in request.prompt.messages))
        assert answer.mass is not None
        assert answer.mass[4] == pytest.approx(expected["4"])


def test_generate_gives_texts_in_order(plan: Plan) -> None:
    with Server(lambda r: completion(r.text.upper())) as server:
        prompts = [Prompt((("user", f"say {n}"),)) for n in range(30)]
        texts = model(server).generate(prompts, max_tokens=20, temperature=0.7, seed=3)
    assert texts == [f"SAY {n}" for n in range(30)]


def test_choices_are_exact_where_the_server_gives_probabilities_else_sampled() -> None:
    request = ChoiceRequest(Prompt((("user", "A or B?"),)), ("A", "B"))
    top = [("A", 0.5), (" A", 0.1), ("B", 0.25), ("x", 0.15)]
    with Server(lambda r: completion("A", top)) as server:
        (answer,) = model(server).choose([request])
        assert answer.mass == pytest.approx((0.6, 0.25))
        assert (answer.status, answer.rating, answer.unseen) == ("ok", None, 0.0)
    for text, expected in [
        ("B", ("ok", 1)),
        ("B) because", ("ok", 1)),
        ("Bananas", ("unparseable", None)),
        ("I'm sorry", ("refusal", None)),
    ]:
        with Server(lambda r, text=text: completion(text)) as server:
            (answer,) = model(server).choose([request])
            assert (answer.status, answer.rating) == expected


def test_texts_have_their_own_settings_and_lose_their_thoughts() -> None:
    with Server(lambda r: completion("<think>hm</think>\nHello.")) as server:
        respondent = model(server)
        request = TextRequest(Prompt((("user", "hi"),)), max_tokens=77, temperature=0.3, seed=5)
        (answer,) = respondent.write([request])
        assert (answer.status, answer.response) == ("ok", "Hello.")
        sent = server.requests[-1].body
        assert (sent["temperature"], sent["seed"]) == (0.3, 5)
        with pytest.raises(PersonaeError, match="cannot score"):
            respondent.score([ScoreRequest(request.prompt, "Hello.")])


# --- budget and interruptions ---------------------------------------------------------------


def test_budget_stops_before_it_is_passed_and_resume_pays_for_the_rest_only(
    tmp_path: Path, plan: Plan
) -> None:
    price = Price(input=10.0, output=30.0)
    cost = price.of(100, 1)
    with Server(honest) as server:
        budget = Budget(40 * cost, price)
        respondent = model(server, budget=budget)
        with pytest.raises(PersonaeError, match=r"budget of \$.*resume"):
            run_plan(tmp_path / "run", plan, respondent)
        paid = len(server.requests)
        assert budget.spent == pytest.approx(paid * cost)
        assert 30 * cost < budget.spent <= budget.usd
        kept = Run.open(tmp_path / "run")
        assert len(kept.responses) == asked(server) > 20
        run = run_plan(tmp_path / "run", plan, model(server))
        assert asked(server) == plan.total
    assert_each_cell_once(run, plan)


def test_interrupt_keeps_what_is_under_way_and_resume_asks_the_rest(
    tmp_path: Path, plan: Plan
) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 37:
            raise KeyboardInterrupt

    with Server(after_probe(lambda r: Reply(honest(r).body, wait=0.05))) as server:
        respondent = model(server, max_connections=10)
        run = open_or_create(tmp_path / "run", Manifest.of_plan(plan, respondent.card))
        with pytest.raises(KeyboardInterrupt):
            collect(run, plan, respondent, interrupt)
        assert 37 <= asked(server) < 60
        assert len(Run.open(tmp_path / "run").responses) == asked(server)
        run = run_plan(tmp_path / "run", plan, model(server))
        assert asked(server) == plan.total
    assert_each_cell_once(run, plan)
    assert unfinished(run, plan) == 0


def test_answers_reach_the_disk_while_the_run_is_under_way(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("personae.collect.streaming.FLUSH_SECONDS", 0.05)
    seen = []

    def look(done: int, total: int) -> None:
        seen.append(len(Run.open(tmp_path / "run").responses))

    with Server(after_probe(lambda r: Reply(honest(r).body, wait=0.03))) as server:
        respondent = model(server, max_connections=5)
        run = open_or_create(tmp_path / "run", Manifest.of_plan(plan, respondent.card))
        run = collect(run, plan, respondent, look)
    assert 0 < seen[-10] < plan.total
    assert len(list(run.responses_dir.glob("part-*.parquet"))) > 2
    assert_each_cell_once(run, plan)


def test_a_damaged_part_is_asked_again(tmp_path: Path, plan: Plan) -> None:
    with Server(honest) as server:
        run = run_plan(tmp_path / "run", plan, model(server))
        (part,) = run.responses_dir.glob("part-*.parquet")
        part.write_bytes(part.read_bytes()[:50])
        run = run_plan(tmp_path / "run", plan, model(server))
        assert asked(server) == 2 * plan.total
    assert_each_cell_once(run, plan)


# --- keys -----------------------------------------------------------------------------------


def test_keys_come_from_the_environment_before_dotenv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text(
        "LOOP_API_KEY=sk-from-dotenv-1\nOTHER_API_KEY=sk-from-dotenv-2\n"
    )
    monkeypatch.setenv("OTHER_API_KEY", "placeholder")  # so that it is put back afterwards
    monkeypatch.delenv("OTHER_API_KEY")
    with Server(honest) as server:
        model(server)
        assert server.requests[-1].key == KEY
        HostedModel("openai-api/other/m", HostedSettings(base_url=server.url))
        assert server.requests[-1].key == "sk-from-dotenv-2"


def test_mistakes_in_the_name_or_key_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOOP_API_KEY")
    for name in (NAME, "nosuchprovider/x", "gpt-4o"):
        with pytest.raises(PersonaeError, match=name) as caught:
            HostedModel(name)
        assert "\n" not in str(caught.value)


def test_a_server_that_is_not_there_is_one_line() -> None:
    settings = HostedSettings(base_url="http://127.0.0.1:9/v1", max_retries=1, backoff=0.01)
    with pytest.raises(PersonaeError, match=f"{NAME}: .*onnect"):
        HostedModel(NAME, settings)


def test_no_key_in_any_output(
    tmp_path: Path, plan: Plan, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """The server echoes the key in every error, whole, masked and in a header."""

    def indiscreet(request: Request) -> Reply:
        if request.index < 14:
            return error(500 if request.index % 2 else 400, f"bad key {request.key} Bearer {KEY}")
        return error(401, f"Incorrect API key provided: {KEY[:12]}********{KEY[-4:]} / {KEY}")

    caplog.set_level(0)
    with Server(after_probe(indiscreet)) as server:
        respondent = model(server, max_retries=1, max_connections=4)
        with pytest.raises(PersonaeError, match="rejected the key") as caught:
            run_plan(tmp_path / "run", plan, respondent)
    import traceback

    shown = "".join(traceback.format_exception(caught.value))
    stored = Run.open(tmp_path / "run").responses["response"].str.join("\n").item()
    manifest = (tmp_path / "run" / "manifest.json").read_text()
    out, err = capfd.readouterr()
    everything = "\n".join([shown, stored, manifest, out, err, caplog.text])
    assert "[key]" in stored
    assert not re.search(r"sk-loopback|0123456789abcdef|cdef\b", everything)
    for file in (tmp_path / "run").rglob("*"):
        assert not file.is_file() or KEY.encode() not in file.read_bytes()


def test_manifest_records_probe_and_settings(tmp_path: Path, plan: Plan) -> None:
    with Server(honest) as server:
        run_plan(tmp_path / "run", plan, model(server))
    data = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert data["model"]["kind"] == "hosted"
    assert data["model"]["details"]["probe"]["top"] == 10
    assert data["estimator"] == "exact"


def test_retry_after_is_waited_for(plan: Plan) -> None:
    limited: list[float] = []
    later: list[float] = []

    def answer(request: Request) -> Reply:
        if not limited:
            limited.append(time.monotonic())
            return error(429, "slow down", {"retry-after": "1"})
        later.append(time.monotonic())
        return honest(request)

    with Server(after_probe(answer)) as server:
        requests = [plan.request(c) for c in list(plan.cells)[:5]]
        answers = list(model(server, max_connections=1).rate(requests))
    assert min(later) - limited[0] >= 0.99
    assert [len(a.earlier) for a in answers] == [1, 0, 0, 0, 0]
    assert all(a.status == "ok" for a in answers)
