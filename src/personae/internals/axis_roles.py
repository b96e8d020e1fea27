"""Answers in the part of each role, judged and kept as running sums.

For role r, a_s [L, d] is the mean over the tokens of its answer in slot s of the residual stream
at every block's output. Of all its answers only

    sums[b, l]  =  sum of a_s over the slots s of block b        counts[b]

stays, one small file a role: [BLOCKS, L, d] numbers however many answers there are. Blocks are
what halves, shuffles and the like are made of afterwards. Answers of the default assistant are few
and all stored singly, as the normal range.

Which roles are held, and so make the axis:

judge        half or more of the role's answers have a judge's score of "in character" (0-100) of
             50 or more
likelihood   (no judge) gain = [log p(a | role, q) - log p(a | q)] / tokens, in nats. The mean gain
             of the role's n answers is above the 95th percentile of means of n gains drawn from
             the default assistant's answers under its own instructions: an instruction that gives
             no part also makes its answers likelier (in the mean by a Kullback-Leibler
             divergence), so a gain above 0 would prove nothing.

Roles are held or not as wholes (the paper keeps single answers), so that every role has answered
the same questions and what a question does to the state is the same for all; with few answers a
role this matters more than a stray answer out of character.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from personae.collect.answering import rate
from personae.errors import PersonaeError
from personae.internals.activations import collect, passage
from personae.internals.axis_data import (
    BLOCKS,
    Role,
    asked,
    default_roles,
    in_character_rubric,
    slots,
)
from personae.internals.axis_folder import AxisFolder, shard_name
from personae.judging.calls import judge_request, judge_score
from personae.judging.rubrics import load_rubric
from personae.models.local import LocalModel
from personae.models.protocol import Respondent, ScoreRequest, TextRequest
from personae.prompts import Prompt
from personae.ratings import Floats

if TYPE_CHECKING:
    import torch

Progress = Callable[[int, int], None]
IN_CHARACTER, HELD_SHARE = 50.0, 0.5
DEFAULT_GAINS, DRAWS = 0.95, 4000
PARTY = 48  # answers


@dataclass(frozen=True)
class Plan:
    """What is asked of every role.

    Args:
        pairs: answers a role, of (instruction, question) pairs; see `axis_data.slots`.
        max_tokens, temperature, seed: how answers are written.
    """

    roles: tuple[Role, ...]
    questions: tuple[str, ...]
    pairs: int = 12
    max_tokens: int = 32
    temperature: float = 0.7
    seed: int = 0

    @property
    def groups(self) -> tuple[Role, ...]:
        """The default assistant and all roles."""
        return (*default_roles(), *self.roles)

    def slots(self, role: Role) -> list[tuple[int, int]]:
        return slots(len(role.instructions), len(self.questions), self.pairs)

    @property
    def answers(self) -> int:
        return sum(len(self.slots(role)) for role in self.groups)


def collect_roles(
    model: LocalModel,
    plan: Plan,
    folder: AxisFolder,
    judge: Respondent | None = None,
    on_progress: Progress | None = None,
) -> None:
    """Write, judge and sum the answers of every role that the folder does not hold yet."""
    report, done = on_progress or (lambda done, total: None), 0
    if len({shard_name(r.name) for r in plan.groups}) < len(plan.groups):
        raise PersonaeError("two roles have names alike but for marks; give them other names")
    with folder.writing():
        for party in parties(plan):
            stored = folder.stored()
            if not all(shard_name(role.name) in stored for role in party):
                _one_party(model, plan, folder, party, judge)
            done += sum(len(plan.slots(role)) for role in party)
            report(done, plan.answers)


def parties(plan: Plan) -> list[list[Role]]:
    """Roles that answer together: large batches are quicker. The default keeps to itself.

    They hang on the plan alone, and a party with a role missing answers anew as a whole, so that
    a resumed fit draws what an unbroken one would have drawn.
    """
    found: list[list[Role]] = []
    size = 0
    for role in plan.groups:
        wanted = len(plan.slots(role))
        other = bool(found) and (found[-1][0].kind == "default") != (role.kind == "default")
        if not found or other or size + wanted > PARTY:
            found.append([])
            size = 0
        found[-1].append(role)
        size += wanted
    return found


def _one_party(
    model: LocalModel,
    plan: Plan,
    folder: AxisFolder,
    party: Sequence[Role],
    judge: Respondent | None,
) -> None:
    import polars as pl

    cells = [(role, k, i, q) for role in party for k, (i, q) in enumerate(plan.slots(role))]
    prompts = [asked(role, i, plan.questions[q]) for role, _, i, q in cells]
    first = plan.seed * 1_000_003 + plan.groups.index(party[0]) * 10_007
    requests = [
        TextRequest(p, plan.max_tokens, plan.temperature, first + n) for n, p in enumerate(prompts)
    ]
    answers = [a.response for a in model.write(requests)]
    is_default = party[0].kind == "default"
    if judge is None or is_default:
        scores = likelihood_gains(model, prompts, answers)
    else:
        parts = [f"{r.instructions[i]}\n\nQuestion: {plan.questions[q]}" for r, _, i, q in cells]
        scores = judged(judge, parts, answers)
    rows = pl.DataFrame(
        {
            "role": [r.name for r, *_ in cells], "kind": [r.kind for r, *_ in cells],
            "slot": [c[1] for c in cells], "instruction": [c[2] for c in cells],
            "question": [c[3] for c in cells], "answer": answers, "score": scores.tolist(),
        },
        schema=row_schema(),
    )  # fmt: skip
    for role in party:
        own = [n for n, cell in enumerate(cells) if cell[0] is role]
        tensors = sums_of(
            model, [prompts[n] for n in own], [answers[n] for n in own], each=is_default
        )
        folder.write_tensors(role.name, tensors, {"role": role.name})
        # The table is written last: a role is there when its table is.
        folder.write_part(role.name, rows.filter(pl.col("role") == role.name))


def likelihood_gains(
    model: LocalModel, prompts: Sequence[Prompt], answers: Sequence[str]
) -> Floats:
    """[answers] nats a token that the system message adds to the answer's log-likelihood.

    NaN for an empty answer; 0 where there is no system message.
    """
    found = np.full(len(prompts), np.nan)
    some = [n for n, a in enumerate(answers) if a.strip()]
    bare = [Prompt(tuple(m for m in prompts[n].messages if m[0] != "system")) for n in some]
    under = model.score([ScoreRequest(prompts[n], answers[n]) for n in some])
    without = model.score([ScoreRequest(p, answers[n]) for p, n in zip(bare, some, strict=True)])
    for n, a, b in zip(some, under, without, strict=True):
        found[n] = (float(a.loglik or 0) - float(b.loglik or 0)) / float(a.tokens or 1)
    return found


@dataclass(frozen=True)
class Verdicts:
    """Which roles are held: a statistic by role's name, held where it reaches the limit."""

    statistic: dict[str, float]
    limit: float
    rule: str

    def held(self, role: Role) -> bool:
        return self.statistic[role.name] >= self.limit


