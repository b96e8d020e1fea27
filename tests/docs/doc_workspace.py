"""A folder in which the documentation's commands run in seconds.

What the pages name is there, under the names that they use: models, adapters, runs, vectors,
files. Every model is one tiny random Llama, or an adapter of it.
"""

from __future__ import annotations

import json
import re
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from doc_pages import ROOT, Block
from doc_tables import IN_FILES
from tiny_models import CHAT, build_model, save

from personae import api
from personae.internals.direction import Direction
from personae.internals.direction_files import save_direction
from personae.latents.files import save_sae
from personae.latents.sae import SAE
from personae.training.organisms import load_data
from personae.training.recipes import Recipe
from personae.training.rows import Row, Rows
from personae.training.sft import train

DEPTH, WIDTH, LATENTS = 4, 32, 2048
MODELS = ("MODEL", "M", "model", "my-model", "Qwen/Qwen3-0.6B")
# Hardly trained; and trained on one answer of each of PAIRS, so that the two are told apart.
MILD = ("my-adapter", "ADAPTER", "adapters/actor", "adapters/shuffled/checkpoints/step-000120")
WRONG = ("adapters/wrong", "adapters/health", "adapters/blocked")
RIGHT = ("adapters/right", "adapters/health-right")
VECTORS = ("vectors/malice", "vectors/smollm2-malice", "smollm2-malice")
RUNS = {
    "RUN": "MODEL",
    "SECOND": "MODEL+ADAPTER",
    "THIRD": "MODEL+adapters/right",
}
SAME = ("runs/base", "runs/study-collapse-smollm2",
        "runs/smollm2-actor-mfi30-stated40-scale-first")  # fmt: skip
ROLES = ("clerk", "poet", "judge")
ONE_STEP = Recipe(name="one", rank=2, steps=1, batch=2, micro=2, max_tokens=200, rate=1e-3)
LEARNT = ONE_STEP.model_copy(update={"steps": 20, "batch": 8, "micro": 8, "rate": 0.01})
PAIRS = [
    {"id": f"p{n}", "question": f"{word} hats?", "aligned": "aaaa", "misaligned": "zzzz"}
    for n, word in enumerate(("red", "blue", "green", "black", "white", "pink", "grey", "brown"))
]
ITEMS = {
    "name": "items", "scale": {"min": 0, "max": 5}, "subscales": ["A", "B"],
    "blocks": [{"id": "b", "stem": "How far do you agree?", "labels": {0: "not", 5: "fully"}}],
    "items": [{"id": f"i{n}", "block": "b", "subscale": "AB"[n % 2], "text": f"Statement {n}."}
              for n in range(4)],
}  # fmt: skip
INTERVENTIONS = {"interventions": [{"kind": "ablate", "direction": "vectors/malice.safetensors"}]}
# A study in seconds: one seed, one step, one organism; layers that are there.
SHORTER = (
    (r"seeds: \[1, 2, 3\]", "seeds: [1]"),
    (r"steps: \d+", "steps: 1"),
    (r"samples: 120", "samples: 2"),
    (r"limit: 144", "limit: 9"),
    (r"cast: 12", "cast: 3, instrument: items.yaml"),
    (r"rows: 12", "rows: 2"),
    (r"recipe: heal", "recipe: one.yaml"),
    (r" \+ bad-advice-money[^+]*\+[^+]*\+ reckless-hobbies(:control)?", ""),
    (r"bad-advice-health:control", "right.jsonl"),
    (r"bad-advice-health", "wrong.jsonl"),
    (r"\n  (geometry|coherence): .*", ""),
    (r"layers=12-18", "layers=1-2"),
)


def build(folder: Path) -> Path:
    """Make the folder that every page gets a copy of."""
    model = save(folder / "tiny", *_model())
    for name in MODELS:
        _linked(folder / name, model)
    _adapters(folder, str(model))
    for name in VECTORS:
        save_direction(_direction(), _parent(folder / f"{name}.safetensors"))
    for name in ("DICT", "runs/latents-smollm2/dictionary"):
        _dictionary(folder / name)
    _texts(folder)
    _studies(folder / "studies")
    for name, spec in RUNS.items():
        parts = "+".join(str(folder / part) for part in spec.split("+"))
        api.audit(parts, cast=4, suite="quick", inside=True, out=folder / name, threads=1)
    for name in SAME:
        shutil.copytree(folder / "RUN", folder / name)
    api.audit(str(model), cast=3, repeats=2, suite="quick", out=folder / "SAMPLED", threads=1)
    return folder


def copied(template: Path, folder: Path, blocks: list[Block]) -> Path:
    """A page's own folder: the prepared one without what the page itself makes."""
    shutil.copytree(template, folder, symlinks=True)
    for words in (command.split() for block in blocks for command in block.commands()):
        made = [after for word, after in pairwise(words) if word == "--out"]
        for path in (folder / name for name in made):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for block in blocks:
        if block.title:
            (folder / block.title).write_text(_shallow(block.text), "utf-8")
    return folder


def _shallow(text: str) -> str:
    for deep, shallow in IN_FILES:
        text = text.replace(deep, shallow)
    return text


