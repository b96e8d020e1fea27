from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from answering import Judge, Writer
from typer.testing import CliRunner

from personae import api
from personae.batteries.rejudge import judged, judgements
from personae.cli.main import app
from personae.collect.battery_run import BatteryRun
from personae.errors import PersonaeError
from personae.findings import Finding
from personae.models.protocol import Answer

OPTIONS = {"questions": "open", "samples": 2, "limit": 40, "parts": "answer"}


def answered(path: Path, judge: Judge | None = None, **options: Any) -> BatteryRun:
    done = api.run("misalignment", Writer(), judge=judge, options=OPTIONS | options, out=path)
    assert isinstance(done, BatteryRun)
    return done


def found(findings: list[Finding], metric: str, scope: str = "overall") -> Finding:
    (one,) = [f for f in findings if (f.metric, f.scope) == (metric, scope)]
    return one


def words(run: BatteryRun) -> list[str]:
    answers = run.answers.filter(pl.col("part") == "answer")
    return [text.split()[0] for text in answers["response"].to_list()]


def test_planted_scores_come_back_and_the_model_is_not_asked(tmp_path: Path) -> None:
    run = answered(tmp_path / "run")
    assert not [f for f in run.findings() if f.metric == "misaligned_rate"]
    before = sorted((run.path / "responses").iterdir())
    judge = Judge()
    api.judge(run.path, judge=judge)
    said = words(run)
    assert judge.asked == 2 * len(said) == 160
    assert sorted((run.path / "responses").iterdir()) == before
    findings = run.findings()
    harm, coherent = said.count("harm"), said.count("harm") + said.count("kind")
    rate = found(findings, "misaligned_rate")
    assert rate.value == pytest.approx(harm / coherent)
    assert rate.method.startswith("judge judge; betley2025")
    assert found(findings, "none_either").value == said.count("no")
    assert found(findings, "incoherent_share").value == pytest.approx(
        said.count("mud") / (len(said) - said.count("no"))
    )
    page = (run.path / "report.html").read_text("utf-8")
    assert "judge judge; betley2025" in page


def test_two_judges_are_told_apart_and_neither_is_replaced(tmp_path: Path) -> None:
    run = answered(tmp_path / "run", Judge("first"))
    first = found(run.findings(), "misaligned_rate")
    mild = Judge("second", alignment={"harm": 45, "kind": 95, "mud": 5, "no": 50}, exact=False)
    api.judge(run.path, judge=mild)
    api.judge(run.path, judge=mild, protocol="below-50")
    assert mild.asked == 160  # another protocol asks nothing
    findings = run.findings()
    assert found(findings, "misaligned_rate") == first
    assert found(findings, "misaligned_rate", "overall [second]").value == 0
    assert found(findings, "misaligned_rate", "overall [second, below-50]").value == first.value
    alpha = found(findings, "judge_agreement_alignment", "first / second")
    assert alpha.n == sum(word != "no" for word in words(run))
    assert -1 < alpha.value <= 1
    scopes = [(f.metric, f.scope) for f in findings]
    assert len(scopes) == len(set(scopes))
    # Resuming the run itself keeps what later judges said.
    answered(tmp_path / "run", Judge("first"))
    assert [(f.metric, f.scope) for f in run.findings()] == scopes


@pytest.mark.parametrize("at", [1, 30, 100])
def test_a_stopped_judge_resumes_without_paying_twice(tmp_path: Path, at: int) -> None:
    run = answered(tmp_path / "run")

    def stop(n: int) -> None:
        if n == at:
            raise KeyboardInterrupt

    stopped = Judge(before=stop)
    with pytest.raises(KeyboardInterrupt):
        api.judge(run.path, judge=stopped)
    again = Judge()
    api.judge(run.path, judge=again)
    assert (stopped.asked - 1) + again.asked == 160
    (one,) = judgements(run)
    straight = answered(tmp_path / "straight")
    api.judge(straight.path, judge=Judge())
    (other,) = judgements(straight)
    assert judged(run, one) == judged(straight, other)


def test_calls_without_a_reply_are_made_again(tmp_path: Path) -> None:
    run = answered(tmp_path / "run", limit=5)
    lost = Answer("transport_error", response="timeout")
    flaky = Judge(before=lambda n: lost if n % 4 == 0 else None)
    api.judge(run.path, judge=flaky)
    missing = found(run.findings(), "none_either").value
    api.judge(run.path, judge=(whole := Judge()))
    assert whole.asked == 5
    assert found(run.findings(), "none_either").value == words(run).count("no") < missing


def test_all_none_is_said(tmp_path: Path) -> None:
    run = answered(tmp_path / "run", limit=4)
    api.judge(run.path, judge=Judge(alignment={"": 1}, coherence={"": 1}))
    rate = found(run.findings(), "misaligned_rate")
    assert np.isnan(rate.value)
    assert "the judge scored no answer" in rate.method


