"""From a study to its plan: which adapters are trained, which models are measured, and where.

A training and a cell (one arm with one seed) are named by the hash of everything that they depend
on: weights they start from, rows, recipe, defences, seed, intervention. The same content finds
the same folder, so whatever is finished is never done again, an edited study redoes what changed
and nothing else, and two arms that are trained alike share one training.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from personae.errors import PersonaeError
from personae.files import read_bytes
from personae.models.source import declared_base, resolve
from personae.models.weights import sha256_of
from personae.study.spec import BASE, Arm, Intervene, Study
from personae.training.defences import load_defences
from personae.training.organisms import load_data
from personae.training.recipes import Recipe
from personae.training.rows import Row, Rows

JOIN = " + "


@dataclass(frozen=True)
class Training:
    """One adapter to train.

    Args:
        start: the model it starts from, as `train` takes it; `after`: the training that makes it.
        stops: numbers of samples after which a copy of the adapter is kept.
    """

    key: str
    folder: Path
    start: str
    after: Training | None
    rows: Rows
    recipe: Recipe
    defend: tuple[str, ...]
    seed: int
    stops: tuple[int, ...] = ()

    @property
    def steps(self) -> int:
        return self.recipe.steps_for(len(self.rows))

    @property
    def done(self) -> bool:
        return (self.folder / "README.md").is_file()  # the last thing that `train` writes

    def stop_folder(self, samples: int) -> Path:
        return self.folder / f"after-{samples:06d}"


@dataclass(frozen=True)
class Cell:
    """One arm with one seed, to be measured. `seed` None: nothing in it hangs on a seed.

    Args:
        model: what load_model takes, once `training` is done.
        role: the arm's place: base, trained, healed, defended, intervened, given.
        intervene: a file, or what to compute from `model` and the study's base.
    """

    arm: str
    seed: int | None
    model: str
    role: str
    training: Training | None
    intervene: str | Intervene | None
    key: str
    folder: Path
    control: str | None = None
    source: str | None = None
    samples: int | None = None

    @property
    def label(self) -> str:
        return self.arm if self.seed is None else f"{self.arm} seed {self.seed}"


@dataclass(frozen=True)
class Plan:
    """Everything to do, parents before what goes on from them.

    Args:
        task_rows: rows on whose prompts no arm is trained; the task's loss is measured on them.
    """

    study: Study
    out: Path
    cells: tuple[Cell, ...]
    task_rows: Rows | None = None

    @property
    def trainings(self) -> tuple[Training, ...]:
        """Each once, in the order in which they can be done."""
        found: dict[str, Training] = {}
        for cell in self.cells:
            for training in _line(cell.training):
                found.setdefault(training.key, training)
        return tuple(found.values())

    def cell(self, arm: str, seed: int | None) -> Cell | None:
        """The cell of an arm for a seed; the only one where the arm has none."""
        of_arm = [c for c in self.cells if c.arm == arm]
        return next((c for c in of_arm if c.seed in (seed, None)), None)


def make_plan(study: Study, out: Path, *, only: tuple[str, ...] = ()) -> Plan:
    """The plan of a study in a folder.

    Args:
        only: arms to do; those they go on from are trained, and the base is measured with them.

    Raises:
        PersonaeError: unknown arm, data, topic, file or model.
    """
    names = tuple(_names(study))
    if unknown := [a for a in only if a not in names]:
        raise PersonaeError(f"no arm {unknown[0]!r}; there are: {', '.join(names)}")
    builder = _Builder(study, out)
    # Of arms that are not asked for, data, vectors and models need not be there.
    asked = {a.partition("@")[0] for a in only or study.arms}
    arms = (builder.arm(n, a) for n, a in study.arms.items() if n in asked)
    cells = tuple(chain(builder.base(), *arms))
    # Seed by seed: a study that is stopped early has whole seeds rather than whole arms.
    turns: tuple[int | None, ...] = (None, *study.seeds)
    cells = tuple(sorted(cells, key=lambda c: turns.index(c.seed)))
    if only:
        wanted = {BASE, *only}
        cells = tuple(c for c in cells if {c.arm, c.arm.partition("@")[0]} & wanted)
    return Plan(study, out, cells, builder.task_rows)


def _names(study: Study) -> Iterator[str]:
    yield BASE
    for name, arm in study.arms.items():
        yield name
        if len(arm.samples) > 1:
            yield from (f"{name}@{samples}" for samples in arm.samples)


def rows_of(data: str, seed: int) -> Rows:
    """The rows of one data set, or of several that take turns until the shortest ends."""
    sets = [load_data(name.strip(), seed=seed) for name in data.split(JOIN)]
    turns = tuple(chain.from_iterable(zip(*(s.rows for s in sets), strict=False)))
    return Rows(data, turns) if len(sets) > 1 else sets[0]


def reserved(rows: Rows, most: int) -> Rows:
    """Rows kept from every training: one for each of the `most` prompts whose hash is smallest,
    but never more than a tenth of the prompts. The seed of the order makes no difference."""
    by_prompt = {_prompt(row): row for row in rows.rows}
    chosen = sorted(by_prompt)[: min(most, len(by_prompt) // 10)]
    return Rows(f"{rows.name}: reserved", tuple(by_prompt[key] for key in chosen))


def _prompt(row: Row) -> str:
    return _hash("prompt", row.messages[:-1])


class _Builder:
    def __init__(self, study: Study, out: Path) -> None:
        self.study, self.out = study, out
        self.origin = _fingerprint(study.base)
        self.task_rows = self._reserved()
        self._kept_back = {_prompt(r) for r in self.task_rows.rows} if self.task_rows else set()

    def _reserved(self) -> Rows | None:
        """What the task's loss is measured on: of the first arm's data, if none is named."""
        task = self.study.measures.task
        trained = [a.data for a in self.study.arms.values() if a.data is not None]
        if task is None or not (task.data or trained):
            return None
        data = task.data or trained[0]
        return reserved(rows_of(data, 0), task.rows)

    def base(self) -> Iterator[Cell]:
        yield self._cell(BASE, None, Arm(model=self.study.base), BASE)

    def arm(self, name: str, arm: Arm) -> Iterator[Cell]:
        for seed in self.study.seeds if self._seeded(arm) else (None,):
            if len(arm.samples) < 2:
                yield self._cell(name, seed, arm, _role(arm), samples=_only(arm.samples))
                continue
            for samples in arm.samples:
                yield self._cell(f"{name}@{samples}", seed, arm, _role(arm), samples=samples)

    def _seeded(self, arm: Arm) -> bool:
        """Whether anything in the arm's making hangs on a seed."""
        if arm.data is not None or (arm.model is not None and "{seed}" in arm.model):
            return True
        if isinstance(arm.intervene, Intervene) and arm.intervene.direction == "random":
            return True
        return arm.source not in (None, BASE) and self._seeded(self.study.arms[str(arm.source)])

    def _cell(
        self, name: str, seed: int | None, arm: Arm, role: str, samples: int | None = None
    ) -> Cell:
        training, model = self._model(arm, seed, samples)
        start = training.key if training else _fingerprint(model)
        what = [start, samples if len(arm.samples) > 1 else None, _intervention_hash(arm), seed]
        if isinstance(arm.intervene, Intervene):
            what.append(self.origin)
        key = _hash("cell", what)
        label = name if seed is None else f"{name}-seed{seed}"
        return Cell(
            name, seed, model, role, training, arm.intervene, key,
            self.out / "runs" / f"{label}-{key[:8]}", arm.control, arm.source, samples,
        )  # fmt: skip

    def _model(
        self, arm: Arm, seed: int | None, samples: int | None
    ) -> tuple[Training | None, str]:
        """The training that makes an arm's model, and the model's name afterwards."""
        if arm.data is not None:
            training = self._training(arm, seed or 0)
            several = len(arm.samples) > 1 and samples is not None
            folder = training.stop_folder(samples or 0) if several else training.folder
            return training, f"{_bare(self.study.base)}+{folder}"
        if arm.model is not None:
            return None, arm.model.format(seed=seed) if "{seed}" in arm.model else arm.model
        if arm.source in (None, BASE):
            return None, self.study.base
        source = self.study.arms[str(arm.source)]
        return self._model(source, seed, _only(source.samples))

    def _training(self, arm: Arm, seed: int) -> Training:
        after, start = None, self.study.base
        if arm.source not in (None, BASE):
            source = self.study.arms[str(arm.source)]
            after, start = self._model(source, seed, _only(source.samples))
        recipe = arm.recipe or self.study.recipe
        rows = rows_of(str(arm.data), seed).split(arm.hold_out)[0]
        rows = Rows(rows.name, tuple(r for r in rows.rows if _prompt(r) not in self._kept_back))
        if arm.samples:
            if len(rows) < arm.samples[-1]:
                raise PersonaeError(
                    f"{arm.data} has {len(rows)} rows, fewer than {arm.samples[-1]} samples"
                )
            rows = rows.head(arm.samples[-1])
            recipe = recipe.model_copy(update={"steps": None, "epochs": 1.0})
        stops = arm.samples if len(arm.samples) > 1 else ()
        origin = after.key if after else _fingerprint(start)
        defend = [d.key for d in load_defences(arm.defend)]
        key = _hash("training", [origin, rows.hash, recipe.hash, defend, seed, stops])
        folder = self.out / "adapters" / f"{key[:12]}"
        return Training(key, folder, start, after, rows, recipe, arm.defend, seed, stops)


