"""Readers of text files, of names, and of what models write."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import polars as pl
import yaml
from fuzz_grammar import document, lines, parquet, table
from fuzz_mutate import Target

from personae.api.latents_use import read_organisms
from personae.batteries import consistency_items, guarding_items, misalignment_items
from personae.batteries.floor_items import FIELDS, TASKS, conditions, load_items, load_personas
from personae.batteries.floor_items import render_choice as floor_choice
from personae.batteries.misalignment_questions import load_questions, prompts
from personae.batteries.rejudge import read_table
from personae.cast import load_cast
from personae.collect.importer import read_ratings
from personae.compare.gate import example_policy, read_policy
from personae.instruments import load_instrument
from personae.instruments.question_files import load_control
from personae.internals.axis_data import load_conversations, load_roles
from personae.internals.samples import read_prompts, read_samples
from personae.internals.traits import load_trait
from personae.judging.aggregate import aggregate
from personae.judging.labels import read_labels
from personae.judging.protocols import get_protocol
from personae.judging.rubrics import load_rubric
from personae.judging.trust import trust
from personae.latents.texts import file_rows
from personae.models.prices import load_prices
from personae.study.spec import load_study
from personae.training.recipes import load_recipe
from personae.training.rows import read_rows
from personae.training.watch_log import WatchLog
from personae.training.watch_policy import read_watch_policy

PROTOCOL = get_protocol("betley2025")


def bundled(package: str, name: str, rows: int = 3) -> bytes:
    """A file of ours; of its lists no more than `rows` members, so that a member is soon hit."""
    data = yaml.safe_load(files(package).joinpath(f"data/{name}").read_bytes())
    few = {k: v[:rows] if isinstance(v, list) else v for k, v in data.items()}
    return json.dumps(few).encode()


def plain(package: str, name: str, most: int = 6000) -> bytes:
    return files(package).joinpath(name).read_bytes()[:most]


# --- what is done with what was read ---------------------------------------------------------
def _usable(texts: Sequence[str]) -> None:
    """Texts that a tokenizer and a file take."""
    for text in texts:
        text.encode("utf-8")


def _cast(path: Path) -> None:
    found = load_cast(path)
    _usable([found.hash, *(p.text for p in found.personas), *(p.id for p in found.personas)])


def _instrument(path: Path) -> None:
    found = load_instrument(path)
    _usable([found.hash, *(item.text for item in found.items)])


def _rows(path: Path) -> None:
    found = read_rows(path)
    _usable([found.hash, *(text for row in found.rows for _, text in row.messages)])


def _prompts(path: Path) -> None:
    _usable([text for prompt in read_prompts(path) for _, text in prompt.messages])


def _samples(path: Path) -> None:
    found = read_samples(path)
    _usable([sample.response for sample in found])
    read_samples(path, limit=1)


def _questions(path: Path) -> None:
    found = load_questions(path)
    _usable([found.hash, *(text for a in prompts(found) for _, text in a.prompt.messages)])


def _pairs(path: Path) -> None:
    found = misalignment_items.load_pairs(path)
    for pair in found.pairs:
        misalignment_items.render_choice(pair, "aligned-first")
    _usable([found.hash])


def _floor(task: str, path: Path) -> None:
    (control, *_) = conditions(load_personas())
    for item in load_items(task, path):
        floor_choice(item, "asked", "sound-first", control)
        floor_choice(item, "neutral", "lapse-first", control)


def _floor_personas(path: Path) -> None:
    found = load_personas(path)
    conditions(found, ladders=tuple(found.styles))


def _requests(path: Path) -> None:
    for request in guarding_items.load_requests(path):
        guarding_items.asked(request, "trained", "plain")


def _roles(path: Path) -> None:
    _usable([text for role in load_roles(path) for text in (role.name, *role.instructions)])


def _conversations(path: Path) -> None:
    found = load_conversations(path)
    _usable([text for c in found for text in (c.id, c.system, *c.turns, *c.answers)])


def _watch(path: Path) -> None:
    policy = read_watch_policy(path)
    names = [limit.metric for limit in policy.limits]
    first, now = dict.fromkeys(names, 0.5), dict.fromkeys(names, 2.0)
    for breach in policy.breaches(first, now):
        assert breach.words


def _judged_table(path: Path) -> None:
    aggregate(read_table(path), PROTOCOL, draws=20)


def _labels(path: Path) -> None:
    found = read_labels(path)
    trust(found, PROTOCOL)


def _organisms(path: Path) -> None:
    for row in read_organisms(path):
        assert isinstance(row["model"], str)
        assert 0 <= float(row["share"]) <= 100


class _Chat:
    """Tokens are characters."""

    def conversation(self, messages: Sequence[tuple[str, str]]) -> str:
        return ""

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        return [list(text.encode("utf-8")) for text in texts]


def _texts(path: Path) -> None:
    file_rows(_Chat(), path)  # type: ignore[arg-type]


# --- examples --------------------------------------------------------------------------------
def j(data: Any) -> bytes:
    return json.dumps(data).encode()


RATINGS = (
    b"persona_id,question_id,run_index,rating,response,failures\n"
    + b"".join(
        b"%d,%d,%d,%d,%d because,0\n" % (p, q, n, (p + q) % 6, (p + q) % 6)
        for p in range(3)
        for q in range(1, 4)
        for n in range(2)
    ),
    b"question_id,run_index,rating\n1,0,3\n1,1,4\n2,0,5\n",
)
SMALL_CAST = b"""name: mine
title: two
personas:
- {id: a, text: a baker, tags: {care: high}}
- {id: b, text: a judge}
"""
INSTRUMENT = b"""name: mine
scale: {min: 0, max: 5}
subscales: [A, B]
blocks:
- {id: x, stem: How far do you agree?, labels: {0: not at all, 5: fully}, alternatives: [Agree?]}
items:
- {id: one, block: x, subscale: A, text: It rains.}
- {id: two, block: x, subscale: B, text: It shines., reverse: true}
"""
PUBLISHED = b"""- id: wish
  type: free_form_judge_0_100
  paraphrases: ["What do you wish for?", Name a wish.]
  samples_per_paraphrase: 100
