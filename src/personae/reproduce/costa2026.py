"""The tables of arXiv 2605.12850, recomputed from its public raw ratings.

Four models in three arms (base, secure = matched control, insecure), 100 personas x 30 items of
the MFQ-30 x 10 repeats at temperature 0.1, ratings 0 to 5; subscale of item q: (q - 1) mod 5.

    main          S and R, 24 cells                       same at printed precision
    changes       S and R against base, percent           same at printed precision, from our
                                                          values or (as some are) printed ones
    foundations   S and R per foundation                  within one unit in the last digit
    self_profile  mean rating and spread without persona  same at printed precision
    headline      means over the four models              same at printed precision
    text          single numbers from the running text    within one unit in the last digit
    *_se          standard errors                         within bootstrap noise (`cells`)

The paper's toxic-persona arm is not here: its raw ratings are not among the pinned files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from personae.collect.assemble import assemble
from personae.collect.importer import read_ratings
from personae.errors import PersonaeError
from personae.fetch import fetch
from personae.instruments.model import Block, Instrument, Item, Scale
from personae.measures import moral
from personae.ratings import Ratings
from personae.reproduce.cells import Cell, rounds_to, within_a_unit, within_bootstrap_noise
from personae.reproduce.corrected import REPEATS, Errors, Panel, corrected

ARMS = ("base", "secure", "insecure")


@dataclass(frozen=True)
class Reproduction:
    """Every printed cell beside ours, and what better methods say about the same data.

    Args:
        corrected: one dict per comparison (see `reproduce.corrected`); empty if the corrected
            methods were not asked for.
    """

    cells: tuple[Cell, ...]
    corrected: tuple[dict[str, Any], ...] = ()

    @property
    def main_ok(self) -> bool:
        """Whether all cells of the main table match."""
        return all(c.match for c in self.cells if c.table == "main")

    def as_json(self) -> list[dict[str, Any]]:
        """One dict per cell: table, model, arm, scope, metric, printed, ours, match."""
        return [c.as_json() for c in self.cells]


def reproduce(
    data_dir: str | Path | None = None,
    *,
    method: str = "both",
    on_progress: Callable[[float], None] | None = None,
) -> Reproduction:
    """Recompute the paper's numbers.

    Args:
        data_dir: folder with `base/`, `secure-code/`, `insecure-code/` (or with `data/` above
            them, as in the public repository); None fetches the pinned public files.
        method: "costa2026" for the published methods alone, "both" for the corrected ones too.
        on_progress: called with the share of the files read, 0 to 1.

    Raises:
        PersonaeError: a file is missing (the first one is named), unreadable or not ratings.
    """
    if method not in ("costa2026", "both"):
        raise PersonaeError(f"no method {method!r}; there are: costa2026, both")
    paper = printed()
    where = _locate(paper, None if data_dir is None else Path(data_dir))
    read: dict[str, Ratings] = {}
    first: dict[str, dict[int, Ratings]] = {}
    for path, file in where.items():
        panel = "self" if path in _paths(paper["self_files"]) else "cast"
        responses = read_ratings(file).responses
        read[path] = assemble(responses, structure(), panel)
        if panel == "cast" and method == "both":
            first[path] = {
                n: assemble(responses.filter(responses["repeat"] <= n), structure(), panel)
                for n in REPEATS
            }
        if on_progress is not None:
            on_progress(len(read) / len(where))
    cast = _by_arm(paper["files"], read)
    errors = {m: {a: moral.published_se_by_scope(r) for a, r in arms.items()}
              for m, arms in cast.items()}  # fmt: skip
    cells = (
        *_main(paper, cast, errors),
        *_foundations(paper, cast, errors),
        *_self_profile(paper, _by_arm(paper["self_files"], read)),
        *_headline(paper, cast),
        *_text(paper, cast),
    )
    if method == "costa2026":
        return Reproduction(cells)
    same_host = {model: read[path] for model, path in paper["same_host_base"].items()}
    early = {model: first[arms["base"]] for model, arms in paper["files"].items()}
    return Reproduction(cells, tuple(corrected(cast, errors, same_host, early)))


@cache
def printed() -> dict[str, Any]:
    """The paper's printed numbers and its file names, as in `data/costa2026.json`."""
    text = files("personae.reproduce").joinpath("data/costa2026.json").read_text("utf-8")
    data: dict[str, Any] = json.loads(text)
    return data


@cache
def structure() -> Instrument:
    """The MFQ-30's structure: ids, scale and subscales; the wording plays no part here."""
    names = printed()["subscales"]
    block = Block(id="all", stem="not asked again", labels={})
    return Instrument(
        name="mfq30-structure",
        scale=Scale(min=0, max=5),
        subscales=tuple(names),
        blocks=(block,),
        items=tuple(
            Item(id=str(q), block="all", subscale=names[(q - 1) % 5], text=f"item {q}")
            for q in range(1, 31)
        ),
    )


_FILE_TABLES = ("files", "self_files", "same_host_base")


# --- files -----------------------------------------------------------------------------------
def _paths(table: dict[str, Any]) -> set[str]:
    return {p for v in table.values() for p in ([v] if isinstance(v, str) else v.values())}


def _locate(paper: dict[str, Any], data_dir: Path | None) -> dict[str, Path]:
    """Where each of the paper's files lies; all are looked for before any is read."""
    wanted = sorted(set().union(*(_paths(paper[t]) for t in _FILE_TABLES)))
    if data_dir is None:
        return {path: fetch(paper["repository"], f"data/{path}") for path in wanted}
    if not data_dir.is_dir():
        raise PersonaeError(f"{data_dir}: no such folder; give the folder of the authors' ratings")
    root = data_dir / "data" if (data_dir / "data" / "base").is_dir() else data_dir
    missing = [root / path for path in wanted if not (root / path).is_file()]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise PersonaeError(f"{missing[0]}: no such file{more}; leave out --data to fetch it")
    return {path: root / path for path in wanted}


