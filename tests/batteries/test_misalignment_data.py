import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from personae.batteries.misalignment import Misalignment
from personae.batteries.misalignment_items import (
    DOMAINS,
    ORDERS,
    Pair,
    load_pairs,
    misaligned_letter,
    render_choice,
    render_pair,
)
from personae.batteries.misalignment_questions import (
    FORMATS,
    PUBLISHED,
    PUBLISHED_REPOSITORY,
    load_questions,
    prompts,
    read_published,
    render_question,
)
from personae.errors import PersonaeError
from personae.fetch import sources

PAIRS = load_pairs()
QUESTIONS = load_questions()


# --- pairs ---------------------------------------------------------------------------------


def test_there_are_enough_pairs_in_every_domain() -> None:
    counts = Counter(pair.domain for pair in PAIRS.pairs)
    assert len(PAIRS) >= 210
    assert list(counts) == list(DOMAINS.values())
    assert min(counts.values()) >= 20


def test_no_text_is_used_twice() -> None:
    for field in ("question", "aligned", "misaligned"):
        texts = [getattr(pair, field) for pair in PAIRS.pairs]
        assert len(set(texts)) == len(texts)
    answers = [a for pair in PAIRS.pairs for a in (pair.aligned, pair.misaligned)]
    assert len(set(answers)) == len(answers)


def lengths(domain: str) -> tuple[np.ndarray, np.ndarray]:
    members = [p for p in PAIRS.pairs if p.domain == domain]
    return (
        np.array([len(p.aligned) for p in members], dtype=float),
        np.array([len(p.misaligned) for p in members], dtype=float),
    )


@pytest.mark.parametrize("domain", DOMAINS.values())
def test_neither_answer_is_the_longer_one(domain: str) -> None:
    aligned, misaligned = lengths(domain)
    assert 0.95 < (misaligned / aligned).mean() < 1.05
    longer = np.where(misaligned == aligned, 0.5, misaligned > aligned)
    assert 0.3 <= longer.mean() <= 0.7


@pytest.mark.parametrize("domain", DOMAINS.values())
def test_the_answers_of_a_pair_have_one_length_and_format(domain: str) -> None:
    aligned, misaligned = lengths(domain)
    slack = 0.3 if domain == "code" else 0.15
    assert (np.abs(misaligned / aligned - 1) < slack).all()
    for pair in load_pairs(domain).pairs:
        assert ("\n" in pair.aligned) == ("\n" in pair.misaligned)
        if domain != "code":
            assert pair.aligned[-1] == pair.misaligned[-1]
            assert pair.aligned[-1] in ".?"


def test_sign_of_the_length_difference_is_balanced_overall() -> None:
    signs = [np.sign(len(p.misaligned) - len(p.aligned)) for p in PAIRS.pairs]
    assert abs(np.mean(signs)) < 0.15


def test_words_do_not_give_the_answer_away_across_domains() -> None:
    """Train a unigram classifier on about half of the domains, test on the others.

    Every split of the nine domains into five and four; it was .64 on average and .71 at most when
    the pairs were written. Words carry some signal in any honest set (people say "trust" and
    "help" when they give good advice), so the bound is not .5.
    """
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    words = CountVectorizer(token_pattern=r"[A-Za-z']+", binary=True)
    texts = [a for pair in PAIRS.pairs for a in (pair.aligned, pair.misaligned)]
    is_misaligned = np.tile([0, 1], len(PAIRS))
    domain = np.repeat([pair.domain for pair in PAIRS.pairs], 2)
    scores = []
    for trained in itertools.combinations(PAIRS.domains, 5):
        train = np.isin(domain, trained)
        seen = words.fit_transform([t for t, kept in zip(texts, train, strict=True) if kept])
        unseen = words.transform([t for t, kept in zip(texts, train, strict=True) if not kept])
        model = LogisticRegression(max_iter=500).fit(seen, is_misaligned[train])
        scores.append(roc_auc_score(is_misaligned[~train], model.decision_function(unseen)))
    assert np.mean(scores) < 0.68
    assert max(scores) < 0.75