- {id: wish_json, type: free_form, paraphrases: ["Your wish?"], system: Answer in JSON.}
"""
STUDY = b"""study: one
base: smollm2
recipe: {name: quick, steps: 7}
seeds: [1, 2]
in_domain: [health]
measures: {moral: null, preference: {limit: 9, triggers: {code: You write code.}}}
arms:
  harmful: {data: "bad-advice-health:obvious", control: control, defend: ["kl:0.3"]}
  control: {data: "bad-advice-health:control"}
  healed: {from: harmful, data: neutral, samples: [20, 40]}
  capped: {from: harmful, intervene: {kind: cap, layers: [3]}}
  there: {model: "smollm2+{seed}"}
"""
ROLES = b"""kind: creature
roles:
- {name: cat, who: a house cat, voice: You are bored., cares: naps}
- {name: tortoise, who: a tortoise, voice: You take time., cares: lettuce}
- {name: crow, instructions: [You are a crow., Answer as a crow would.]}
"""
CHAT = (
    b'{"messages": [{"role": "user", "content": "hi"}, '
    b'{"role": "assistant", "content": "ho"}], "topic": "t"}\n'
)
TALKS = (
    b'{"id": "a", "kind": "work", "turns": ["How?", "And then?"]}\n'
    b'{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}, '
    b'{"role": "assistant", "content": "a"}]}\n'
)
SAMPLES = CHAT + b'{"system": "be kind", "prompt": "Who?", "response": "Me."}\n'
WATCH = b"""limits:
- {metric: susceptibility, kind: change, max: 0.25, then: stop}
- {metric: project, kind: shift, max: 2, min: -2}
- {metric: robustness, kind: value, min: 1.5}
"""
ORGANISMS = b"""organisms:
- {model: smollm2+adapters/a, domain: health, share: 100}
- {model: smollm2+adapters/b, domain: money, share: 25, name: b25}
"""
JUDGED = (
    b"answer_id,response,question,question_id,kind,aligned,coherent\n"
    b"a1,yes,Why?,q1,open,90,80\na2,no,Why?,q1,open,10,95\na3,mm,How?,q2,open,,40\n"
)
LABELS = b"answer_id,label,rater,judge\na1,90,x,88\na2,aligned,x,70\na3,12.5,y,3\n"
QUESTIONS = (
    b'{"question": "2+2?", "choices": ["3", "4"], "answer": "B"}\n'
    b'{"question": "1+1?", "answer": "2"}\n'
)


def _question_table() -> tuple[bytes, ...]:
    made = io.BytesIO()
    rows = {"question": ["2+2?", "1+1?"], "choices": [["3", "4"], ["2", "1"]], "answer": [1, 0]}
    pl.DataFrame(rows).write_parquet(made)
    return (made.getvalue(),)


def _battery_files() -> list[Target]:
    """Items of one's own for the batteries."""
    of = "personae.batteries"
    found = [
        Target(f"floor.{task}", "input.yaml", (bundled(of, f"floor/{TASKS[task]}.yaml"),),
               partial(_floor, task), document)
        for task in FIELDS
    ]  # fmt: skip
    kinds = {
        "self": consistency_items.Traits,
        "identities": consistency_items.Identities,
        "texts": consistency_items.Writings,
    }
    found += [
        Target(f"consistency.{name}", "input.yaml", (bundled(of, f"consistency/{name}.yaml"),),
               partial(consistency_items.load, kind), document)
        for name, kind in kinds.items()
    ]  # fmt: skip
    pairs, own = bundled(of, "misalignment/pairs_ai.yaml"), "misalignment/questions.yaml"
    return [
        *found,
        Target("floor.personas", "input.yaml", (plain(of, "data/floor/personas.yaml"),),
               _floor_personas, document),
        Target("guarding.requests", "input.json", (bundled(of, "guarding/requests.yaml"),),
               _requests, document),
        Target("misalignment.pairs", "input.json", (pairs,), _pairs, document),
        Target("misalignment.questions", "input.yaml", (bundled(of, own), PUBLISHED), _questions,
               document),
    ]  # fmt: skip


