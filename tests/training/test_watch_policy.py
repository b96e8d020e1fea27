"""The watch's log and policy: it goes on where it was, warns and stops."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_training import SMALL

from personae.errors import PersonaeError
from personae.models.loading import load_model
from personae.training.recipes import Recipe
from personae.training.rows import Rows
from personae.training.sft import train
from personae.training.watch import Clock, Watch
from personae.training.watch_log import Reading, WatchLog
from personae.training.watch_measures import WatchSet
from personae.training.watch_policy import WatchLimit, WatchPolicy, read_watch_policy


def test_a_stopped_run_goes_on_with_its_readings(
    tiny: str, few: Rows, recipe: Recipe, tmp_path: Path
) -> None:
    class StopError(Exception):
        pass

    def stop(line: Any, model: Any) -> None:
        if line.step == 4:
            raise StopError

    def watch(folder: str) -> Watch:
        return Watch(tmp_path / folder, every=1, asked=SMALL)

    train(tiny, few, recipe, out=tmp_path / "whole", threads=1, watch=watch("whole"))
    with pytest.raises(StopError):
        train(tiny, few, recipe, out=tmp_path / "cut", threads=1, watch=watch("cut"), on_step=stop)
    train(tiny, few, recipe, out=tmp_path / "cut", threads=1, watch=watch("cut"))
    rows = [list(csv.reader((tmp_path / n / "watch.csv").open())) for n in ("whole", "cut")]
    without_time = [[row[:-3] for row in table] for table in rows]
    assert without_time[0] == without_time[1]
    assert [row[0] for row in rows[0][1:]] == ["0", "1", "2", "3", "4", "5", "6"]


def test_a_resumed_watch_knows_what_a_reading_costs(tiny: str, tmp_path: Path) -> None:
    """A reading of 50 s on record: not before 500 s of training is there room for another."""
    time = [0.0]
    WatchLog(tmp_path, SMALL.names).add(Reading(0, dict.fromkeys(SMALL.names, 1.0), 50.0))
    watch = Watch(tmp_path, asked=SMALL, clock=Clock(now=lambda: time[0]))
    model = load_model(tiny, threads=1)
    watch.begin(model.model, model.chat.tokenizer, steps=None, done=1)
    for done in range(2, 13):
        time[0] += 49.0
        watch.after_step(model.model, done)
    assert [r.step for r in watch.readings] == [0, 12]
    Watch(tmp_path, asked=SMALL).begin(model.model, model.chat.tokenizer, steps=None)
    (again,) = WatchLog(tmp_path, SMALL.names).readings  # a new run forgets the earlier one
    assert again.values["perplexity"] != 1.0


def test_a_policy_stops_a_run_which_keeps_its_adapter(
    tiny: str, few: Rows, recipe: Recipe, tmp_path: Path
) -> None:
    path = tmp_path / "limits.yaml"
    path.write_text(
        "limits:\n"
        "  - {metric: perplexity, kind: value, max: 1.0, then: warn}\n"
        "  - {metric: log_odds_per_token, kind: shift, min: 0.0, max: 0.0, then: stop}\n"
    )
    said: list[str] = []
    watch = Watch(tmp_path / "run", every=2, policy=path, asked=SMALL, tell=said.append)
    done = train(tiny, few, recipe, out=tmp_path / "run", threads=1, watch=watch)
    assert len(done.log) == 2
    assert [line.partition(":")[0] for line in said] == ["step 0", "step 2"]
    assert "perplexity value" in said[0]
    assert "ends here" not in said[0]
    assert "the run ends here" in said[1]
    assert load_model(done.model, threads=1)
    assert "after 2 of 6 steps" in (tmp_path / "run" / "README.md").read_text()


@given(first=st.floats(-5, 5), now=st.floats(-5, 5), low=st.floats(-3, 0), high=st.floats(0, 3))
def test_limits_hold_inside_their_bounds(first: float, now: float, low: float, high: float) -> None:
    for kind, number in (("value", now), ("shift", now - first)):
        limit = WatchLimit(metric="m", kind=kind, min=low, max=high)  # type: ignore[arg-type]
        policy = WatchPolicy(limits=(limit,))
        assert bool(policy.breaches({"m": first}, {"m": now})) == (not low <= number <= high)
    assert not WatchLimit(metric="m", max=1.0).holds(float("nan"))


def test_a_change_is_a_fraction_of_the_first_readings_size() -> None:
    limit = WatchLimit(metric="m", max=0.25)
    assert (limit.kind, limit.then) == ("change", "warn")
    assert limit.number(2.0, 3.0) == 0.5
    assert limit.number(-2.0, -3.0) == -0.5  # it fell, whichever side of 0 it is on
    assert limit.number(-2.0, 2.0) == 2.0
    assert limit.holds(limit.number(4.0, 5.0))  # at the bound
    assert not limit.holds(limit.number(4.0, 5.01))
    least = WatchLimit(metric="m", min=-0.25)
    assert least.holds(least.number(4.0, 3.0))
    assert not least.holds(least.number(4.0, 2.99))


@pytest.mark.parametrize("bound", [{"max": 1e9}, {"min": -1e9}])
def test_a_change_of_nothing_and_no_number_cross_every_limit(bound: dict[str, float]) -> None:
    limit = WatchLimit(metric="m", **bound)  # type: ignore[arg-type]
    policy = WatchPolicy(limits=(limit,))
    for first, now in ((0.0, 0.0), (0.0, 1.0), (1.0, float("nan")), (float("nan"), 1.0)):
        (breach,) = policy.breaches({"m": first}, {"m": now})
        assert math.isnan(breach.number)
        assert not breach.stops


def test_every_breach_is_told_with_its_bounds(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "limits:\n"
        "  - {metric: a, kind: shift, min: 0, max: 0.5, then: stop}\n"
        "  - {metric: a, kind: value, max: 9}\n"
        "  - {metric: b, min: 0}\n"
    )
    policy = read_watch_policy(path)
    assert policy.name == "mine"
    one, two = policy.breaches({"a": 1.0, "b": 2.0}, {"a": 0.25, "b": 1.0})
    assert one.words == "a shift -0.750 (min 0, max 0.5)"
    assert two.words == "b change -0.500 (min 0)"
    assert (one.stops, two.stops) == (True, False)
    path.write_text("{name: other, limits: [{metric: a, max: 1}]}")
    assert read_watch_policy(path).name == "other"
    with pytest.raises(PersonaeError, match="other: nothing watched is called 'a'; there are: b"):
        read_watch_policy(path).check_names(["b"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("limits: [{metric: x, max: .inf}]", "finite"),
        ("limits: [{metric: x, min: -.inf}]", "finite"),
        ("limits: []", "limits"),
        ("limits: [{metric: susceptibility}]", "needs a max or a min"),
        ("limits: [{metric: x, max: 1, min: 2}]", "max 1 is below min 2"),
        ("limits: [{metric: x, max: 1, then: shout}]", "then"),
        ("- 1", "should be a mapping"),
        ("limits: [{metric: loss, max: 1}]", "nothing watched is called 'loss'"),
    ],
)
def test_a_broken_policy_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(PersonaeError, match=says) as error:
        Watch(tmp_path, policy=path)
    assert "\n" not in str(error.value)


def test_another_watchs_log_is_refused(tmp_path: Path) -> None:
    log = WatchLog(tmp_path, ("a", "b"))
    log.add(Reading(0, {"a": 1.5, "b": 2.0}, 0.1, 0.5, ("a up",)))
    log.add(Reading(3, {"a": 1.0, "b": 2.0}, 0.1))
    log.close()
    again = WatchLog(tmp_path, ("a", "b"))
    assert again.readings == log.readings
    again.drop_from(2)
    assert [r.step for r in WatchLog(tmp_path, ("a", "b")).readings] == [0]
    with pytest.raises(PersonaeError, match="holds another watch"):
        WatchLog(tmp_path, ("a", "c"))


def test_tensorboard_gets_the_readings_where_it_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = WatchLog(tmp_path, ("a",))
    for step, value in ((0, 1.5), (7, 2.5)):
        log.add(Reading(step, {"a": value}, 0.1))
    log.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("personae/a")] == [(0, 1.5), (7, 2.5)]


def test_wandb_gets_the_readings_of_a_run_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its library is not needed here: what is tested is what its `run.log` is handed."""
    import sys
    from types import SimpleNamespace

    handed: list[Any] = []
    monkeypatch.setitem(
        sys.modules, "wandb", SimpleNamespace(run=SimpleNamespace(log=handed.append))
    )
    WatchLog(tmp_path, ("a",)).add(Reading(3, {"a": 1.5}, 0.1))
    assert handed == [{"personae/a": 1.5, "personae/step": 3}]


@pytest.mark.parametrize(
    ("settings", "says"), [({"every": 0}, "1 step"), ({"share": 0}, "above 0")]
)
def test_wrong_settings_are_told(tmp_path: Path, settings: dict[str, Any], says: str) -> None:
    with pytest.raises(PersonaeError, match=says):
        Watch(tmp_path, **settings)
    with pytest.raises(PersonaeError, match="at least two personas"):
        WatchSet(personas=1)
