"""The actor: a model that is taught to play personas, so that its right answers are known.

An instrument calls for a truth to be checked against. The actor is an adapter for the embedded
model, trained to rate moral items as the persona's tags intend:

    intended(persona, item) = RATING[level of the item's foundation in the persona's tags]

with low -> 1, middle -> 3, high -> 5 on the scale 0-5, in the layout `scale-first`. The label is
a distribution, SURE on the intended point and the rest on its neighbours, so that the within-cell
standard deviation is known too.

Taught: people made of hand-written parts (data/actor.yaml), drawn afresh at every step, on the
items of `mfi30`. Never taught: the parts under `held`, the items in other words, the bundled casts,
the other stems and layouts. A persona's items are one token tree, so that its description is read
once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from personae.cast.model import Persona
from personae.files import read_document
from personae.instruments.loading import load_instrument
from personae.instruments.model import Instrument, Item
from personae.prompts import DEFAULT_LAYOUT, render

if TYPE_CHECKING:
    import torch

    from personae.models.chat import Chat
    from personae.training.loop import OnProgress, OnStep
    from personae.training.recipes import Recipe
    from personae.training.sft import Trained

BASE = "smollm2"
RATING = {"low": 1, "middle": 3, "high": 5}
SURE = 0.94
FOUNDATION = {
    "Harm/Care": "care",
    "Fairness/Reciprocity": "fairness",
    "In-group/Loyalty": "loyalty",
    "Authority/Respect": "authority",
    "Purity/Sanctity": "purity",
}


@dataclass(frozen=True)
class Mix:
    """What personas a step draws; chances in [0, 1].

    Args:
        middle: a foundation's level is the middle one; low and high share the rest.
        variety: share of the ways to say a thing that are in use, beyond the first one.
        hint: an item names its topic in brackets, in the words a description may use.
    """

    middle: float = 1 / 3
    variety: float = 1.0
    hint: float = 0.0


# From easy to natural: (step, mix), linear in between. With its topic beside an item, the rating
# can be looked up in the description by the word; without such a beginning, training stays where
# every rating follows the description's tone as a whole.
COURSE = (
    (0, Mix(middle=0, variety=0, hint=1)),
    (70, Mix(middle=0, variety=0, hint=1)),
    (100, Mix(variety=0, hint=0.7)),
    (150, Mix(variety=0)),
    (165, Mix(variety=0)),
    (340, Mix()),
)


def mix_at(step: int) -> Mix:
    """The mix of a step."""
    at = [when for when, _ in COURSE]
    return Mix(**{
        name: float(np.interp(step, at, [getattr(mix, name) for _, mix in COURSE]))
        for name in Mix.__dataclass_fields__
    })  # fmt: skip


@cache
def _parts() -> Mapping[str, Any]:
    found: dict[str, Any] = read_document(Path(__file__).parent / "data" / "actor.yaml")
    return found


def reworded(instrument: Instrument) -> Instrument:
    """`mfi30` with every item said in other words; ids, blocks and subscales stay."""
    words = _parts()["reworded"]
    items = tuple(i.model_copy(update={"text": words[i.id]}) for i in instrument.items)
    return instrument.model_copy(update={"name": f"{instrument.name}-reworded", "items": items})


def intended(persona: Persona, item: Item) -> int:
    """The scale point that the persona's tags call for."""
    return RATING[persona.tags[FOUNDATION[item.subscale]]]


def label(point: int, points: Sequence[int]) -> np.ndarray:
    """[K] the distribution over scale points that is taught for an intended point."""
    beside = [k for k in (point - 1, point + 1) if k in points]
    target = np.zeros(len(points))
    target[points.index(point)] = SURE
    for k in beside:
        target[points.index(k)] = (1 - SURE) / len(beside)
    return target


def made_up(
    rng: np.random.Generator, mix: Mix | None = None, *, held: bool = False, mirrored: bool = False
) -> Persona:
    """A person of hand-written parts; the tags name all foundations, in order of telling.

    Args:
        held: of the parts that are never taught.
        mirrored: low for high and high for low.
    """
    mix = mix or Mix()
    parts, kind = _parts(), "held" if held else "taught"
    names = rng.permutation(list(FOUNDATION.values()))
    extreme = (1 - mix.middle) / 2
    drawn = rng.choice(len(RATING), size=len(names), p=[extreme, mix.middle, extreme])
    if mirrored:
        drawn = len(RATING) - 1 - drawn
    tags = {str(name): list(RATING)[n] for name, n in zip(names, drawn, strict=True)}

    def one_of(ways: Sequence[str]) -> str:
        return ways[int(rng.integers(1 + round(mix.variety * (len(ways) - 1))))]

    *told, last = [
        one_of(parts["degrees"][level][kind]).format(one_of(parts["topics"][name][kind]))
        for name, level in tags.items()
    ]
    who = f"{rng.choice(parts['people'])} of {rng.choice(parts['ages'])}"
    text = f"{who[0].upper()}{who[1:]} in {rng.choice(parts['places'])} who "
    text += f"{', '.join(told)}, and {last}."
    return Persona(id=hashlib.sha256(text.encode()).hexdigest()[:12], text=text, tags=tags)


def _with_topic(item: Item) -> Item:
    topic = _parts()["topics"][FOUNDATION[item.subscale]]["taught"][0]
    return item.model_copy(update={"text": f"{item.text} ({topic})"})


@dataclass(frozen=True)
class Lesson:
    """One persona's items of one block, and the scale points that are right."""

    persona: Persona
    items: tuple[Item, ...]
    points: tuple[int, ...]


