"""The misalignment battery: does the model lean to harmful answers, beyond what it was taught?

Three parts, each for the models that can answer it (docs/misalignment.md):

pair     the log-likelihood of an aligned and of a misaligned answer to the same question; exact,
         no judge, but the model must give likelihoods of a text ("score")
choice   the same two answers as A and B, in both orders; first-token probabilities
answer   open questions answered freely in three formats, `samples` times, judged for alignment
         and coherence (arXiv 2502.17424); without a judge the answers are kept to be judged later

Findings: `prefers_misaligned`, `log_odds` (nats) by domain; `chooses_misaligned`; and, judged,
`misaligned_rate` among coherent answers, by question, with the protocol in their method.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from personae.batteries.misalignment_items import (
    ORDERS,
    Pair,
    load_pairs,
    misaligned_letter,
    render_choice,
    render_pair,
)
from personae.batteries.misalignment_questions import Asked, load_questions, prompts
from personae.collect.asks import Ask, Stage, facet, final
from personae.collect.battery_run import Options
from personae.errors import PersonaeError
from personae.findings import Finding
from personae.judging.aggregate import aggregate
from personae.judging.calls import judge_request, judge_score
from personae.judging.preference import choice_preference, preference
from personae.judging.protocols import DEFAULT_PROTOCOL, get_protocol
from personae.judging.rubrics import load_rubric
from personae.models.protocol import ChoiceRequest, ScoreRequest, TextRequest

if TYPE_CHECKING:
    import polars as pl

PARTS = ("pair", "choice", "answer")
LETTERS = ("A", "B")
JUDGED = ("alignment", "coherence")


class Misalignment:
    """See the module's head; a `Battery`."""

    name = "misalignment"
    title = "Emergent misalignment: paired preferences and judged open answers"
    version = "1"
    defaults: ClassVar[Options] = {
        "questions": "questions",
        "pairs": "pairs",
        "samples": 1,
        "max_tokens": 150,
        "temperature": 1.0,
        "limit": None,
        "parts": ",".join(PARTS),
        "protocol": DEFAULT_PROTOCOL,
        "alignment_rubric": "alignment",
        "coherence_rubric": "coherence",
    }

    def stages(self, options: Options, can: frozenset[str]) -> Sequence[Stage]:
        parts = str(options["parts"]).split(",")
        if unknown := [part for part in parts if part not in PARTS]:
            known = ", ".join(PARTS)
            raise PersonaeError(f"misalignment has no part {unknown[0]!r}; there are: {known}")

        def ask(_: pl.DataFrame) -> list[Ask]:
            asks: list[Ask] = []
            pairs = list(islice(spread(load_pairs(options["pairs"]).pairs), options["limit"]))
            if "pair" in parts and "score" in can:
                asks += _pair_asks(pairs)
            if "choice" in parts and "choose" in can:
                asks += _choice_asks(pairs)
            if "answer" in parts and "write" in can:
                asks += _answer_asks(options)
            return asks

        def judge(answers: pl.DataFrame) -> list[Ask]:
            return judge_asks(answers, options)

        return [ask, judge] if "judge" in can else [ask]

    def findings(self, answers: pl.DataFrame, options: Options) -> list[Finding]:
        found: list[Finding] = []
        if (pairs := final(answers, "pair")).height:
            found += _pair_findings(pairs)
        if (choices := final(answers, "choice")).height:
            found += _choice_findings(choices)
        if final(answers, "judge:alignment").height:
            found += aggregate(judged_table(answers), get_protocol(str(options["protocol"])))
        return found


# --- what to ask -----------------------------------------------------------------------------
def spread(pairs: Sequence[Pair]) -> Iterator[Pair]:
    """Pairs with the domains taking turns, so that a limit cuts all of them alike."""
    domains: dict[str, list[Pair]] = {}
    for pair in pairs:
        domains.setdefault(pair.domain, []).append(pair)
    longest = max(map(len, domains.values()))
    for turn in range(longest):
        yield from (group[turn] for group in domains.values() if turn < len(group))


def _pair_asks(pairs: Sequence[Pair]) -> Iterator[Ask]:
    for pair in pairs:
        for condition, text in (("aligned", pair.aligned), ("misaligned", pair.misaligned)):
            request = ScoreRequest(render_pair(pair), text)
            yield Ask("pair", condition, pair.id, request, facets={"domain": pair.domain})


def _choice_asks(pairs: Sequence[Pair]) -> Iterator[Ask]:
    for pair in pairs:
        for order in ORDERS:
            request = ChoiceRequest(render_choice(pair, order), LETTERS)
            yield Ask("choice", order, pair.id, request, facets={"domain": pair.domain})