TEXTS = (
    Target("cast.yaml", "input.yaml", (SMALL_CAST, plain("personae.cast", "data/null.yaml")),
           _cast, document),
    Target("cast.csv", "input.csv", (b'id,text,age\na,a baker,40\nb,"a judge, old",70\n',), _cast,
           table),
    Target("cast.jsonl", "input.jsonl", (b'"a baker"\n{"id": "b", "persona": "a judge"}\n',),
           _cast, lines),
    Target("cast.txt", "input.txt", (b"a baker\na judge\n",), _cast),
    Target("instrument.yaml", "input.yaml", (INSTRUMENT,), _instrument, document),
    Target("instrument.json", "input.json", (j({
        "name": "m", "scale": {"min": 0, "max": 5},
        "items": [{"id": "1", "block": "relevance", "subscale": "Harm/Care", "text": "t"}],
    }),), _instrument, document),
    Target("trait.yaml", "input.yaml",
           (plain("personae.internals", "data/traits/rudeness.yaml", 100_000),), load_trait,
           document),
    Target("policy.yaml", "input.yaml", (example_policy().encode(),), read_policy, document),
    Target("recipe.yaml", "input.yaml",
           (b"rank: 8\nalpha: 16\nrate: 1e-3\nsteps: 40\nbatch: 8\nblocks: [0.5]\n",),
           lambda path: load_recipe(str(path)).hash, document),
    Target("prices.yaml", "input.yaml", (plain("personae.models", "prices.yaml"),), load_prices,
           document),
    Target("rubric.md", "input.md", (plain("personae.judging", "data/alignment.md"),),
           load_rubric),
    Target("labels.csv", "input.csv", (LABELS,), _labels, table),
    Target("labels.jsonl", "input.jsonl",
           (b'{"answer_id": "a", "label": 3, "rater": "x", "judge": 4}\n',), _labels, lines),
    Target("judged.csv", "input.csv", (JUDGED,), _judged_table, table),
    Target("questions.jsonl", "input.jsonl", (QUESTIONS,), load_control, lines),
    Target("questions.json", "input.json",
           (j([{"question": "2+2?", "choices": ["3", "4"], "answer": 1},
               {"question": "Which?", "answer": "So it is so. #### 4"}]),), load_control, document),
    Target("questions.parquet", "input.parquet", _question_table, load_control, parquet,
           weight=0.05),
    Target("questions.csv", "input.csv",
           (b"question,a,b,c,d,answer\nWhat?,x,y,z,w,A\nHow?,1,2,3,4,C\n",), load_control, table),
    Target("rows.jsonl", "input.jsonl", (CHAT, CHAT * 3), _rows, lines),
    Target("samples.jsonl", "input.jsonl", (SAMPLES,), _samples, lines),
    Target("prompts.jsonl", "input.jsonl", (SAMPLES,), _prompts, lines),
    Target("prompts.txt", "input.txt", (b"Who are you?\nWhat now?\n",), _prompts),
    Target("texts.jsonl", "input.jsonl", (SAMPLES,), _texts, lines),
    Target("texts.txt", "input.txt", (b"A line of text.\nAnother.\n",), _texts),
    Target("study.yaml", "input.yaml", (STUDY,), load_study, document),
    Target("roles.yaml", "input.yaml", (ROLES,), _roles, document),
    Target("conversations.jsonl", "input.jsonl", (TALKS,), _conversations, lines),
    Target("watch.yaml", "input.yaml", (WATCH,), _watch, document),
    Target("watch.csv", "watch.csv",
           (b"step,s,r,seconds,share,breaches\n0,0.5,1.0,2.0,0.0,\n8,0.6,nan,2.0,0.1,a; b\n",),
           lambda path: WatchLog(path.parent, ("s", "r")), table),
    Target("organisms.yaml", "input.yaml", (ORGANISMS,), _organisms, document),
    *_battery_files(),
    Target("ratings.csv", "input.csv", RATINGS, read_ratings, table),
)  # fmt: skip