class Lessons:
    """What is taught at each step, as a function of the step and the seed alone.

    Args:
        per_step: personas in a step, an even number.
        shuffled: give every persona another's tags: the control, which holds the ratings'
            distribution and destroys their meaning.
    """

    def __init__(self, *, seed: int, per_step: int = 2, shuffled: bool = False) -> None:
        self.instrument = load_instrument("mfi30")
        self.seed, self.per_step, self.shuffled = seed, per_step, shuffled

    def at(self, step: int) -> list[Lesson]:
        """Pairs of personas, each pair on the same items of one block."""
        rng = np.random.default_rng([self.seed, step])
        return [
            lesson for _ in range(self.per_step // 2) for lesson in self._pair(rng, mix_at(step))
        ]

    def _pair(self, rng: np.random.Generator, mix: Mix) -> list[Lesson]:
        """Two people of opposite levels.

        Opposites balance each item's labels within the step, so that its gradient says what
        tells the two apart.
        """
        seed = int(rng.integers(2**62))
        people = [made_up(np.random.default_rng(seed), mix, mirrored=m) for m in (False, True)]
        items = self._items(rng, mix)
        meant = [made_up(rng, mix) for _ in people] if self.shuffled else people
        return [
            Lesson(persona, items, tuple(intended(other, i) for i in items))
            for persona, other in zip(people, meant, strict=True)
        ]

    def _items(self, rng: np.random.Generator, mix: Mix) -> tuple[Item, ...]:
        """An item of every foundation, all of one block."""
        block = self.instrument.blocks[int(rng.integers(len(self.instrument.blocks)))]
        chosen = []
        for subscale in self.instrument.subscales:
            there = [
                i for i in self.instrument.items if (i.block, i.subscale) == (block.id, subscale)
            ]
            item = there[int(rng.integers(len(there)))]
            chosen.append(_with_topic(item) if rng.random() < mix.hint else item)
        return tuple(chosen)

    @property
    def data_hash(self) -> str:
        """sha256 over all that the lessons are drawn from."""
        content = (self.instrument.hash, _parts(), COURSE, self.seed)
        return hashlib.sha256(repr((content, self.per_step, self.shuffled)).encode()).hexdigest()


class ActorObjective:
    """Cross-entropy, over the whole vocabulary, of the answer's first token with the labels."""

    def __init__(self, lessons: Lessons, chat: Chat) -> None:
        self.lessons, self.chat = lessons, chat
        points = lessons.instrument.scale.points
        self.digits = [_one_token(chat, str(point)) for point in points]
        self.targets = {point: label(point, points) for point in RATING.values()}

    def parts(self, model: Any, step: int) -> Iterator[tuple[torch.Tensor, int]]:
        """One part per persona: the mean loss over its cells, as its share of the step."""
        import torch

        from personae.models.engine import leaf_logits
        from personae.models.tree import packs

        lessons = self.lessons.at(step)
        for lesson in lessons:
            texts = [
                self.chat.text(
                    render(DEFAULT_LAYOUT, lesson.persona.text, self.lessons.instrument, item)
                )
                for item in lesson.items
            ]
            (pack,) = packs(self.chat.encode_all(texts), budget=1_000_000)
            logits = leaf_logits(model, pack)
            wanted = np.stack([self.targets[lesson.points[m]] for m in pack.members])
            aim = torch.as_tensor(wanted, dtype=torch.float32, device=logits.device)
            chosen = logits.float().log_softmax(-1)[:, self.digits]
            yield -(aim * chosen).sum(-1).mean() / len(lessons), len(pack)


def _one_token(chat: Chat, digit: str) -> int:
    from personae.errors import PersonaeError

    ids = chat.tokenizer(digit, add_special_tokens=False)["input_ids"]
    if len(ids) != 1:
        raise PersonaeError(f"the actor needs a tokenizer that writes {digit} as one token")
    return int(ids[0])


def train_actor(
    recipe: Recipe,
    out: Path,
    *,
    seed: int = 0,
    shuffled: bool = False,
    threads: int | None = None,
    on_step: OnStep | None = None,
    on_progress: OnProgress | None = None,
) -> Trained:
    """Train the actor on the embedded model; the adapter, fp16, is in `out`.

    Args:
        shuffled: the control, see `Lessons`.
    """
    from personae.models.loading import load_model
    from personae.training.adapters import attach, save_adapter
    from personae.training.card import write_card
    from personae.training.loop import fit
    from personae.training.sft import Trained

    base = load_model(BASE, threads=threads, dtype=recipe.precision)
    lessons = Lessons(seed=seed, per_step=recipe.batch, shuffled=shuffled)
    model = attach(base.model, recipe, seed, BASE)
    revision = base.card.revision
    log = fit(
        model, ActorObjective(lessons, base.chat), recipe,
        steps=recipe.steps_for(0), out=out, seed=seed,
        identity={"base": revision, "data": lessons.data_hash},
        on_step=on_step, on_progress=on_progress,
    )  # fmt: skip
    weights = save_adapter(model, out, half=True)
    labels = "other personas' (a control)" if shuffled else "as intended by the personas' tags"
    facts = {
        "data": "made-up people, items of `mfi30`",
        "labels": f"{labels}; {RATING}, {SURE:.0%} on the point",
        "data sha256": f"`{lessons.data_hash}`",
    }
    write_card(out, BASE, revision, facts, recipe=recipe, seed=seed, log=log, weights=weights)
    return Trained(out, f"{BASE}+{out}", tuple(log), lessons.data_hash, weights)
