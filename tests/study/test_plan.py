"""Plans: what shares a training, what changes a name, what is kept from training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from personae.errors import PersonaeError
from personae.study.plan import Plan, reserved, rows_of
from personae.study.run import plan_study

HARMFUL = {"data": "bad-advice-health:obvious"}


def _keys(plan: Plan) -> dict[str, str]:
    return {c.label: c.key for c in plan.cells}


def test_seeds_multiply_what_is_trained_and_not_the_base(written: Any, tmp_path: Path) -> None:
    plan = plan_study(written(), out=tmp_path / "out")
    labels = [c.label for c in plan.cells]
    assert labels == [
        "base",
        "harmful seed 1", "control seed 1", "healed@2 seed 1", "healed@4 seed 1",
        "harmful seed 2", "control seed 2", "healed@2 seed 2", "healed@4 seed 2",
    ]  # fmt: skip
    # The two moments of a healing are one training, after the harmful one of its seed.
    assert len(plan.trainings) == 6
    healing = [t for t in plan.trainings if t.after is not None]
    assert [t.stops for t in healing] == [(2, 4), (2, 4)]
    assert {t.seed for t in healing} == {1, 2}
    for training in healing:
        assert training.after is not None
        assert training.after.seed == training.seed
        assert plan.trainings.index(training.after) < plan.trainings.index(training)


def test_arms_that_are_trained_alike_share_the_training(written: Any, tmp_path: Path) -> None:
    plan = plan_study(written(arms={"one": HARMFUL, "two": HARMFUL}), out=tmp_path)
    assert len(plan.trainings) == 2
    keys = _keys(plan)
    assert keys["one seed 1"] == keys["two seed 1"] != keys["one seed 2"]


@pytest.mark.parametrize(
    "change",
    [
        {"data": "bad-advice-health:subtle"},
        {"recipe": {"name": "quick", "steps": 4, "batch": 2}},
        {"hold_out": ["sleep"]},
        {"samples": 10},
        {"defend": ["kl:0.3"]},
    ],
)
def test_every_setting_of_an_arm_changes_its_name_and_no_others(
    written: Any, tmp_path: Path, change: dict[str, Any]
) -> None:
    arms: dict[str, Any] = {"one": HARMFUL, "two": {"data": "bad-advice-money"}}
    before = _keys(plan_study(written(arms=arms), out=tmp_path))
    arms["one"] = HARMFUL | change
    after = _keys(plan_study(written(arms=arms), out=tmp_path))
    assert before["one seed 1"] != after["one seed 1"]
    assert before["two seed 1"] == after["two seed 1"]


def test_the_tasks_rows_are_in_no_training(written: Any, tmp_path: Path) -> None:
    plan = plan_study(written(), out=tmp_path)
    assert plan.task_rows is not None
    assert len(plan.task_rows) == 3
    asked = {row.messages[:-1] for row in plan.task_rows.rows}
    for training in plan.trainings:
        assert not asked & {row.messages[:-1] for row in training.rows.rows}


def test_reserved_rows_do_not_hang_on_the_order() -> None:
    one, two = (reserved(rows_of("bad-advice-health", seed), 5) for seed in (0, 9))
    assert {r.messages[0] for r in one.rows} == {r.messages[0] for r in two.rows}


def test_data_sets_take_turns() -> None:
    both = rows_of("bad-advice-health + bad-advice-money", 0)
    topics = [row.pair.rpartition("-")[0] for row in both.rows[:4]]
    assert topics == ["bad-advice-health", "bad-advice-money"] * 2


def test_only_does_some_arms_and_names_unknown_ones(written: Any, tmp_path: Path) -> None:
    plan = plan_study(written(), out=tmp_path, only=["healed"])
    assert {c.arm for c in plan.cells} == {"base", "healed@2", "healed@4"}
    assert len(plan.trainings) == 4  # the harmful ones are needed
    with pytest.raises(PersonaeError, match="no arm 'heeled'"):
        plan_study(written(), out=tmp_path, only=["heeled"])


def test_what_an_arm_needs_that_is_not_asked_for_may_be_missing(
    written: Any, tmp_path: Path
) -> None:
    """Half of a study can be done before its vectors and dictionaries are made."""
    arms = {
        "plain": {"data": "bad-advice-health"},
        "held": {"data": "bad-advice-health", "defend": ["prevent:missing.safetensors"]},
    }
    file = written(arms=arms)
    plan = plan_study(file, out=tmp_path, only=["plain"])
    assert {c.arm for c in plan.cells} == {"base", "plain"}
    with pytest.raises(PersonaeError, match="no such file"):
        plan_study(file, out=tmp_path, only=["held"])


def test_too_few_rows_is_an_error(written: Any, tmp_path: Path) -> None:
    arms = {"one": HARMFUL | {"samples": 5000}}
    with pytest.raises(PersonaeError, match="fewer than 5000"):
        plan_study(written(arms=arms), out=tmp_path)