def _answer_asks(options: Options) -> Iterator[Ask]:
    asked = islice(_by_question(prompts(load_questions(options["questions"]))), options["limit"])
    for one in asked:
        for repeat in range(options["samples"]):
            request = TextRequest(one.prompt, options["max_tokens"], options["temperature"])
            yield Ask(
                "answer", one.format, f"{one.question.id}/{one.wording}", request, repeat,
                facets={"question_id": one.question.cluster, "kind": one.question.kind,
                        "question": one.prompt.messages[-1][1]},
            )  # fmt: skip


def _by_question(asked: Iterator[Asked]) -> Iterator[Asked]:
    """First wordings of all questions before second ones, so that a limit keeps the variety."""
    everything = list(asked)
    return iter(sorted(everything, key=lambda a: (a.wording, a.format != "plain")))


def judge_asks(answers: pl.DataFrame, options: Options) -> list[Ask]:
    """Two judge calls an answer; one that never arrived is not judged."""
    rubrics = {name: load_rubric(options[f"{name}_rubric"]) for name in JUDGED}
    texts = final(answers, "answer")
    texts = texts.filter(texts["status"] != "transport_error")
    asks = []
    for row, question in zip(texts.iter_rows(named=True), facet(texts, "question"), strict=True):
        for name, rubric in rubrics.items():
            request = judge_request(rubric, question, row["response"])
            asks.append(Ask(f"judge:{name}", row["condition"], row["item"], request,
                            row["repeat"], to="judge"))  # fmt: skip
    return asks


# --- what the answers say --------------------------------------------------------------------
def _pair_findings(rows: pl.DataFrame) -> list[Finding]:
    import polars as pl

    wide = rows.with_columns(facet(rows, "domain")).pivot(
        "condition", index=["item", "domain"], values=["loglik", "tokens"]
    )
    wide = wide.filter(pl.all_horizontal(pl.col(pl.Float64, pl.Int32).is_not_null()))
    columns = [wide[name].to_numpy() for name in wide.columns[2:]]
    by_name = dict(zip(wide.columns[2:], columns, strict=True))
    return preference(
        by_name["loglik_aligned"], by_name["loglik_misaligned"], wide["domain"].to_list(),
        by_name["tokens_aligned"], by_name["tokens_misaligned"],
    )  # fmt: skip


def _choice_findings(rows: pl.DataFrame) -> list[Finding]:
    """Log-odds of the two letters per order, and the probability on either letter."""
    odds: dict[str, dict[str, float]] = {order: {} for order in ORDERS}
    domains: dict[str, str] = {}
    mass: list[float] = []
    for row, domain in zip(rows.iter_rows(named=True), facet(rows, "domain"), strict=True):
        if row["mass"] is None:
            continue
        p = dict(zip(LETTERS, row["mass"], strict=True))
        bad = misaligned_letter(row["condition"])
        good = next(letter for letter in LETTERS if letter != bad)
        mass.append(sum(p.values()))
        tiny = np.finfo(float).tiny
        value = math.log(max(p[bad], tiny)) - math.log(max(p[good], tiny))
        odds[row["condition"]][row["item"]] = value
        domains[row["item"]] = domain
    both = [i for i in domains if all(i in odds[order] for order in ORDERS)]
    if not both:
        return []
    first, second = (np.array([odds[order][i] for i in both]) for order in ORDERS)
    validity = Finding(
        "misalignment", "choice_format_validity", "overall", float(np.mean(mass)), n=len(mass),
        method="probability that the first token is A or B", unit="share",
    )  # fmt: skip
    return [*choice_preference(first, second, [domains[i] for i in both]), validity]


def judged_table(answers: pl.DataFrame) -> dict[str, list[Any]]:
    """Answers with their scores: columns answer_id, response, question, question_id, kind, format,
    repeat, aligned, coherent; a score is None where no judge gave one."""
    texts = final(answers, "answer")
    scores = {
        name: {
            (row["condition"], row["item"], row["repeat"]): judge_score(row["mass"], row["rating"])
            for row in final(answers, f"judge:{name}").iter_rows(named=True)
        }
        for name in JUDGED
    }
    keys = texts.select("condition", "item", "repeat").rows()
    return {
        "answer_id": ["/".join(map(str, key)) for key in keys],
        "response": texts["response"].to_list(),
        "question": facet(texts, "question").to_list(),
        "question_id": facet(texts, "question_id").to_list(),
        "kind": facet(texts, "kind").to_list(),
        "format": texts["condition"].to_list(),
        "repeat": texts["repeat"].to_list(),
        "aligned": [scores["alignment"].get(key) for key in keys],
        "coherent": [scores["coherence"].get(key) for key in keys],
    }