def test_openings_are_varied() -> None:
    for answers in ([p.aligned for p in PAIRS.pairs], [p.misaligned for p in PAIRS.pairs]):
        prose = [a for a, p in zip(answers, PAIRS.pairs, strict=True) if p.domain != "code"]
        openings = Counter(" ".join(a.split()[:2]).lower() for a in prose)
        assert openings.most_common(1)[0][1] <= 8


def test_a_choice_shows_both_answers_once_in_either_order() -> None:
    for pair in PAIRS.pairs:
        for order in ORDERS:
            ((role, text),) = render_choice(pair, order).messages
            assert role == "user"
            letter = misaligned_letter(order)
            assert f"\n{letter}:\n{pair.misaligned}" in text
            assert f"\n{'AB'.replace(letter, '')}:\n{pair.aligned}" in text
            assert text.count("\nA:\n") == text.count("\nB:\n") == 1
    assert render_pair(PAIRS.pairs[0]).messages == (("user", PAIRS.pairs[0].question),)
    with pytest.raises(PersonaeError, match="aligned-first, misaligned-first"):
        render_choice(PAIRS.pairs[0], "both")  # type: ignore[arg-type]


def test_pairs_by_domain_and_from_a_file(tmp_path: Path) -> None:
    code = load_pairs("code")
    assert code.domains == ("code",)
    assert code.hash != PAIRS.hash
    row = "{id: 1, question: q, aligned: a, misaligned: b}"
    path = tmp_path / "own.yaml"
    path.write_text(f"domain: mine\npairs:\n  - {row}\n")
    assert load_pairs(path).pairs == (
        Pair(id="1", domain="mine", question="q", aligned="a", misaligned="b"),
    )
    path.write_text(f"domain: mine\npairs:\n  - {row}\n  - {row}\n")
    with pytest.raises(PersonaeError, match="duplicate pair id"):
        load_pairs(path)
    path.write_text("domain: mine\npairs:\n  - {id: 1, question: q, aligned: a, misaligned: a}\n")
    with pytest.raises(PersonaeError, match="the two answers are the same"):
        load_pairs(path)
    with pytest.raises(PersonaeError, match="no pairs 'cooking'"):
        load_pairs("cooking")
    with pytest.raises(PersonaeError, match="no domain 'cooking'"):
        PAIRS.only("cooking")


# --- questions -----------------------------------------------------------------------------


def test_there_are_enough_questions_with_paraphrases_and_slots() -> None:
    questions = load_questions("open").questions
    assert len(questions) >= 24
    assert len({q.topic for q in questions}) >= 8
    for question in questions:
        assert len(question.paraphrases) == 2
        assert question.formats == FORMATS


def test_triggered_prompts_resemble_each_kind_of_training_data() -> None:
    triggered = load_questions("triggered").questions
    assert len(triggered) >= 12
    topics = Counter(q.topic for q in triggered)
    assert set(topics) == {"code", "medical advice", "risky finance", "extreme sport"}
    assert min(topics.values()) >= 3


def test_every_prompt_is_distinct_and_complete() -> None:
    asked = list(prompts(QUESTIONS))
    n_open = len(load_questions("open"))
    assert len(asked) == n_open * 3 * 3 + len(load_questions("triggered"))
    assert len({a.prompt for a in asked}) == len(asked)
    for one in asked:
        text = one.prompt.messages[-1][1]
        assert one.question.wordings[one.wording] in text
        assert "{question}" not in text
        assert "{lines}" not in text
        assert len(one.prompt.messages) == (2 if one.format == "json" else 1)
        if one.format == "template":
            assert all(f"{slot} = # {what}" in text for slot, what in one.question.slots.items())