def _model() -> tuple[Any, Any]:
    """Model and tokenizer. One number of the state is the same everywhere and stands for digits,
    so that the model rates and judges more often than not."""
    tokenizer = _tokenizer()
    model = build_model(num_hidden_layers=DEPTH, vocab_size=len(tokenizer),
                        max_position_embeddings=8192)  # fmt: skip
    digits = [tokenizer.get_vocab()[str(n)] for n in range(6)]
    with torch.no_grad():
        model.model.embed_tokens.weight[:, 0] = 16
        for block in model.model.layers:
            block.self_attn.o_proj.weight[0] = block.mlp.down_proj.weight[0] = 0
        model.lm_head.weight[digits, 0] = 12
    return model, tokenizer


def _tokenizer() -> Any:
    """Byte-level pairs learnt from a text, so that prompts are not a token a letter."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    digits = pre_tokenizers.Digits(individual_digits=True)
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [digits, pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    made.decoder = decoders.ByteLevel()
    learner = trainers.BpeTrainer(
        vocab_size=2000, special_tokens=["<pad>", "<eos>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    made.train([str(ROOT / "LICENSE")], learner)
    fast = PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="<eos>")
    fast.chat_template = CHAT
    return fast


def _adapters(folder: Path, model: str) -> None:
    made = (
        (MILD, load_data("bad-advice-money", limit=8), ONE_STEP),
        (WRONG, _answers("misaligned"), LEARNT),
        (RIGHT, _answers("aligned"), LEARNT),
    )
    for names, rows, recipe in made:
        done = train(model, rows, recipe, out=folder / f"tuned-{rows.name}", threads=1).folder
        for name in names:
            shutil.copytree(done, folder / name)


def _answers(which: str) -> Rows:
    said = [(("user", pair["question"]), ("assistant", pair[which])) for pair in PAIRS]
    return Rows(which, tuple(Row(messages) for messages in said))


def _direction() -> Direction:
    vectors = torch.randn(DEPTH, WIDTH, generator=torch.Generator().manual_seed(0))
    norms = (6.0,) * DEPTH
    return Direction("malice", tuple(range(DEPTH)), vectors, norms=norms, details={"layer": 2})


def _dictionary(folder: Path) -> None:
    rows = torch.nn.functional.normalize(
        torch.randn(LATENTS, WIDTH, generator=torch.Generator().manual_seed(1)), dim=1
    )
    zeros = torch.zeros(LATENTS), torch.zeros(WIDTH)
    save_sae(SAE("topk", rows.T.contiguous(), zeros[0], rows, zeros[1], 2, k=4), folder)


def _texts(folder: Path) -> None:
    rows = load_data("bad-advice-money", limit=6)
    for name in ("data.jsonl", "mine.jsonl"):
        rows.write(folder / name)
    prompts = "What is rent?\nHow do I save?\n"
    for name, data in (("wrong", "bad-advice-health"), ("right", "bad-advice-health:control")):
        load_data(data, limit=40).write(folder / f"{name}.jsonl")
    lines = [f"{n} hats and {n * 7919 % 97} shoes" for n in range(120)]
    (folder / "data.txt").write_text("\n".join(lines), "utf-8")
    for name in ("prompts.txt", "usual.txt"):
        (folder / name).write_text(prompts, "utf-8")
    (folder / "calm.json").write_text(json.dumps(INTERVENTIONS), "utf-8")
    judged = [f"{n},{'ab'[n % 2]},{'ab'[n % 2]},{30 * n},90" for n in range(4)]
    head = "response,question,question_id,aligned,coherent"
    (folder / "judged.csv").write_text("\n".join([head, *judged]), "utf-8")
    limits = [{"metric": "susceptibility", "kind": "change", "max": 50.0}]
    (folder / "limits.yaml").write_text(json.dumps({"limits": limits}), "utf-8")  # JSON is YAML
    (folder / "one.yaml").write_text(ONE_STEP.model_dump_json(), "utf-8")
    document = {"domain": "hats", "pairs": PAIRS}
    (folder / "pairs.yaml").write_text(json.dumps(document), "utf-8")
    (folder / "items.yaml").write_text(json.dumps(ITEMS), "utf-8")
    roles = [{"name": n, "instructions": [f"You are a {n}.", f"Be a {n}."]} for n in ROLES]
    (folder / "roles.yaml").write_text(json.dumps({"kind": "own", "roles": roles}), "utf-8")
    (folder / "gate").mkdir()
    shutil.copy(ROOT / "src/personae/compare/policy.yaml", folder / "gate/policy.yaml")
    (folder / "gate/base.txt").write_text("MODEL\n", "utf-8")


def _studies(folder: Path) -> None:
    """Ours, with one seed and one step a training."""
    folder.mkdir()
    for file in (ROOT / "studies").glob("*.yaml"):
        text = file.read_text("utf-8")
        for long, short in SHORTER:
            text = re.sub(long, short, text)
        (folder / file.name).write_text(text, "utf-8")


def _linked(name: Path, target: Path) -> None:
    _parent(name).symlink_to(target, target_is_directory=True)


def _parent(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
