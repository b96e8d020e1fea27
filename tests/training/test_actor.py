"""The actor's lessons, and training on token trees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import build_model, build_tokenizer

from personae.cast.loading import load_cast
from personae.files import read_document
from personae.instruments.loading import load_instrument
from personae.models.chat import Chat
from personae.models.engine import leaf_logits
from personae.models.tree import packs
from personae.training import actor
from personae.training.actor import (
    COURSE,
    FOUNDATION,
    RATING,
    ActorObjective,
    Lessons,
    intended,
    label,
    made_up,
    mix_at,
    reworded,
)
from personae.training.adapters import attach, trainable
from personae.training.recipes import Recipe, load_recipe

DATA = Path(actor.__file__).parent / "data" / "actor.yaml"


def test_held_out_people_and_other_words_are_never_taught() -> None:
    items = {item.text for item in load_instrument("mfi30").items}
    assert not items & {item.text for item in reworded(load_instrument("mfi30")).items}
    stated = {person.text for person in load_cast("stated").personas}
    lessons, taught = Lessons(seed=0, per_step=4), set()
    for step in range(load_recipe("actor").steps or 0):
        for lesson in lessons.at(step):
            taught.add(lesson.persona.text)
            assert {item.text.rpartition(" (")[0] or item.text for item in lesson.items} <= items
    assert len(taught) > 1500
    assert not taught & stated


def test_the_stated_cast_is_made_of_taught_words() -> None:
    for k, person in enumerate(load_cast("stated").personas):
        drawn = made_up(np.random.default_rng([2**42, k]))
        assert (person.text, person.tags) == (drawn.text, drawn.tags)


def test_lessons_hold_the_intended_ratings_of_every_foundation() -> None:
    lesson = Lessons(seed=0).at(COURSE[-1][0])[0]
    assert [RATING[lesson.persona.tags[FOUNDATION[i.subscale]]] for i in lesson.items] == list(
        lesson.points
    )
    assert {i.subscale for i in lesson.items} == set(FOUNDATION)


def test_a_step_is_the_same_whenever_it_is_asked_for() -> None:
    assert Lessons(seed=2).at(7) == Lessons(seed=2).at(7)
    assert Lessons(seed=2).at(7) != Lessons(seed=3).at(7)


def test_shuffled_labels_know_nothing_of_their_persona() -> None:
    def agreement(shuffled: bool) -> float:
        lessons = Lessons(seed=1, shuffled=shuffled)
        cells = [
            (point, intended(lesson.persona, item))
            for step in range(300)
            for lesson in lessons.at(step)
            for point, item in zip(lesson.points, lesson.items, strict=True)
        ]
        given, meant = np.array(cells).T
        return float(np.corrcoef(given, meant)[0, 1])

    assert agreement(False) == pytest.approx(1.0)
    assert abs(agreement(True)) < 0.1


def test_labels_are_distributions_about_the_point() -> None:
    for point in RATING.values():
        target = label(point, range(6))
        assert target.sum() == pytest.approx(1)
        assert int(target.argmax()) == point
    assert label(5, range(6))[4] == pytest.approx(0.06)


def test_made_up_people_say_what_their_tags_mean() -> None:
    parts = read_document(DATA)
    for seed in range(60):
        for kind, held in (("taught", False), ("held", True)):
            person = made_up(np.random.default_rng(seed), held=held)
            assert set(person.tags) == set(FOUNDATION.values())
            for name, level in person.tags.items():
                stated = {
                    degree.format(topic)
                    for degree in parts["degrees"][level][kind]
                    for topic in parts["topics"][name][kind]
                }
                assert any(words in person.text for words in stated)


def test_words_that_are_held_out_are_never_taught() -> None:
    parts = read_document(DATA)
    for group in [*parts["topics"].values(), *parts["degrees"].values()]:
        assert not {p.lower() for p in group["taught"]} & {p.lower() for p in group["held"]}


def test_a_pair_answers_the_same_items_from_opposite_ends() -> None:
    for step in range(0, 400, 40):
        one, other = Lessons(seed=4).at(step)
        assert one.items == other.items
        assert [6 - p for p in one.points] == list(other.points)
        assert one.persona.text.split(" who ")[0] == other.persona.text.split(" who ")[0]


def test_levels_of_the_foundations_are_independent() -> None:
    rng = np.random.default_rng(0)
    people = [made_up(rng) for _ in range(600)]
    levels = np.array([[RATING[level] for level in p.tags.values()] for p in people], float)
    off = np.corrcoef(levels.T)[~np.eye(5, dtype=bool)]
    assert np.abs(off).max() < 0.15
    assert levels.mean() == pytest.approx(3, abs=0.15)


def test_the_course_goes_from_plain_to_natural() -> None:
    first, last = COURSE[0][1], COURSE[-1][1]
    assert mix_at(0) == first
    assert mix_at(COURSE[-1][0] + 100) == last
    assert (first.hint, first.variety, last.hint, last.variety) == (1, 0, 0, 1)
    topics = read_document(DATA)["topics"]
    for step in (0, COURSE[-1][0]):
        for lesson in Lessons(seed=0).at(step):
            for item in lesson.items:
                topic = topics[FOUNDATION[item.subscale]]["taught"][0]
                named = item.text.endswith(f" ({topic})")
                assert named == (step == 0)
                # The word that an item names is the one by which the rating can be looked up.
                assert not named or topic in lesson.persona.text


def test_tree_gradients_are_those_of_single_prompts() -> None:
    rng = np.random.default_rng(0)
    trunk = rng.integers(2, 100, 9).tolist()
    prompts = [trunk + rng.integers(2, 100, n).tolist() for n in (3, 5, 2)]

    def gradients(tree: bool) -> tuple[torch.Tensor, torch.Tensor]:
        model = attach(build_model(), Recipe(name="r", rank=2), seed=0, base="x").eval()
        for name, weight in trainable(model).items():
            if "lora_B" in name:
                torch.nn.init.constant_(weight, 0.02)
        if tree:
            (pack,) = packs(prompts, budget=1000)
            at = torch.tensor(np.argsort(pack.members))
            logits = leaf_logits(model, pack)[at]
        else:
            logits = torch.stack([model(torch.tensor([p])).logits[0, -1] for p in prompts])
        logits.log_softmax(-1)[:, 7].sum().backward()
        return logits.detach(), torch.cat([p.grad.flatten() for p in trainable(model).values()])

    for ours, plain in zip(gradients(True), gradients(False), strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-3, atol=1e-5)


def test_the_loss_falls_as_the_model_learns_its_lessons() -> None:
    objective = ActorObjective(Lessons(seed=0, per_step=2), Chat(build_tokenizer()))
    model = attach(build_model(), Recipe(name="r", rank=4, alpha=16), seed=0, base="x")
    optimiser = torch.optim.Adam(trainable(model).values(), lr=0.02)
    losses = []
    for _ in range(15):
        optimiser.zero_grad()
        losses.append(0.0)
        for part, tokens in objective.parts(model, 0):
            assert tokens > 0
            part.backward()
            losses[-1] += float(part.detach())
        optimiser.step()
    assert losses[-1] < 0.7 * losses[0]