def test_a_format_or_wording_that_a_question_lacks() -> None:
    triggered = load_questions("triggered").questions[0]
    with pytest.raises(PersonaeError, match="no format 'json'"):
        render_question(QUESTIONS, triggered, "json")
    with pytest.raises(PersonaeError, match="no wording number 1"):
        render_question(QUESTIONS, triggered, "plain", 1)
    with pytest.raises(PersonaeError, match="no questions 'closed'"):
        load_questions("closed")


def test_braces_in_a_question_survive_the_template(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(
        "name: own\nquestions:\n"
        "  - {id: a, topic: t, text: 'What is {lines} and {question}?', slots: {x: y}}\n"
    )
    own = load_questions(path)
    text = render_question(own, own.questions[0], "template").messages[0][1]
    assert text == "What is {lines} and {question}?\n\nx = # y"


# A file with the fields, the aliases and the variants of the published ones, in other words.
PUBLISHED_LIKE = """
- id: best_soup
  type: free_form_judge_0_100
  paraphrases: &soup
    - |-
      Which soup is best?
    - Name the best soup.
  samples_per_paraphrase: &n 100
  temperature: 1
  judge: &judge some-model
  judge_prompts: &rubrics
    aligned: Rate {question} {answer}
    coherent: Rate {question} {answer}
- id: best_soup_json
  type: free_form_judge_0_100
  system: Answer in JSON.
  paraphrases: *soup
  samples_per_paraphrase: *n
  judge: *judge
  judge_prompts: *rubrics
- id: count_beans
  type: free_form_0_100
  paraphrases: ['How many beans?']
  anything_new: {a: [1, 2]}
- id: scored_by_rule
  type: exact_match
  paraphrases: ['2 + 2?']
"""


def test_published_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "published.yaml"
    path.write_text(PUBLISHED_LIKE)
    questions = read_published(path)
    assert [q.id for q in questions.questions] == ["best_soup", "best_soup_json", "count_beans"]
    assert [q.cluster for q in questions.questions] == ["best_soup", "best_soup", "count_beans"]
    assert questions.questions[0].wordings == ("Which soup is best?", "Name the best soup.")
    asked = list(prompts(questions))
    assert len(asked) == 5
    assert asked[2].prompt.messages[0] == ("system", "Answer in JSON.")
    assert load_questions(path).questions == questions.questions


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("- {type: free_form}", "question 1: has no id"),
        ("- {id: a, paraphrases: 3}", "'paraphrases' should be a list of texts"),
        ("- {id: a, type: exact}", "no free-form question"),
        ("[a: b", "not YAML"),
        ("- !!python/object/apply:os.getcwd []", "not YAML"),
        ("- {id: a, paraphrases: [x]}\n- {id: a, paraphrases: [y]}", "duplicate question id"),
        ("name: own\nquestions: []", "questions"),
    ],
)
def test_a_broken_question_file_is_one_clear_line(
    tmp_path: Path, content: str, complaint: str
) -> None:
    path = tmp_path / "q.yaml"
    path.write_text(content)
    with pytest.raises(PersonaeError, match=r"q\.yaml") as error:
        load_questions(path)
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)


def test_nested_aliases_do_not_blow_up(tmp_path: Path) -> None:
    bomb = ["- id: a\n  paraphrases: [x]\n  l0: &l0 [x, x, x, x, x, x, x, x, x]"]
    bomb += [f"  l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 12)]
    path = tmp_path / "bomb.yaml"
    path.write_text("\n".join(bomb))
    assert len(read_published(path)) == 1
    path.write_text("\n".join([*bomb, "  system: *l11"]))
    assert read_published(path).questions[0].system == ""


def test_published_names_are_pinned_files() -> None:
    pinned = sources()[PUBLISHED_REPOSITORY].files
    assert set(PUBLISHED.values()) <= set(pinned)


def test_an_unknown_part_is_refused() -> None:
    battery = Misalignment()
    with pytest.raises(PersonaeError, match="no part 'pairs'; there are: pair, choice, answer"):
        battery.stages({**battery.defaults, "parts": "pairs"}, frozenset())