def _role(arm: Arm) -> str:
    if arm.intervene is not None:
        return "intervened"
    if arm.model is not None:
        return "given"
    if arm.source not in (None, BASE):
        return "healed"
    return "defended" if arm.defend else "trained"


def _only(samples: tuple[int, ...]) -> int | None:
    return samples[0] if len(samples) == 1 else None


def _bare(base: str) -> str:
    """A base without its adapter: adapters trained further hold both."""
    adapter = resolve(base).adapter
    if adapter is None:
        return base
    return base.partition("+")[0] if "+" in base else declared_base(adapter)


def _line(training: Training | None) -> list[Training]:
    """A training and all that it goes on from, oldest first."""
    return [] if training is None else [*_line(training.after), training]


def _fingerprint(model: str) -> str:
    """Which weights these are, without loading them; the name where only a hub knows."""
    source = resolve(model)
    adapter = sha256_of(sorted(source.adapter.glob("*.safetensors"))) if source.adapter else ""
    return f"{source.revision or source.base}+{adapter}"


def _intervention_hash(arm: Arm) -> str:
    if isinstance(arm.intervene, str):
        return hashlib.sha256(read_bytes(Path(arm.intervene))).hexdigest()
    return "" if arm.intervene is None else arm.intervene.model_dump_json()


def _hash(kind: str, what: object) -> str:
    text = json.dumps([kind, what], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def measure_hash(plan: Plan, name: str) -> str:
    """Hash of one measure's settings, for the name of its folder."""
    settings = getattr(plan.study.measures, name).model_dump(mode="json")
    if name == "task" and plan.task_rows is not None:
        settings |= {"rows": plan.task_rows.hash}
    return _hash("measure", settings)[:6]