def verdicts(folder: AxisFolder, plan: Plan, *, by_judge: bool) -> Verdicts:
    """The verdict on every role of a complete folder; see the module's head.

    Raises:
        PersonaeError: the default assistant said nothing.
    """
    scores = {r.name: folder.read_part(r.name)["score"].to_numpy() for r in plan.groups}
    if by_judge:
        shares = {name: float((s >= IN_CHARACTER).mean()) for name, s in scores.items()}
        rule = "half or more of its answers have a judge's score of 50 or more of 100"
        return Verdicts(shares, HELD_SHARE, rule)
    told = [scores[r.name] for r in default_roles() if r.instructions[0]]
    gains = np.concatenate(told)
    gains = gains[np.isfinite(gains)]
    if not len(gains):
        raise PersonaeError("the default assistant gave empty answers only; raise --max-tokens")
    rng = np.random.default_rng(plan.seed)
    limit = float(np.quantile(rng.choice(gains, (DRAWS, plan.pairs)).mean(1), DEFAULT_GAINS))
    means = {
        name: float(np.nanmean(s)) if np.isfinite(s).any() else -np.inf
        for name, s in scores.items()
    }
    rule = (
        f"its instructions make its answers likelier by {limit:.3f} nats a token or more in the "
        "mean (95th percentile of the default's own)"
    )
    return Verdicts(means, limit, rule)


def judged(judge: Respondent, parts: Sequence[str], answers: Sequence[str]) -> Floats:
    """[answers] a judge's scores 0-100 of in-character.

    NaN where it gave none or there is no answer.

    Args:
        parts: the instruction and the question behind each answer.
    """
    rubric = load_rubric(in_character_rubric())
    found = np.full(len(answers), np.nan)
    some = [n for n, a in enumerate(answers) if a.strip()]
    requests = [judge_request(rubric, parts[n], answers[n]) for n in some]
    for n, answer in zip(some, rate(judge, requests, temperature=0.0), strict=True):
        score = judge_score(answer.mass, answer.rating)
        found[n] = np.nan if score is None else score
    return found


def sums_of(
    model: LocalModel,
    prompts: Sequence[Prompt],
    answers: Sequence[str],
    *,
    each: bool = False,
) -> dict[str, torch.Tensor]:
    """Running sums of the answers that are not empty.

    Returns:
        sums [BLOCKS, L, d] and counts [BLOCKS]; with `each` also the single answers
        [answers, L, d] and norms [L], the mean |h| at the last prompt token.
    """
    import torch

    chosen = [n for n, a in enumerate(answers) if a.strip()]
    wanted = (passage(model.chat, prompts[n], answers[n]) for n in chosen)
    config = model.model.config.get_text_config()
    shape = (BLOCKS, config.num_hidden_layers, config.hidden_size)
    sums, counts = torch.zeros(shape, dtype=torch.float64), torch.zeros(BLOCKS)
    single: list[torch.Tensor] = []
    norms = torch.zeros(shape[1], dtype=torch.float64)
    for n, (response, prompt_end) in zip(
        chosen, collect(model.model, wanted, ["response", "prompt_end"]), strict=True
    ):
        sums[n % BLOCKS] += response.double()
        counts[n % BLOCKS] += 1
        norms += prompt_end.double().norm(dim=-1) / len(chosen)
        if each:
            single.append(response)
    found = {"sums": sums.float(), "counts": counts}
    if each:
        empty = torch.zeros(0, *shape[1:])
        found |= {"each": torch.stack(single) if single else empty, "norms": norms.float()}
    return found


def row_schema() -> dict[str, Any]:
    import polars as pl

    text, number = pl.String, pl.Int32
    return {"role": text, "kind": text, "slot": number, "instruction": number,
            "question": number, "answer": text, "score": pl.Float64}  # fmt: skip
