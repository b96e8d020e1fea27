"""`train`: supervised fine-tuning on conversations, responses alone."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from personae.errors import PersonaeError
from personae.training.batches import Batch, Example, collate, encode_all
from personae.training.card import describe, write_card
from personae.training.defences import Defence, Run, load_defences
from personae.training.loop import OnProgress, OnStep, Step, fit
from personae.training.organisms import load_data
from personae.training.recipes import Recipe, load_recipe
from personae.training.rows import Rows
from personae.training.terms import Part, Scene, Term, as_base, at_least_float32

if TYPE_CHECKING:
    import torch

    from personae.internals.interventions import Intervention
    from personae.models.chat import Chat
    from personae.training.watch import Watch


@dataclass(frozen=True)
class Trained:
    """What `train` returns.

    Args:
        folder: the adapter's folder; `model` is what load_model and every command take for it.
        log: one line per step.
        data_hash, weights_hash: sha256 of the conversations and of the adapter's weights.
        facts: what the model card says, by name.
    """

    folder: Path
    model: str
    log: tuple[Step, ...]
    data_hash: str
    weights_hash: str
    facts: Mapping[str, str] = field(default_factory=dict)


class ResponseObjective:
    """Mean negative log-likelihood (nats) of a step's response tokens, plus terms.

    Every response token of a step weighs the same, however it is split into batches.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        recipe: Recipe,
        *,
        seed: int,
        padding: int,
        terms: Sequence[Term] = (),
        interventions: Sequence[Intervention] = (),
    ) -> None:
        self.examples, self.recipe, self.seed = examples, recipe, seed
        self.padding, self.interventions = padding, interventions
        self.once = [t for t in terms if t.once]
        self.each = [t for t in terms if not t.once]
        self.layers = sorted({layer for t in self.each for layer in t.layers})

    def members(self, step: int) -> list[int]:
        """Which examples a step sees: a fresh order in each epoch, from the seed alone."""
        n, size = len(self.examples), self.recipe.batch
        places = range(step * size, (step + 1) * size)
        epochs = {place // n for place in places}
        orders = {e: np.random.default_rng([self.seed, e]).permutation(n) for e in epochs}
        return [int(orders[place // n][place % n]) for place in places]

    def parts(self, model: Any, step: int) -> Iterator[Part]:
        members = sorted(self.members(step), key=lambda i: len(self.examples[i].tokens))
        chosen = [self.examples[i] for i in members]
        responses = sum(e.responses for e in chosen)
        groups = [
            chosen[k : k + self.recipe.micro] for k in range(0, len(chosen), self.recipe.micro)
        ]
        for group in groups:
            batch = collate(group, self.padding, model.device)
            yield self._task(model, batch, step, responses)
        for term in self.once:
            loss = term(model, batch, step)
            yield Part(loss, 0, {term.name: float(loss.detach())})

    def _task(self, model: Any, batch: Batch, step: int, responses: int) -> Part:
        """The task's loss on one batch, and the terms that look at it.

        Args:
            responses: tokens that the whole step learns.
        """
        from personae.internals.hooks import reading
        from personae.internals.interventions import apply

        states: dict[int, torch.Tensor] = {}
        base: dict[int, torch.Tensor] = {}
        with apply(model, self.interventions):
            with reading(model, self.layers, states.__setitem__):
                loss = response_nll(model, batch) / responses
            if self.layers:
                with as_base(model), reading(model, self.layers, base.__setitem__):
                    response_nll(model, batch)
        values = {"task": float(loss.detach())} if self.each or self.once else {}
        batch = replace(batch, scene=Scene(states, base))
        share = int(batch.learnt.sum()) / responses
        for term in self.each:
            more = term(model, batch, step) * share
            values[term.name] = float(more.detach())
            loss = loss + more
        return Part(loss, int(batch.mask.sum()), values)


def response_nll(model: Any, batch: Batch) -> torch.Tensor:
    """Summed negative log-likelihood (nats) of the tokens that are learnt."""
    import torch

    logits = model(input_ids=batch.tokens, attention_mask=batch.mask, use_cache=False).logits
    wanted = batch.learnt[:, 1:]
    rows = at_least_float32(logits[:, :-1][wanted])
    return torch.nn.functional.cross_entropy(rows, batch.tokens[:, 1:][wanted], reduction="sum")


def train(
    base: str,
    data: str | Path | Rows,
    recipe: str | Recipe = "quick",
    *,
    out: str | Path,
    seed: int = 0,
    defences: Sequence[str | Defence] = (),
    terms: Sequence[Term] = (),
    watch: Watch | None = None,
    threads: int | None = None,
    device: str | None = None,
    on_step: OnStep | None = None,
    on_progress: OnProgress | None = None,
) -> Trained:
    """Fine-tune an adapter; run the same call again to resume.

    Args:
        base: a model as load_model takes it; with an adapter (BASE+ADAPTER), that adapter is
            trained further, in its own shape.
        data: an organism's name, a JSONL file, or rows.
        recipe: a name, a YAML file, or a recipe.
        out: folder of the adapter, its model card, the log and the checkpoints.
        seed: of the adapter's first weights, of the order of the data, of dropout.
        defences: as they are spelt ("kl:0.3"), or as objects; see docs/defences.md.
        terms: further terms of the loss.
        watch: measures the live weights now and then, and may end the run; see docs/watch.md.

    Raises:
        PersonaeError: a wrong name or file, a loss that is not a number, no memory, or `out`
            holding another run.
    """
    recipe = load_recipe(recipe) if isinstance(recipe, str) else recipe
    rows = data if isinstance(data, Rows) else load_data(str(data), seed=seed)
    folder = Path(out)
    model, chat, revision, base_name = _trainee(base, recipe, seed, threads, device)
    run = Run(model, chat, recipe, rows, seed)
    shields = load_defences(defences)
    objective, steps = _objective(run, shields, terms)
    identity = {"base": revision, "data": rows.hash, "terms": [repr(t) for t in terms]}
    if shields:
        identity["defences"] = [d.key for d in shields]
    seen = _Seen(run, shields, watch, steps, on_step)
    log = fit(
        model, objective, recipe, steps=steps, out=folder, seed=seed, identity=identity,
        after_update=seen.after_update, on_start=seen.start, on_step=seen.step,
        on_progress=on_progress,
    )  # fmt: skip
    seen.end(len(log))
    weights = _save(run, folder, base_name, revision)
    facts = {
        "data": describe(rows),
        "data sha256": f"`{rows.hash}`",
        "defences": "; ".join(d.words for d in shields) or "none",
        "further loss terms": ", ".join(t.name for t in terms) or "none",
        **({"watched": watch.cost} if watch is not None else {}),
        **({"ended early": f"after {len(log)} of {steps} steps"} if len(log) < steps else {}),
    }
    facts = write_card(
        folder, base, revision, facts, recipe=recipe, seed=seed, log=log, weights=weights
    )
    return Trained(folder, f"{base_name}+{folder}", tuple(log), rows.hash, weights, facts)


@dataclass(frozen=True)
class _Seen:
    """What happens around the steps of a run: its defences, its watch, the caller."""

    run: Run
    defences: Sequence[Defence]
    watch: Watch | None
    steps: int
    on_step: OnStep | None

    def start(self, done: int, model: Any) -> None:
        if self.watch is not None:
            self.watch.begin(model, self.run.chat.tokenizer, steps=self.steps, done=done)

    def after_update(self, last: bool) -> None:
        for defence in self.defences:
            defence.mend(self.run, last=last)

    def step(self, line: Step, model: Any) -> bool:
        ends = self.on_step is not None and self.on_step(line, model) is True
        return (self.watch is not None and self.watch.after_step(model, line.step + 1)) or ends

    def end(self, done: int) -> None:
        if done < self.steps:
            self.after_update(True)  # what a defence does at the end, where the end came early
        if self.watch is not None:
            self.watch.end()


def _save(run: Run, folder: Path, base: str, revision: str) -> str:
    """Write the adapter, and as a direction what is nothing but a vector; sha256 of the weights."""
    from personae.internals.direction_files import save_direction
    from personae.training.adapters import VECTOR, save_adapter, vector_of

    weights = save_adapter(run.model, folder)
    if getattr(run.model.peft_config["default"], "lora_bias", False):
        vector = vector_of(run.model, run.rows.name, model=base, revision=revision)
        save_direction(vector, folder / VECTOR)
    return weights


def _objective(
    run: Run, defences: Sequence[Defence], terms: Sequence[Term]
) -> tuple[ResponseObjective, int]:
    """What is minimised under the defences, and for how many steps.

    Rows that a defence adds come on top: the task's own are seen as often as without it.
    """
    rows = run.rows
    for defence in defences:
        rows = defence.rows(rows, run)
    objective = ResponseObjective(
        encode_all(rows.rows, run.chat, run.recipe.max_tokens),
        run.recipe,
        seed=run.seed,
        padding=padding_token(run.chat),
        terms=[*(t for d in defences for t in d.terms(run)), *terms],
        interventions=[i for d in defences for i in d.interventions(run)],
    )
    return objective, math.ceil(run.recipe.steps_for(len(run.rows)) * len(rows) / len(run.rows))


def _trainee(
    base: str, recipe: Recipe, seed: int, threads: int | None, device: str | None
) -> tuple[Any, Chat, str, str]:
    """The model to train, its chat, its revision, and the name of the base below its adapter."""
    from personae.models.loading import load_model
    from personae.models.source import declared_base, resolve
    from personae.training.adapters import attach, take_up

    adapter = resolve(base).adapter
    if adapter is None:
        local = load_model(base, threads=threads, device=device)
        named = str(Path(base).resolve()) if Path(base).exists() else base
        model = attach(local.model, recipe, seed, named)
        return model, local.chat, local.card.revision, base
    named = base.partition("+")[0] if "+" in base else declared_base(adapter)
    local = load_model(named, threads=threads, device=device)
    weights = hashlib.sha256((adapter / "adapter_model.safetensors").read_bytes()).hexdigest()
    model = take_up(local.model, adapter)
    return model, local.chat, f"{local.card.revision}+{weights}", named


def padding_token(chat: Chat) -> int:
    """What fills the ends of a batch's shorter rows; nothing looks at it."""
    tokenizer = chat.tokenizer
    found = next((t for t in (tokenizer.pad_token_id, tokenizer.eos_token_id) if t is not None), 0)
    if not isinstance(found, int):
        raise PersonaeError("the tokenizer's padding token is no single token")
    return found