def test_a_judge_without_a_score_does_not_stop_the_others(tmp_path: Path) -> None:
    """The misalignment page: a judge that cannot, then one that can, then people's labels."""
    run = answered(tmp_path / "run")
    api.judge(run.path, judge=Judge("mute", alignment={"-": 1}, coherence={"-": 1}))
    labels = tmp_path / "labels.csv"
    right = {"harm": "misaligned", "kind": "aligned"}
    table = judged(run, judgements(run)[0])
    rows = [
        f"{answer},{right[text.split()[0]]}"
        for answer, text in zip(table["answer_id"], table["response"], strict=True)
        if text.split()[0] in right
    ]
    labels.write_text("\n".join(["answer_id,label", *rows]), "utf-8")
    with pytest.raises(PersonaeError, match="no label has a judge's score"):
        api.judge(run.path, labels=labels)
    api.judge(run.path, judge=Judge("able"))
    result = api.judge(run.path, labels=labels)
    rate = found(result, "misaligned_rate_corrected", "overall [able]")
    assert rate.value == pytest.approx(sum("misaligned" in row for row in rows) / len(rows))
    mute = found(result, "misaligned_rate_corrected", "overall [mute]")
    assert np.isnan(mute.value)
    assert "undefined: no label has a judge's score" in mute.method


def test_labels_give_agreement_and_the_corrected_rate(tmp_path: Path) -> None:
    # The judge calls every harmful answer harmful, and "kind 1..9" too: specificity is known.
    run = answered(tmp_path / "run", samples=6)
    api.judge(run.path, judge=Judge())
    (one,) = judgements(run)
    table = judged(run, one)
    said = [text.split()[0] for text in table["response"]]
    truth = {"harm": 10, "kind": 90, "mud": 50, "no": 50}
    # People disagree with the judge on every tenth answer.
    rows = [
        f"{ident},{100 - truth[word] if n % 10 == 0 else truth[word]}"
        for n, (ident, word) in enumerate(zip(table["answer_id"], said, strict=True))
    ]
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(["answer_id,label", *rows]), "utf-8")
    result = api.judge(run.path, labels=labels)
    scope = "overall [judge]"
    kept = [n for n, word in enumerate(said) if word in ("harm", "kind")]
    harm = [n for n in kept if said[n] == "harm"]
    kind = [n for n in kept if said[n] == "kind"]
    true_positive = sum(n % 10 != 0 for n in harm)
    assert found(result, "judge_true_positive", scope).value == true_positive
    assert found(result, "judge_false_negative", scope).value == sum(n % 10 == 0 for n in kind)
    assert found(result, "judge_sensitivity", scope).value == pytest.approx(
        true_positive / (true_positive + sum(n % 10 == 0 for n in kind))
    )
    # With every counted answer labelled the corrected rate is the labels' own rate.
    own = (true_positive + sum(n % 10 == 0 for n in kind)) / len(kept)
    corrected = found(result, "misaligned_rate_corrected", scope)
    assert corrected.value == pytest.approx(own)
    assert corrected.low < own < corrected.high
    assert 0 < found(result, "judge_alpha", scope).value < 1


def test_the_verb_prints_one_document_and_reads_tables(tmp_path: Path) -> None:
    table = tmp_path / "judged.csv"
    table.write_text(
        "response,question,question_id,aligned,coherent\n"
        "a,q,q1,10,90\nb,q,q1,90,90\nc,q,q2,20,95\nd,q,q2,REFUSAL,95\ne,q,q2,90,\n",
        "utf-8",
    )
    result = CliRunner().invoke(app, ["judge", "--table", str(table), "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    rates = [f for f in document["findings"] if f["metric"] == "misaligned_rate"]
    assert rates[0]["value"] == pytest.approx(2 / 3)
    labels = tmp_path / "labels.csv"
    labels.write_text("response,label\na,misaligned\nb,aligned\nc,aligned\n", "utf-8")
    arguments = ["judge", "--table", str(table), "--labels", str(labels), "--json"]
    document = json.loads(CliRunner().invoke(app, arguments).stdout)
    values = {f["metric"]: f["value"] for f in document["findings"]}
    assert values["judge_sensitivity"] == 1
    assert values["judge_specificity"] == 0.5
    assert values["misaligned_rate_corrected"] == pytest.approx(1 / 3)


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    def complaint(*arguments: Any, **options: Any) -> str:
        with pytest.raises(PersonaeError) as caught:
            api.judge(*arguments, **options)
        return str(caught.value)

    run = answered(tmp_path / "run", Judge("own"), limit=3)
    assert "judged these answers when they were given" in complaint(run.path, judge=Judge("own"))
    assert "no protocol 'x'" in complaint(run.path, judge=Judge(), protocol="x")
    bare = answered(tmp_path / "bare", limit=3)
    assert "name a judge with --judge" in complaint(bare.path)
    assert "no such run folder" in complaint(tmp_path / "nowhere", judge=Judge())
    assert "personae judge RUN" in complaint(judge=Judge())
    assert "name a RUN or a --table" in complaint()
    labels = tmp_path / "labels.csv"
    labels.write_text("response,label\nnobody said this,aligned\n", "utf-8")
    assert "answer_id" in complaint(run.path, labels=labels)
    (tmp_path / "x.csv").write_text("a,b\n1,2\n", "utf-8")
    assert "lack the columns" in complaint(table=tmp_path / "x.csv")
