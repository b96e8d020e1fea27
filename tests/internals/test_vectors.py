"""A planted direction is found, chosen where it is, told from its nulls, and moves the model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import build_model, build_tokenizer, save

from personae.errors import PersonaeError
from personae.internals import hooks
from personae.internals.direction import Direction
from personae.internals.direction_files import load_direction
from personae.internals.dosing import DoseCurve, against_random, dose_curves
from personae.internals.extraction import extract
from personae.internals.samples import read_prompts, read_samples
from personae.internals.traits import (
    Contrast,
    Question,
    Trait,
    asked,
    bundled_traits,
    load_trait,
    own_answers,
    poles,
    typical_answers,
)
from personae.internals.vectors import monitor, own, screen, with_norms
from personae.models.local import LocalModel

MARK = 12  # the token of "*", which stands in the prompts with more of the trait
LAYER = 1


def small_trait() -> Trait:
    """System prompts that differ in one sign; answers that say nothing about it."""
    signs = [Contrast(more=f"* be {k}", less=f"+ be {k}") for k in range(6)]
    questions = [
        Question(ask=f"What about {k}?", more=f"It is {k}.", less=f"It is {k}.") for k in range(20)
    ]
    return Trait(
        name="starred", description="d", prompts=tuple(signs), questions=tuple(questions),
        rubric="r",
    )  # fmt: skip


def planted_direction() -> torch.Tensor:
    return torch.randn(32, generator=torch.Generator().manual_seed(7))


@contextmanager
def planted(model: Any, first: int | None = 16) -> Iterator[None]:
    """The output of block 1 gains a direction in every text whose `first` tokens hold the mark."""
    seen: dict[str, torch.Tensor] = {}

    def note(_m: Any, args: Any, kwargs: Any) -> None:
        seen["ids"] = kwargs.get("input_ids", args[0] if args else None)

    def add(_m: Any, _i: Any, h: torch.Tensor) -> torch.Tensor:
        marked = (seen["ids"][:, :first] == MARK).any(1)[:, None, None]
        return h + 8 * marked * planted_direction()

    handles = [
        model.register_forward_pre_hook(note, with_kwargs=True),
        hooks.blocks(model)[LAYER].register_forward_hook(add),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def test_a_planted_direction_is_found_chosen_and_told_from_its_nulls(local: LocalModel) -> None:
    assert local.chat.encode("*") == [MARK]
    trait = small_trait()
    some = poles(trait, "extraction")
    with planted(local.model):
        stages: list[str] = []
        told: list[tuple[int, int]] = []
        found = extract(
            local, trait, some, typical_answers(some), own_test=True, on_stage=stages.append,
            on_progress=lambda *at: told.append(at),
        )  # fmt: skip
    assert stages == ["vector", "layer", "tests"]
    assert told[79] == (80, 80)  # 4 contrasts x 10 questions x 2 poles
    assert told[-1] == (24, 24)  # 2 x 6 x 2
    direction = found.direction
    cosine = torch.cosine_similarity(direction.vectors[LAYER], planted_direction(), dim=0)
    assert float(cosine) > 0.95
    assert direction.gaps[LAYER] == pytest.approx(8 * float(planted_direction().norm()), rel=0.1)
    assert found.layer >= LAYER
    assert found.selection["prompt"][LAYER] == found.selection["same answer"][LAYER] == 1.0
    low, high = found.chance[LAYER]
    assert low < 0.5 < high
    assert len(found.separations) == 3 * 2 * 2  # sites, prompts, readings
    for test in found.separations:
        # Relative readings find it everywhere; raw ones where no question's own words hide it.
        if test.site != "own answers" and test.reading == "relative":
            assert test.auroc == test.low == test.within == test.paired == 1.0, test.scope
        assert np.mean(test.random) < 0.97
        assert test.contrasts == (4 if test.prompts == "known" else 2)
        assert test.questions == 6
    assert direction.data_hash == trait.hash
    assert direction.revision == local.card.revision
    assert {f.metric for f in found.findings()} >= {"separation_auroc", "random_auroc"}
    json.dumps(found.as_json(), allow_nan=False)


def test_without_a_difference_nothing_separates(local: LocalModel) -> None:
    same = tuple(Contrast(more=f"be {k}", less=f"be {k}") for k in range(6))
    trait = small_trait().model_copy(update={"prompts": same})
    some = poles(trait, "extraction")
    noise = [f"{n % 7} or {n % 3}" for n in range(len(some))]
    found = extract(local, trait, some, noise)
    for test in found.separations:
        assert test.auroc == test.low == test.high == 0.5
        assert test.paired == 0
        assert set(test.random) == {0.5}


def test_the_layer_is_chosen_without_the_contrast_that_tests_it(local: LocalModel) -> None:
    """Noise in the answers of one contrast makes that contrast's own vector, and no other's."""
    from personae.internals import extraction

    rng = np.random.default_rng(0)
    differences = rng.standard_normal((8, 3, 32))
    contrasts = np.repeat(np.arange(4), 2)
    units = extraction._left_out(differences, contrasts)
    for c in range(4):
        rest = differences[contrasts != c].sum(0)
        np.testing.assert_allclose(units[c], rest / np.linalg.norm(rest, axis=-1, keepdims=True))
    alone = extraction._left_out(differences[:2], contrasts[:2])
    assert not alone.any()  # nothing is left without the only contrast


def test_the_parts_of_a_trait_share_nothing() -> None:
    trait = load_trait("rudeness")
    for field in ("questions_of", "prompts_of"):
        groups = [set(getattr(trait, field)(part)) for part in ("extraction", "test")]
        assert not groups[0] & groups[1]
    parts = [trait.questions_of(part) for part in ("extraction", "selection", "test")]
    assert [q for part in parts for q in part] == list(trait.questions)


@pytest.mark.parametrize("name", bundled_traits())
def test_bundled_traits_are_whole_and_balanced(name: str) -> None:
    trait = load_trait(name)
    assert trait.name == name
    assert len({q.ask for q in trait.questions}) == len(trait.questions) >= 20
    assert len(trait.prompts) >= 10
    texts = [text for p in trait.prompts for text in (p.more, p.less)]
    assert len(set(texts)) == len(texts)
    ratios = [len(q.more) / len(q.less) for q in trait.questions]
    assert 0.8 < np.mean(ratios) < 1.2
    assert 0.8 < np.mean([len(p.more) / len(p.less) for p in trait.prompts]) < 1.2


def test_the_seven_traits_are_there() -> None:
    assert bundled_traits() == [
        "deference", "hallucination", "impulsiveness", "malice", "optimism", "rudeness",
        "sycophancy",
    ]  # fmt: skip
    with pytest.raises(PersonaeError, match="no trait 'charm'; there are: deference"):
        load_trait("charm")


def test_own_answers_and_empty_ones(local: LocalModel) -> None:
    trait = small_trait()
    some = poles(trait, "extraction")
    responses = own_answers(local, some[:6], max_tokens=3)
    assert responses == own_answers(local, some[:6], max_tokens=3)
    kept = ["", "a", "b", "c", "d", " "]  # the first and last question lack a pole
    assert extract(local, trait, some[:6], kept).direction.details["pairs"] == 1
    with pytest.raises(PersonaeError, match="no question has a response"):
        extract(local, trait, some[:2], ["", "x"])


def simple_direction(**details: Any) -> Direction:
    rows = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    return Direction("d", (0, 1, 2), rows, norms=(6.0, 7.0, 8.0), details=details)


def test_monitor_ranks_among_normal_prompts(local: LocalModel) -> None:
    direction = simple_direction(layer=1)
    prompts = [asked(f"Question {k}?") for k in range(5)]
    found = monitor(local, direction, prompts, normal=prompts)
    order = np.argsort([r.value for r in found])
    assert [found[k].rank for k in order] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    assert np.isnan(monitor(local, direction, prompts)[0].rank)
    under = monitor(local, direction, [asked("Question 3?", "Be brief."), prompts[3]])
    assert under[0].relative == pytest.approx(under[0].value - under[1].value, abs=1e-4)
    assert np.isnan(under[1].relative)
    with pytest.raises(PersonaeError, match="no chosen layer"):
        monitor(local, simple_direction(), prompts)


def test_screening_finds_the_samples_that_pull(local: LocalModel) -> None:
    """With the planted direction, answers that hold the mark project higher than others."""
    rows = planted_direction().repeat(3, 1)
    direction = Direction("d", (0, 1, 2), rows, details={"layer": LAYER})
    prompts = [asked(f"Question {k}?") for k in range(6)]
    answers = ["fine", "* fine", "fine", "", "* fine", "fine"]
    with planted(local.model, None):
        found = screen(local, direction, prompts, answers, ["good"] * 6)
    assert set(np.argsort(-np.nan_to_num(found, nan=-99))[:2]) == {1, 4}
    assert np.isnan(found[3])
    assert screen(local, direction, prompts, answers, answers)[0] == pytest.approx(0)
    assert len(own(local, prompts, max_tokens=2)) == 6


def test_doses_move_the_likelihood_of_typical_answers(local: LocalModel) -> None:
    """A direction made of the output head: more of it is more of one letter."""
    questions = tuple(Question(ask=f"{k}?", more="AAAA", less="BBBB") for k in range(20))
    trait = small_trait().model_copy(update={"questions": questions})
    head = local.model.lm_head.weight.detach()
    toward = head[local.chat.encode("A")[0]] - head[local.chat.encode("B")[0]]
    direction = Direction("A", (2,), toward[None], norms=(5.0,))
    doses = (-0.6, -0.3, 0.0, 0.3, 0.6)
    told: list[tuple[int, int]] = []
    ours, *controls = dose_curves(
        local, trait, direction, [2], doses, controls=4,
        on_progress=lambda *at: told.append(at),
    )  # fmt: skip
    assert told == [(n, 5) for n in range(1, 6)]
    assert ours.monotonic
    assert ours.slope_interval.low > 0
    beside = against_random(ours, controls)
    assert beside
    assert beside.ratio_largest > 2
    assert (beside.as_steep, beside.p, beside.n) == (0, 0.2, 4)
    np.testing.assert_array_equal(ours.more[2], controls[0].more[2])  # dose 0 is no hook
    json.dumps(ours.as_json(), allow_nan=False)


def test_a_slope_is_compared_with_random_ones() -> None:
    doses = (-0.1, 0.0, 0.1)

    def curve(slope: float, bend: float = 0.0) -> DoseCurve:
        odds = slope * np.array(doses) + bend * np.array([1.0, 0.0, 1.0])
        return DoseCurve("d", doses, np.repeat(odds[:, None], 3, 1), np.zeros((3, 3)))

    ours = curve(2.0)
    assert ours.slope == pytest.approx(2.0)
    assert ours.slope_interval.low == pytest.approx(ours.slope_interval.high)
    # One is flatter, one steeper and falling, one steeper but bent.
    beside = against_random(ours, [curve(0.5), curve(-3.0), curve(4.0, bend=1.0)])
    assert beside
    assert beside.ratio_median == pytest.approx(2 / 3)
    assert beside.ratio_largest == pytest.approx(0.5)
    assert beside.p == pytest.approx(3 / 4)
    assert (beside.one_way, beside.as_steep) == pytest.approx((2 / 3, 2 / 3))
    assert beside.as_steep_one_way == pytest.approx(1 / 3)
    assert not curve(-1.0).monotonic
    assert against_random(ours, []) is None


def test_imported_directions_get_norms(local: LocalModel) -> None:
    from dataclasses import replace

    bare = replace(simple_direction(), norms=())
    prompts = [asked("One?"), asked("Two and a half?")]
    dosed = with_norms(local, bare, prompts)
    found: dict[int, float] = {}
    for p in prompts:
        ids = torch.tensor([local.chat.encode(local.chat.text(p))])
        with (
            torch.inference_mode(),
            hooks.reading(
                local.model, range(3),
                lambda n, h: found.update({n: found.get(n, 0) + float(h[0, -1].norm()) / 2}),
            ),
        ):  # fmt: skip
            local.model(ids)
    assert dosed.norms == pytest.approx(tuple(found[n] for n in range(3)), rel=1e-4)


def test_files_of_prompts_and_samples(tmp_path: Path) -> None:
    rows = [
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
        {"system": "s", "prompt": "c", "response": "d"},
    ]
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    samples = read_samples(path)
    assert [(s.line, s.response) for s in samples] == [(1, "b"), (2, "d")]
    assert samples[1].prompt.messages == (("system", "s"), ("user", "c"))
    assert read_prompts(path)[0].messages == (("user", "a"),)
    assert len(read_samples(path, limit=1, seed=3)) == 1
    (tmp_path / "p.txt").write_text("one\n\ntwo\n")
    assert [p.messages[0][1] for p in read_prompts(tmp_path / "p.txt")] == ["one", "two"]
    for bad, message in (
        ('{"prompt": "x"}', "line 1: ends without an answer"),
        ("[1]", "line 1: should hold messages|neither messages"),
        ('{"messages": [{"role": "user"}]}', "should hold messages"),
        ("", "holds no lines"),
    ):
        path.write_text(bad)
        with pytest.raises(PersonaeError, match=message):
            read_samples(path)


# --- command line --------------------------------------------------------------------------------
def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from typer.testing import CliRunner

    from personae.cli.vectors import app

    folder = str(save(tmp_path / "tiny", build_model(), build_tokenizer()))
    trait = tmp_path / "starred.json"
    trait.write_text(small_trait().model_dump_json())
    vector, gguf = tmp_path / "v.safetensors", tmp_path / "v.gguf"
    prompts, data = tmp_path / "p.txt", tmp_path / "d.jsonl"
    prompts.write_text("One?\nTwo?\n")
    data.write_text("\n".join(json.dumps({"prompt": f"{k}?", "response": "ok"}) for k in range(5)))

    def call(*args: object) -> Any:
        result = CliRunner().invoke(app, [*map(str, args), "--json"], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    made = call("extract", trait, folder, "--out", vector, "--gguf", gguf, "--steer",
                "--random", 3, "--test-own")  # fmt: skip
    assert made["file"] == str(vector)
    assert len(made["curves"]) == 4
    page = vector.with_suffix(".html").read_text()
    assert all(f'id="fig-{name}"' in page for name in ("layers", "separation", "doses"))
    assert load_direction(gguf).layers == (1, 2)
    shown = call("show", vector)
    assert shown["details"]["layer"] == made["layer"]
    assert len(call("monitor", vector, prompts, folder, "--normal", prompts)["prompts"]) == 2
    screened = call("screen", vector, data, folder, "--limit", 3, "--max-tokens", 2)
    assert len(screened["samples"]) + screened["skipped"] == 3
    assert "fig-screen" in (tmp_path / "v-d.html").read_text()
    assert set(call("show")["traits"]) == set(bundled_traits())
    copy = tmp_path / "mine.json"
    copy.write_text(json.dumps(call("show", "malice")))
    assert load_trait(str(copy)) == load_trait("malice")  # what is shown can be edited and used


def test_a_direction_is_not_written_where_it_could_not_be_read(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from personae.cli.vectors import app

    result = CliRunner().invoke(app, ["extract", "malice", "nowhere", "--out", str(tmp_path)])
    assert f"{tmp_path}: name the direction file .safetensors" in repr(result.exception)


def test_own_answers_say_in_the_file_how_they_were_kept(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from personae.cli.vectors import app

    folder = str(save(tmp_path / "tiny", build_model(), build_tokenizer()))
    trait = tmp_path / "starred.json"
    trait.write_text(small_trait().model_dump_json())
    vector = tmp_path / "v.safetensors"
    own = ["extract", trait, folder, "--own", "--max-tokens", 4, "--out", vector, "--no-report"]

    def details(*more: object) -> tuple[str, dict[str, Any]]:
        arguments = [str(a) for a in (*own, *more, "--threads", 1)]
        result = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        direction = load_direction(vector)
        return direction.pooling, direction.details

    assert details("--unfiltered")[0] == "mean over the model's own answers (unfiltered)"
    pooling, kept = details("--margin", -5)
    assert "kept by likelihood: log-ratio >= -5 nats a token" in pooling
    assert (kept["filter"], kept["margin"], kept["answers"]) == ("likelihood", -5, 80)
    assert 0 < kept["pairs"] <= kept["kept"] / 2 <= 40
    assert not vector.with_suffix(".html").exists()
    with pytest.raises(PersonaeError, match="tiny gave no score to any of"):  # it cannot judge
        details("--judge", folder)
    with pytest.raises(PersonaeError, match="--judge needs --own"):
        CliRunner().invoke(
            app, ["extract", str(trait), folder, "--judge", folder], catch_exceptions=False
        )


@pytest.mark.weights
def test_a_real_trait_separates_and_steers() -> None:
    """On the embedded model, with questions and system prompts that the vector has not seen.

    Half the file, to be quick; the whole of every trait is in benchmarks/vectors.py.
    """
    from personae.models.loading import load_model

    model, whole = load_model("smollm2"), load_trait("rudeness")
    half = {"prompts": whole.prompts[1::2], "questions": whole.questions[::2]}
    trait = whole.model_copy(update=half)
    some = poles(trait, "extraction")
    found = extract(model, trait, some, typical_answers(some))
    for site, least in (("prompt", 0.9), ("same answer", 0.7)):  # 2 contrasts x 3 questions
        test = found.at(site, "new")
        assert test.auroc >= least
        assert test.auroc > np.mean(test.random)
    curves = dose_curves(model, trait, found.direction, [found.layer], controls=2)
    beside = against_random(curves[0], curves[1:])
    assert curves[0].monotonic
    assert beside
    assert beside.ratio_median > 1