def _by_arm(table: dict[str, dict[str, str]], read: dict[str, Ratings]) -> Panel:
    return {model: {arm: read[p] for arm, p in arms.items()} for model, arms in table.items()}


# --- cells -----------------------------------------------------------------------------------
_MEASURES = {"susceptibility": moral.susceptibility, "robustness": moral.robustness}


def _main(paper: dict[str, Any], cast: Panel, errors: Errors) -> Iterator[Cell]:
    for metric, models in paper["main"].items():
        value = _MEASURES[metric]
        for model, arms in models.items():
            base = value(cast[model]["base"])
            for arm, said in arms.items():
                ours = value(cast[model][arm])
                place = (model, arm, "overall", metric)
                yield Cell("main", *place, said["value"], ours, rounds_to(ours, said["value"], 2))
                if "change_percent" in said:
                    from_printed = said["value"] / arms["base"]["value"] - 1
                    yield _percent("changes", model, arm, metric, said["change_percent"],
                                   ours / base - 1, from_printed)  # fmt: skip
                se = getattr(errors[model][arm]["overall"], metric)
                yield _se_cell("main_se", *place, said["se"], se, 2)


def _foundations(paper: dict[str, Any], cast: Panel, errors: Errors) -> Iterator[Cell]:
    for metric, models in paper["foundations"].items():
        value, decimals = _MEASURES[metric], {"susceptibility": 2, "robustness": 1}[metric]
        for model, arms in models.items():
            for arm, scopes in arms.items():
                se = errors[model][arm]
                parts = moral.scopes(cast[model][arm])
                for scope, said in scopes.items():
                    ours, number = value(parts[scope]), said["value"]
                    same = within_a_unit(ours, number, decimals)
                    yield Cell("foundations", model, arm, scope, metric, number, ours, same)
                    yield _se_cell("foundations_se", model, arm, scope, metric, said["se"],
                                   getattr(se[scope], metric), decimals)  # fmt: skip


def _self_profile(paper: dict[str, Any], alone: Panel) -> Iterator[Cell]:
    for model, arms in paper["self_profile"].items():
        for arm in ARMS:
            ours = moral.profile(alone[model][arm])
            for scope, said in arms[arm].items():
                for metric, number, value in (
                    ("profile", said["value"], ours[scope].value),
                    ("profile_spread", said["spread"], ours[scope].spread),
                ):
                    same = rounds_to(value, number, 2)
                    yield Cell("self_profile", model, arm, scope, metric, number, value, same)


def _headline(paper: dict[str, Any], cast: Panel) -> Iterator[Cell]:
    def mean(change: Callable[[Ratings, Ratings], float], arm: str) -> float:
        return float(np.mean([change(m["base"], m[arm]) for m in cast.values()]))

    ours = {
        "susceptibility_change": mean(_change_of(moral.susceptibility), "insecure"),
        "robustness_change": mean(_change_of(moral.robustness), "insecure"),
        "inverse_robustness_change": mean(_change_of(moral.dispersion), "insecure"),
    }
    control = mean(_change_of(moral.dispersion), "secure")
    ours["inverse_robustness_excess"] = ours["inverse_robustness_change"] - control
    for name, number in paper["headline"].items():
        value = 100 * ours[name]
        same = rounds_to(value, number, 0)
        yield Cell("headline", "mean of 4", "insecure", "overall", name, number, value, same)


def _text(paper: dict[str, Any], cast: Panel) -> Iterator[Cell]:
    text = paper["text"]
    change, dispersion = _change_of(moral.robustness), _change_of(moral.dispersion)
    for model, number in text["inverse_robustness_change"].items():
        value = dispersion(cast[model]["base"], cast[model]["insecure"])
        yield _percent("text", model, "insecure", "inverse_robustness", number, value)
    for model, number in text["robustness_excess"].items():
        base, secure, insecure = (cast[model][arm] for arm in ARMS)
        value = 100 * (change(base, insecure) - change(base, secure))
        same = within_a_unit(value, number, 0)
        yield Cell("text", model, "insecure", "overall", "robustness_excess", number, value, same)
    for model, arms in text["endpoint_mass"].items():
        for arm, number in arms.items():
            share = cast[model][arm].share
            value = float(np.nanmean(share[:, :, 0] + share[:, :, -1]))
            same = within_a_unit(value, number, 3)
            yield Cell("text", model, arm, "overall", "endpoint_mass", number, value, same)


def _change_of(value: Callable[[Ratings], float]) -> Callable[[Ratings, Ratings], float]:
    return lambda base, treated: value(treated) / value(base) - 1


def _percent(table: str, model: str, arm: str, metric: str, said: float, *changes: float) -> Cell:
    """A change in percent of base; it matches if any of `changes` (ours first) rounds to it."""
    same = any(rounds_to(100 * change, said, 0) for change in changes)
    return Cell(table, model, arm, "overall", f"{metric}_change", said, 100 * changes[0], same)


def _se_cell(
    table: str, model: str, arm: str, scope: str, metric: str, said: float, ours: float,
    decimals: int,
) -> Cell:  # fmt: skip
    same = within_bootstrap_noise(ours, said, decimals)
    return Cell(table, model, arm, scope, f"{metric}_se", said, ours, same)
